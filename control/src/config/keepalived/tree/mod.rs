//! A keepalived.conf as statements and blocks: includes are read, conditions decided, definitions replaced, comments
//! gone; what the keywords mean is not known here.
//!
//! The path of a line, one module a step: `lexer` (comments, blanks), `@id` conditions (here), `definitions`, `repeat`
//! (`~SEQ`, `~LST`), `include`, `words` (where braces cut it, its words), `blocks` (the tree). A [`Line`] knows all the
//! way where it was typed.
//!
//! *Invariants*
//! - A newline ends a statement, as in keepalived: what follows on a line is an argument.
//! - What a small file can become is bounded: definitions, sequences and includes that grow without end are faults.

mod blocks;
mod definitions;
mod include;
mod lexer;
mod line;
mod repeat;
#[cfg(test)]
mod tests;
mod words;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::{At, Report};
use crate::config::files::Options;
use crate::config::listing;
use crate::config::source::{MAX_BYTES, Source};
use blocks::Blocks;
use definitions::{Definitions, Expanded};
use include::Checks;
use lexer::{LONGEST, Oddities};
use line::Line;
pub(super) use words::script_words;

/// Files in files.
const DEEPEST_INCLUDE: usize = 32;
/// Files that are opened in all.
const MOST_FILES: usize = 1000;
/// Sequences in the values of definitions in sequences.
const DEEPEST_REPEAT: usize = 32;
/// Times that a line has its definitions replaced, one in the other.
const MOST_PASSES: usize = 32;
/// Lines that definitions and sequences make in all.
const MOST_MADE: usize = 100_000;
/// Bytes that they make in all.
const MOST_MADE_BYTES: usize = 32 << 20;
/// Words in all. A thousand services with a hundred real servers each have two million; nobody types that.
const MOST_WORDS: usize = 400_000;

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
    /// It stands on the line of a brace before it. Arguments that are too many may then be meant as statements.
    pub follows_brace: bool,
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
pub(super) fn read(report: &mut Report, options: &Options) -> Vec<Statement> {
    let source = report.source.clone();
    let mut reader = Reader {
        report,
        options,
        definitions: Definitions::new(&options.config_id),
        blocks: Blocks::new(),
        checks: Checks::default(),
        open: Vec::new(),
        growing: None,
        opened: 0,
        bytes: 0,
        made: 0,
        made_bytes: 0,
        words: 0,
        backslashes: false,
        stopped: false,
    };
    reader.file(&source);
    let Reader { blocks, stopped, report, .. } = reader;
    if stopped { Vec::new() } else { blocks.finish(report) }
}

struct Reader<'a> {
    report: &'a mut Report,
    options: &'a Options,
    definitions: Definitions,
    blocks: Blocks,
    checks: Checks,
    /// The files that are being read, each by the one before it.
    open: Vec<OpenFile>,
    /// The definition that goes on in the next line.
    growing: Option<Growing>,
    opened: usize,
    bytes: usize,
    made: usize,
    made_bytes: usize,
    words: usize,
    /// A backslash without a definition was told.
    backslashes: bool,
    /// An error after which nothing more is read.
    stopped: bool,
}

struct OpenFile {
    /// The same for all paths that lead to it.
    identity: PathBuf,
    /// Where relative paths in it begin.
    parent: PathBuf,
    /// The same from the root, for `${_PWD}`.
    directory: PathBuf,
}

/// A definition of several lines, as far as it was read.
struct Growing {
    /// None: its condition does not hold, and its lines go with it.
    name: Option<String>,
    first: String,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn file(&mut self, source: &Arc<Source>) {
        self.report.opens(source.name());
        if listing::is_numbered(source.text()) {
            let first = source.text().len() - source.text().trim_start().len();
            let at = At { source: source.clone(), span: source.span_of_line(source.line(first)) };
            return self.stop(&at, listing::MESSAGE, &listing::help(source.name()));
        }
        self.opened += 1;
        self.bytes += source.text().len();
        let path = Path::new(source.name());
        let identity = self.options.files.identity(path);
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        // An empty path has no absolute one.
        let directory = std::path::absolute(Path::new(".").join(&parent)).unwrap_or_else(|_| parent.clone());
        self.open.push(OpenFile { identity, parent, directory });
        let checks = self.checks;
        let mut odd = Oddities::default();
        let mut at = 0;
        while let Some(raw) = lexer::next(source, &mut at, &mut odd) {
            if self.stopped {
                break;
            }
            match self.growing.take() {
                // An empty line ends the definition, and a line with nothing but a comment is none.
                Some(growing) if raw.empty => self.define(growing),
                Some(growing) if raw.line.text().is_empty() => self.growing = Some(growing),
                Some(growing) => self.grow(growing, &raw.line),
                None => self.line(raw.line, 0),
            }
        }
        if let Some(growing) = self.growing.take() {
            self.define(growing);
        }
        odd.tell(source, self.report);
        self.checks = checks;
        self.open.pop();
    }

