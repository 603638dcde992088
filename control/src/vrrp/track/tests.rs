//! Standings of routers that track everything, and real scripts, files and processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::address::{Address, Duplicates};
use crate::link::Link;
use crate::model::{
    AdvertChecks, Announce, ArgumentMatch, Checksum, Command, Effect, Peer, Peers, Scripts, SyncGroup,
    TrackFile, TrackProcess, TrackScript, Version, VirtualAddress, VirtualRouter, VrrpHooks,
};
use crate::vrrp::Standing;

const ENOUGH: Duration = Duration::from_secs(20);

fn router(name: &str, priority: u8) -> VirtualRouter {
    VirtualRouter {
        name: name.to_owned(),
        version: Version::V2,
        ipv6: false,
        interface: "eth0".to_owned(),
        vrid: 51,
        priority,
        begins_active: false,
        interval: Duration::from_secs(1),
        down_timer_adverts: 3,
        password: None,
        addresses: vec![virtual_address("192.0.2.10")],
        excluded: Vec::new(),
        peers: Peers::Multicast { group: IpAddr::from([224, 0, 0, 18]) },
        source: None,
        track_source: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        checks: AdvertChecks::default(),
        checksum: Checksum::default(),
        vmac: None,
        announce: Announce::default(),
        track: Tracking::default(),
        hooks: VrrpHooks::default(),
    }
}

fn virtual_address(address: &str) -> VirtualAddress {
    VirtualAddress {
        address: address.parse().unwrap(),
        prefix_len: 32,
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        peer: None,
        no_track: false,
    }
}

fn group(members: &[&str], track: Tracking) -> SyncGroup {
    SyncGroup {
        name: "VG".to_owned(),
        members: members.iter().map(|name| (*name).to_owned()).collect(),
        track,
        tracking_weight: false,
        hooks: VrrpHooks::default(),
    }
}

fn link(index: u32, name: &str, up: bool) -> (u32, Link) {
    let link = Link {
        name: name.to_owned(),
        index,
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up,
        carrier: up,
        kind: "veth".to_owned(),
        driver: "veth".to_owned(),
        rx_queues: 1,
        tx_queues: 1,
        strips_tags: false,
    };
    (index, link)
}

fn address(index: u32, text: &str) -> Address {
    let address = text.parse().unwrap();
    Address { index, address, subnet: address, prefix_len: 24, marked: false, duplicates: Duplicates::None }
}

fn tracked(name: &str, effect: Effect) -> Tracked {
    Tracked { name: name.to_owned(), effect }
}

fn weight(weight: i16) -> Effect {
    Effect::Weight { weight, reverse: false }
}

/// With eth0 and eth1 up, an address on each.
fn stand(vrrp: &Vrrp, results: &Results) -> Vec<Option<Standing>> {
    let links = BTreeMap::from([link(2, "eth0", true), link(3, "eth1", true)]);
    standings(vrrp, results, &links, &[address(2, "192.0.2.1"), address(3, "198.51.100.1")])
}

fn one(router: VirtualRouter, results: &Results) -> Option<Standing> {
    stand(&Vrrp { routers: vec![router], ..Vrrp::default() }, results).remove(0)
}

/// Of a router with priority 100 that tracks so: its priority, or its fault.
fn result(track: Tracking, results: &Results) -> Result<u8, String> {
    let standing = one(VirtualRouter { track, ..router("VI_1", 100) }, results).expect("it is known");
    standing.fault.map_or(Ok(standing.priority), Err)
}

fn script(effect: Effect, health: Health) -> Result<u8, String> {
    let track = Tracking { scripts: vec![tracked("chk", effect)], ..Tracking::default() };
    result(track, &Results { scripts: BTreeMap::from([("chk".to_owned(), health)]), ..Results::default() })
}

fn failed() -> Health {
    Health::Failed("exited with status 1".to_owned())
}

