//! What the fuzzers have thought of, once more: each input of `tests/corpus` through its target.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use shunt_fuzz::TARGETS;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target)
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises_of_its_target() {
    for (name, target) in TARGETS {
        let folder = folder(name);
        let mut inputs: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|file| file.expect("a folder can be read").path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{}: no input", folder.display());
        for path in inputs {
            let input = fs::read(&path).expect("an input can be read");
            let kept = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(kept.is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn every_folder_of_the_corpus_has_its_target() {
    let folders = fs::read_dir(folder("")).expect("the corpus is there");
    for folder in folders {
        let name = folder.expect("a folder can be read").file_name();
        assert!(TARGETS.iter().any(|(target, _)| name == *target), "{}", name.display());
    }
}
