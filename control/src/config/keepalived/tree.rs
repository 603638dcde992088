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

// ---- Replaced at the merge: a splitter of lines without includes, conditions and definitions. ----

/// The statements of the file that `report` is about and of what it includes.
pub(super) fn read(report: &mut Report) -> Vec<Statement> {
    let source = report.source.clone();
    let mut tokens = tokens(source.text());
    tokens.reverse();
    statements(&source, &mut tokens)
}

/// The words of a command line.
pub(super) fn script_words(line: &Word) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quote is not closed".to_owned()) } else { Ok(words) }
}

enum Token {
    Word(String, std::ops::Range<usize>),
    Open,
    Close,
    End(usize),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '#' | '!' => break,
                '{' => tokens.extend([Token::End(start + at), Token::Open]),
                '}' => tokens.extend([Token::End(start + at), Token::Close]),
                '"' => {
                    let word: String = chars.by_ref().map(|(_, c)| c).take_while(|&c| c != '"').collect();
                    let end = start + at + 2 + word.len();
                    tokens.push(Token::Word(word, start + at..end.min(text.len())));
                }
                c if c.is_whitespace() => {}
                c => {
                    let mut word = String::from(c);
                    while let Some((_, c)) =
                        chars.next_if(|(_, c)| !c.is_whitespace() && !"{}#!".contains(*c))
                    {
                        word.push(c);
                    }
                    let end = start + at + word.len();
                    tokens.push(Token::Word(word, start + at..end));
                }
            }
        }
        start += line.len();
        tokens.push(Token::End(start - 1));
    }
    tokens
}

fn statements(
    source: &std::sync::Arc<super::super::source::Source>,
    tokens: &mut Vec<Token>,
) -> Vec<Statement> {
    let mut found: Vec<Statement> = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    while let Some(token) = tokens.pop() {
        match token {
            Token::Word(text, span) => words.push(Word { text, at: At { source: source.clone(), span } }),
            Token::End(end) => {
                if words.is_empty() {
                    continue;
                }
                let keyword = words.remove(0);
                let span = keyword.at.span.end..end.max(keyword.at.span.end);
                let text = source.text()[span.clone()].split(['#', '!']).next().unwrap_or_default();
                let rest = Word { text: text.trim().to_owned(), at: At { source: source.clone(), span } };
                found.push(Statement { keyword, arguments: std::mem::take(&mut words), rest, block: None });
            }
            Token::Open => {
                let inner = statements(source, tokens);
                if let Some(last) = found.last_mut() {
                    last.block = Some(inner);
                }
            }
            Token::Close => break,
        }
    }
    found
}
