//! Set-ups that people run today (`tests/seeds`), with both of their directors: shunt and keepalived, both ways round, and
//! shunt with itself. Whoever is active holds the VIP; where that is shunt it forwards, too (keepalived's forwarding is the
//! kernel's, which need not have it). Times are keepalived's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::director::Mounts;
use shunt_tests::peer::{Kind, Pair, Peer, each_way, until_only};
use shunt_tests::vrrp::Advert;
use shunt_tests::wire::{self, Listener, Wire};
use shunt_tests::{Director, Host, Lab, VipHolding, WebServer, expect, seed, snapshot, wait};

const SLACK: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_secs(20);

/// A web server is asked through whoever is active, if that is shunt; who answered.
#[track_caller]
fn served(lab: &Lab, peer: &Peer) -> Option<BTreeMap<String, usize>> {
    (peer.kind() == Kind::Shunt).then(|| expect::answered(&lab.client(0).get_many(VIP, 20)).unwrap())
}

fn skew(priority: u32) -> Duration {
    Duration::from_secs(1) * (256 - priority) / 256
}

#[track_caller]
fn assert_took(took: Duration, expected: Duration) {
    assert!(
        took + Duration::from_millis(50) >= expected && took <= expected + SLACK,
        "{took:?}, not {expected:?}"
    );
}

#[test]
fn seed_0_announces_itself_twice_and_leaves_nothing() {
    each_way(|pair| {
        const MAP: &[(&str, &str)] = &[
            ("192.168.100.20", "192.0.2.10"),
            ("192.168.100.3", "192.0.2.21"),
            ("192.168.100.4", "192.0.2.22"),
        ];
        let lab = Lab::builder().directors(2).build();
        let _servers = WebServer::on_all(&lab);
        for host in lab.directors() {
            host.ip("link set eth0 down\nlink set eth0 name enp5s0f0\nlink set enp5s0f0 up\n");
            host.ip("route replace default via 192.0.2.1\n");
        }
        // The VIP was there before.
        lab.director(0).add_address(VIP, "enp5s0f0");
        let first = seed::text("0-lvs-dr-centos/reconstructed.conf", MAP);
        let second = first.replace("state MASTER", "state BACKUP").replace("priority 150", "priority 100");
        let wire = Wire::tap(&lab);
        let mut peers = Peer::both(pair, &lab, [&first, &second]);
        let listener = Listener::open(&lab);
        listener.wait_for(lab.director(0), 1);
        until_only(&peers, 0);
        // The second burst is five seconds after the first; then there is silence.
        listener.wait_for(lab.director(0), 7);
        let seen = wire.stop();
        let times: Vec<_> = seen.announced(VIP).into_iter().map(|(time, _)| time).collect();
        assert_eq!(times.len(), 10, "five, and five again: {times:?}");
        let (burst, pause) = (times[4] - times[0], times[5] - times[0]);
        assert!(burst < Duration::from_millis(500), "{burst:?}");
        assert!(pause > Duration::from_millis(4800) && pause < Duration::from_secs(5) + SLACK, "{pause:?}");
        for sentence in
            ["(LB_1) Entering BACKUP STATE", "(LB_1) Entering MASTER STATE", "(LB_1) setting VIPs."]
        {
            assert!(peers[0].says(sentence) == 1, "{sentence}: {}", peers[0].log().text());
        }
        let half = BTreeMap::from([("rs1".to_owned(), 10), ("rs2".to_owned(), 10)]);
        assert!(served(&lab, &peers[0]).is_none_or(|shares| shares == half));

        let wire = Wire::tap(&lab);
        let listener = Listener::open(&lab);
        peers[0].stop();
        listener.wait_for_stop(lab.director(0));
        until_only(&peers, 1);
        listener.wait_for(lab.director(1), 1);
        assert_took(wire.stop().handover(51, lab.director(0), lab.director(1)), skew(100));
        assert!(served(&lab, &peers[1]).is_none_or(|shares| shares == half));
    });
}