    /// The next line of a definition.
    fn grow(&mut self, mut growing: Growing, line: &Line) {
        let continued = line.text().strip_suffix('\\').map(str::len);
        let part = line.part(0..continued.unwrap_or(line.text().len()));
        if !part.text().is_empty() {
            growing.lines.push(part);
        }
        match continued {
            Some(_) => self.growing = Some(growing),
            None => self.define(growing),
        }
    }

    fn define(&mut self, growing: Growing) {
        if let Some(name) = growing.name {
            self.definitions.set_lines(&name, growing.first, growing.lines);
        }
    }

    /// A line as typed, or made by a definition or a sequence, `depth` sequences deep.
    fn line(&mut self, line: Line, depth: usize) {
        let mut work = vec![line];
        while let Some(line) = work.pop() {
            let mut lines = Vec::new();
            let settled = self.settled(line, &mut lines, depth);
            lines.iter().for_each(|line: &Line| self.count_made(line));
            if self.stopped {
                return;
            }
            work.extend(lines.into_iter().rev());
            let Some(line) = settled else { continue };
            match include::include(line.text()) {
                Some((checks, pattern)) => self.include(&line, checks, pattern),
                None => work.extend(self.statements(&line)),
            }
        }
    }

    /// The line with its condition decided and its definitions replaced; none: nothing is left of it. `lines` follow it.
    fn settled(&mut self, mut line: Line, lines: &mut Vec<Line>, depth: usize) -> Option<Line> {
        if line.text().len() > LONGEST {
            let message = format!("the line is longer than {} KiB", LONGEST >> 10);
            self.report.error(&line.everywhere(), "syntax", message, "is this the file that you mean?");
            return None;
        }
        for _ in 0..MOST_PASSES {
            line = self.conditional(line)?;
            if line.text().is_empty() || self.defines(&line) {
                return None;
            }
            if let Some(arguments) = repeat::arguments(line.text()) {
                self.repeat(&line, arguments, depth);
                return None;
            }
            match self.expanded(&line) {
                Ok(None) => return Some(line),
                Ok(Some(expanded)) => {
                    lines.splice(0..0, expanded.lines.iter().cloned());
                    line = expanded.line.part(0..expanded.line.text().len());
                }
                Err((range, message)) => {
                    let help = "see the definitions that it uses";
                    self.report.error(&line.at(range), "syntax", message, help);
                    return None;
                }
            }
        }
        let message = format!("definitions are replaced {MOST_PASSES} times here, and there are still some");
        self.report.error(&line.everywhere(), "syntax", message, "does one of them contain itself?");
        None
    }

    /// The line without its `@id`; none: it is meant for another host.
    fn conditional(&mut self, line: Line) -> Option<Line> {
        let Some(condition) = line.text().strip_prefix('@') else { return Some(line) };
        let id = condition.split(line::is_blank).next().unwrap_or_default();
        let rest = line.part(1 + id.len()..line.text().len());
        let (negated, id) = id.strip_prefix('^').map_or((false, id), |id| (true, id));
        if rest.text().is_empty() {
            let message = "a condition has nothing after it, and does nothing";
            let help = "put what is meant for one host on its line; for a block, before each line of it";
            self.report.warning(&line.everywhere(), "syntax", message, help);
            return None;
        }
        if (id == self.options.config_id) != negated {
            return Some(rest);
        }
        if definitions::definition(rest.text()).is_some() && rest.text().ends_with('\\') {
            self.growing = Some(Growing { name: None, first: String::new(), lines: Vec::new() });
        }
        None
    }

    /// Whether it is a definition, which is then made or begun.
    fn defines(&mut self, line: &Line) -> bool {
        let Some((name, value)) = definitions::definition(line.text()) else { return false };
        let value = line.part(value);
        match value.text().strip_suffix('\\') {
            Some(first) => {
                let first = first.trim_end_matches(line::is_blank).to_owned();
                self.growing = Some(Growing { name: Some(name.to_owned()), first, lines: Vec::new() });
            }
            None => self.definitions.set(name, value.text().to_owned()),
        }
        true
    }

