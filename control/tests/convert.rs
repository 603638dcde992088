//! What `shunt convert` prints: each file of `tests/convert/` against the text beside it, to the byte. `BLESS=1` writes
//! the texts anew; read the difference before keeping it.

use std::fs;
use std::path::{Path, PathBuf};

use shunt::config::{self, Converted};

/// Relative, so that it stands in the expected texts; cargo runs tests in the directory of their package.
const CASES: &str = "tests/convert";

#[test]
fn every_file_is_converted_as_expected() {
    let cases: Vec<PathBuf> = fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.extension().is_none_or(|extension| extension != "expected"))
        .collect();
    assert!(cases.len() > 3, "the cases are not where they should be: {cases:?}");
    let bless = std::env::var_os("BLESS").is_some();
    for case in cases {
        let expected = case.with_extension("expected");
        let printed = printed_for(&case);
        if bless {
            fs::write(&expected, &printed).unwrap();
        } else {
            assert_eq!(fs::read_to_string(&expected).unwrap_or_default(), printed, "{}", case.display());
        }
    }
}

#[test]
fn what_is_printed_is_a_configuration_that_is_printed_alike() {
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(CASES).unwrap() {
        let Ok(Converted { text, .. }) = config::convert(&entry.unwrap().path(), &config::Options::default())
        else {
            continue;
        };
        let path = directory.path().join("again.toml");
        fs::write(&path, &text).unwrap();
        let again = config::convert(&path, &config::Options::default()).unwrap();
        assert!(again.was_native);
        assert_eq!(again.text, text);
    }
}

#[test]
fn every_other_format_gives_models_that_the_native_one_can_say() {
    let mut count = 0;
    for directory in ["tests/config", "tests/convert", "tests/keepalived"] {
        for entry in fs::read_dir(directory).unwrap() {
            let Ok(loaded) = config::load(&entry.unwrap().path()) else { continue };
            let native = config::to_toml(&loaded.model);
            let again =
                config::parse("native.toml", &native).unwrap_or_else(|faults| panic!("{faults}\n{native}"));
            assert_eq!(again.model, loaded.model, "{native}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

fn printed_for(path: &Path) -> String {
    match config::convert(path, &config::Options::default()) {
        Ok(converted) => {
            let note = if converted.was_native { "(is native already)\n" } else { "" };
            format!("{note}{}---\n{}", converted.lost.render(false), converted.text)
        }
        Err(faults) => format!("{}{}\n", faults.render(false), faults.summary()),
    }
}