#[test]
fn seed_1_with_its_typo_corrected_fails_over_and_preempts() {
    each_way(|pair| {
        const MAP: &[(&str, &str)] = &[
            ("10.0.0.5", "192.0.2.10"),
            ("10.0.0.3", "192.0.2.21"),
            ("10.0.0.4", "192.0.2.22"),
            ("10.0.0.254", "192.0.2.23"),
        ];
        let lab = Lab::builder().directors(2).real_servers(3).vip_holding(VipHolding::NatRedirect).build();
        let _servers = WebServer::on_all(&lab);
        let configs = ["lb1", "lb2"].map(|lb| {
            let file = format!("1-lvs-keepalived-dsr/{lb}.keepalived.conf");
            seed::text(&file, MAP).replace("virtusl_server", "virtual_server")
        });
        let mut peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        until_only(&peers, 0);
        let held = snapshot::addresses(lab.director(0), "eth0");
        assert!(held.contains(&"192.0.2.10/24".to_owned()), "with its prefix: {held:?}");
        assert!(peers[0].says("nopreempt") >= 1, "lb1 will preempt, and says so: {}", peers[0].log().text());
        // Persistence: one client, one server.
        assert!(served(&lab, &peers[0]).is_none_or(|shares| shares.len() == 1));

        let _ = lab.client(0).try_run("ping", &["-c", "1", "-W", "2", &VIP.to_string()]);
        let wire = Wire::tap(&lab);
        Listener::open(&lab).wait_for(lab.director(0), 1);
        peers[0].kill9();
        peers[1].until_active();
        Listener::open(&lab).wait_for(lab.director(1), 1);
        let took = wire.stop().handover(1, lab.director(0), lab.director(1));
        assert_took(took, Duration::from_secs(3) + skew(100));
        wait::until(SOON, "the router to hear where the VIP is", || {
            (wire::neighbor(lab.router(), VIP) == Some(lab.director(1).mac())).then_some(())
        });
        assert!(served(&lab, &peers[1]).is_none_or(|shares| shares.len() == 1));
        peers[0].start_again(&configs[0]);
        until_only(&peers, 0);
        assert!(served(&lab, &peers[0]).is_none_or(|shares| shares.len() == 1));
    });
}

#[test]
fn seed_2_two_equals_settle_and_stay_settled() {
    each_way(|pair| {
        let lab = Lab::builder().directors(2).build();
        let servers = WebServer::on_all(&lab);
        for server in &servers {
            server.file("health_check.html", 10, 1);
        }
        let map: &[(&str, &str)] = &[
            ("192.168.10.110", "192.0.2.10"),
            ("192.168.10.103", "192.0.2.21"),
            ("192.168.10.104", "192.0.2.22"),
        ];
        let text = seed::text("2-lvs-dsr-lab/keepalived.conf", &map[..1]);
        let web = seed::text("2-lvs-dsr-lab/web_servers.conf", map);
        let files = [("keepalived.conf", text.as_str()), ("web_servers.conf", web.as_str())];
        let wire = Wire::tap(&lab);
        // At the same time.
        let start = |n: usize| Peer::start_amid(pair[n], &lab, n, &files, Mounts::new());
        let mut peers: [Peer; 2] = std::thread::scope(|scope| {
            let second = scope.spawn(|| start(1));
            [start(0), second.join().expect("it starts")]
        });
        let owner =
            wait::until(SOON, "one to hold the VIP alone", || match [0, 1].map(|n| peers[n].holds(VIP)) {
                [true, false] => Some(0),
                [false, true] => Some(1),
                _ => None,
            });
        let (winner, loser) = (lab.director(owner), lab.director(1 - owner));
        Listener::open(&lab).wait_for(winner, 5);
        let seen = wire.stop();
        assert!(seen.of(loser).count() <= 2, "settled in less than two adverts: {}", seen.story());
        let half = BTreeMap::from([("rs1".to_owned(), 10), ("rs2".to_owned(), 10)]);
        assert!(served(&lab, &peers[owner]).is_none_or(|shares| shares == half));
        let _ = lab.client(0).try_run("ping", &["-c", "1", "-W", "2", &VIP.to_string()]);
        assert_eq!(wire::neighbor(lab.router(), VIP), Some(winner.mac()), "no real server's");

        peers[1 - owner].stop();
        peers[1 - owner].start_again(&text);
        Listener::open(&lab).wait_for(winner, 5);
        until_only(&peers, owner);
        peers[owner].stop();
        until_only(&peers, 1 - owner);
        wait::until(SOON, "the router to hear where the VIP is", || {
            (wire::neighbor(lab.router(), VIP) == Some(loser.mac())).then_some(())
        });
        peers[owner].start_again(&text);
        Listener::open(&lab).wait_for(loser, 5);
        until_only(&peers, 1 - owner);
        assert!(served(&lab, &peers[1 - owner]).is_none_or(|shares| shares == half));
    });
}

/// What the directors of seed 3 find on their hosts: a user, a script, the hoster's metadata and its tool.
struct Hoster {
    folder: PathBuf,
    /// The hoster's metadata, one server each director.
    _metadata: Vec<WebServer>,
}

