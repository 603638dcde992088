//! Real programs, in directories of chosen owners: these tests run as root, as the director does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::model::User;

/// Whose group may write where that is not allowed: every system has it.
const DAEMON: u32 = 1;

/// A directory that only root can change, in a sticky one.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    mode(directory.path(), 0o755);
    directory
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// A script for `/bin/sh` that everybody may execute.
fn script(directory: &Path, name: &str, body: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("it can be written");
    mode(&path, 0o755);
    path
}

fn command(program: &Path) -> Command {
    Command { argv: vec![program.to_str().expect("UTF-8").to_owned()], user: None, timeout: None }
}

fn shell(body: &str) -> Program {
    let argv = ["/bin/sh", "-c", body].map(str::to_owned).to_vec();
    prepare(&Command { argv, user: None, timeout: None }, &Scripts::default()).expect("a shell")
}

fn as_user(name: &str) -> Scripts {
    Scripts { security: true, user: Some(User { name: name.to_owned(), group: None }) }
}

fn reason(program: &Path, rules: &Scripts) -> String {
    prepare(&command(program), rules).expect_err("it is refused").reason
}

fn exists(process: i32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// Waits for what another process does. Seconds are only for a machine that is very busy.
async fn eventually(what: impl Fn() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about");
}

#[test]
fn the_component_that_others_can_write_is_named_and_how() {
    let outer = directory();
    let inner = outer.path().join("keepalived");
    fs::create_dir(&inner).expect("a directory");
    let program = script(&inner, "master.sh", "exit 0");
    assert_eq!(prepare(&command(&program), &as_user("root")).expect("safe").warning(), None);

    chown(&inner, None, Some(DAEMON)).expect("we are root");
    mode(&inner, 0o775);
    let refused = prepare(&command(&program), &as_user("root")).expect_err("a group can write");
    assert_eq!(
        refused.to_string(),
        format!(
            "script {} refused: {} is writable by group 'daemon' (mode 0775)",
            program.display(),
            inner.display()
        )
    );
    // The group root is root.
    chown(&inner, None, Some(0)).expect("we are root");
    prepare(&command(&program), &as_user("root")).expect("safe");
    mode(&inner, 0o777);
    let refused = reason(&program, &as_user("root"));
    assert_eq!(refused, format!("{} is writable by everybody (mode 0777)", inner.display()));
    mode(&inner, 0o1777);
    prepare(&command(&program), &as_user("root")).expect("a sticky directory is safe");

    mode(&program, 0o757);
    assert!(reason(&program, &as_user("root")).contains("master.sh is writable by everybody (mode 0757)"));
    mode(&program, 0o755);
    chown(&program, Some(DAEMON), None).expect("we are root");
    assert!(reason(&program, &as_user("root")).contains("master.sh is owned by user 'daemon' (mode 0755)"));
}

#[test]
fn security_is_for_what_has_roots_rights() {
    let directory = directory();
    let program = script(directory.path(), "open.sh", "exit 0");
    chown(&program, Some(DAEMON), Some(DAEMON)).expect("we are root");
    mode(&program, 0o775);
    prepare(&command(&program), &as_user("daemon")).expect("it runs as daemon");
    chown(&program, Some(0), Some(0)).expect("we are root");
    mode(&program, 0o777);
    // But everybody would run as daemon.
    assert!(reason(&program, &as_user("daemon")).contains("is writable by everybody (mode 0777)"));
    let off = Scripts { security: false, ..as_user("root") };
    let warning = prepare(&command(&program), &off).expect("it runs").warning().expect("and says").to_owned();
    assert!(warning.contains("is writable by everybody (mode 0777): enable_script_security would refuse it"));
    let group = User { name: "daemon".to_owned(), group: Some("root".to_owned()) };
    let in_roots_group = Scripts { security: true, user: Some(group) };
    assert!(reason(&program, &in_roots_group).contains("is writable by everybody"));
    // Set-uid root: whoever starts it.
    mode(&program, 0o4777);
    assert!(reason(&program, &as_user("daemon")).contains("is writable by everybody (mode 4777)"));
}

#[test]
fn the_way_to_where_a_link_points_is_examined_and_the_link_itself() {
    let directory = directory();
    let open = directory.path().join("open");
    fs::create_dir(&open).expect("a directory");
    let target = script(&open, "real.sh", "exit 0");
    let link = directory.path().join("link.sh");
    symlink("open/../open/real.sh", &link).expect("a link");
    let program = prepare(&command(&link), &as_user("root")).expect("safe so far");
    assert_eq!(program.file, target.canonicalize().expect("it exists"));
    mode(&open, 0o777);
    assert_eq!(
        reason(&link, &as_user("root")),
        format!("{} is writable by everybody (mode 0777)", open.display())
    );
    mode(&open, 0o755);
    std::os::unix::fs::lchown(&link, Some(DAEMON), None).expect("we are root");
    assert!(reason(&link, &as_user("root")).contains("link.sh is owned by user 'daemon'"));

    let circle = directory.path().join("circle");
    symlink("circle", &circle).expect("a link");
    assert!(reason(&circle, &as_user("root")).contains("circle: Too many levels of symbolic links"));
}

#[test]
fn what_cannot_be_run_says_why_and_what_may_have_been_meant() {
    let directory = directory();
    let rules = Scripts::default();
    let refused = prepare(&command(Path::new("/usr/nowhere/sleep")), &rules).expect_err("missing");
    assert_eq!(
        refused.to_string(),
        "script /usr/nowhere/sleep refused: /usr/nowhere does not exist; did you mean /usr/bin/sleep?"
    );
    let missing = directory.path().join("sleep");
    assert_eq!(reason(&missing, &rules), "it does not exist; did you mean /usr/bin/sleep?");
    assert_eq!(reason(Path::new("no-such-program"), &rules), format!("there is no such program in {PATH}"));
    assert!(reason(Path::new("bin/true"), &rules).contains("does not begin with /"));
    assert!(reason(directory.path(), &rules).ends_with("is a directory"));
    let file = script(directory.path(), "plain", "exit 0");
    mode(&file, 0o644);
    assert!(reason(&file, &rules).contains("is not executable for user 'root' (mode 0644); chmod +x"));
    assert!(reason(&file.join("below"), &rules).ends_with("plain is not a directory"));
    mode(&file, 0o750);
    assert!(reason(&file, &as_user("daemon")).contains("not executable for user 'daemon' (mode 0750)"));
    mode(&file, 0o755);
    mode(directory.path(), 0o700);
    assert!(reason(&file, &as_user("daemon")).contains("user 'daemon' may not enter"));
    assert_eq!(
        prepare(&Command { argv: vec![], user: None, timeout: None }, &rules).expect_err("empty").reason,
        "it has no name"
    );
}

#[tokio::test]
async fn a_name_is_found_in_the_path_and_a_redirection_is_a_test_for_a_file() {
    let rules = Scripts::default();
    let ended =
        run(&command(Path::new("true")), &rules, &[], Duration::from_secs(20)).await.expect("it runs");
    assert_eq!(ended.outcome, Outcome::Exited(0));
    let opens = |file: &'static str| async move {
        let limit = Duration::from_secs(20);
        run(&command(Path::new(file)), &Scripts::default(), &[], limit).await.expect("it runs").outcome
    };
    assert_eq!(opens("</dev/null").await, Outcome::Exited(0));
    assert_ne!(opens("< /no/such/file").await, Outcome::Exited(0));
}