#[test]
fn a_weight_is_added_while_well_or_taken_off_while_not() {
    let reverse = |weight| Effect::Weight { weight, reverse: true };
    for (effect, well, not) in [
        (weight(20), 120, 100),
        (weight(-20), 100, 80),
        (reverse(20), 80, 100),
        (reverse(-20), 100, 120),
        (weight(253), 254, 100),
        (weight(-253), 100, 1),
    ] {
        assert_eq!(script(effect, Health::Well), Ok(well), "{effect:?}");
        assert_eq!(script(effect, failed()), Ok(not), "{effect:?}");
        assert_eq!(script(effect, Health::Waiting), Ok(100), "{effect:?}");
    }
}

#[test]
fn without_a_weight_failure_is_a_fault_in_words() {
    assert_eq!(script(Effect::Fault, Health::Well), Ok(100));
    assert_eq!(script(Effect::Fault, failed()), Err("script chk failed: exited with status 1".to_owned()));
    let reverse = Effect::Weight { weight: 0, reverse: true };
    assert_eq!(script(reverse, Health::Well), Err("script chk succeeded".to_owned()));
    assert_eq!(script(reverse, failed()), Ok(100));
}

#[test]
fn a_router_waits_for_its_scripts_and_its_group_for_all_of_them() {
    let mut waits = router("VI_1", 100);
    waits.track.scripts = vec![tracked("chk", Effect::Fault)];
    let mut vrrp = Vrrp { routers: vec![waits.clone(), router("VI_2", 100)], ..Vrrp::default() };
    let waiting =
        Results { scripts: BTreeMap::from([("chk".to_owned(), Health::Waiting)]), ..Results::default() };
    let known =
        |vrrp: &Vrrp, results: &Results| stand(vrrp, results).iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(known(&vrrp, &Results::default()), [false, true]);
    assert_eq!(known(&vrrp, &waiting), [false, true]);
    vrrp.groups = vec![group(&["VI_1", "VI_2"], Tracking::default())];
    assert_eq!(known(&vrrp, &waiting), [false, false]);
    // What is a fault already is no reason to wait.
    vrrp.routers[0].interface = "eth7".to_owned();
    let standing = stand(&vrrp, &waiting);
    assert_eq!(standing[0].as_ref().unwrap().fault.as_deref(), Some("eth7 is missing"));
    assert_eq!(standing[1], None);
}

#[test]
fn interfaces_are_missing_down_or_without_an_address() {
    let of = |router: &VirtualRouter, links: &[(u32, Link)], addresses: &[Address]| {
        let vrrp = Vrrp { routers: vec![router.clone()], ..Vrrp::default() };
        let links = links.iter().cloned().collect();
        standings(&vrrp, &Results::default(), &links, addresses).remove(0).and_then(|standing| standing.fault)
    };
    let mut router = router("VI_1", 100);
    let here = [address(2, "192.0.2.1")];
    let (up, down) = (link(2, "eth0", true), link(2, "eth0", false));
    let says = |fault: Option<String>| fault.unwrap_or_default();
    assert_eq!(says(of(&router, &[], &here)), "eth0 is missing");
    assert_eq!(says(of(&router, std::slice::from_ref(&down), &here)), "eth0 is down");
    assert_eq!(says(of(&router, std::slice::from_ref(&up), &[])), "eth0 has no IPv4 address");
    assert_eq!(says(of(&router, std::slice::from_ref(&up), &here)), "");
    router.track.interfaces = vec![tracked("eth1", Effect::Fault)];
    assert_eq!(says(of(&router, std::slice::from_ref(&up), &here)), "tracked interface eth1 is missing");
    let two = [up, link(3, "eth1", false)];
    assert_eq!(says(of(&router, &two, &here)), "tracked interface eth1 is down");
    router.track.interfaces = vec![tracked("eth1", weight(-30))];
    assert_eq!(of(&router, &two, &here), None);
    router.track.not_own_interface = true;
    assert_eq!(of(&router, &[down], &here), None);
    router.peers = Peers::Unicast { peers: Vec::new(), ttl: 255, fault_without: true };
    assert_eq!(says(of(&router, &two, &here)), "it has no unicast peer");
}

