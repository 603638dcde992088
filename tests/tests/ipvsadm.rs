//! shunt called by the names of ipvsadm: sessions that the real one had, traffic, and a set-up that people run
//! (`tests/seeds/4-llclb1-ipvsadm`), on directors that start with nothing to do.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::{
    Daemon, Director, Host, Lab, VipHolding, Watch, WebServer, director, expect, seed, shown, wait,
};

const EMPTY: &str = "[director]\ninterfaces = [\"eth0\"]\n";
const SOON: Duration = Duration::from_secs(20);

/// A director with no services, on the networks of the sessions.
fn empty(lab: &Lab) -> Director {
    let host = lab.director(0);
    host.ip("addr add 198.18.0.1/24 dev eth0\naddr add 2001:db8::1/64 dev eth0 nodad\n");
    Director::start(lab, 0, EMPTY)
}

/// Runs `name words...` against a director.
fn run(director: &Director, name: &str, words: &[&str], input: &str) -> Output {
    let mut command = director::command(director.host(), director.socket());
    command.arg0(name).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes()).expect("it is read");
    child.wait_with_output().expect("it ends")
}

/// What it wrote, on both streams, and its exit status, as in a session.
fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}[status {}]\n", output.status.code().expect("no signal ended it"))
}

#[track_caller]
fn ipvsadm(director: &Director, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = run(director, "ipvsadm", &words, "");
    assert!(output.status.success(), "ipvsadm {line}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Says all commands of a session again: the same is printed, and the exit statuses are the same.
#[track_caller]
fn repeat(director: &Director, file: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("ipvsadm").join(file);
    let session =
        std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    let mut count = 0;
    for part in session.split("$ ipvsadm").skip(1) {
        let (line, expected) = part.split_once('\n').unwrap_or((part, ""));
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(said(&run(director, "ipvsadm", &words, "")), expected, "{file}: ipvsadm{line}");
        count += 1;
    }
    assert!(count > 5, "{file} has {count} commands");
}

#[test]
fn the_real_ipvsadms_sessions_are_had_again_to_the_byte() {
    let lab = Lab::builder().ipv6().build();
    let director = empty(&lab);
    assert_eq!(ipvsadm(&director, "-Ln"), golden("empty-Ln.txt"));
    repeat(&director, "setup.session");
    for (line, file) in [
        ("-Ln", "full-Ln.txt"),
        ("-L -n --sort", "full-Ln.txt"),
        ("-Ln --stats", "full-Ln--stats.txt"),
        ("-Ln --exact --rate", "full-Ln--rate.txt"),
        ("-Ln --thresholds", "full-Ln--thresholds.txt"),
        ("-Ln --persistent-conn", "full-Ln--persistent-conn.txt"),
        ("-Ln -t 198.18.0.100:80", "one-service-Ln.txt"),
        ("-Lnc", "empty-Lnc.txt"),
    ] {
        assert_eq!(ipvsadm(&director, line), golden(file), "ipvsadm {line}");
    }
    assert_eq!(ipvsadm(&director, "-Ln --daemon"), "");
    assert_eq!(ipvsadm(&director, "-Ln --timeout"), "Timeout (tcp tcpfin udp): 900 120 300\n");
    repeat(&director, "errors.session");
}

/// What the real ipvsadm printed; the unit tests of the listings have the same files.
fn golden(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../control/src/ipvsadm/golden").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

#[test]
fn a_table_is_saved_and_restored_line_by_line() {
    let lab = Lab::builder().ipv6().build();
    let director = empty(&lab);
    repeat(&director, "setup.session");
    let saved = run(&director, "ipvsadm-save", &["-n"], "");
    let saved = String::from_utf8(saved.stdout).unwrap();
    assert!(
        saved.contains("-a -t 198.18.0.100:443 -r 198.18.0.12:443 -g -w 100 -x 2000 -y 1000\n"),
        "{saved}"
    );
    ipvsadm(&director, "-C");
    let restored = run(&director, "ipvsadm-restore", &[], &format!("# saved\n{saved}"));
    assert_eq!(said(&restored), "[status 0]\n");
    assert_eq!(ipvsadm(&director, "-S -n"), saved);
    // It goes on after a line that is refused, and the last line says how it ended.
    ipvsadm(&director, "-C");
    let bad = "-A -t 198.18.0.100:90 -s rr\n-a -t 198.18.0.100:91 -r 198.18.0.11\n\
               ipvsadm -a -t 198.18.0.100:90 -r 198.18.0.11:90 -g -w 1\n";
    assert_eq!(said(&run(&director, "ipvsadm", &["-R"], bad)), "Service not defined\n[status 0]\n");
    let listed = ipvsadm(&director, "-Ln");
    assert!(listed.ends_with(
        "TCP  198.18.0.100:90 rr\n  -> 198.18.0.11:90               Route   1      0          0         \n"
    ));
}

#[test]
fn what_shunt_has_not_is_refused_by_name() {
    let lab = Lab::builder().ipv6().build();
    let director = empty(&lab);
    ipvsadm(&director, "-A -t 198.18.0.100:80 -s rr");
    for (line, what) in [
        ("-a -t 198.18.0.100:80 -r 198.18.0.11 -m", "NAT"),
        ("-a -t 198.18.0.100:80 -r 198.18.0.11 -i", "tunnel"),
        ("-A -f 7", "firewall marks"),
        ("-A -t 198.18.0.100:81 --pe sip", "persistence engine not found"),
        ("--start-daemon master", "sync daemon"),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = run(&director, "ipvsadm", &words, "");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(complaint.contains(what) && output.stdout.is_empty(), "ipvsadm {line}: {complaint}");
        assert_eq!(output.status.code(), Some(255), "ipvsadm {line}");
    }
    let listed = ipvsadm(&director, "-Ln");
    assert!(listed.ends_with("TCP  198.18.0.100:80 rr\n"), "nothing was added: {listed}");
}

#[test]
fn an_empty_restore_leaves_what_the_configuration_has() {
    let lab = Lab::builder().build();
    let config = format!(
        "{EMPTY}\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\nscheduler = \"rr\"\n\
         [[service.real]]\naddress = \"192.0.2.21\"\n"
    );
    let director = Director::start(&lab, 0, &config);
    let filed = ipvsadm(&director, "-Ln");
    assert!(filed.contains("192.0.2.10:80 rr\n"), "{filed}");
    ipvsadm(&director, "-A -t 192.0.2.11:80 -s rr");
    let restored = run(&director, "ipvsadm-restore", &[], "");
    assert_eq!(restored.status.code(), Some(0));
    let complaint = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(complaint.starts_with("1 service of the configuration stay"), "{complaint}");
    assert_eq!(ipvsadm(&director, "-Ln"), filed);
}

#[test]
fn traffic_is_counted_estimated_and_counted_anew() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, EMPTY);
    for line in [
        "-A -t 192.0.2.10:80 -s rr",
        "-a -t 192.0.2.10:80 -r 192.0.2.21",
        "-a -t 192.0.2.10:80 -r 192.0.2.22",
    ] {
        ipvsadm(&director, line);
    }
    for real in [0, 1] {
        shown::until_state(&director, lab.real_server(real).address(), "up");
    }
    let shares = expect::answered(&lab.client(0).get_many(VIP, 30)).unwrap();
    assert_eq!(shares.values().collect::<Vec<_>>(), [&15, &15], "{shares:?}");
    let row = |line: &str| -> Vec<u64> {
        let text = ipvsadm(&director, line);
        let row = text.lines().find(|row| row.starts_with("TCP ")).expect("a service").to_owned();
        row.split_whitespace().skip(2).map(|number| number.parse().expect("a number")).collect()
    };
    let stats = wait::until(SOON, "workers to count", || {
        Some(row("-Ln --stats --exact")).filter(|stats| stats[0] == 30 && stats[1] >= 30 * 5)
    });
    let [_, packets, sent, bytes, answered] = stats[..] else { panic!("{stats:?}") };
    assert_eq!((sent, answered), (0, 0), "real servers answer past the director");
    // An IP header and a TCP header with options at most, and a request of less than 200 bytes a connection.
    assert!(bytes >= 40 * packets && bytes <= 60 * packets + 30 * 200, "{stats:?}");
    wait::until(SOON, "an estimate", || Some(row("-Ln --rate")).filter(|rate| rate[1] > 0 && rate[2] == 0));
    ipvsadm(&director, "-Z -t 192.0.2.10:80");
    assert_eq!(row("-Ln --stats"), [0; 5]);
    expect::answered(&lab.client(0).get_many(VIP, 2)).unwrap();
    wait::until(SOON, "two more", || Some(row("-Ln --stats")).filter(|stats| stats[0] == 2));
    let connections = ipvsadm(&director, "-Lnc");
    assert!(
        connections.lines().any(|row| row.starts_with("TCP 0") && row.contains(" 192.0.2.10:80 ")),
        "{connections}"
    );
}

/// The key that an ssh server proves to have, asked for from `host`.
fn ssh_key(host: &Host, address: IpAddr) -> Option<String> {
    let address = address.to_string();
    let said = host.try_run("ssh-keyscan", &["-T", "5", "-t", "ed25519", &address]).ok()?;
    said.split_whitespace().last().map(str::to_owned)
}

#[test]
fn seed_4_its_script_sets_up_ssh_behind_a_vip() {
    let lab = Lab::builder().vip_holding(VipHolding::NatRedirect).build();
    let own = Daemon::sshd(&lab, lab.director(0), 22);
    let _servers: Vec<_> = lab.real_servers().map(|server| Daemon::sshd(&lab, server, 22)).collect();
    let keys: Vec<_> =
        (0..2).map(|n| ssh_key(lab.router(), lab.real_server(n).address()).expect("it listens")).collect();
    let mut director = Director::start(&lab, 0, EMPTY);
    let map = [
        ("129.129.190.54", "192.0.2.10"),
        ("129.129.190.175", "192.0.2.21"),
        ("129.129.190.176", "192.0.2.22"),
    ];
    let script = seed::text("4-llclb1-ipvsadm/setup-LVS-DR-director.conf", &map);
    let said = run_script(&lab, &director, &script);
    let expected = "Timeout (tcp tcpfin udp): 259200 120 300\n\
                    IP Virtual Server version 1.2.1 (size=4096)\n\
                    Prot LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
                    TCP  llc.psi.ch:ssh rr\n  \
                    -> llc6.psi.ch:ssh              Route   1      0          0         \n  \
                    -> llc5.psi.ch:ssh              Route   1      0          0         \n";
    assert!(said.ends_with(expected), "{said}");

    for real in [0, 1] {
        shown::until_state(&director, lab.real_server(real).address(), "up");
    }
    // Round robin, with the flows that ssh-keyscan makes: each server proves who it is.
    let watch = Watch::start(&lab, 0);
    let seen: Vec<_> = (0..4).map(|_| ssh_key(lab.client(0), VIP).expect("an answer")).collect();
    watch.stop().check();
    assert!(seen[0] != seen[1] && seen[0] == seen[2] && seen[1] == seen[3], "{seen:?}");
    assert!(seen.iter().all(|key| keys.contains(key)), "{seen:?}");
    // The director's own sshd answers at the director's own address, and the director answers a ping of the VIP.
    let own_key = std::fs::read_to_string(own.folder().join("key.pub")).unwrap();
    let at_director = ssh_key(lab.client(0), lab.director(0).address()).expect("an answer");
    assert!(own_key.contains(&at_director), "{own_key}");
    lab.client(0).run("ping", &["-c", "1", "-W", "5", &VIP.to_string()]);

    // Flows that are over, and those that are silent, are forgotten in the time that was set: those that come from now on.
    ipvsadm(&director, "--set 3 1 0");
    assert_eq!(ipvsadm(&director, "-L --timeout"), "Timeout (tcp tcpfin udp): 3 1 300\n");
    let connect = || lab.client(0).connect((VIP, 22).into(), Duration::from_secs(5)).expect("a connection");
    let state = |port: u16| {
        let connections = ipvsadm(&director, "-Lnc");
        let row = connections.lines().find(|row| row.contains(&format!(" 198.51.100.7:{port} ")))?;
        row.split_whitespace().nth(2).map(str::to_owned)
    };
    let silent = connect();
    let port = silent.local_addr().unwrap().port();
    wait::until(SOON, "the flow to be listed", || (state(port)? == "ESTABLISHED").then_some(()));
    wait::until(SOON, "it to be forgotten", || state(port).is_none().then_some(()));
    ipvsadm(&director, "--set 259200 1 0");
    let over = connect();
    let port = over.local_addr().unwrap().port();
    wait::until(SOON, "the flow to be listed", || (state(port)? == "ESTABLISHED").then_some(()));
    drop((silent, over));
    wait::until(SOON, "it to be forgotten", || state(port).is_none().then_some(()));

    ipvsadm(&director, "-d -t 192.0.2.10:ssh -r 192.0.2.22");
    let listed = ipvsadm(&director, "-Ln");
    assert!(listed.contains("\n  -> 192.0.2.21:22 ") && !listed.contains("192.0.2.22"), "{listed}");
    assert_eq!(ssh_key(lab.client(0), VIP).as_ref(), Some(&keys[0]));
    // What was not written to a file is gone with the director.
    assert!(director.stop().success());
    director.start_again(EMPTY);
    assert_eq!(ipvsadm(&director, "-Ln"), golden("empty-Ln.txt"));
}

/// Runs `script` on the director with shunt in the place of /sbin/ipvsadm, and names for the addresses. What it printed.
#[track_caller]
fn run_script(lab: &Lab, director: &Director, script: &str) -> String {
    let [path, hosts, sbin, real] = ["seed-4.sh", "hosts", "sbin", "real-sbin"].map(|name| lab.file(name));
    std::fs::write(&path, script).unwrap();
    std::fs::write(
        &hosts,
        "192.0.2.10 llc.psi.ch llc\n192.0.2.21 llc6.psi.ch llc6\n192.0.2.22 llc5.psi.ch llc5\n",
    )
    .unwrap();
    std::fs::create_dir(&sbin).unwrap();
    std::fs::create_dir(&real).unwrap();
    for program in std::fs::read_dir("/usr/sbin").unwrap() {
        let name = program.unwrap().file_name();
        std::os::unix::fs::symlink(real.join(&name), sbin.join(&name)).unwrap();
    }
    let _ = std::fs::remove_file(sbin.join("ipvsadm"));
    std::os::unix::fs::symlink(director::binary(), sbin.join("ipvsadm")).unwrap();
    // What the script's host has, and a mount namespace of its own has in the end.
    let mounts = vec![
        ("/usr/sbin".into(), real),
        (sbin, PathBuf::from("/usr/sbin")),
        (hosts, PathBuf::from("/etc/hosts")),
    ];
    let mut command: Command = director.host().command_with_mounts("bash", &mounts);
    let output =
        command.arg("-e").arg(&path).env("SHUNT_SOCKET", director.socket()).output().expect("it runs");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    // `route` may find the route there already.
    let complaints: Vec<&str> = err.lines().filter(|line| !line.contains("SIOCADDRT: File exists")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{out}\n{err}");
    out
}
