//! Man pages and completions say what the command line says.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

fn shunt(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_shunt")).args(arguments).output().expect("it starts");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// The words that `shunt --help` lists.
fn words() -> Vec<String> {
    let help = shunt(&["--help"]);
    let list = help.split_once("Commands:\n").expect("a list").1.split_once("\n\n").expect("its end").0;
    let words = list.lines().filter(|line| !line.starts_with("   "));
    let words = words.filter_map(|line| line.split_ascii_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

#[test]
fn each_word_and_each_option_of_the_command_line_has_its_place_in_the_man_pages() {
    let folder = tempfile::tempdir().unwrap();
    shunt(&["man", folder.path().to_str().unwrap()]);
    let words = words();
    assert!(words.iter().any(|word| word == "reload"), "{words:?}");
    let read = |page: &str| fs::read_to_string(folder.path().join(page)).expect(page).replace("\\-", "-");
    let all = read("shunt.8");
    for word in &words {
        assert!(all.contains(&format!("shunt-{word}(8)")), "{word}: {all}");
        let page = read(&format!("shunt-{word}.8"));
        // Its options are ipvsadm's, and not ours to list.
        if word == "ipvsadm" {
            continue;
        }
        let help = shunt(&[word, "--help"]);
        let options = help.split(|c: char| c.is_whitespace() || ",[]<>=".contains(c));
        for option in options.filter(|option| option.starts_with("--") && option.len() > 2) {
            assert!(page.contains(option.trim_end_matches('.')), "{word} {option}: {page}");
        }
    }
    let pages: BTreeSet<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = words.iter().map(|word| format!("shunt-{word}.8")).chain(["shunt.8".to_owned()]);
    assert_eq!(pages, expected.collect(), "no page of a hidden word");
}

#[test]
fn man_finds_no_fault_with_the_pages() {
    let folder = tempfile::tempdir().unwrap();
    shunt(&["man", folder.path().to_str().unwrap()]);
    for page in fs::read_dir(folder.path()).unwrap() {
        let page = page.unwrap().path();
        let man =
            Command::new("man").args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&page).output();
        let man = man.expect("man-db is installed");
        assert!(man.status.success() && man.stderr.is_empty(), "{}", String::from_utf8_lossy(&man.stderr));
    }
}

#[test]
fn each_shell_completes_every_word() {
    for shell in ["bash", "zsh", "fish"] {
        let script = shunt(&["completions", shell]);
        for word in words() {
            assert!(script.contains(&word), "{shell}: {word}");
        }
    }
}
