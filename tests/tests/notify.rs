//! Whoever is told, and whatever program is run, on shunt with a keepalived.conf: scripts, a pipe, mail; and that none of
//! them holds up what forwards.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::{Daemon, Director, Lab, WebServer, seed, shown, snapshot, wait};

const SOON: Duration = Duration::from_secs(30);
/// User and group 1, `daemon`, which every system has.
const DAEMON: u32 = 1;
/// Files that a program may have open.
const FILES: u64 = 2048;

/// Programs that a director runs, and what they have said.
struct Programs {
    folder: PathBuf,
}

impl Programs {
    fn new(lab: &Lab) -> Programs {
        let folder = lab.file("programs");
        let said = folder.join("said");
        fs::create_dir_all(&said).unwrap();
        for path in [lab.folder(), &folder] {
            mode(path, 0o755);
        }
        chown(&said, Some(DAEMON), Some(DAEMON)).unwrap();
        Programs { folder }
    }

    /// A shell script; `$SAID` is the folder that `daemon` may write to.
    fn script(&self, name: &str, body: &str) -> String {
        let path = self.folder.join(name);
        let said = self.folder.join("said");
        fs::write(&path, format!("#!/bin/sh\nSAID={}\n{body}\n", said.display())).unwrap();
        mode(&path, 0o755);
        path.display().to_string()
    }

