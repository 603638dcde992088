//! The README says what is so.

use std::path::PathBuf;

use shunt_dataplane::flow::{Capacity, FlowTable};
use shunt_dataplane::verdict::DropReason;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("the README is there")
}

#[test]
fn the_table_of_drop_reasons_is_the_list_of_drop_reasons() {
    let readme = readme();
    let (_, section) = readme.split_once("## Drop reasons").expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<(String, String)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .map(|(name, meaning)| (name.to_string(), meaning.to_string()))
        .collect();
    let reasons: Vec<(String, String)> =
        DropReason::ALL.iter().map(|reason| (reason.name().into(), reason.meaning().into())).collect();
    assert_eq!(rows, reasons);
}

#[test]
fn every_path_in_the_readme_exists() {
    let readme = readme();
    let prose = readme.split("```").step_by(2).collect::<String>();
    let paths: Vec<&str> = prose
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('/') && !word.contains(' '))
        .collect();
    assert!(paths.len() > 15, "only {} paths were found", paths.len());
    for path in paths {
        assert!(root().join(path).exists(), "the README names {path}");
    }
}

#[test]
fn the_readme_is_right_about_the_size_of_a_flow() {
    assert!(readme().contains("16 bytes for IPv4, four to a cache line, and 32 for IPv6"));
    let at_six_tenths = |bytes: f64| format!("{:.1}", bytes / 0.6);
    let sizes = format!("{} and {} bytes a flow", at_six_tenths(16.0), at_six_tenths(32.0));
    assert!(readme().replace('\n', " ").contains(&sizes), "{sizes}");
    let flows = FlowTable::new(Capacity::each(1 << 20), 1);
    assert_eq!((flows.capacity(), flows.buckets()), (Capacity::each(1 << 20), 2 << 18));
}

#[test]
fn every_case_that_the_readme_of_the_golden_frames_names_is_there() {
    let folder = root().join("tests/golden");
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("the README is there");
    let cases: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let (_, tables) = readme.split_once("## katran").expect("the section is there");
    let names: Vec<&str> = tables.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 60, "only {} cases were found", names.len());
    for name in names.into_iter().filter(|name| *name != "on_failure" && *name != "one_packet") {
        let is_named = |case: &String| match name.strip_suffix('*') {
            Some(start) => case.starts_with(start),
            None => case.strip_suffix(".case") == Some(name),
        };
        assert!(cases.iter().any(is_named), "the README names {name}");
    }
}
