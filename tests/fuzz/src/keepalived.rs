//! Any text as a keepalived.conf, with two more that it can include: a configuration or faults, in bounded time and
//! memory, and every fault has its place in one of the files. Nothing of the machine is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use shunt::config::{self, Faults, Files, Options};

use crate::memory;

/// Between the texts; no text has it.
const SEPARATOR: u8 = 0;
/// What the first text is called, and what it can include.
const NAMES: [&str; 3] = ["/fuzz/keepalived.conf", "/fuzz/a.conf", "/fuzz/sub/b.conf"];
/// 400,000 words and 32 MiB of text: what small files may grow to by their definitions.
const MOST_MEMORY: usize = 300_000_000;

/// The target.
pub fn run(input: &[u8]) {
    let used = memory::peak(|| read(input));
    assert!(used <= MOST_MEMORY, "{used} bytes for a text of {}", input.len());
}

fn read(input: &[u8]) {
    let texts =
        input.splitn(NAMES.len(), |&byte| byte == SEPARATOR).map(|text| String::from_utf8_lossy(text));
    let texts: BTreeMap<PathBuf, String> =
        NAMES.iter().map(PathBuf::from).zip(texts.map(|text| text.replace('\0', " "))).collect();
    let options = Options { config_id: "lb1".to_owned(), files: Files::Memory(texts.clone()) };
    let faults = match config::parse_with(NAMES[0], &texts[&PathBuf::from(NAMES[0])], &options) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => {
            assert!(faults.has_errors(), "refused without an error");
            faults
        }
    };
    check(&faults, &texts);
}

fn check(faults: &Faults, texts: &BTreeMap<PathBuf, String>) {
    for fault in faults {
        let text = texts.get(&PathBuf::from(&fault.file)).unwrap_or_else(|| panic!("{fault}: of no file"));
        // The end of a file is a place too, also where it is a line of its own.
        let lines = text.matches('\n').count() + 1;
        assert!((1..=lines).contains(&fault.line) && fault.column >= 1, "{fault}: beyond its file");
        assert!(fault.help.as_ref().is_some_and(|help| !help.is_empty()), "{fault}: says not what to do");
    }
}