impl Hoster {
    fn new(lab: &Lab) -> Hoster {
        let folder = lab.file("hoster");
        let script = seed_3("master.sh", &[("FLOATING_IP_ADDR", "192.0.2.10")]);
        std::fs::create_dir_all(&folder).unwrap();
        open_up(lab.folder(), 0o755);
        let calls = folder.join("calls");
        std::fs::create_dir(&calls).unwrap();
        open_up(&calls, 0o777);
        let mut metadata = Vec::new();
        for (n, host) in lab.directors().enumerate() {
            let own = folder.join(host.role());
            for part in ["bin", "etc"] {
                std::fs::create_dir_all(own.join(part)).unwrap();
                open_up(&own.join(part), 0o755);
            }
            program(&own.join("etc/master.sh"), &script);
            program(&own.join("bin/python"), "#!/bin/sh\nexec sh \"$@\"\n");
            program(&own.join("bin/pidof"), "#!/bin/sh\n[ -d /proc/$(cat /usr/local/bin/haproxy.pid) ]\n");
            program(&own.join("bin/assign-ip"), &assign_ip(&calls));
            add_user(&own);
            host.ip("addr add 169.254.169.254/32 dev lo\n");
            let server = WebServer::start(lab, host);
            let files = server.folder().join("files/metadata/v1");
            std::fs::create_dir_all(files.join("floating_ip/ipv4")).unwrap();
            std::fs::write(files.join("id"), format!("{}", n + 1)).unwrap();
            let active = files.join("floating_ip/ipv4/active");
            std::fs::write(&active, "false").unwrap();
            open_up(&active, 0o666);
            std::os::unix::fs::symlink(&active, calls.join(format!("active{}", n + 1))).unwrap();
            metadata.push(server);
        }
        for part in ["", "director1", "director2"] {
            open_up(&folder.join(part), 0o755);
        }
        Hoster { folder, _metadata: metadata }
    }

    /// What a director on `host` sees in place of the machine's files.
    fn mounts(&self, host: &Host) -> Mounts {
        let own = self.folder.join(host.role());
        let mount = |what: &str, at: &str| (own.join(what), PathBuf::from(at));
        vec![
            mount("passwd", "/etc/passwd"),
            mount("group", "/etc/group"),
            mount("etc", "/etc/keepalived"),
            mount("bin", "/usr/local/bin"),
        ]
    }