    /// A `~SEQ` or `~LST`: the rest of the line again and again.
    fn repeat(&mut self, line: &Line, arguments: Range<usize>, depth: usize) {
        if depth >= DEEPEST_REPEAT {
            let message = format!("more than {DEEPEST_REPEAT} sequences in each other");
            return self.stop(&line.everywhere(), &message, "does a definition contain itself?");
        }
        let line = match self.with_arguments(line, arguments) {
            Ok(line) => line,
            Err((at, message)) => {
                let help = "see the definitions that it uses";
                return self.report.error(&at, "syntax", message, help);
            }
        };
        let repeat = match repeat::repeat(line.text()) {
            Ok(repeat) => repeat,
            Err(message) => {
                let help = "~SEQ(NAME, [[START, [STEP,]] END) REST, ~LST(NAME, VALUE, ...) REST or \
                            ~LST({NAME, NAME}, {VALUE, VALUE}, ...) REST";
                let message = format!("a sequence is not as it should be: {message}");
                return self.report.error(&line.everywhere(), "syntax", message, help);
            }
        };
        let rest = line.part(repeat.rest..line.text().len());
        for set in repeat.values.sets() {
            self.count_made(&rest);
            if self.stopped {
                return;
            }
            set.into_iter().for_each(|(name, text)| self.definitions.set(name, text));
            self.line(rest.clone(), depth + 1);
        }
    }

    /// The line with the definitions in its numbers replaced. Those of lists are replaced where the values are used.
    fn with_arguments(&mut self, line: &Line, arguments: Range<usize>) -> Result<Line, (At, String)> {
        let text = line.text();
        if text.starts_with("~LST") {
            return Ok(line.clone());
        }
        let mut replaced = line.part(arguments.clone());
        for _ in 0..MOST_PASSES {
            match self.expanded(&replaced) {
                Ok(Some(expanded)) => replaced = expanded.line,
                Ok(None) => break,
                Err((range, message)) => return Err((replaced.at(range), message)),
            }
        }
        let mut new = line.part(0..0);
        new.append(line, 0..arguments.start);
        new.append(&replaced, 0..replaced.text().len());
        new.append(line, arguments.end..text.len());
        Ok(new)
    }

    /// What an include leads to.
    fn include(&mut self, line: &Line, checks: Checks, pattern: Range<usize>) {
        let at = line.at(pattern.clone());
        let given = &line.text()[pattern];
        let parent = self.open.last().map_or(Path::new(""), |file| &file.parent);
        let found = include::find(given, parent, self.checks.and(checks), &self.options.files);
        found.errors.into_iter().for_each(|(message, help)| self.report.error(&at, "include", message, help));
        found
            .warnings
            .into_iter()
            .for_each(|(message, help)| self.report.warning(&at, "include", message, help));
        for path in found.files {
            if self.stopped {
                return;
            }
            self.open_included(&path, &at);
        }
    }

    fn open_included(&mut self, path: &Path, at: &At) {
        let identity = self.options.files.identity(path);
        if self.open.iter().any(|file| file.identity == identity) {
            let message = format!("{} is included by itself, or by a file that it includes", path.display());
            return self.report.error(at, "include", message, "remove one of the includes");
        }
        if self.open.len() >= DEEPEST_INCLUDE || self.opened >= MOST_FILES {
            let message =
                format!("more than {DEEPEST_INCLUDE} files in each other, or {MOST_FILES} files in all");
            return self.stop(at, &message, "are files included again and again?");
        }
        match self.options.files.read(path) {
            Ok(source) if (self.bytes + source.text().len()) as u64 > MAX_BYTES => {
                let message = format!("the files are larger than {} MiB with this one", MAX_BYTES >> 20);
                self.stop(at, &message, "are files included again and again?");
            }
            Ok(source) => self.file(&Arc::new(source)),
            Err(faults) => {
                self.report.opens(&path.display().to_string());
                faults.into_iter().for_each(|fault| self.report.fault(fault));
            }
        }
    }

    /// The statements and braces of a line, up to what is a line of its own after a brace.
    fn statements(&mut self, line: &Line) -> Option<Line> {
        let text = line.text();
        let mut from = 0;
        loop {
            let rest = &text[from..];
            let marks = words::marks(rest);
            let mut brace = marks.brace.map(|at| from + at);
            if let Some(range) = marks.undefined {
                let message = format!("{} is not defined, and stays as it is", &rest[range.clone()]);
                let help = "define it before with $NAME=VALUE, or put it in double quotes";
                let at = line.at(from + range.start..from + range.end);
                self.report.warning(&at, "syntax", message, help);
            }
            if let Some(quote) = marks.quote {
                let at = line.at(from + quote..text.len());
                self.report.error(
                    &at,
                    "syntax",
                    "this quote is not closed",
                    "close it with \" on the same line",
                );
                // A brace at the end of the line is rather meant as one than quoted.
                brace = text.ends_with('{').then(|| text.len() - 1);
            }
            self.words(line, from..brace.unwrap_or(text.len()), from > 0);
            let brace = brace?;
            self.brace(line, brace);
            if self.stopped {
                return None;
            }
            let rest = &text[brace + 1..];
            from = text.len() - rest.trim_start_matches(line::is_blank).len();
            if text[from..].starts_with(['@', '$', '~']) || include::include(&text[from..]).is_some() {
                return Some(line.part(from..text.len()));
            }
        }
    }

