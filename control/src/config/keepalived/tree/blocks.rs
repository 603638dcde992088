//! Statements and braces as they come -> the tree. A brace too many or too few is told where the block opens, once, and
//! a keyword that stands only at the top level shows where the blocks before it should have ended.

use super::super::report::{At, Report};
use super::{Statement, Word};
use crate::config::format::BLOCKS;

/// Blocks in blocks. keepalived has five levels.
const DEEPEST: usize = 32;

/// The tree so far.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// What was read of each block that is open, the top level first.
    levels: Vec<Vec<Statement>>,
    /// The opening braces.
    braces: Vec<At>,
    /// The block of the top level that was closed last: its keyword and its last line.
    closed: Option<(Word, usize)>,
    /// A stray brace was told; those that follow are of the same mistake.
    astray: bool,
}

impl Blocks {
    /// No statement yet.
    pub fn new() -> Blocks {
        Blocks { levels: vec![Vec::new()], ..Blocks::default() }
    }

    /// Adds a statement, which may turn out to open a block.
    pub fn statement(&mut self, statement: Statement) {
        self.level().push(statement);
    }

    /// The keywords of the blocks that are open, outermost first.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        let parents = self.levels.iter().take(self.braces.len()).filter_map(|level| level.last());
        parents.map(|statement| statement.keyword.text.as_str())
    }

    /// An opening brace.
    pub fn open(&mut self, brace: At, report: &mut Report) {
        if self.is_of_the_top_level() && !self.braces.is_empty() {
            self.end_before_the_last_statement(report);
        }
        match self.level().last_mut() {
            Some(statement) if statement.block.is_none() => statement.block = Some(Vec::new()),
            _ => {
                if !self.astray {
                    let message = "`{` opens a block, but no keyword before it says of what";
                    report.tear(&brace, message, "put the keyword before it, or remove the brace");
                }
                // Its end is looked for all the same.
                self.astray = true;
                self.level().push(nameless(&brace));
            }
        }
        if self.braces.is_empty() && self.is_of_the_top_level() {
            self.astray = false;
        }
        self.braces.push(brace);
        self.levels.push(Vec::new());
    }

    /// Whether no more blocks may be opened.
    pub fn is_too_deep(&self) -> bool {
        self.braces.len() >= DEEPEST
    }

    /// A closing brace.
    pub fn close(&mut self, brace: &At, report: &mut Report) {
        if self.braces.pop().is_some() {
            let block = self.levels.pop();
            if let Some(statement) = self.level().last_mut() {
                statement.block = block;
                let keyword = statement.keyword.clone();
                // What belongs into a block shows only that it had ended before.
                let is_of_the_top_level = BLOCKS.contains(&keyword.text.as_str());
                if self.braces.is_empty() && (is_of_the_top_level || self.closed.is_none()) {
                    self.closed = Some((keyword, brace.line()));
                }
            }
        } else if !self.astray {
            self.astray = true;
            let help = match &self.closed {
                Some((keyword, line)) => format!(
                    "the last block, `{}` of line {}, ended on line {line}; is one brace there too many?",
                    keyword.text,
                    keyword.at.line()
                ),
                None => "remove it".to_owned(),
            };
            report.tear(brace, "`}` closes nothing: no block is open", help);
        }
    }

    /// The tree.
    pub fn finish(mut self, report: &mut Report) -> Vec<Statement> {
        if !self.braces.is_empty() {
            let help = "add the missing `}`; is the file complete?";
            self.unclosed(report, "the file ends before its `}`", help.to_owned());
        }
        self.levels.swap_remove(0)
    }

    fn level(&mut self) -> &mut Vec<Statement> {
        self.levels.last_mut().unwrap_or_else(|| unreachable!("the top level is never closed"))
    }

    /// Whether the last statement is a block that stands only at the top level.
    fn is_of_the_top_level(&mut self) -> bool {
        self.level().last().is_some_and(|statement| BLOCKS.contains(&statement.keyword.text.as_str()))
    }

    /// The last statement shows that the blocks around it were not closed: it goes to the top level.
    fn end_before_the_last_statement(&mut self, report: &mut Report) {
        let Some(statement) = self.level().pop() else { return };
        let keyword = &statement.keyword;
        let message = format!("`{}` of line {} begins before its `}}`", keyword.text, keyword.at.line());
        let help = format!("a `}}` is missing between here and line {}", keyword.at.line());
        self.unclosed(report, &message, help);
        self.levels.truncate(1);
        self.braces.clear();
        self.level().push(statement);
    }

    /// The outermost block is the one whose end is missing: others inside took what was meant for it.
    fn unclosed(&mut self, report: &mut Report, why: &str, help: String) {
        if !self.astray {
            let opener = self.levels[0].last().map_or("", |statement| statement.keyword.text.as_str());
            report.tear(&self.braces[0], format!("the block of `{opener}` is not closed: {why}"), help);
        }
    }
}

/// Stands for the keyword that a block lacks.
fn nameless(brace: &At) -> Statement {
    let word = Word { text: String::new(), at: brace.clone() };
    Statement {
        keyword: word.clone(),
        arguments: Vec::new(),
        rest: word,
        block: Some(Vec::new()),
        follows_brace: false,
    }
}
