//! What `shunt check` says: each file of `tests/config/` against the text beside it, to the byte. `BLESS=1` writes the
//! texts anew; read the difference before keeping it.

use std::fs;
use std::path::{Path, PathBuf};

use shunt::config;

/// Relative, so that it stands in the expected texts; cargo runs tests in the directory of their package.
const CASES: &str = "tests/config";

#[test]
fn every_fault_is_told_as_expected() {
    let cases = files(Path::new(CASES), &["toml", "conf"]);
    assert!(cases.len() > 40, "the cases are not where they should be: {cases:?}");
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases {
        let path = case.with_extension("expected");
        let said = said_about(&case);
        if bless {
            fs::write(&path, &said).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != said {
            wrong.push(format!("--- {} says\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differ from what is expected\n{}", wrong.len(), wrong.concat());
}

#[test]
fn every_expected_text_has_its_case() {
    for expected in files(Path::new(CASES), &["expected"]) {
        let has = |extension| expected.with_extension(extension).exists();
        assert!(has("toml") || has("conf"), "{} is about nothing", expected.display());
    }
}

#[test]
fn every_file_of_configs_passes_without_a_warning() {
    let shipped = files(Path::new("../configs"), &["toml"]);
    assert!(shipped.len() >= 3, "{shipped:?}");
    for path in shipped {
        assert_eq!(said_about(&path), "valid\n", "{}", path.display());
    }
}

#[test]
fn a_file_that_cannot_be_read_says_why_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let said = |name: &str, bytes: Option<&[u8]>| {
        let path = directory.path().join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        let said = config::load(&path).unwrap_err().to_string();
        said.replace(&format!("{}/", directory.path().display()), "")
    };
    fs::create_dir(directory.path().join("directory")).unwrap();
    assert!(
        said("none.toml", None)
            .starts_with("none.toml:1:1: error: file: cannot be read: No such file or directory")
    );
    assert!(
        said("directory", None).starts_with("directory:1:1: error: file: cannot be read: Is a directory")
    );
    assert!(said("a.toml/b", None).contains("error: file: cannot be read: "));
    assert!(said("elf.toml", Some(b"\x7fELF\x02\x01\x01\0\0")).contains("is not a text file: byte 7 is NUL"));
    assert!(
        said("latin1.toml", Some(b"# \xe4\n[director]\n"))
            .starts_with("latin1.toml:1:3: error: file: is not UTF-8")
    );
    assert!(said("large.toml", Some(&vec![b'\n'; (16 << 20) + 1])).contains("is larger than 16 MiB"));
    assert!(said("blank.toml", Some(b" \n\t\r\n")).contains("error: file: is empty"));
}

fn said_about(path: &Path) -> String {
    match config::load(path) {
        Ok(loaded) => format!("{}valid\n", loaded.warnings.render(false)),
        Err(faults) => format!("{}{}\n", faults.render(false), faults.summary()),
    }
}

fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
    };
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(wanted).collect();
    files.sort();
    files
}
