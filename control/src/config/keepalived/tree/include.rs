//! `include PATTERN`, and which files that is. keepalived logs what it does not find and runs without it; here a file
//! that was named and is not there is an error, and patterns may match nothing unless the variant says otherwise.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::line::is_blank;
use crate::config::files::{Entry, Files};

/// Files that one `include` may name.
pub(super) const MOST_FILES: usize = 1000;

/// What is an error beside a named file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Checks {
    /// A match that is not a readable file.
    readable: bool,
    /// A pattern with wildcards that matches nothing.
    wildcard: bool,
    /// An alternative in braces that is not there.
    brace: bool,
}

/// What a pattern leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// Why they are not what was meant.
    pub errors: Vec<(String, &'static str)>,
    /// What was left out.
    pub warnings: Vec<(String, &'static str)>,
}

/// The checks of the variant, and where the pattern stands, of a line that includes.
pub(super) fn include(text: &str) -> Option<(Checks, Range<usize>)> {
    let end = text.find(is_blank)?;
    let none = Checks::default();
    let checks = match &text[..end] {
        // A named file has to be there in any case: that is what includem asks.
        "include" | "includem" => none,
        "includer" => Checks { readable: true, ..none },
        "includew" => Checks { readable: true, wildcard: true, ..none },
        "includeb" => Checks { readable: true, brace: true, ..none },
        "includea" => Checks { readable: true, wildcard: true, brace: true },
        _ => return None,
    };
    let start = text.len() - text[end..].trim_start_matches(is_blank).len();
    // keepalived knows no quotes here; nobody who types them means them to be part of the name.
    let is_quoted = text.len() >= start + 2 && text[start..].starts_with('"') && text.ends_with('"');
    let quotes = usize::from(is_quoted);
    Some((checks, start + quotes..text.len() - quotes))
}

impl Checks {
    /// Either's.
    pub fn and(self, other: Checks) -> Checks {
        Checks {
            readable: self.readable || other.readable,
            wildcard: self.wildcard || other.wildcard,
            brace: self.brace || other.brace,
        }
    }

    /// What `include_check OPTIONS` makes of it.
    ///
    /// # Errors
    /// The option that there is not.
    pub fn changed<'a>(self, options: impl IntoIterator<Item = &'a str>) -> Result<Checks, &'a str> {
        let mut options = options.into_iter().peekable();
        let mut checks = match options.peek() {
            None => return Ok(Checks { readable: true, wildcard: true, brace: true }),
            Some(first) if first.starts_with(['+', '-']) => self,
            Some(_) => Checks::default(),
        };
        for option in options {
            let (wanted, name) = match option.strip_prefix('-') {
                Some(name) => (false, name),
                None => (true, option.trim_start_matches('+')),
            };
            match name {
                "readable" => checks.readable = wanted,
                "wildcard_match" => checks.wildcard = wanted,
                "brace_match" => checks.brace = wanted,
                "match" => {}
                _ => return Err(option),
            }
        }
        Ok(checks)
    }
}