#[test]
fn the_source_is_the_primary_address_and_never_ours() {
    let of = |router: &VirtualRouter, addresses: &[Address]| {
        let vrrp = Vrrp { routers: vec![router.clone()], ..Vrrp::default() };
        let links = BTreeMap::from([link(2, "eth0", true)]);
        standings(&vrrp, &Results::default(), &links, addresses).remove(0).map(|standing| standing.source)
    };
    let is = |text: &str| Some(Some(text.parse::<IpAddr>().unwrap()));
    let mut router = router("VI_1", 100);
    let marked = Address { marked: true, ..address(2, "203.0.113.1") };
    let vip = address(2, "192.0.2.10");
    let others = [marked, address(3, "192.0.2.3"), address(2, "fe80::1"), vip, address(2, "192.0.2.1")];
    assert_eq!(of(&router, &others), is("192.0.2.1"));
    assert_eq!(of(&router, &[marked, vip]), is("192.0.2.10"), "an owner's");
    assert_eq!(of(&router, &[marked]), Some(None));
    router.source = Some(IpAddr::from([192, 0, 2, 99]));
    assert_eq!(of(&router, &others), is("192.0.2.99"));
    router.track_source = true;
    assert_eq!(of(&router, &others), Some(None));
    (router.ipv6, router.source) = (true, None);
    let global = address(2, "2001:db8::1");
    assert_eq!(of(&router, &[global, address(2, "fe80::1")]), is("fe80::1"));
    let sought = Address { duplicates: Duplicates::Sought, ..address(2, "fe80::1") };
    assert_eq!(of(&router, &[global, sought]), None, "it waits");
    let found = Address { duplicates: Duplicates::Found, ..sought };
    assert_eq!(of(&router, &[global, found]), Some(None));
    let peer = Peer { address: "2001:db8::2".parse().unwrap(), min_ttl: 0, max_ttl: 255 };
    router.peers = Peers::Unicast { peers: vec![peer], ttl: 255, fault_without: false };
    assert_eq!(of(&router, &[address(2, "fe80::1"), global]), is("2001:db8::1"));
}

#[test]
fn a_file_s_number_is_multiplied_and_too_little_is_a_fault() {
    let file = |effect, number| {
        let track = Tracking { files: vec![tracked("f", effect)], ..Tracking::default() };
        result(track, &Results { files: BTreeMap::from([("f".to_owned(), number)]), ..Results::default() })
    };
    assert_eq!(file(weight(2), 10), Ok(120));
    assert_eq!(file(weight(-2), 10), Ok(80));
    assert_eq!(file(Effect::Weight { weight: 2, reverse: true }, 10), Ok(80));
    assert_eq!(file(weight(1), -253), Ok(1));
    assert_eq!(file(weight(1), -254), Err("tracked file f has -254".to_owned()));
    assert_eq!(file(weight(100), i64::MAX), Ok(254));
    assert_eq!(file(Effect::Fault, 0), Ok(100));
    assert_eq!(file(Effect::Fault, 7), Err("tracked file f has 7".to_owned()));
    assert_eq!(file(Effect::Weight { weight: 0, reverse: true }, 7), Ok(100));
}

#[test]
fn a_director_that_cannot_forward_must_not_be_active() {
    let mut results = Results::default();
    assert_eq!(result(Tracking::default(), &results), Ok(100));
    results.dataplane.stalled = Some("worker 1 stands still".to_owned());
    assert_eq!(result(Tracking::default(), &results), Err("worker 1 stands still".to_owned()));
    assert_eq!(result(Tracking { workers: weight(-40), ..Tracking::default() }, &results), Ok(60));
    let mut results = Results::default();
    results.dataplane.silent = BTreeMap::from([("eth0".to_owned(), Duration::from_secs(10))]);
    let receiving = |seconds| Tracking {
        receiving: Some((Duration::from_secs(seconds), Effect::Fault)),
        ..Tracking::default()
    };
    assert_eq!(result(Tracking::default(), &results), Ok(100));
    assert_eq!(result(receiving(11), &results), Ok(100));
    assert_eq!(result(receiving(10), &results), Err("eth0 received nothing for 10s".to_owned()));
    results.dataplane.real_server_up = false;
    assert_eq!(result(Tracking::default(), &results), Ok(100));
    let reals = Tracking { real_servers: Some(weight(-10)), ..Tracking::default() };
    assert_eq!(result(reals, &results), Ok(90));
}

