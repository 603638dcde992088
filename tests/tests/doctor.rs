//! `shunt doctor` in the lab: a set-up that is well has no fault, each fault that is made gives its line, and the command that
//! the line names makes it go away.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use shunt_dataplane::packet::MacAddress;
use shunt_dataplane::xsk::program::Program;
use shunt_tests::address::{VIP, VIP6};
use shunt_tests::director::command;
use shunt_tests::tally::list;
use shunt_tests::{Director, Host, Keepalived, Lab, Service, WebServer, config};

/// What it takes at most: questions to a link where nobody answers, and three adverts.
const AT_MOST: Duration = Duration::from_secs(20);

/// What `shunt doctor` finds with a configuration, and whether it is content.
struct Visit<'a> {
    lab: &'a Lab,
    config: std::path::PathBuf,
    socket: std::path::PathBuf,
}

impl<'a> Visit<'a> {
    fn with(lab: &'a Lab, text: &str) -> Visit<'a> {
        let config = lab.file("doctor.toml");
        std::fs::write(&config, text).unwrap();
        Visit { lab, config, socket: lab.file("doctor.sock") }
    }

    fn of(lab: &'a Lab) -> Visit<'a> {
        Visit::with(lab, &config::file(lab, &[Service::tcp(80).all(lab)]))
    }

    /// All findings. They and the exit status agree.
    #[track_caller]
    fn findings(&self) -> Vec<Value> {
        let began = Instant::now();
        let mut doctor = command(self.lab.director(0), &self.socket);
        let output = doctor.arg("doctor").arg(&self.config).arg("--json").output().unwrap();
        assert!(began.elapsed() < AT_MOST, "it took {:?}", began.elapsed());
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(&output.stderr)));
        let findings = list(&report["findings"]).to_vec();
        let has_failed = findings.iter().any(|finding| finding["level"] == "fail");
        assert_eq!(report["ok"], !has_failed);
        assert_eq!(output.status.code(), Some(i32::from(has_failed)), "{report:#}");
        findings
    }

    /// The finding of this check; panics if there is none.
    #[track_caller]
    fn finding(&self, check: &str) -> Value {
        let findings = self.findings();
        let mut of_check = findings.iter().filter(|finding| finding["check"] == check);
        // The worst, if there are several.
        let found = of_check.clone().find(|finding| finding["level"] != "ok").or_else(|| of_check.next());
        found.unwrap_or_else(|| panic!("nothing about {check} in {findings:#?}")).clone()
    }

    /// The check is at this level, its command is run where it says, and then the check is well.
    #[track_caller]
    fn mends(&self, check: &str, level: &str, words: &str, elsewhere: Option<&Host>) {
        let finding = self.finding(check);
        assert_eq!(finding["level"], level, "{finding:#}");
        assert!(finding["what"].as_str().unwrap().contains(words), "{finding:#}");
        let (host, fix) = match elsewhere {
            Some(host) => (host, &finding["fix"]["elsewhere"]["run"]),
            None => (self.lab.director(0), &finding["fix"]["run"]),
        };
        let fix = fix.as_str().unwrap_or_else(|| panic!("{finding:#} has no command"));
        run(host.command_with_sysfs("sh"), fix);
        let finding = self.finding(check);
        assert_eq!(finding["level"], "ok", "after `{fix}`: {finding:#}");
    }
}