/// The files that `pattern` leads to, from `directory`.
pub(super) fn find(pattern: &str, directory: &Path, checks: Checks, files: &Files) -> Found {
    const RELATIVE: &str = "relative paths start in the directory of the file that includes";
    let mut found = Found::default();
    let alternatives = match alternatives(pattern) {
        Ok(alternatives) => alternatives,
        Err(message) => {
            found.errors.push((message, "name the files one by one, or in a directory of their own"));
            return found;
        }
    };
    let mut missing = Vec::new();
    for alternative in &alternatives {
        let path = directory.join(alternative);
        if !alternative.contains(['*', '?', '[']) {
            match files.entry(&path) {
                Entry::File => found.files.push(path),
                Entry::Missing => missing.push(path),
                Entry::Unfit(why) => {
                    let message = format!("{} {why}", path.display());
                    found
                        .errors
                        .push((message, "name a plain text file, without leave to execute it (chmod a-x)"));
                }
            }
            continue;
        }
        match files.matching(&path.display().to_string(), MOST_FILES + 1) {
            Ok(matches) if matches.is_empty() && checks.wildcard => {
                let message = format!("no file matches {}", path.display());
                found.errors.push((message, "remove the line, or use include, which may match nothing"));
            }
            Ok(matches) if matches.is_empty() => {
                let message = format!("no file matches {}: nothing is read", path.display());
                found.warnings.push((message, RELATIVE));
            }
            Ok(matches) => {
                for path in matches {
                    match files.entry(&path) {
                        Entry::File => found.files.push(path),
                        // A link that leads nowhere.
                        Entry::Missing => missing.push(path),
                        Entry::Unfit(why) => {
                            let message = format!("{} {why}", path.display());
                            let help = "it is left out, as keepalived does; let the pattern not match it";
                            if checks.readable {
                                found.errors.push((message, "let the pattern not match it"));
                            } else {
                                found.warnings.push((message, help));
                            }
                        }
                    }
                }
            }
            Err(message) => found.errors.push((format!("{} {message}", path.display()), RELATIVE)),
        }
    }
    for path in missing {
        let message = format!("{} does not exist", path.display());
        // keepalived takes what it finds of several alternatives.
        if alternatives.len() > 1 && !checks.brace && !found.files.is_empty() {
            found.warnings.push((message, "remove it from the braces if it is not needed"));
        } else {
            found.errors.push((message, RELATIVE));
        }
    }
    if found.files.len() > MOST_FILES {
        let message = format!("{pattern} matches more than {MOST_FILES} files");
        found = Found { errors: vec![(message, "is it the directory that you mean?")], ..Found::default() };
    }
    found
}

/// `a{b,c}` as `ab` and `ac`, in the order in which they are named. Braces without a comma, or without their other half,
/// stand for themselves.
fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut work = vec![pattern.to_owned()];
    while let Some(pattern) = work.pop() {
        match choices(&pattern) {
            Some((before, choices, after)) => {
                work.extend(choices.iter().rev().map(|choice| format!("{before}{choice}{after}")));
            }
            None => done.push(pattern),
        }
        if work.len() + done.len() > MOST_FILES {
            return Err(format!("the braces stand for more than {MOST_FILES} files"));
        }
    }
    Ok(done)
}