#[test]
fn what_a_group_tracks_all_its_members_do_and_weights_count_only_if_they_may() {
    let shared = Tracking {
        scripts: vec![tracked("chk", weight(-20))],
        interfaces: vec![tracked("eth1", weight(-20))],
        ..Tracking::default()
    };
    let mut vrrp = Vrrp {
        routers: vec![router("VI_1", 100), router("VI_2", 50)],
        groups: vec![group(&["VI_1", "VI_2"], shared)],
        ..Vrrp::default()
    };
    let results = Results { scripts: BTreeMap::from([("chk".to_owned(), failed())]), ..Results::default() };
    let links = BTreeMap::from([link(2, "eth0", true), link(3, "eth1", false)]);
    let all = |vrrp: &Vrrp| -> Vec<Result<u8, String>> {
        standings(vrrp, &results, &links, &[address(2, "192.0.2.1")])
            .into_iter()
            .map(|standing| standing.expect("it is known"))
            .map(|standing| standing.fault.map_or(Ok(standing.priority), Err))
            .collect()
    };
    let down = || Err("tracked interface eth1 is down".to_owned());
    assert_eq!(all(&vrrp), [down(), down()]);
    vrrp.groups[0].tracking_weight = true;
    assert_eq!(all(&vrrp), [Ok(60), Ok(10)]);
    // Its own fault is more than the group's weight, and its own weight less.
    vrrp.routers[0].track.scripts = vec![tracked("chk", Effect::Fault)];
    vrrp.routers[1].track.scripts = vec![tracked("chk", weight(-1))];
    assert_eq!(all(&vrrp), [Err("script chk failed: exited with status 1".to_owned()), Ok(10)]);
}

proptest! {
    #[test]
    fn the_priority_is_the_sum_within_bounds_and_an_owner_s_never_changes(
        base in 1..=255u8,
        tracks in prop::collection::vec((-253..=253i16, any::<bool>(), 0..3u8), 0..8),
    ) {
        let mut router = router("VI_1", base);
        let mut results = Results::default();
        let mut sum = i32::from(base);
        for (number, (weight, reverse, health)) in tracks.iter().enumerate() {
            let name = number.to_string();
            let weight = if *weight == 0 { 1 } else { *weight };
            router.track.scripts.push(tracked(&name, Effect::Weight { weight, reverse: *reverse }));
            let signed = i32::from(if *reverse { -weight } else { weight });
            let health = [Health::Waiting, Health::Well, failed()][usize::from(*health)].clone();
            sum += match health {
                Health::Well if weight > 0 => signed,
                Health::Failed(_) if weight < 0 => signed,
                _ => 0,
            };
            results.scripts.insert(name, health);
        }
        let standing = one(router, &results).expect("weights are not waited for");
        let expected = if base == 255 { 255 } else { u8::try_from(sum.clamp(1, 254)).unwrap() };
        prop_assert_eq!(standing.priority, expected);
        prop_assert_eq!(standing.fault, None);
    }
}

fn shell(body: &str) -> Command {
    Command { argv: ["/bin/sh", "-c", body].map(str::to_owned).to_vec(), user: None, timeout: None }
}

fn track_script(name: &str, body: &str) -> TrackScript {
    TrackScript {
        name: name.to_owned(),
        command: shell(body),
        interval: Duration::from_millis(50),
        effect: Effect::Fault,
        rise: 1,
        fall: 1,
        init_fail: false,
    }
}

