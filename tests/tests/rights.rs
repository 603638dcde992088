//! What shunt gives up when it has started, and what scripts can do that it runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::{Director, Instance, Lab, Service, WebServer, config, director, expect, wait};

const SOON: Duration = Duration::from_secs(20);
/// User and group `nobody`.
const NOBODY: u32 = 65534;

/// Bits of include/uapi/linux/capability.h.
const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const IPC_LOCK: u64 = 1 << 14;
const SYS_NICE: u64 = 1 << 23;
const BPF: u64 = 1 << 39;
const CONTROL: u64 = NET_ADMIN | NET_RAW | IPC_LOCK | BPF;
const PROGRAMS: u64 = KILL | SETGID | SETUID;

/// What /proc says of a thread or process.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Rights {
    permitted: u64,
    effective: u64,
    inheritable: u64,
    ambient: u64,
    no_new_privs: u64,
    seccomp: u64,
    filters: u64,
}

impl Rights {
    fn read(folder: &Path) -> Rights {
        let status = fs::read_to_string(folder.join("status")).expect("it runs");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim();
        let capabilities = |name| u64::from_str_radix(field(name), 16).expect("hexadecimal");
        let number = |name| field(name).parse().expect("a number");
        Rights {
            permitted: capabilities("CapPrm:"),
            effective: capabilities("CapEff:"),
            inheritable: capabilities("CapInh:"),
            ambient: capabilities("CapAmb:"),
            no_new_privs: number("NoNewPrivs:"),
            seccomp: number("Seccomp:"),
            filters: number("Seccomp_filters:"),
        }
    }

    fn kept(capabilities: u64) -> Rights {
        Rights {
            permitted: capabilities,
            effective: capabilities,
            inheritable: 0,
            ambient: 0,
            no_new_privs: 1,
            seccomp: 2,
            filters: 2,
        }
    }

    fn worker() -> Rights {
        Rights { filters: 3, ..Rights::kept(0) }
    }
}

/// The rights of all threads of a process, by name.
fn threads(pid: i32) -> BTreeMap<String, Rights> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let folders = tasks.map(|task| task.expect("a thread").path());
    folders.map(|folder| (read(&folder.join("comm")), Rights::read(&folder))).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The process of this word on the command line, on the director's host.