    /// The lines of a file in `$SAID`.
    fn said(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("said").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file in `$SAID` has exactly these lines.
    #[track_caller]
    fn until_said(&self, name: &str, wanted: &[&str]) {
        if wait::try_until(SOON, || (self.said(name) == wanted).then_some(())).is_none() {
            assert_eq!(self.said(name), wanted, "{name}");
        }
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A service with these real servers, each with what stands in its block, and a check that fails at once.
fn service(of_service: &str, reals: &[(&str, &str)]) -> String {
    let reals: String = reals
        .iter()
        .map(|(address, text)| format!("real_server {address} 80 {{\nweight 3\n{text}\n}}\n"))
        .collect();
    format!(
        "virtual_server 192.0.2.10 80 {{\ndelay_loop 1\nwarmup 0\nretry 0\nlb_algo rr\nlb_kind DR\nprotocol TCP\n\
         {of_service}\n{reals}}}\n"
    )
}

const TCP: &str = "TCP_CHECK {\nconnect_timeout 1\n}";

fn globals(text: &str) -> String {
    format!("global_defs {{\nrouter_id lb1\nscript_user daemon\n{text}\n}}\n")
}

fn is_alive(pid: &str) -> bool {
    // A zombie is on its way out, and has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Lowers the soft limit of open files of this process, and so of those it starts.
fn lower_limit(files: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is written to, and is of the right type.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    assert!(limit.rlim_max > files, "this machine allows {} open files", limit.rlim_max);
    limit.rlim_cur = files;
    // SAFETY: `limit` is read from, and is of the right type.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

#[test]
fn scripts_are_told_in_order_and_one_that_hangs_holds_up_nobody() {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    let programs = Programs::new(&lab);
    let tell = programs.script("tell", "echo \"$2 $(id -un) $(ulimit -Sn)\" >> $SAID/$1");
    let hang =
        programs.script("hang", "echo $$ >> $SAID/hung\nsleep 1000 &\necho $! >> $SAID/hung\nsleep 1000");
    let quorum = format!("quorum_up \"{tell} quorum up\"\nquorum_down \"{tell} quorum down\"");
    let of_rs1 = format!("notify_up \"{tell} rs1 up\"\nnotify_down \"{tell} rs1 down\"\n{TCP}");
    let of_rs2 = format!("notify_up \"{tell} rs2 up\"\nnotify_down \"{hang}\"\n{TCP}");
    let text = globals("") + &service(&quorum, &[("192.0.2.21", &of_rs1), ("192.0.2.22", &of_rs2)]);
    // The director raises its own limit of open files, and must not hand that on.
    lower_limit(FILES);
    let mut director = Director::start(&lab, 0, &text);
    let limits = fs::read_to_string(format!("/proc/{}/limits", director.pid())).unwrap();
    assert!(!limits.contains(&format!("Max open files            {FILES} ")), "it is raised: {limits}");
    let line = |state: &str| format!("{state} daemon {FILES}");
    let (up, down) = (line("up"), line("down"));
    programs.until_said("quorum", &[&up]);

    servers[1].stop();
    wait::until(SOON, "the script that hangs", || (programs.said("hung").len() == 2).then_some(()));
    for _ in 0..3 {
        servers[0].stop();
        shown::until_state(&director, lab.real_server(0).address(), "down");
        wait::until(SOON, "rs1 down", || (programs.said("rs1").last() == Some(&down)).then_some(()));
        servers[0].start_again();
        shown::until_state(&director, lab.real_server(0).address(), "up");
        wait::until(SOON, "rs1 up", || (programs.said("rs1").last() == Some(&up)).then_some(()));
    }
    programs.until_said("rs1", &[&down, &up, &down, &up, &down, &up]);
    programs.until_said("quorum", &[&up, &down, &up, &down, &up, &down, &up]);
    servers[1].start_again();
    shown::until_state(&director, lab.real_server(1).address(), "up");
    let hung = programs.said("hung");
    assert!(hung.len() == 2 && hung.iter().all(|pid| is_alive(pid)), "it hangs still: {hung:?}");
    assert!(programs.said("rs2").is_empty(), "its server waits for it alone");

    assert!(director.stop().success());
    wait::until(SOON, "its end", || (!hung.iter().any(|pid| is_alive(pid))).then_some(()));
    assert_eq!(lab.director(0).pids(), [] as [i32; 0]);
}

#[test]
fn a_program_that_others_can_change_is_refused_with_the_component() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let programs = Programs::new(&lab);
    let check = programs.script("check.sh", "exit 0");
    chown(&programs.folder, None, Some(DAEMON)).unwrap();
    mode(&programs.folder, 0o775);
    let root = "global_defs {\nscript_user root\nenable_script_security\n}\n";
    let why = format!(
        "script {check} refused: {} is writable by group 'daemon' (mode 0775)",
        programs.folder.display()
    );

    let misc = format!("MISC_CHECK {{\nmisc_path \"{check}\"\n}}");
    let checked = root.to_owned() + &service("", &[("192.0.2.21", &misc), ("192.0.2.22", &misc)]);
    let refused = Director::try_start(&lab, 0, &checked).err().expect("a check that is not run is none");
    assert_eq!(refused.log.matches(&why).count(), 1, "{}", refused.log);
    assert_eq!(refused.log.matches(" error: ").count(), 1, "{}", refused.log);
    assert!(!snapshot::has(lab.director(0), "eth0", VIP), "nothing was applied");

    let hook = format!("notify_down \"{check} down\"\n{TCP}");
    let told = root.to_owned() + &service("", &[("192.0.2.21", &hook), ("192.0.2.22", &hook)]);
    let mut director = Director::start(&lab, 0, &told);
    let log = director.log().text();
    assert_eq!(log.matches(&why).count(), 1, "{log}");
    assert!(log.contains(" warning: ") && !log.contains(" error: "), "{log}");
    director.reload(&checked).expect_err("a reload looks at them too");
    assert_eq!(shown::real(&director, lab.real_server(0).address())["state"], "up");
    mode(&programs.folder, 0o755);
    director.reload(&checked).expect("nobody else can change it now");
}

#[test]
fn a_misc_check_sets_the_weight_and_one_that_hangs_is_killed_with_its_children() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let programs = Programs::new(&lab);
    let exit = programs.script("exit", "exit $(cat $SAID/status)");
    let status = |status: u8| fs::write(programs.folder.join("said/status"), status.to_string()).unwrap();
    status(12);
    // Deaf to SIGTERM, as its children are.
    let hang = programs.script("hang", "trap '' TERM\nsleep 1000 &\necho $$ $! >> $SAID/hung\nsleep 1000");
    let dynamic = format!("MISC_CHECK {{\nmisc_path \"{exit}\"\nmisc_dynamic\n}}");
    let hanging = format!("MISC_CHECK {{\nmisc_path \"{hang}\"\nmisc_timeout 1\n}}");
    let text = globals("") + &service("", &[("192.0.2.21", &dynamic), ("192.0.2.22", &hanging)]);
    let mut director = Director::start(&lab, 0, &text);
    let address = lab.real_server(0).address();
    let until_weight = |weight: u16| {
        wait::until(SOON, &format!("weight {weight}"), || {
            let row = shown::real(&director, address);
            (row["effective_weight"] == weight && row["state"] != "down").then_some(())
        });
    };
    until_weight(10);
    status(7);
    until_weight(5);
    status(1);
    shown::until_state(&director, address, "down");
    status(0);
    until_weight(3);

    shown::until_state(&director, lab.real_server(1).address(), "down");
    let why = shown::real(&director, lab.real_server(1).address())["reason"].to_string();
    assert!(why.contains("timed out after 1"), "{why}");
    let first = wait::until(SOON, "a run", || programs.said("hung").first().cloned());
    wait::until(SOON, "the end of script and child", || (!first.split(' ').any(is_alive)).then_some(()));
    wait::until(SOON, "another run", || (programs.said("hung").len() > 1).then_some(()));
    assert!(director.stop().success());
    wait::until(SOON, "nobody to be left", || lab.director(0).pids().is_empty().then_some(()));
}

#[test]
fn the_reader_of_a_pipe_gets_keepalived_s_lines() {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    let programs = Programs::new(&lab);
    let reader = programs.script("reader", "exec cat \"$1\" > $SAID/lines");
    let pipe = programs.folder.join("pipe");
    let global = format!("lvs_notify_fifo {}\nlvs_notify_fifo_script {reader}", pipe.display());
    let text = globals(&global) + &service("", &[("192.0.2.21", TCP)]);
    let mut director = Director::start(&lab, 0, &text);
    let (vs_up, vs_down) = ("VS [192.0.2.10]:tcp:80 UP", "VS [192.0.2.10]:tcp:80 DOWN");
    let rs = "RS [192.0.2.21]:tcp:80 [192.0.2.10]:tcp:80";
    programs.until_said("lines", &[vs_up]);
    servers[0].stop();
    let (rs_down, rs_up) = (format!("{rs} DOWN"), format!("{rs} UP"));
    programs.until_said("lines", &[vs_up, &rs_down, vs_down]);
    servers[0].start_again();
    programs.until_said("lines", &[vs_up, &rs_down, vs_down, &rs_up, vs_up]);
    assert!(director.stop().success());
    assert!(!pipe.exists(), "who made it removes it");
    assert_eq!(lab.director(0).pids(), [] as [i32; 0]);
}

#[test]
fn mail_has_keepalived_s_words() {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    let exim = Daemon::exim(&lab, lab.real_server(1));
    let global = "notification_email {\nalert@example.com\n}\nnotification_email_from lb1@example.com\n\
                  smtp_server 192.0.2.22\nsmtp_connect_timeout 20";
    let text = globals(global) + &service("smtp_alert", &[("192.0.2.21", TCP)]);
    let _director = Director::start(&lab, 0, &text);
    let has = |line: &str| {
        // A long subject goes on in the next line (RFC 5322, section 2.2.3).
        let mail = exim.mail().replace("\r\n", "\n").replace("\n ", " ");
        mail.lines().any(|of_mail| of_mail.trim_end() == line).then_some(())
    };
    servers[0].stop();
    let (vs, rs) = ("[192.0.2.10]:tcp:80", "[192.0.2.21]:tcp:80");
    for line in [
        &*format!("Subject: [lb1] Realserver {rs} of virtual server {vs} - DOWN"),
        "=> CHECK failed on service : connection refused <=",
        &format!("Subject: [lb1] Virtualserver {vs} - DOWN"),
        "=> Lost quorum 1-0=1 > 0 <=",
        "From: lb1@example.com",
        "To: alert@example.com",
    ] {
        wait::until(SOON, &format!("{line:?} in:\n{}", exim.mail()), || has(line));
    }
    servers[0].start_again();
    for line in [
        &*format!("Subject: [lb1] Realserver {rs} of virtual server {vs} - UP"),
        "=> CHECK succeed on service <=",
        &format!("Subject: [lb1] Virtualserver {vs} - UP"),
        "=> Gained quorum 1+0=1 <= 3 <=",
    ] {
        wait::until(SOON, &format!("{line:?} in:\n{}", exim.mail()), || has(line));
    }
}

#[test]
fn a_mail_server_that_is_not_found_or_never_answers_holds_up_nobody() {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    // Whoever has this address hears nothing, and leads to the machine's resolver.
    lab.director(0)
        .ip("neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev eth0\nroute replace default via 192.0.2.99\n");
    let published = seed::text("1-lvs-keepalived-dsr/lb1.keepalived.conf", &[]);
    let (global, _) = published.split_once("\nvrrp_instance").expect("global_defs comes first");
    assert!(global.contains("smtp_server mail.example.com"), "{global}");
    let silent = global.replace("mail.example.com\n", "192.0.2.99\n").replace("timeout 30", "timeout 1");
    assert!(silent.contains("192.0.2.99") && silent.contains("timeout 1"), "{silent}");
    for (global, complaint) in [(global, None), (&silent, Some("was not sent"))] {
        let text = format!("{global}\n{}", service("smtp_alert", &[("192.0.2.21", TCP)]));
        let mut director = Director::start(&lab, 0, &text);
        for _ in 0..2 {
            servers[0].stop();
            shown::until_state(&director, lab.real_server(0).address(), "down");
            servers[0].start_again();
            shown::until_state(&director, lab.real_server(0).address(), "up");
        }
        if let Some(complaint) = complaint {
            director.process().wait_for_line(complaint, SOON);
        }
        assert!(director.stop().success(), "{}", director.log().text());
    }
}
