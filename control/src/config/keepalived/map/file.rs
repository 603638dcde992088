//! `track_file`: files with a number in them, which `FILE_CHECK` and VRRP look at.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::super::report::{At, Report};
use super::super::tree::Word;
use super::section::{Line, Section};
use super::value::{self, named};
use crate::config::shape::closest;

/// The files by name.
#[derive(Default)]
pub(super) struct Files {
    files: BTreeMap<String, File>,
}

/// One of them.
#[derive(Clone)]
pub(super) struct File {
    pub path: PathBuf,
    /// What the number is multiplied by, `reverse` included.
    pub factor: i32,
    /// `reverse` was typed.
    pub reverse: bool,
    /// It is made at the start with this number; the flag: also if it is there.
    pub init: Option<(i64, bool)>,
    /// Where it stands.
    pub at: At,
}

impl Files {
    /// Reads all `track_file` blocks of the file itself.
    pub(super) fn read(report: &mut Report, root: &Section<'_>) -> Files {
        let used: HashSet<&str> = uses(root).collect();
        let mut files = Files::default();
        for line in root.all("track_file") {
            let Some(name) = line.word(0) else { continue };
            let (factor, reverse) = match line.section.last("weight") {
                Some(line) => (factor(report, line), line.word(1).is_some_and(|word| word.text == "reverse")),
                None => (Some(1), false),
            };
            let init = line.section.last("init_file").map(|line| init(report, line));
            let path = line.section.last("file").and_then(|line| line.word(0));
            if path.is_none() && line.section.lacks("file") {
                let message = format!("track_file {} names no file", named(&name.text));
                report.error(line.at(), line.path(), message, "add a line such as: file /run/load");
            }
            if !used.contains(name.text.as_str()) {
                let message = format!("nothing looks at {}, so nothing reads it", named(&name.text));
                let help = "take it out, or name it in a FILE_CHECK, or in a track_file of a vrrp_instance";
                report.warning(line.at(), line.path(), message, help);
            }
            if let Some(word) = path.filter(|word| !word.text.starts_with('/')) {
                let message = format!("{} is no absolute path", named(&word.text));
                report.error(&word.at, line.path(), message, "begin it with a /");
            }
            let path = PathBuf::from(path.map_or("", |word| &word.text));
            let file = File { path, factor: factor.unwrap_or(1), reverse, init, at: line.at().clone() };
            if files.files.insert(name.text.clone(), file).is_some() {
                let message = format!("track_file {} is here twice: this one counts", named(&name.text));
                report.warning(&name.at, line.path(), message, "give each its own name");
            }
        }
        files
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(name, file)| (name.as_str(), file))
    }

    /// The file called `name`.
    pub(super) fn find(&self, report: &mut Report, name: &Word, path: &str) -> Option<File> {
        let found = self.files.get(&name.text).cloned();
        if found.is_none() {
            let help = match closest(&name.text, self.files.keys().map(String::as_str)) {
                Some(close) => format!("did you mean {}?", named(close)),
                None => format!("add it: track_file {} {{ file /run/load }}", name.text),
            };
            report.error(&name.at, path, format!("there is no track_file {}", named(&name.text)), help);
        }
        found
    }
}

/// `weight N [reverse|noreverse]`
pub(super) fn factor(report: &mut Report, line: &Line<'_>) -> Option<i32> {
    let factor = value::number(report, line.word(0)?, line.path(), -i32::MAX..=i32::MAX);
    let reverse = match line.word(1) {
        Some(word) => {
            value::word(report, word, line.path(), "option", &[("reverse", true), ("noreverse", false)])
        }
        None => Some(false),
    };
    let (factor, reverse) = (factor?, reverse?);
    if reverse && factor == 0 {
        let message = "`weight 0 reverse`: that 0 in a file is down is not there";
        let help = "let the file say 0 where the server is well, or look at it with a program: MISC_CHECK";
        report.error(line.at(), line.path(), message, help);
        return None;
    }
    Some(if reverse { -factor } else { factor })
}

/// `[NUMBER] [overwrite]`
fn init(report: &mut Report, line: &Line<'_>) -> (i64, bool) {
    let (mut number, mut overwrite) = (0, false);
    for word in line.words() {
        match word.text.as_str() {
            "overwrite" => overwrite = true,
            _ => number = value::number(report, word, line.path(), -i64::MAX..=i64::MAX).unwrap_or(0),
        }
    }
    (number, overwrite)
}

/// The files that anything looks at.
fn uses<'a>(root: &'a Section<'_>) -> impl Iterator<Item = &'a str> {
    root.all("virtual_server")
        .flat_map(|line| line.section.all("real_server"))
        .flat_map(|line| line.section.all("FILE_CHECK"))
        .filter_map(|line| line.section.last("track_file")?.word(0))
        .chain(super::vrrp::tracked_files(root))
        .map(|word| word.text.as_str())
}
