//! The fenced blocks of the documents, so that tests can do what the documents show.
//!
//! CommonMark 0.31, section 4.5 (fenced code blocks), as far as the documents use it: fences of three backquotes that
//! begin a line.

use std::path::{Path, PathBuf};

const FENCE: &str = "```";

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The document, from the top of the repository.
    pub file: String,
    /// The line of its fence, counted from 1.
    pub line: usize,
    /// What stands behind the fence: `toml`, `console`; empty if nothing does.
    pub kind: String,
    /// What is in it, with the last newline.
    pub text: String,
}

/// All blocks of all documents of the repository.
pub fn all() -> Vec<Block> {
    let top = top();
    let mut files = Vec::new();
    collect(&top, &mut files);
    files.sort();
    let read = |file: &PathBuf| {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        let name = file.strip_prefix(&top).expect("it is below").to_string_lossy().into_owned();
        blocks(&name, &text)
    };
    files.iter().flat_map(read).collect()
}

/// The top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the crate is in a workspace")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".md") {
            files.push(path);
        }
    }
}

fn blocks(file: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix(FENCE) {
            Some(_) if open => open = false,
            Some(kind) => {
                open = true;
                let (file, kind) = (file.to_owned(), kind.trim().to_owned());
                found.push(Block { file, line: number + 1, kind, text: String::new() });
            }
            None if open => {
                let block = found.last_mut().expect("one is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!open, "{file}: the last block has no end");
    found
}

/// A command of a session, and what is printed after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The command, a line of a shell.
    pub command: String,
    /// What follows it. `...` in a line stands for anything, as a line for any lines.
    pub printed: Vec<String>,
}

/// The steps of a session: a command stands behind `$ ` or `# `.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")) {
            Some(command) => steps.push(Step { command: command.to_owned(), printed: Vec::new() }),
            None => steps.last_mut().expect("a session begins with a command").printed.push(line.to_owned()),
        }
    }
    steps
}

/// Whether `lines` are what was `expected`.
pub fn agree(expected: &[String], lines: &[&str]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((any, rest)), _) if any.trim() == "..." => {
            (0..=lines.len()).any(|skipped| agree(rest, &lines[skipped..]))
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((line, others))) => {
            agrees(first.trim_end(), line.trim_end()) && agree(rest, others)
        }
    }
}

fn agrees(expected: &str, line: &str) -> bool {
    match expected.split_once("...") {
        None => expected == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            (0..=line.len()).filter(|&n| line.is_char_boundary(n)).any(|n| agrees(rest, &line[n..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_the_lines_and_kinds_of_their_fences() {
        let text = "a\n```toml\nx = 1\n```\nb\n```\nc\n```\n";
        let found = blocks("f.md", text);
        let seen: Vec<_> = found.iter().map(|b| (b.line, b.kind.as_str(), b.text.as_str())).collect();
        assert_eq!(seen, [(2, "toml", "x = 1\n"), (6, "", "c\n")]);
    }

    #[test]
    fn dots_stand_for_anything_in_a_line_and_for_any_lines() {
        let expected = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        for (pattern, text, same) in [
            ("a\nb", "a\nb", true),
            ("a\nb", "a", false),
            ("a", "a\nb", false),
            ("a ... c", "a b c", true),
            ("a ... c", "a b d", false),
            ("...\nb", "a\na\nb", true),
            ("...", "", true),
            ("a\n...\nb", "a\nc", false),
        ] {
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(agree(&expected(pattern), &lines), same, "{pattern:?} and {text:?}");
        }
    }
}