/// A director that tracks these.
fn tracking(scripts: Vec<TrackScript>, files: Vec<TrackFile>, processes: Vec<TrackProcess>) -> Vrrp {
    let mut router = router("VI_1", 100);
    let fault = |name: &String| tracked(name, Effect::Fault);
    router.track = Tracking {
        scripts: scripts.iter().map(|script| fault(&script.name)).collect(),
        files: files.iter().map(|file| fault(&file.name)).collect(),
        processes: processes.iter().map(|process| fault(&process.name)).collect(),
        ..Tracking::default()
    };
    Vrrp { routers: vec![router], scripts, files, processes, ..Vrrp::default() }
}

struct Test {
    trackers: Trackers<Event>,
    events: UnboundedReceiver<Event>,
}

impl Test {
    fn new(vrrp: &Vrrp) -> Test {
        let (sender, events) = unbounded_channel();
        let mut trackers = Trackers::new(sender);
        trackers.set(vrrp, &Scripts::default());
        Test { trackers, events }
    }

    /// Reads results at each event until they are as they should be.
    async fn until(&mut self, done: impl Fn(&Results) -> bool) {
        let wait = async {
            while !done(&self.trackers.results()) {
                self.events.recv().await.expect("the trackers live");
            }
        };
        tokio::time::timeout(ENOUGH, wait).await.expect("it comes about");
    }
}

fn health(results: &Results, name: &str) -> Health {
    results.scripts.get(name).cloned().unwrap_or_default()
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("it");
    (directory, path)
}

#[tokio::test]
async fn a_script_says_whether_all_is_well() {
    let (_directory, path) = scratch();
    let vrrp = tracking(vec![track_script("chk", &format!("test -e {}", path.display()))], vec![], vec![]);
    let mut test = Test::new(&vrrp);
    assert_eq!(health(&test.trackers.results(), "chk"), Health::Waiting);
    test.until(|results| health(results, "chk") == failed()).await;
    fs::write(&path, "").unwrap();
    test.until(|results| health(results, "chk") == Health::Well).await;
    fs::remove_file(&path).unwrap();
    test.until(|results| health(results, "chk") == failed()).await;
}

#[tokio::test]
async fn a_script_that_hangs_fails_and_is_ended_and_never_runs_twice() {
    let (_directory, path) = scratch();
    // A second run at the same time would find the first one's mark.
    let body = format!(
        "mkdir {0} || echo twice > {0}.twice; trap 'rmdir {0}; exit 0' TERM; sleep 67 & wait",
        path.display()
    );
    let mut script = track_script("chk", &body);
    script.command.timeout = Some(Duration::from_millis(200));
    let mut test = Test::new(&tracking(vec![script], vec![], vec![]));
    test.until(|results| health(results, "chk") == Health::Failed("timed out".to_owned())).await;
    assert!(!path.with_extension("twice").exists());
}

#[tokio::test]
async fn a_script_that_cannot_be_run_has_failed_and_says_why() {
    let mut script = track_script("chk", "");
    script.command.argv = vec!["/nowhere/chk".to_owned()];
    let mut test = Test::new(&tracking(vec![script], vec![], vec![]));
    test.until(|results| {
        matches!(health(results, "chk"), Health::Failed(why) if why.contains("/nowhere does not exist"))
    })
    .await;
}