/// The first braces with a comma that are not in others.
fn choices(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut from = 0;
    while let Some(open) = pattern[from..].find('{').map(|found| from + found) {
        let mut depth = 0;
        let mut cuts = vec![open];
        for (at, c) in pattern[open..].char_indices().map(|(at, c)| (open + at, c)) {
            match c {
                '{' => depth += 1,
                ',' if depth == 1 => cuts.push(at),
                '}' if depth == 1 => {
                    cuts.push(at);
                    break;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        let end = cuts.last().copied().filter(|&end| pattern[end..].starts_with('}'));
        if let (Some(end), true) = (end, cuts.len() > 2) {
            let choices = cuts.windows(2).map(|pair| &pattern[pair[0] + 1..pair[1]]).collect();
            return Some((&pattern[..open], choices, &pattern[end + 1..]));
        }
        from = open + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let names = ["/k/a.conf", "/k/b.conf", "/k/sub/c.conf", "/x.conf"];
        Files::Memory(names.iter().map(|name| (PathBuf::from(name), String::new())).collect())
    }

    /// Files, errors and warnings of a line, as text.
    fn found(line: &str) -> (String, String, String) {
        let (checks, pattern) = include(line).unwrap();
        let found = find(&line[pattern], Path::new("/k"), checks, &files());
        let paths: Vec<String> = found.files.iter().map(|path| path.display().to_string()).collect();
        let said = |said: &[(String, &str)]| {
            said.iter().map(|(said, _)| said.as_str()).collect::<Vec<_>>().join("; ")
        };
        (paths.join(" "), said(&found.errors), said(&found.warnings))
    }

    #[test]
    fn the_path_begins_in_the_directory_of_the_file_that_includes() {
        let files = |line: &str| found(line).0;
        assert_eq!(files("include a.conf"), "/k/a.conf");
        assert_eq!(files("include \t\"a.conf\""), "/k/a.conf");
        assert_eq!(files("include /x.conf"), "/x.conf");
        assert_eq!(files("includer *.conf"), "/k/a.conf /k/b.conf");
        assert_eq!(files("include {b,sub/c,a}.conf"), "/k/b.conf /k/sub/c.conf /k/a.conf");
        assert_eq!(files("include {s*/,}?.conf"), "/k/sub/c.conf /k/a.conf /k/b.conf");
    }

    #[test]
    fn each_variant_says_what_has_to_be_there() {
        let none = "/k/n.conf does not exist";
        for variant in ["include", "includer", "includem", "includew", "includeb", "includea"] {
            assert_eq!(found(&format!("{variant} n.conf")), (String::new(), none.to_owned(), String::new()));
            let of_wildcard = found(&format!("{variant} n*")).1;
            let must_match = matches!(variant, "includew" | "includea");
            assert_eq!(of_wildcard, if must_match { "no file matches /k/n*" } else { "" }, "{variant}");
            let (files, errors, warnings) = found(&format!("{variant} {{a,n}}.conf"));
            let is_error = matches!(variant, "includeb" | "includea");
            assert_eq!((errors == none, warnings == none), (is_error, !is_error), "{variant}");
            assert_eq!(files, "/k/a.conf");
            assert_eq!(found(&format!("{variant} {{n,n}}.conf")).1, format!("{none}; {none}"), "{variant}");
        }
        for no_variant in ["include", "includex a", "include_check", "xinclude a"] {
            assert!(include(no_variant).is_none(), "{no_variant}");
        }
    }

    #[test]
    fn what_is_no_file_is_left_out_of_a_match_and_an_error_by_name() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.conf"), "x\n").unwrap();
        std::fs::create_dir(directory.path().join("b.conf")).unwrap();
        let count = |line: &str| {
            let (checks, pattern) = include(line).unwrap();
            let found = find(&line[pattern], directory.path(), checks, &Files::Disk);
            (found.files.len(), found.errors.len(), found.warnings.len())
        };
        assert_eq!(count("include *.conf"), (1, 0, 1));
        assert_eq!(count("includer *.conf"), (1, 1, 0));
        assert_eq!(count("include b.conf"), (0, 1, 0));
    }

    #[test]
    fn include_check_adds_takes_away_or_sets_anew() {
        let none = Checks::default();
        let all = Checks { readable: true, wildcard: true, brace: true };
        let options = |checks: Checks, text: &'static str| checks.changed(text.split_ascii_whitespace());
        assert_eq!(options(none, ""), Ok(all));
        assert_eq!(options(none, "+readable +match"), Ok(Checks { readable: true, ..none }));
        assert_eq!(options(all, "-wildcard_match"), Ok(Checks { wildcard: false, ..all }));
        assert_eq!(options(all, "brace_match"), Ok(Checks { brace: true, ..none }));
        assert_eq!(options(all, "+strict"), Err("+strict"));
        assert_eq!(none.and(all), all);
    }

    #[test]
    fn braces_stand_for_alternatives_in_each_other() {
        let of = |pattern: &str| alternatives(pattern).unwrap().join(" ");
        assert_eq!(of("a{b,c}d"), "abd acd");
        assert_eq!(of("{a,b}{1,2}"), "a1 a2 b1 b2");
        assert_eq!(of("x{a,{b,c}y,}"), "xa xby xcy x");
        assert_eq!(of("{a} {b {c,d}"), "{a} {b c {a} {b d");
        assert_eq!(of("}{"), "}{");
        assert!(alternatives(&"{a,b}".repeat(64)).unwrap_err().contains("more than 1000"));
    }
}
