//! The Debian package: built, judged by lintian, installed, upgraded, removed and purged on a root of its own, as root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/debian/build.sh");
const CHANGELOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/debian/changelog");

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    // Packages of an unoptimized binary are large, and made to be looked at.
    let mut command = Command::new(program);
    command.args(arguments).env("DPKG_DEB_COMPRESSOR_LEVEL", "0");
    let done = command.output().unwrap_or_else(|why| panic!("{program}: {why}"));
    let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(done.status.success(), "{program} {arguments:?}: {out}{err}");
    out
}

#[track_caller]
fn build(folder: &Path) -> PathBuf {
    run("sh", &[BUILD, env!("CARGO_BIN_EXE_shunt"), folder.to_str().unwrap()]).trim().into()
}

/// Every file and folder below `root`, but dpkg's own.
fn files(root: &Path) -> BTreeSet<String> {
    let all = run("find", &[root.to_str().unwrap(), "-mindepth", "1", "-printf", "%P\n"]);
    all.lines().filter(|path| !path.starts_with("var/lib/dpkg")).map(str::to_owned).collect()
}

#[test]
fn the_package_is_right_by_lintian_and_comes_and_goes_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(&folder.path().join("first"));
    let package = package.to_str().unwrap();
    run("lintian", &["--fail-on", "error", "--no-tag-display-limit", "--allow-root", package]);

    let root = folder.path().join("root");
    fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    // Its scripts speak to this root's systemd, which is none; what it depends on is on this machine and not in there.
    let base = ["--root".to_owned(), root.display().to_string(), "--log=/dev/null".to_owned()];
    let dpkg = |arguments: &[&str]| {
        let fixed = base.iter().map(String::as_str).chain(["--force-depends", "--force-script-chrootless"]);
        run("dpkg", &fixed.chain(arguments.iter().copied()).collect::<Vec<_>>())
    };
    let before = files(&root);
    dpkg(&["--install", package]);
    let installed = files(&root);
    for file in [
        "usr/sbin/shunt",
        "lib/systemd/system/shunt.service",
        "etc/shunt/example.toml",
        "usr/share/man/man8/shunt.8.gz",
        "usr/share/bash-completion/completions/shunt",
    ] {
        assert!(installed.contains(file), "{file}: {installed:?}");
    }
    assert!(!installed.contains("etc/shunt/shunt.toml"), "nothing is forwarded before somebody says what");
    let example = root.join("etc/shunt/example.toml");
    run(env!("CARGO_BIN_EXE_shunt"), &["check", example.to_str().unwrap()]);

    // What the operator wrote outlives an upgrade and a removal.
    let own = "# mine\n";
    fs::write(&example, own).unwrap();
    dpkg(&["--install", package]);
    assert_eq!(fs::read_to_string(&example).unwrap(), own);
    assert_eq!(files(&root), installed);
    dpkg(&["--remove", "shunt"]);
    // Whether the unit was enabled is remembered until the purge, as Debian does it.
    let is_left = |path: &String| root.join(path).is_file() && !path.starts_with("var/lib/systemd/");
    let left: Vec<String> = files(&root).into_iter().filter(is_left).collect();
    assert_eq!(left, ["etc/shunt/example.toml"]);
    dpkg(&["--purge", "shunt"]);
    let left: Vec<String> = files(&root).difference(&before).cloned().collect();
    assert!(left.iter().all(|path| !path.contains("shunt")), "{left:?}");
}

#[test]
fn the_same_program_gives_the_same_package() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| fs::read(build(&folder.path().join(name))).unwrap());
    assert!(one == two);
}

#[test]
fn the_package_has_the_programs_version() {
    let version = run("dpkg-parsechangelog", &["-l", CHANGELOG, "-S", "Version"]);
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
}
