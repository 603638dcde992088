//! A keepalived.conf as statements and blocks: includes are read, conditions decided, definitions replaced, comments
//! gone; what the keywords mean is not known here.

use super::report::{At, Report};

/// One statement: a keyword, its arguments, and the block it opens.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// The first word.
    pub keyword: Word,
    /// The other words of the line, by the tokenizer of ordinary lines.
    pub arguments: Vec<Word>,
    /// The line after the keyword, up to its end or brace, quotes and all: for the tokenizer of scripts.
    pub rest: Word,
    /// What stands between the braces; none: it has no block.
    pub block: Option<Vec<Statement>>,
}

/// A word, and where it stands. (Its text is not that of the place where a definition was replaced.)
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// The text, without quotes.
    pub text: String,
    /// Where it stands.
    pub at: At,
}

/// The statements of the file that `report` is about and of what it includes.
pub(super) fn read(report: &mut Report) -> Vec<Statement> {
    let at = At { source: report.source.clone(), span: 0..0 };
    report.error(&at, "file", "a keepalived.conf is not read yet", "write a native configuration");
    Vec::new()
}