    /// What `assign-ip` was called for, and by whom: `ID USER`, one line a call that succeeded.
    fn moves(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("calls/moves")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_for_moves(&self, count: usize) {
        wait::until(SOON, &format!("the floating IP to move {count} times"), || {
            (self.moves().len() >= count).then_some(())
        });
    }
}

/// The hoster's tool: fails three times, then moves the address and says so in the metadata.
fn assign_ip(calls: &Path) -> String {
    let calls = calls.display();
    format!(
        "#!/bin/sh\necho called >>{calls}/all\n[ $(wc -l <{calls}/all) -gt 3 ] || exit 1\n\
         for n in 1 2; do echo -n false >{calls}/active$n; done\necho -n true >{calls}/active$2\n\
         echo \"$2 $(id -un)\" >>{calls}/moves\n"
    )
}

fn add_user(folder: &Path) {
    let extend = |file: &str, line: &str| {
        let text = std::fs::read_to_string(Path::new("/etc").join(file)).unwrap();
        std::fs::write(folder.join(file), format!("{}\n{line}\n", text.trim_end())).unwrap();
        open_up(&folder.join(file), 0o644);
    };
    extend("passwd", "keepalived_script:x:64999:64999::/nonexistent:/bin/sh");
    extend("group", "keepalived_script:x:64999:");
}

fn program(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    open_up(path, 0o755);
}

fn open_up(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Values for the placeholders of the seed, and the path of `pidof`: the machine's would see the haproxy of the other
/// director too, which has processes of its own only in real life.
fn seed_3(file: &str, map: &[(&str, &str)]) -> String {
    seed::text(&format!("3-failover-unicast/{file}"), map)
}

/// haproxy on a director of seed 3.
fn haproxy(lab: &Lab, host: &Host, hoster: &Hoster) -> shunt_tests::Process {
    let config = lab.file(&format!("{}-haproxy.cfg", host.role()));
    let text = "defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 5s\n\
                frontend web\n  bind :8080\n  http-request return status 200\n";
    std::fs::write(&config, text).unwrap();
    let mut command = host.command("haproxy");
    command.args(["-db", "-f"]).arg(&config);
    let haproxy = host.spawn(command);
    let pid = hoster.folder.join(host.role()).join("bin/haproxy.pid");
    std::fs::write(&pid, haproxy.pid().to_string()).unwrap();
    open_up(&pid, 0o644);
    haproxy
}

#[test]
fn seed_3_moves_the_hoster_s_address_with_haproxy() {
    each_way(seed_3_pair);
}

fn seed_3_pair(pair: Pair) {
    let lab = Lab::builder().directors(2).real_servers(0).build();
    let hoster = Hoster::new(&lab);
    let mut proxies: Vec<_> = lab.directors().map(|host| haproxy(&lab, host, &hoster)).collect();
    let [first, second] = [0, 1].map(|n| lab.director(n).address().to_string());
    let config = |file| {
        let map = [
            ("IP_ADDR_LB1", &*first),
            ("IP_ADDR_LB2", &*second),
            ("/usr/sbin/pidof", "/usr/local/bin/pidof"),
        ];
        seed_3(file, &map)
    };
    let configs = [config("lb1.keepalived.conf"), config("lb2.keepalived.conf")];
    let wire = Wire::tap(&lab);
    let peers = [0, 1].map(|n| {
        let files = [("keepalived.conf", configs[n].as_str())];
        Peer::start_amid(pair[n], &lab, n, &files, hoster.mounts(lab.director(n)))
    });
    peers[0].wait_for(0, "(VI_1) Entering MASTER STATE");
    // The tool fails three times, three seconds apart; nothing waits for it.
    hoster.wait_for_moves(1);
    assert_eq!(hoster.moves(), ["1 keepalived_script"], "once, and as whom");
    let seen = wire.stop();
    let times: Vec<_> = seen.of(lab.director(0)).map(|heard| heard.time).collect();
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max().expect("adverts");
    assert!(widest < Duration::from_secs(1) + SLACK, "{widest:?} between two adverts");
    let (from, to): (IpAddr, IpAddr) = (first.parse().unwrap(), second.parse().unwrap());
    let good = Advert {
        destination: to,
        ..Advert::new(2, lab.director(0).mac(), from, 33, 200).password("isi_pass")
    };
    for heard in seen.of(lab.director(0)) {
        assert_eq!(Advert { destination_mac: None, ..heard.advert.clone() }, good);
    }
    assert_eq!(seen.of(lab.director(1)).count(), 0, "{}", seen.story());

    // haproxy ends on the first.
    let wire = Wire::tap(&lab);
    let marks = [peers[0].log().mark(), peers[1].log().mark()];
    proxies[0].kill9();
    peers[0].wait_for(marks[0], "(VI_1) Entering FAULT STATE");
    peers[1].wait_for(marks[1], "(VI_1) Entering MASTER STATE");
    hoster.wait_for_moves(2);
    let seen = wire.stop();
    assert_took(seen.handover(33, lab.director(0), lab.director(1)), skew(100));
    assert!(seen.of(lab.director(0)).any(|heard| heard.advert.priority == 0), "{}", seen.story());

    // And is back.
    let marks = [peers[0].log().mark(), peers[1].log().mark()];
    proxies[0] = haproxy(&lab, lab.director(0), &hoster);
    peers[0].wait_for(marks[0], "(VI_1) Entering MASTER STATE");
    peers[1].wait_for(marks[1], "(VI_1) Entering BACKUP STATE");
    hoster.wait_for_moves(3);
    assert_eq!(hoster.moves(), ["1 keepalived_script", "2 keepalived_script", "1 keepalived_script"]);
}

#[test]
fn seed_3_with_a_script_that_others_may_write_is_not_run_as_root_and_named() {
    let lab = Lab::builder().directors(2).real_servers(0).build();
    let hoster = Hoster::new(&lab);
    let _haproxy = haproxy(&lab, lab.director(0), &hoster);
    open_up(&hoster.folder.join("director1/etc/master.sh"), 0o757);
    let map = [
        ("IP_ADDR_LB1", "192.0.2.2"),
        ("IP_ADDR_LB2", "192.0.2.3"),
        ("/usr/sbin/pidof", "/usr/local/bin/pidof"),
    ];
    let text = seed_3("lb1.keepalived.conf", &map);
    let director =
        Director::launch_amid(&lab, 0, &[("keepalived.conf", &text)], hoster.mounts(lab.director(0)));
    let refused = |line: &str| line.contains("/etc/keepalived/master.sh") && line.contains("writ");
    if director.log().wait_for(0, SOON, refused).is_err() {
        panic!("it names neither file nor reason:\n{}", director.log().text());
    }
}