#[tokio::test]
async fn a_program_has_its_users_rights_and_a_clean_world() {
    let directory = directory();
    let program = script(
        directory.path(),
        "who.sh",
        "echo \"$(id -u) $(id -g) $(id -G) $PATH $HOME $(pwd) $# $1\"; ls -l /proc/self/fd | wc -l; env | wc -l >&2",
    );
    let group = User { name: "daemon".to_owned(), group: Some("2".to_owned()) };
    let rules = Scripts { security: true, user: Some(group) };
    let ended = run(&command(&program), &rules, &["extra".to_owned()], Duration::from_secs(20)).await;
    let ended = ended.expect("it runs");
    assert_eq!(ended.first_line, format!("1 2 2 1 {PATH} /usr/sbin / 1 extra"));
    // PATH, HOME, USER, LOGNAME, and what the shell adds: PWD, and perhaps SHLVL, OLDPWD and _.
    let variables: u32 = ended.last_line.parse().expect("a number");
    assert!((4..=8).contains(&variables), "{variables} variables");
}

#[tokio::test]
async fn descriptors_and_signals_of_the_director_stay_with_it() {
    // A descriptor that a C library forgot to mark.
    let file = fs::File::open("/dev/null").expect("it exists");
    // SAFETY: the number is an open descriptor's, and the copy is closed below.
    let leak = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_DUPFD, 200) };
    assert!(leak >= 200);
    // SAFETY: no code runs for SIG_IGN; nothing here depends on SIGUSR2.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    let leaked = format!("test ! -e /proc/self/fd/{leak}");
    let closed = shell(&leaked).run(&[], Duration::from_secs(20)).await.expect("it runs");
    let ended = shell("kill -USR2 $$").run(&[], Duration::from_secs(20)).await.expect("it runs");
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_DFL) };
    // SAFETY: it is ours, and nobody else knows of it.
    unsafe { libc::close(leak) };
    assert_eq!(closed.outcome, Outcome::Exited(0));
    assert_eq!(ended.outcome, Outcome::Signaled(libc::SIGUSR2));
}

