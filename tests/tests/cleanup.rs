//! A lab leaves nothing behind, however its test ends.

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use shunt_tests::{Lab, WebServer, wait};

const SOON: Duration = Duration::from_secs(10);

/// The processes that have `mark` on their command line.
fn processes(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.contains(mark))
        .collect()
}

fn exists(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).exists()
}

#[test]
fn a_panic_leaves_no_namespace_no_process_and_no_file() {
    let mut names = Vec::new();
    let mut folder = PathBuf::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::builder().build();
        names = lab.namespaces().to_vec();
        folder = lab.folder().to_owned();
        let _servers = WebServer::on_all(&lab);
        let _capture = lab.capture("director1", "");
        // Its child outlives it, unless the lab looks for what is left in its namespaces.
        let mut shell = lab.client(0).command("sh");
        shell.args(["-c", "sh -c 'sleep 1000; true' $0 & wait"]).arg(lab.folder());
        let _shell = lab.client(0).spawn(shell);
        wait::until(SOON, "the shell's child, and its child", || {
            (lab.client(0).pids().len() == 3).then_some(())
        });
        assert!(!processes(folder.to_str().unwrap()).is_empty() && names.iter().all(|name| exists(name)));
        panic!("on purpose");
    }));
    assert_eq!(result.expect_err("it panicked").downcast_ref(), Some(&"on purpose"));
    assert!(!names.is_empty() && !names.iter().any(|name| exists(name)), "{names:?}");
    assert!(!folder.exists());
    wait::until(SOON, "the processes to be gone", || {
        processes(folder.to_str().unwrap()).is_empty().then_some(())
    });
}

/// What the next test starts in a process of its own and kills; it never returns by itself.
#[test]
#[ignore = "a helper of the next test"]
fn a_test_that_hangs() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let _capture = lab.capture("director1", "");
    println!("\nhangs {} {}", lab.switch().name(), lab.folder().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_test_leaves_no_process_and_the_next_lab_takes_away_the_rest() {
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_test_that_hangs", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("hangs ")).expect("it sets up its lab");
    let mut words = line.split(' ').skip(1);
    let (namespace, folder) = (words.next().unwrap(), words.next().unwrap());
    // Two web servers and one capture.
    assert_eq!(processes(folder).len(), 3);

    test.kill().unwrap();
    test.wait().unwrap();
    wait::until(SOON, "its processes to be gone", || processes(folder).is_empty().then_some(()));
    // A lab that another test sets up meanwhile may sweep before this one does, or still be at it afterwards.
    let lab = Lab::builder().directors(0).real_servers(0).build();
    let gone = || (!exists(namespace) && !Path::new(folder).exists()).then_some(());
    wait::until(SOON, "the next lab to sweep", gone);
    assert!(lab.namespaces().iter().all(|name| exists(name)), "what lives stays");
}