fn process(lab: &Lab, word: &str) -> Option<PathBuf> {
    let pids = lab.director(0).pids().into_iter().map(|pid| PathBuf::from(format!("/proc/{pid}")));
    pids.into_iter().find(|folder| {
        let line = fs::read(folder.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}

/// A virtual router that is active soon, and a service of it.
fn router(more: &str) -> String {
    let service = "virtual_server 192.0.2.10 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 192.0.2.21 80 {\n\
                   weight 1\n}\nreal_server 192.0.2.22 80 {\nweight 1\n}\n}\n";
    format!("{}{service}", Instance::fast(150).with(more))
}

/// A script that everybody can execute.
fn script(lab: &Lab, body: &str) -> PathBuf {
    let path = lab.file("script.sh");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("there is room");
    for path in [lab.folder(), &path] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    path
}

#[test]
fn every_thread_and_the_guard_have_what_they_need_and_nothing_more() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &router(""));
    director.log().wait_for(0, SOON, |line| line.contains("Entering MASTER STATE")).expect("it is alone");
    expect::answered(&lab.client(0).get_many(VIP, 20)).unwrap();
    // Has a helper thread start.
    director.ask(&["explain", "198.51.100.7:1", "192.0.2.10:80/tcp"]).unwrap();

    let threads = threads(director.pid());
    for (name, rights) in &threads {
        let wanted = match name.as_str() {
            "shunt" => Rights::kept(CONTROL),
            "shunt-vrrp" => Rights::kept(NET_RAW),
            "shunt-vrrp-hold" => Rights::kept(NET_ADMIN | NET_RAW),
            "tokio-rt-worker" => Rights::kept(CONTROL & !NET_RAW),
            // The log.
            "tracing-appende" => Rights::kept(0),
            name if name.starts_with("worker-") => Rights::worker(),
            name => panic!("whose thread is {name}?"),
        };
        assert_eq!(*rights, wanted, "{name}");
    }
    for name in ["shunt", "shunt-vrrp", "shunt-vrrp-hold", "tokio-rt-worker", "tracing-appende", "worker-0"] {
        assert!(threads.contains_key(name), "no {name} in {threads:?}");
    }
    let guard = wait::until(SOON, "the guard", || process(&lab, "guard"));
    assert_eq!(Rights::read(&guard), Rights::kept(NET_ADMIN), "the guard");
    assert!(
        director.log().text().contains("rights: the control thread keeps NET_ADMIN NET_RAW BPF IPC_LOCK;")
    );
}

#[test]
fn a_script_has_no_right_that_shunt_has_given_up_and_cannot_get_one() {
    let lab = Lab::builder().build();
    let said = lab.file("said");
    let body = format!(
        "exec > {said} 2>&1\ngrep -E '^(Cap|NoNew|Seccomp)' /proc/self/status\nmount -t tmpfs none /mnt && echo mounted\n\
         unshare --user true && echo unshared\nchown 1 {said} && echo chowned\necho end",
        said = said.display()
    );
    let tell = script(&lab, &body);
    let text =
        format!("global_defs {{\nscript_user root\n}}\n{}", router(&format!("notify {}", tell.display())));
    let mut director = Director::start(&lab, 0, &text);
    let text = wait::until(SOON, "the script", || Some(read(&said)).filter(|text| text.ends_with("end")));
    for done in ["mounted", "unshared", "chowned"] {
        assert!(!text.lines().any(|line| line == done), "{text}");
    }
    assert!(text.contains("CapEff:\t00000080000070e0"), "what the control thread has: {text}");
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    assert_eq!(threads(director.pid())["shunt"], Rights::kept(CONTROL | PROGRAMS));
    assert!(director.stop().success());
}

#[test]
fn scripts_gain_all_rights_again_if_the_operator_says_so_and_shunt_itself_does_not() {
    let lab = Lab::builder().build();
    let said = lab.file("said");
    let body = format!(
        "exec > {said} 2>&1\ngrep -E '^(NoNew|Seccomp)' /proc/self/status\nchown 1 {said} && echo chowned\necho end",
        said = said.display()
    );
    let tell = script(&lab, &body);
    let config = lab.file("keepalived.conf");
    let notify = format!("notify {}", tell.display());
    fs::write(&config, format!("global_defs {{\nscript_user root\n}}\n{}", router(&notify)))
        .expect("there is room");
    let socket = lab.file("shunt.sock");
    let mut command = director::command(lab.director(0), &socket);
    command.args(["run", "--scripts-gain-rights", "--config"]).arg(&config);
    let mut process = lab.director(0).spawn(command);
    let text = wait::until(SOON, "the script", || Some(read(&said)).filter(|text| text.ends_with("end")));
    assert_eq!(text, "NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\nchowned\nend");
    let threads = threads(process.pid());
    let open = Rights { no_new_privs: 0, seccomp: 0, filters: 0, ..Rights::kept(CONTROL | PROGRAMS) };
    assert_eq!(threads["shunt"], open);
    assert_eq!(threads["worker-0"], Rights { filters: 1, ..Rights::worker() });
    assert!(process.stop(SOON).success());
}

#[test]
fn the_first_script_needs_a_restart_that_keeps_the_rights_for_it() {
    let lab = Lab::builder().build();
    let mut director = Director::start(&lab, 0, &router(""));
    let tell = script(&lab, "true");
    let with =
        format!("global_defs {{\nscript_user root\n}}\n{}", router(&format!("notify {}", tell.display())));
    director.reload(&with).expect_err("the rights for it are gone");
    let why = director.ask(&["reload"]).expect_err("they are gone still");
    assert!(why.contains("restart shunt: it keeps them where a program is configured"), "{why}");
    assert!(director.stop().success());
    director.start_again(&with);
    director.reload(&router("")).expect("no script is needed");
    director.reload(&with).expect("the rights are there");
}

#[test]
fn an_ordinary_user_with_the_capabilities_forwards() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let folder = lab.file("of-nobody");
    fs::create_dir(&folder).expect("there is room");
    for path in [lab.folder(), &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    chown(&folder, Some(NOBODY), Some(NOBODY)).expect("we are root");
    let (file, socket) = (folder.join("shunt.toml"), folder.join("shunt.sock"));
    let shunt = folder.join("shunt");
    // Where the user may execute it.
    fs::copy(director::binary(), &shunt).expect("there is room");
    let text = config::file(&lab, &[Service::tcp(80).all(&lab)]);
    fs::write(&file, text).expect("there is room");

    let capabilities = "-all,+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock";
    let user = NOBODY.to_string();
    let mut command = lab.director(0).command_with_sysfs("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps", capabilities]);
    command.args(["--ambient-caps", capabilities, "--bounding-set", capabilities]).arg(&shunt);
    command.arg("--socket").arg(&socket).args(["run", "--config"]).arg(&file);
    let mut process = lab.director(0).spawn(command);
    process.wait_for_line(director::READY, SOON);
    wait::until(SOON, "an answer", || expect::answered(&lab.client(0).get_many(VIP, 5)).ok());
    let threads = threads(process.pid());
    assert_eq!(threads["shunt"], Rights::kept(CONTROL));
    assert_eq!(threads["worker-0"], Rights::worker());
    assert!(process.stop(SOON).success());

    // The VRRP thread's priority is the only thing it has to do without.
    fs::write(&file, router("")).expect("there is room");
    let mut command = lab.director(0).command_with_sysfs("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps", capabilities]);
    command.args(["--ambient-caps", capabilities, "--bounding-set", capabilities]).arg(&shunt);
    command.arg("--socket").arg(&socket).args(["run", "--config"]).arg(&file);
    let mut process = lab.director(0).spawn(command);
    process.wait_for_line("Entering MASTER STATE", SOON);
    let guard = wait::until(SOON, "the guard", || self::process(&lab, "guard"));
    wait::until(SOON, "the guard's rights", || {
        let rights = Rights::read(&guard);
        (rights.permitted == NET_ADMIN && rights.ambient == 0).then_some(())
    });
    assert!(process.stop(SOON).success());
    assert_eq!(SYS_NICE & CONTROL, 0);
}