    fn brace(&mut self, line: &Line, brace: usize) {
        let at = line.at(brace..brace + 1);
        if line.text()[brace..].starts_with('}') {
            self.blocks.close(&at, self.report);
        } else if self.blocks.is_too_deep() {
            self.stop(&at, "too many blocks in each other", "is a `}` missing in all of them?");
        } else {
            self.blocks.open(at, self.report);
        }
    }

    /// A part of a line as a statement.
    fn words(&mut self, line: &Line, range: Range<usize>, follows_brace: bool) {
        let part = line.part(range);
        let mut tokens = words::tokens(part.text());
        let mut end = part.text().len();
        if let Some(backslash) = tokens.pop_if(|token| &part.text()[token.outer.clone()] == "\\") {
            end = backslash.outer.start;
            self.backslash(&part.at(backslash.outer));
        }
        let mut words = tokens.iter().map(|token| part.word(token.inner.clone()));
        let Some(keyword) = words.next() else { return };
        let arguments: Vec<Word> = words.collect();
        self.words += 1 + arguments.len();
        if self.words > MOST_WORDS {
            let message = format!("the configuration has more than {MOST_WORDS} words");
            return self.stop(&keyword.at, &message, "is this the file that you mean?");
        }
        let rest = part.part(tokens[0].outer.end..end);
        let rest = rest.word(0..rest.text().len());
        let statement = Statement { keyword, arguments, rest, block: None, follows_brace };
        if self.blocks.path().eq(["global_defs"]) {
            self.obey(&statement);
        }
        self.blocks.statement(statement);
    }

    /// What global_defs says of the reading itself.
    fn obey(&mut self, statement: &Statement) {
        let mut arguments = statement.arguments.iter();
        match statement.keyword.text.as_str() {
            "include_check" => match self.checks.changed(arguments.clone().map(|word| word.text.as_str())) {
                Ok(checks) => self.checks = checks,
                Err(option) => {
                    let at = &arguments.find(|word| word.text == option).unwrap_or(&statement.keyword).at;
                    let message = format!("`{option}` is no check of includes");
                    let help =
                        "the checks are readable, match, wildcard_match and brace_match, each with + or -";
                    self.report.error(at, "global_defs.include_check", message, help);
                }
            },
            "random_seed" => {
                if let Some(seed) = arguments.next().and_then(|word| word.text.parse().ok()) {
                    self.definitions.seed(seed);
                }
            }
            _ => {}
        }
    }

    /// A backslash at the end of a line that is no definition.
    fn backslash(&mut self, at: &At) {
        // The lines after one that lost its definition all end in one.
        if !std::mem::replace(&mut self.backslashes, true) {
            let message = "a backslash at the end of a line goes on with a definition, and this is none";
            let help = "write the statement on one line; an empty line ends a definition ($NAME= \\)";
            self.report.error(at, "syntax", message, help);
        }
    }

    /// Counts a line that was not typed.
    fn count_made(&mut self, line: &Line) {
        self.made += 1;
        self.made_bytes += line.text().len();
        if !self.stopped && (self.made > MOST_MADE || self.made_bytes > MOST_MADE_BYTES) {
            let message = format!(
                "definitions and sequences make more than {MOST_MADE} lines or {} MiB",
                MOST_MADE_BYTES >> 20
            );
            self.stop(&line.everywhere(), &message, "does a definition contain itself?");
        }
    }

    /// What takes the place of definitions in `line`; none: there is none.
    fn expanded(&mut self, line: &Line) -> Result<Option<Expanded>, (Range<usize>, String)> {
        let directory = self.open.last().map_or(Path::new(""), |file| &file.directory);
        let expanded = self.definitions.expand(line, directory);
        if let Ok(Some(expanded)) = &expanded {
            self.count_made(&expanded.line);
        }
        expanded
    }

    /// An error after which nothing more is read.
    fn stop(&mut self, at: &At, message: &str, help: &str) {
        self.stopped = true;
        self.report.tear(at, message, help);
    }
}