#[tokio::test]
async fn a_reload_keeps_the_results_of_what_is_the_same_and_forgets_the_rest() {
    let (_directory, path) = scratch();
    let runs = |name: &str| {
        let body = format!("echo {name} >> {}", path.display());
        TrackScript { interval: Duration::from_secs(100), ..track_script(name, &body) }
    };
    let (same, slower, gone) = (runs("same"), runs("slower"), runs("gone"));
    let mut test = Test::new(&tracking(vec![same.clone(), slower.clone(), gone], vec![], vec![]));
    let well = |results: &Results| results.scripts.values().all(|health| *health == Health::Well);
    test.until(|results| results.scripts.len() == 3 && well(results)).await;
    let slower = TrackScript { interval: Duration::from_secs(200), ..slower };
    let other = TrackScript { init_fail: true, ..track_script("other", "sleep 68") };
    let vrrp = tracking(vec![same, slower, other], vec![], vec![]);
    test.trackers.set(&vrrp, &Scripts::default());
    let results = test.trackers.results();
    assert_eq!(results.scripts.keys().collect::<Vec<_>>(), ["other", "same", "slower"]);
    assert_eq!((health(&results, "same"), health(&results, "slower")), (Health::Well, Health::Well));
    assert!(matches!(health(&results, "other"), Health::Failed(_)), "init_fail");
    let mut untracked = vrrp;
    untracked.routers.clear();
    test.trackers.set(&untracked, &Scripts::default());
    assert_eq!(test.trackers.results(), Results::default());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().filter(|line| *line == "same").count(), 1, "it was not disturbed");
}

#[tokio::test]
async fn events_are_one_however_much_changes() {
    let (sender, mut events) = unbounded_channel();
    let board = board::Board::new::<Event>(sender);
    for number in 0..10 {
        board.file("f", number);
    }
    board.process("p", true);
    assert_eq!(events.try_recv(), Ok(Event::Changed));
    assert!(events.try_recv().is_err());
    assert_eq!(board.read().files["f"], 9);
    board.file("f", 9);
    assert!(events.try_recv().is_err(), "that is no change");
    board.file("f", 8);
    assert_eq!(events.try_recv(), Ok(Event::Changed));
}

#[tokio::test]
async fn a_file_is_read_when_it_changes_and_made_where_asked_for() {
    let (directory, path) = scratch();
    let file =
        |name: &str, path: &Path, init| TrackFile { name: name.to_owned(), path: path.to_owned(), init };
    let (made, kept) = (directory.path().join("made"), directory.path().join("kept"));
    fs::write(&kept, "7\n").unwrap();
    let files = vec![
        file("f", &path, None),
        file("made", &made, Some((5, false))),
        file("kept", &kept, Some((5, false))),
    ];
    let mut test = Test::new(&tracking(vec![], files, vec![]));
    let is = |results: &Results, name: &str, number| results.files.get(name) == Some(&number);
    test.until(|all| is(all, "f", 0) && is(all, "made", 5) && is(all, "kept", 7)).await;
    assert_eq!(fs::read_to_string(&made).unwrap(), "5\n");
    fs::write(&path, "-12 so much").unwrap();
    test.until(|all| is(all, "f", -12)).await;
    let new = directory.path().join("new");
    fs::write(&new, "0x10").unwrap();
    fs::rename(&new, &path).unwrap();
    test.until(|all| is(all, "f", 16)).await;
    // What is no number at all is 0; one that is out of range changes nothing.
    fs::write(&kept, "99999999999999").unwrap();
    fs::write(&path, "none").unwrap();
    test.until(|all| is(all, "f", 0)).await;
    assert!(is(&test.trackers.results(), "kept", 7));
    fs::remove_file(&kept).unwrap();
    test.until(|all| is(all, "kept", 0)).await;
}

#[tokio::test]
async fn a_file_is_overwritten_at_the_start_only_and_a_link_never() {
    let (directory, path) = scratch();
    fs::write(&path, "1\n").unwrap();
    let target = directory.path().join("target");
    let linked = directory.path().join("linked");
    fs::write(&target, "1\n").unwrap();
    std::os::unix::fs::symlink(&target, &linked).unwrap();
    let file = |name: &str, path: &Path| TrackFile {
        name: name.to_owned(),
        path: path.to_owned(),
        init: Some((9, true)),
    };
    let vrrp = tracking(vec![], vec![file("f", &path), file("l", &linked)], vec![]);
    let mut test = Test::new(&vrrp);
    test.until(|all| all.files.get("f") == Some(&9) && all.files.get("l") == Some(&1)).await;
    let other = directory.path().join("other");
    fs::write(&other, "2\n").unwrap();
    let mut more = tracking(vec![], vec![file("f", &path), file("other", &other)], vec![]);
    more.routers[0].name = "VI_2".to_owned();
    test.trackers.set(&more, &Scripts::default());
    test.until(|all| all.files.get("other") == Some(&2)).await;
    assert_eq!(test.trackers.results().files.get("l"), None);
}