#[tokio::test]
async fn at_the_limit_the_children_of_a_script_end_too_even_those_that_ignore_it() {
    let directory = directory();
    let pids = directory.path().join("pids");
    let body =
        format!("(trap '' TERM; sleep 61 & echo $! > {0}; wait; wait) & sleep 62 & wait", pids.display());
    let started = Instant::now();
    let program = shell(&body);
    let outcome = {
        let run = program.run(&[], Duration::from_millis(500));
        run.await.expect("it runs").outcome
    };
    assert_eq!(outcome, Outcome::TimedOut);
    assert!(started.elapsed() >= Duration::from_millis(500));
    let child: i32 = fs::read_to_string(&pids).expect("it began").trim().parse().expect("a number");
    eventually(|| !exists(child)).await;
}

#[tokio::test]
async fn a_script_that_ignores_the_end_is_killed() {
    let started = Instant::now();
    let stubborn = shell("trap '' TERM; while :; do sleep 0.1; done");
    let ended = stubborn.run(&[], Duration::from_millis(300)).await.expect("it runs");
    assert_eq!(ended.outcome, Outcome::TimedOut);
    assert!(started.elapsed() >= process::GRACE, "it had time to end by itself");
}

#[tokio::test]
async fn who_does_not_wait_any_more_leaves_neither_processes_nor_zombies() {
    let directory = directory();
    let pids = directory.path().join("pids");
    let program = shell(&format!("sleep 63 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display()));
    let run = tokio::spawn(async move { program.run(&[], Duration::from_secs(60)).await });
    eventually(|| pids.exists()).await;
    run.abort();
    let pids = fs::read_to_string(&pids).expect("it began");
    for process in pids.split_whitespace().map(|number| number.parse().expect("a number")) {
        eventually(|| !exists(process)).await;
    }
}

#[tokio::test]
async fn output_without_end_is_read_and_forgotten() {
    let body =
        "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; printf 'last\\033[2J \\n\\n'; exit 3";
    let ended = shell(body).run(&[], Duration::from_secs(60)).await.expect("it runs");
    let expected = Ended {
        outcome: Outcome::Exited(3),
        first_line: "first".to_owned(),
        last_line: "last?[2J".to_owned(),
    };
    assert_eq!(ended, expected);
    let ended = shell("head -c 5000 /dev/zero | tr '\\0' x").run(&[], Duration::from_secs(60)).await;
    assert_eq!(ended.expect("it runs").first_line.len(), 200);
}

#[tokio::test]
async fn what_a_script_leaves_in_the_background_lives_and_can_print() {
    let directory = directory();
    let (go, done) = (directory.path().join("go"), directory.path().join("done"));
    let body = format!(
        "(until test -e {}; do sleep 0.02; done; echo a; echo b && echo $? > {}) & exit 0",
        go.display(),
        done.display()
    );
    let ended = shell(&body).run(&[], Duration::from_secs(20)).await.expect("it runs");
    assert_eq!(ended.outcome, Outcome::Exited(0));
    fs::write(&go, "").expect("it can be written");
    eventually(|| fs::read_to_string(&done).is_ok_and(|text| text == "0\n")).await;
}

#[tokio::test]
async fn a_missing_interpreter_is_an_error_that_says_so_and_none_at_all_is_the_shell() {
    let directory = directory();
    let path = directory.path().join("odd");
    fs::write(&path, "#!/no/such/python\n").expect("it can be written");
    mode(&path, 0o755);
    let limit = Duration::from_secs(20);
    let error = run(&command(&path), &Scripts::default(), &[], limit).await.expect_err("it cannot run");
    assert!(
        error.to_string().ends_with("(the interpreter that its first line names, `#!...`, does not exist)")
    );
    fs::write(&path, "exit 4\n").expect("it can be written");
    let ended = run(&command(&path), &Scripts::default(), &[], limit).await.expect("as keepalived, in sh");
    assert_eq!(ended.outcome, Outcome::Exited(4));
}
