//! What shunt refuses: it says what is wrong, where, and what to do; it ends with 1 (2 for a wrong command line); and
//! the machine is as it was.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use shunt_dataplane::packet::MacAddress;
use shunt_dataplane::xsk::program::Program;
use shunt_tests::address::VIP;
use shunt_tests::{Director, Host, Lab, Process, QueueSocket, Service, WebServer};
use shunt_tests::{bpf, config, director, expect, snapshot, wait};

const SOON: Duration = Duration::from_secs(20);
/// Nobody, by convention of Debian.
const NOBODY: u32 = 65534;

/// A folder for one start of shunt that is going to fail.
struct Attempt<'l> {
    host: &'l Host,
    folder: PathBuf,
    socket: PathBuf,
}

impl<'l> Attempt<'l> {
    fn new(lab: &'l Lab) -> Attempt<'l> {
        let folder = lab.file("attempt");
        std::fs::create_dir(&folder).expect("a new name");
        Attempt { host: lab.director(0), socket: folder.join("shunt.sock"), folder }
    }

    /// Starts shunt with this configuration: it must be refused for these reasons.
    #[track_caller]
    fn is_refused(&self, config: impl AsRef<[u8]>, reasons: &[&str]) {
        let mut command = director::command(self.host, &self.socket);
        command.args(["run", "--config"]).arg(self.write(config));
        let there = self.socket.exists();
        self.must_fail(command, 1, reasons);
        assert_eq!(self.socket.exists(), there, "a socket file is left behind");
    }

    fn write(&self, config: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join("shunt.toml");
        std::fs::write(&path, config).expect("the folder is there");
        path
    }

    /// Runs `command`: it must end with `code` and say all of `reasons`, and leave nothing.
    #[track_caller]
    fn must_fail(&self, command: Command, code: i32, reasons: &[&str]) {
        let before = snapshot::of(self.host);
        let mut process: Process = self.host.spawn(command);
        let status = process.wait(SOON);
        let said = process.log().text();
        assert_eq!(status.code(), Some(code), "{said}");
        for reason in reasons {
            assert!(said.contains(reason), "it does not say {reason:?}:\n{said}");
        }
        assert!(!said.contains("panicked") && !said.contains("ready"), "{said}");
        assert_eq!(snapshot::of(self.host), before, "{said}");
        // Of every shunt on this machine; one whose process is about to end may still be seen for a moment.
        wait::until(SOON, "no XDP program without a process", || bpf::orphans().is_empty().then_some(()));
    }
}

#[test]
fn a_wrong_file_is_refused_with_its_place_and_a_hint() {
    let lab = Lab::builder().build();
    let attempt = Attempt::new(&lab);
    let service = Service::tcp(80).all(&lab);
    let good = config::file(&lab, std::slice::from_ref(&service));
    let line =
        |text: &str, what: &str| text.lines().position(|line| line.contains(what)).expect("it is there") + 1;
    let vip = format!("shunt.toml:{}:", line(&good, "vip"));
    let port = format!("shunt.toml:{}:", line(&good, "port"));
    let weight = format!("shunt.toml:{}:", line(&good, "weight"));
    let address = format!("shunt.toml:{}:", line(&good, "address"));

    attempt.is_refused(
        good.replace("192.0.2.21", "192.0.2.10"),
        &[&address, "192.0.2.10 is also a VIP", "give the real server's own address"],
    );
    let twice = config::file(&lab, &[service.clone(), service]);
    attempt.is_refused(twice, &["is here twice", "below one [[service]]"]);
    attempt.is_refused(
        good.replace("protocol", "scheduler = \"magelv\"\nprotocol"),
        &["unknown scheduler \"magelv\"", "did you mean \"maglev\"?"],
    );
    attempt.is_refused(
        good.replace("weight = 1", "weight = 65536"),
        &[&weight, "service.real.weight: 65536 is out of range", "from 0 to 65535"],
    );
    for wrong in ["0", "70000"] {
        attempt.is_refused(
            good.replace("port = 80", &format!("port = {wrong}")),
            &[&port, &format!("service.port: {wrong} is out of range"), "from 1 to 65535"],
        );
    }
    attempt.is_refused(good.replace(r#"vip = "192.0.2.10""#, r#"vip = "127.0.0.1""#), &[&vip, "127.0.0.1"]);
    let truncated = &good[..good.find("protocol").expect("it is there") + 12];
    attempt.is_refused(truncated, &["shunt.toml:8:", "the file ends here: is it complete?"]);
    // The beginning of the program itself: not text.
    let binary = std::fs::read(director::binary()).expect("the program can be read");
    attempt.is_refused(&binary[..4096], &["shunt.toml:1:1: error: file: ", "not a text file"]);
    attempt.is_refused("", &["shunt.toml:1:1: error: file: is empty", "configs/minimal.toml"]);
    // Several faults are said at once.
    attempt.is_refused(
        good.replace("port = 80", "port = 0\nprot = 1"),
        &["0 is out of range", "unknown key", "prot"],
    );
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let lab = Lab::builder().build();
    let attempt = Attempt::new(&lab);
    let mut command = director::command(attempt.host, &attempt.socket);
    command.args(["run", "--config", "/nowhere/shunt.toml"]);
    attempt.must_fail(command, 1, &["/nowhere/shunt.toml:1:1: error: file: ", "No such file"]);
}

#[test]
fn what_does_not_fit_the_machine_is_refused_with_the_line_that_asks_for_it() {
    let lab = Lab::builder().build();
    let attempt = Attempt::new(&lab);
    let good = config::file(&lab, &[Service::tcp(80).all(&lab)]);

    attempt.is_refused(
        good.replace("eth0", "eth7"),
        &["shunt.toml:2:", "no such interface: eth7", "this machine has: eth0"],
    );
    attempt.is_refused(
        good.replace("192.0.2.22", "203.0.113.22"),
        &["203.0.113.22 is off-link", "through the router 192.0.2.1", "give the director an address there"],
    );
    let own = lab.director(0).address().to_string();
    attempt.is_refused(
        good.replace("192.0.2.22", &own),
        &["192.0.2.2 is an address of this machine", "a real server must be another machine"],
    );
    lab.director(0).ip("link set eth0 down\n");
    attempt.is_refused(&good, &["shunt.toml:2:", "eth0 is down", "ip link set eth0 up"]);
}

#[test]
fn an_interface_that_a_real_server_needs_and_nobody_named_is_refused() {
    let lab = Lab::builder().two_legged().build();
    let good = config::file(&lab, &[Service::tcp(80).all(&lab)]);
    Attempt::new(&lab).is_refused(
        good.replace(r#", "eth1""#, ""),
        &["203.0.113.21 is reached through eth1", "add \"eth1\" to director.interfaces"],
    );
}

#[test]
fn without_rights_shunt_says_which_it_needs() {
    let lab = Lab::builder().build();
    let attempt = Attempt::new(&lab);
    // Nobody must get at the program and the file; where they were built or made that may be forbidden.
    let program = attempt.folder.join("shunt");
    std::fs::copy(director::binary(), &program).expect("there is room for it");
    let file = attempt.write(config::file(&lab, &[Service::tcp(80).all(&lab)]));
    let open =
        |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    open(lab.folder(), 0o755);
    open(&attempt.folder, 0o755);
    open(&program, 0o755);
    open(&file, 0o644);

    let mut command = attempt.host.command_with_sysfs(&program.to_string_lossy());
    command.env("SHUNT_SOCKET", &attempt.socket).args(["run", "--config"]).arg(&file);
    let become_nobody = || {
        setgroups(&[])?;
        setgid(Gid::from_raw(NOBODY))?;
        setuid(Uid::from_raw(NOBODY))?;
        Ok(())
    };
    // SAFETY: only system calls, no allocation: it may run between fork and exec. It runs after what the lab does there,
    // which needs root.
    unsafe { command.pre_exec(become_nobody) };
    attempt.must_fail(command, 1, &["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "Run it as root"]);
    assert!(!attempt.socket.exists());
}

#[test]
fn a_queue_of_another_program_is_left_to_it() {
    let lab = Lab::builder().queues(2).build();
    let good = config::file(&lab, &[Service::tcp(80).all(&lab)]);
    let holder = QueueSocket::open(lab.director(0), "eth0", 1);
    Attempt::new(&lab).is_refused(
        &good,
        &["eth0: queue 1 is taken by another AF_XDP program", "Stop it first", "ss --xdp"],
    );
    drop(holder);
    let _director = Director::start(&lab, 0, &good);
}

#[test]
fn the_xdp_program_of_somebody_else_stays_attached() {
    let lab = Lab::builder().build();
    let host = lab.director(0);
    let good = config::file(&lab, &[Service::tcp(80).all(&lab)]);
    // shunt's own program will do: what it is matters to nobody.
    let other = host.enter(|| {
        let index = if_nametoindex("eth0").expect("it is there");
        Program::attach("eth0", index, MacAddress(host.mac().0)).expect("nobody else has attached one")
    });
    Attempt::new(&lab).is_refused(&good, &["eth0: another XDP program is attached", "ip link show eth0"]);
    assert!(snapshot::has_xdp(host, "eth0"), "it is still there");
    drop(other);
    let _director = Director::start(&lab, 0, &good);
}

#[test]
fn a_file_at_the_path_of_the_socket_is_left_alone() {
    let lab = Lab::builder().build();
    let attempt = Attempt::new(&lab);
    std::fs::write(&attempt.socket, "precious").expect("the folder is there");
    attempt.is_refused(
        config::file(&lab, &[Service::tcp(80).all(&lab)]),
        &["shunt.sock exists and is not a socket", "--socket"],
    );
    assert_eq!(std::fs::read_to_string(&attempt.socket).expect("it is there"), "precious");
}

#[test]
fn a_socket_that_cannot_be_made_is_said_with_the_reason() {
    let lab = Lab::builder().build();
    let good = config::file(&lab, &[Service::tcp(80).all(&lab)]);
    // Longer than the address of a Unix socket, 108 bytes (unix(7)).
    let long = lab.folder().join("s".repeat(108));
    for socket in ["/proc/shunt.sock".into(), "/proc/nowhere/shunt.sock".into(), long] {
        let attempt = Attempt { socket, ..Attempt::new(&lab) };
        attempt
            .is_refused(&good, &["the admin socket ", " cannot be made: ", "--socket PATH or SHUNT_SOCKET"]);
    }
}

#[test]
fn a_second_shunt_is_refused_and_the_first_goes_on() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let good = config::file(&lab, &[Service::tcp(80).all(&lab)]);
    let mut first = Director::start(&lab, 0, &good);
    let unharmed = |first: &Director| {
        expect::answered(&lab.client(0).get_many(VIP, 10)).unwrap();
        assert_eq!(first.show("services")["ready"], true);
        assert!(snapshot::has(lab.director(0), "eth0", VIP));
    };
    unharmed(&first);
    // With a socket of its own it is the interface that is taken, ...
    let attempt = Attempt::new(&lab);
    attempt.is_refused(&good, &["eth0: another XDP program is attached", "Another shunt"]);
    unharmed(&first);
    // ... with the first one's socket it is that.
    let same = Attempt { socket: first.socket().to_owned(), ..Attempt::new(&lab) };
    same.is_refused(&good, &["another shunt answers on ", "stop it first", "SHUNT_SOCKET"]);
    unharmed(&first);

    // A socket that nobody listens on is no obstacle: it is what a crash leaves.
    first.kill9();
    assert!(first.socket().exists());
    first.start_again(&good);
    unharmed(&first);
    assert!(first.log().text().contains("was left by an earlier run: replaced"));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_a_question_nobody_answers_with_1() {
    let lab = Lab::builder().build();
    let attempt = Attempt::new(&lab);
    let with = |arguments: &[&str]| {
        let mut command = director::command(attempt.host, &attempt.socket);
        command.args(arguments);
        command
    };
    attempt.must_fail(with(&[]), 2, &["Usage: "]);
    attempt.must_fail(with(&["dance"]), 2, &["dance"]);
    attempt.must_fail(with(&["run"]), 2, &["--config <FILE>"]);
    attempt.must_fail(with(&["show", "nothing"]), 2, &["services", "reals", "flows", "workers", "drops"]);
    attempt.must_fail(with(&["show", "services"]), 1, &["no shunt runs at ", "shunt run --config FILE"]);
    attempt.must_fail(with(&["reload"]), 1, &["no shunt runs at "]);
    attempt.must_fail(
        with(&["check", "/nowhere/shunt.toml"]),
        1,
        &["/nowhere/shunt.toml:1:1: error: file: "],
    );
}