fn track_process(name: &str, process: &str) -> TrackProcess {
    TrackProcess {
        name: name.to_owned(),
        process: process.to_owned(),
        arguments: None,
        matching: ArgumentMatch::Exact,
        full_command: false,
        quorum: 1,
        quorum_max: None,
        fork_delay: Duration::ZERO,
        terminate_delay: Duration::ZERO,
    }
}

/// A process that waits, by a name that nobody else has; it ends when it is dropped.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn new(name: &str) -> Sleeper {
        Sleeper(std::process::Command::new("/bin/sleep").arg0(name).arg("69").spawn().expect("it starts"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn processes_are_counted_by_name_and_arguments() {
    let path = format!("/opt/shunt-test/tracked-{}", std::process::id());
    let name = path.rsplit('/').next().unwrap();
    let with = |of: &str, arguments: &[&str], matching| TrackProcess {
        arguments: Some(arguments.iter().map(|word| (*word).to_owned()).collect()),
        matching,
        ..track_process(of, name)
    };
    let processes = vec![
        track_process("name", name),
        TrackProcess { full_command: true, ..track_process("full", &path) },
        TrackProcess { full_command: true, ..track_process("not full", name) },
        TrackProcess { quorum: 2, ..track_process("two", name) },
        TrackProcess { quorum_max: Some(1), ..track_process("one", name) },
        with("exact", &["69"], ArgumentMatch::Exact),
        with("not exact", &[], ArgumentMatch::Exact),
        with("initial", &[], ArgumentMatch::Initial),
        with("partial", &["6"], ArgumentMatch::Partial),
        with("not initial", &["6"], ArgumentMatch::Initial),
    ];
    let first = Sleeper::new(&path);
    let mut test = Test::new(&tracking(vec![], vec![], processes));
    test.until(|all| all.processes.len() == 10).await;
    let results = test.trackers.results();
    let well: Vec<&str> =
        results.processes.iter().filter(|(_, well)| **well).map(|(name, _)| name.as_str()).collect();
    assert_eq!(well, ["exact", "full", "initial", "name", "one", "partial"]);
    let second = Sleeper::new(&path);
    test.until(|all| all.processes["two"] && !all.processes["one"]).await;
    drop((first, second));
    test.until(|all| !all.processes["name"] && !all.processes["two"]).await;
}

#[tokio::test]
async fn a_zombie_is_not_running() {
    let name = format!("zombie-{}", std::process::id());
    let path = scratch();
    let script = path.1.with_file_name(&name);
    fs::write(&script, "#!/bin/sh\nread line\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut child =
        std::process::Command::new(&script).stdin(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut test = Test::new(&tracking(vec![], vec![], vec![track_process("z", &name)]));
    test.until(|all| all.processes.get("z") == Some(&true)).await;
    drop(child.stdin.take());
    test.until(|all| all.processes.get("z") == Some(&false)).await;
    child.wait().unwrap();
}

#[test]
fn a_process_that_is_gone_for_less_than_its_delay_is_not_gone() {
    let process = TrackProcess { terminate_delay: Duration::from_secs(3), ..track_process("p", "p") };
    let mut opinion = process::Opinion::new(None);
    let start = Instant::now();
    let mut form = |seconds, well| {
        opinion.form(tokio::time::Instant::from_std(start + Duration::from_secs(seconds)), well, &process)
    };
    assert!(form(0, true), "the first sight is believed");
    assert!(!form(1, false) && !form(3, false) && !form(4, true));
    assert!(!form(5, false) && !form(7, false) && form(8, false));
    assert!(form(9, true), "there is no delay for that");
}