#[track_caller]
fn run(mut shell: Command, line: &str) {
    let output = shell.args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn no_fault(findings: &[Value]) {
    assert!(findings.len() > 10, "{findings:#?}");
    assert!(findings.iter().all(|finding| finding["level"] != "fail"), "{findings:#?}");
}

#[test]
fn a_set_up_that_is_well_has_no_fault_before_a_director_runs_and_while_it_does() {
    let lab = Lab::builder().ipv6().build();
    let _servers = WebServer::on_all(&lab);
    let services = [Service::tcp(80).all(&lab), Service::tcp(80).on(VIP6).all(&lab)];
    let text = config::file(&lab, &services);
    no_fault(&Visit::with(&lab, &text).findings());
    let director = Director::start(&lab, 0, &text);
    let visit =
        Visit { lab: &lab, config: director.config().to_owned(), socket: director.socket().to_owned() };
    let log = director.log().mark();
    let findings = visit.findings();
    no_fault(&findings);
    let of = |check: &str| {
        findings.iter().find(|finding| finding["check"] == check).unwrap()["what"].as_str().unwrap()
    };
    assert!(of("socket").contains(&format!("process {}", director.pid())), "{findings:#?}");
    assert!(of("eth0 program").contains("the shunt that runs"), "{findings:#?}");
    assert_eq!(of("eth0 xdp"), "as it runs: native XDP, copy mode");
    assert_eq!(of("real servers"), "4 of 4 real servers on the link, as they should be");
    assert_eq!(director.log().mark(), log, "the director has taken no notice: {}", director.log().text());
}

#[test]
fn a_person_reads_a_line_each_and_the_command_below_it() {
    let lab = Lab::builder().build();
    let host = lab.director(0);
    host.sysctl(&[("ipv4.conf.eth0.rp_filter", "1")]);
    let output = command(host, Path::new("/nowhere"))
        .args(["doctor", "--interface", "eth0", "--interface", "eth7"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "ok    keepalived: does not run\n",
        "fail  eth7 link: there is no such interface\n      run: ip link show\n",
        "pings of a VIP, answers to checks\n      run: sysctl -w net.ipv4.conf.eth0.rp_filter=2\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("1 fail, "));
}

#[test]
fn a_fault_of_the_configuration_is_found_at_its_line() {
    let lab = Lab::builder().real_servers(1).build();
    let text = config::file(&lab, &[Service::tcp(80).all(&lab)]).replace("port = 80", "port = 70000");
    let visit = Visit::with(&lab, &text);
    let finding = visit.finding("configuration");
    assert_eq!(finding["level"], "fail");
    assert!(finding["what"].as_str().unwrap().contains("doctor.toml:7:8: service.port: "), "{finding:#}");
}

#[test]
fn kernel_settings_and_interfaces_are_mended_by_their_commands() {
    let lab = Lab::builder().queues(2).build();
    let _servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    let visit = Visit::of(&lab);
    host.sysctl(&[("ipv4.conf.all.rp_filter", "1")]);
    visit.mends("eth0 rp_filter", "warn", "strict", None);
    host.sysctl(&[("ipv4.conf.eth0.arp_ignore", "8")]);
    visit.mends("eth0 arp_ignore", "fail", "does not answer", None);
    host.sysctl(&[("ipv4.ip_forward", "1")]);
    visit.mends("forwarding", "warn", "is a router (net.ipv4.ip_forward)", None);
    host.run("ethtool", &["-L", "eth0", "rx", "1", "tx", "1"]);
    visit.mends("eth0 queues", "warn", "1 queue of 2 in use", None);
    host.ip("link set eth0 mtu 9000\n");
    visit.mends("eth0 mtu", "fail", "9000", None);
    host.ip("link set eth0 down\n");
    visit.mends("eth0 link", "fail", "down", None);
}

#[test]
fn a_real_server_that_leaks_the_vip_and_a_stranger_that_has_it_are_found_and_silenced() {
    let lab = Lab::builder().ipv6().clients(1).directors(2).build();
    let services = [Service::tcp(80).all(&lab), Service::tcp(80).on(VIP6).all(&lab)];
    let visit = Visit::with(&lab, &config::file(&lab, &services));
    let (vip, vip6) = (VIP.to_string(), VIP6.to_string());
    let leaking = lab.real_server(0);
    leaking.sysctl(&[("ipv4.conf.all.arp_ignore", "0")]);
    visit.mends(&vip, "fail", &format!("real server {}", leaking.address()), Some(leaking));
    leaking.remove_address(VIP6, "lo");
    leaking.ip(&format!("addr add {VIP6}/128 dev eth0 nodad\n"));
    visit.mends(&vip6, "fail", &format!("real server {}", leaking.address6()), Some(leaking));
    let stranger = lab.director(1);
    let taken = |address: IpAddr| {
        let length = if address.is_ipv4() { 24 } else { 64 };
        stranger.ip(&format!("addr add {address}/{length} dev eth0\n"));
    };
    taken(VIP);
    visit.mends(&vip, "fail", &format!("{} says that it has the VIP", stranger.mac()), Some(stranger));
}

#[test]
fn a_real_server_that_does_not_answer_is_found() {
    let lab = Lab::builder().build();
    let silent = lab.real_server(1);
    silent.ip("link set eth0 down\n");
    let visit = Visit::of(&lab);
    let check = format!("real server {}", silent.address());
    let finding = visit.finding(&check);
    assert_eq!(finding["level"], "fail", "{finding:#}");
    assert!(finding["what"].as_str().unwrap().contains("answers no ARP on eth0"), "{finding:#}");
    silent.ip("link set eth0 up\n");
    no_fault(&visit.findings());
}

#[test]
fn an_xdp_program_of_somebody_else_is_found_and_taken_off() {
    let lab = Lab::builder().build();
    let host = lab.director(0);
    let visit = Visit::of(&lab);
    let index = host.enter(|| nix::net::if_::if_nametoindex("eth0").unwrap());
    let mac = MacAddress(host.mac().0);
    let program = host.enter(|| Program::attach("eth0", index, mac).unwrap());
    let words = format!("(process {}) is attached", std::process::id());
    visit.mends("eth0 program", "fail", &words, None);
    drop(program);
}

#[test]
fn keepalived_that_runs_here_is_found_and_ended() {
    let lab = Lab::builder().directors(2).build();
    let text = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 90\n advert_int 1\n \
                virtual_ipaddress {\n 192.0.2.77\n }\n}\n";
    // That of another machine is no fault of this one.
    let _elsewhere = Keepalived::start(&lab, 1, text);
    let _servers = WebServer::on_all(&lab);
    let visit = Visit::of(&lab);
    no_fault(&visit.findings());
    let mut keepalived = Keepalived::start(&lab, 0, text);
    let finding = visit.finding("keepalived");
    assert_eq!(finding["fix"]["run"], format!("kill {}", keepalived.process().pid()));
    run(lab.director(0).command("sh"), finding["fix"]["run"].as_str().unwrap());
    keepalived.process().wait(AT_MOST);
    assert_eq!(visit.finding("keepalived")["level"], "ok");
}

#[test]
fn the_active_director_is_heard_and_may_have_the_vip() {
    let lab = Lab::builder().directors(2).build();
    let _servers = WebServer::on_all(&lab);
    let router = |priority: u8| {
        format!(
            "{}\n[[vrrp.router]]\nname = \"web\"\ninterface = \"eth0\"\nvrid = 51\npriority = {priority}\n\
             interval = \"100ms\"\naddresses = [\"{VIP}\"]\n",
            config::file(&lab, &[Service::tcp(80).all(&lab)])
        )
    };
    let visit = Visit::with(&lab, &router(100));
    assert_eq!(visit.finding("web vrrp")["what"], "no other director is heard for VRID 51");
    let other = Director::start(&lab, 1, &router(150));
    shunt_tests::wait::until(AT_MOST, "the other director to be active", || {
        (other.show("vrrp")["routers"][0]["state"] == "MASTER").then_some(())
    });
    let findings = visit.findings();
    no_fault(&findings);
    let of = |check: &str| findings.iter().find(|finding| finding["check"] == check).unwrap();
    let address = lab.director(1).address();
    assert_eq!(of("web vrrp")["what"], format!("{address} is active, with priority 150"));
    let held = format!("held by the director at {}", lab.director(1).mac());
    assert_eq!(of(&VIP.to_string())["what"], held);
}
