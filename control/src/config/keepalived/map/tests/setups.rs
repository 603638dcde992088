//! Set-ups that people run, with addresses of a lab.

use std::time::Duration;

use super::{good, said};
use crate::config::{Place, VrrpHook, VrrpPart, defaults};
use crate::model::*;

const WEB: &str = "198.18.0.100";

const VI_1: &str = "vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 120
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        198.18.0.100
    }
}
";

#[test]
fn a_web_farm_with_connections_as_checks() {
    let real = |last| {
        format!("real_server 198.18.0.{last} 80 {{\nweight 1\nTCP_CHECK {{\nconnect_timeout 3\n}}\n}}\n")
    };
    let text = format!(
        "{VI_1}virtual_server {WEB} 80 {{\ndelay_loop 6\nlb_algo rr\nlb_kind DR\nprotocol TCP\n{}{}}}\n",
        real(11),
        real(12)
    );
    let loaded = good(&text);
    assert_eq!(said(&Ok(loaded.clone())), [""; 0]);
    let check = HealthCheck { timing: timing(6, 3, 1, 1), ..check(Probe::Tcp) };
    let reals = [11, 12].map(|last| RealServer { checks: vec![check.clone()], ..server(last) });
    let expected =
        VirtualService { scheduler: Scheduler::Rr, persistence: None, reals: reals.to_vec(), ..service() };
    assert_eq!(loaded.model, Model { vrrp: vrrp(), ..model(vec![expected]) });
    let key = loaded.model.services[0].key;
    let line = |place| loaded.locations.describe(&place).unwrap();
    assert_eq!(line(Place::Service(key)), "k.conf:15");
    assert_eq!(line(Place::Real(key, "198.18.0.12".parse().unwrap())), "k.conf:26");
    assert_eq!(line(Place::Check(key)), "k.conf:28");
    assert_eq!(line(Place::Interface("eth0".into())), "k.conf:3");
    assert_eq!(line(Place::Director), "k.conf:1");
}

#[test]
fn two_directors_with_persistence_a_sorry_server_and_requests_as_checks() {
    let real = |last| {
        format!(
            "real_server 198.18.0.{last} 80 {{\nweight 1\ninhibit_on_failure\nHTTP_GET {{\nurl {{\npath /\nstatus_code 200\n}}\n\
             connect_timeout 3\nnb_get_retry 3\ndelay_before_retry 3\n}}\n}}\n"
        )
    };
    let text = format!(
        "global_defs {{\nnotification_email {{\nalert@example.com\n}}\nnotification_email_from lb1@example.com\n\
         smtp_server mail.example.com\nsmtp_connect_timeout 30\nrouter_id lb1.example.com\n}}\n\
         vrrp_instance VI_1 {{\nstate MASTER\ninterface eth0\nvirtual_router_id 1\npriority 101\nnopreempt\nadvert_int 1\n\
         authentication {{\nauth_type PASS\nauth_pass foo\n}}\nvirtual_ipaddress {{\n{WEB}/24 dev eth0\n}}\n}}\n\
         virtual_server {WEB} 80 {{\ndelay_loop 6\nlvs_sched rr\nlvs_method DR\npersistence_timeout 50\nprotocol TCP\n\
         sorry_server 198.18.0.14 80\n{}{}}}\n",
        real(11),
        real(12)
    );
    let loaded = good(&text);
    assert_eq!(
        said(&Ok(loaded.clone())),
        [
            "warning: nopreempt does not work with state master and is cleared: this node will preempt",
            "warning: 'nb_get_retry' is deprecated - use 'retry'",
            "warning: 'nb_get_retry' is deprecated - use 'retry'",
        ]
    );
    let check = HealthCheck { timing: timing(6, 3, 3, 3), ..check(http("/", None)) };
    let reals =
        [11, 12].map(|last| RealServer { checks: vec![check.clone()], inhibit: true, ..server(last) });
    let reals = reals.map(|real| RealServer { hooks: Hooks { mail: true, ..Hooks::default() }, ..real });
    let sorry = server(14);
    let expected = VirtualService {
        scheduler: Scheduler::Rr,
        persistence: Some(Persistence { timeout: Duration::from_secs(50), prefix: 32 }),
        quorum: Quorum { sorry: Some(Sorry { server: sorry, inhibit: false }), ..Quorum::default() },
        reals: reals.to_vec(),
        ..service()
    };
    let mail = Mail {
        server: MailServer::Name("mail.example.com".into()),
        port: 25,
        helo: None,
        timeout: Duration::from_secs(30),
        from: Some("lb1@example.com".into()),
        to: vec!["alert@example.com".into()],
        router_id: Some("lb1.example.com".into()),
        no_faults: false,
    };
    let notify = Notify { mail: Some(mail), ..Notify::default() };
    let mut held = router();
    held.addresses[0].prefix_len = 24;
    let held = VirtualRouter {
        vrid: 1,
        priority: 101,
        begins_active: true,
        password: Some(*b"foo\0\0\0\0\0"),
        ..held
    };
    let vrrp = Vrrp { routers: vec![held], ..Vrrp::default() };
    assert_eq!(loaded.model, Model { notify, vrrp, ..model(vec![expected]) });
}

#[test]
fn two_equal_directors_with_a_group() {
    let real = |last| {
        format!(
            "real_server 198.18.0.{last} 80 {{\nweight 1\ninhibit_on_failure\nHTTP_GET {{\nurl {{\npath /health_check.html\n\
             status_code 200\n}}\nconnect_port 80\nconnect_timeout 3\n}}\n}}\n"
        )
    };
    let text = format!(
        "global_defs {{\nnotification_email {{\n}}\nrouter_id LVS_DEVEL\n}}\n{VI_1}\
         virtual_server_group web_servers {{\n{WEB} 80\n}}\nvirtual_server group web_servers {{\ndelay_loop 3\nlvs_sched wrr\n\
         lvs_method DR\nprotocol TCP\n{}{}}}\n",
        real(12),
        real(13)
    );
    let loaded = good(&text);
    assert_eq!(said(&Ok(loaded.clone())), ["warning: the block is empty: no mail is sent"]);
    let check = HealthCheck { timing: timing(3, 3, 3, 1), ..check(http("/health_check.html", None)) };
    let reals =
        [12, 13].map(|last| RealServer { checks: vec![check.clone()], inhibit: true, ..server(last) });
    let expected = VirtualService {
        scheduler: Scheduler::Wrr,
        group: Some("web_servers".into()),
        reals: reals.to_vec(),
        ..service()
    };
    assert_eq!(loaded.model, Model { vrrp: vrrp(), ..model(vec![expected]) });
}

#[test]
fn vrrp_alone_between_two_directors() {
    let text = "global_defs {\nenable_script_security\n}\nvrrp_script chk_haproxy {\nscript \"/usr/sbin/pidof haproxy\"\n\
                interval 2\n}\nvrrp_instance VI_1 {\ninterface eth0\nstate MASTER\npriority 200\nvirtual_router_id 33\n\
                unicast_src_ip 198.18.0.1\nunicast_peer {\n198.18.0.2\n}\nauthentication {\nauth_type PASS\n\
                auth_pass isi_passwd_bebas_maks_8_karakter\n}\ntrack_script {\nchk_haproxy\n}\n\
                notify_master /etc/keepalived/master.sh\n}\n";
    let loaded = good(text);
    assert_eq!(
        said(&Ok(loaded.clone())),
        [
            "warning: vrrp_instance 'vi_1' has no virtual_ipaddress: it tells who is active, and no more",
            "warning: auth_pass is truncated to its first 8 bytes",
        ]
    );
    let command = |argv: &[&str]| Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        user: None,
        timeout: None,
    };
    let peers = vec![Peer { address: "198.18.0.2".parse().unwrap(), min_ttl: 0, max_ttl: 255 }];
    let router = VirtualRouter {
        vrid: 33,
        priority: 200,
        begins_active: true,
        password: Some(*b"isi_pass"),
        addresses: Vec::new(),
        peers: Peers::Unicast { peers, ttl: 255, fault_without: false },
        source: Some("198.18.0.1".parse().unwrap()),
        track: Tracking {
            scripts: vec![Tracked { name: "chk_haproxy".into(), effect: Effect::Fault }],
            ..Tracking::default()
        },
        hooks: VrrpHooks { active: Some(command(&["/etc/keepalived/master.sh"])), ..VrrpHooks::default() },
        ..router()
    };
    let script = TrackScript {
        name: "chk_haproxy".into(),
        command: command(&["/usr/sbin/pidof", "haproxy"]),
        interval: Duration::from_secs(2),
        effect: Effect::Fault,
        rise: 1,
        fall: 1,
        init_fail: false,
    };
    let vrrp = Vrrp { routers: vec![router], scripts: vec![script], ..Vrrp::default() };
    let scripts = Scripts { security: true, user: None };
    assert_eq!(loaded.model, Model { scripts, vrrp, ..model(Vec::new()) });
    let line =
        |kind, name: &str| loaded.locations.describe(&Place::Vrrp { kind, name: name.to_owned() }).unwrap();
    assert_eq!(line(VrrpPart::Router, "VI_1"), "k.conf:8");
    assert_eq!(line(VrrpPart::Script, "chk_haproxy"), "k.conf:4");
    assert_eq!(line(VrrpPart::RouterHook(VrrpHook::Active), "VI_1"), "k.conf:24");
}

#[test]
fn mail_that_nobody_gets_is_not_asked_for_and_told_once() {
    let file = |globals: &str| {
        let real = |last| format!("real_server 198.18.0.{last} 80 {{\nsmtp_alert\n}}\n");
        let reals = real(11) + &real(12);
        format!(
            "{globals}virtual_server {WEB} 80 {{\nlb_kind DR\nprotocol TCP\nsmtp_alert\n{reals}}}\n\
             virtual_server {WEB} 81 {{\nlb_kind DR\nprotocol TCP\nreal_server 198.18.0.11 81 {{\nsmtp_alert off\n}}\n}}\n"
        )
    };
    let asked = |globals: &str| {
        let loaded = good(&file(globals));
        let services = loaded.model.services.iter();
        let mail: Vec<bool> = services
            .flat_map(|service| {
                let reals = service.reals.iter().map(|real| real.hooks.mail);
                [service.quorum.hooks.mail].into_iter().chain(reals).collect::<Vec<_>>()
            })
            .collect();
        (mail, said(&Ok(loaded)))
    };
    let nobody = vec![false; 5];
    let (mail, told) = asked("");
    assert_eq!(mail, nobody);
    assert_eq!(told, ["warning: no mail is sent: there is no smtp_server and no notification_email"]);
    let (mail, told) = asked("global_defs {\nsmtp_server 198.18.0.25\n}\n");
    assert_eq!(mail, nobody);
    assert_eq!(told, ["warning: no mail is sent: there is no notification_email"]);
    let (mail, told) =
        asked("global_defs {\nsmtp_server 198.18.0.25\nnotification_email {\nops@example.com\n}\n}\n");
    assert_eq!(mail, [true, true, true, false, false]);
    assert_eq!(told, [""; 0]);
}

#[test]
fn a_block_with_a_slip_in_its_name_is_one_error_and_the_rest_is_read() {
    let text = format!(
        "{VI_1}virtusl_server {WEB} 80 {{\ndelay_loop 6\nlvs_sched rr\nreal_server 198.18.0.11 80 {{\nnonsense\n}}\n}}\n\
         virtual_server {WEB} 81 {{\nlb_kind NAT\nprotocol TCP\nreal_server 198.18.0.11 81 {{\n}}\n}}\n"
    );
    let outcome = super::mapped(&text);
    let errors: Vec<String> =
        said(&outcome).into_iter().filter(|message| message.starts_with("error")).collect();
    assert_eq!(
        errors,
        [
            "error: unknown block 'virtusl_server' - did you mean 'virtual_server'?",
            "error: nat: this director is for direct routing only; answers do not come back through it",
        ]
    );
}

/// That of `VI_1`.
fn router() -> VirtualRouter {
    let address = VirtualAddress {
        address: WEB.parse().unwrap(),
        prefix_len: 32,
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        peer: None,
        no_track: false,
    };
    VirtualRouter {
        name: "VI_1".into(),
        version: Version::V2,
        ipv6: false,
        interface: "eth0".into(),
        vrid: 51,
        priority: 120,
        begins_active: false,
        interval: Duration::from_secs(1),
        down_timer_adverts: 3,
        password: Some(*b"1111\0\0\0\0"),
        addresses: vec![address],
        excluded: Vec::new(),
        peers: Peers::Multicast { group: "224.0.0.18".parse().unwrap() },
        source: None,
        track_source: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        checks: AdvertChecks::default(),
        checksum: Checksum::PseudoHeader,
        vmac: None,
        announce: Announce::default(),
        track: Tracking::default(),
        hooks: VrrpHooks::default(),
    }
}

fn vrrp() -> Vrrp {
    Vrrp { routers: vec![router()], ..Vrrp::default() }
}

fn model(mut services: Vec<VirtualService>) -> Model {
    if let [only] = services.as_mut_slice() {
        only.table_share = defaults::TABLE_SHARE_ALONE;
    }
    let director = Director {
        interfaces: vec!["eth0".into()],
        auto_interfaces: true,
        cores: Vec::new(),
        flows_per_worker: defaults::FLOWS_PER_WORKER,
        flows_per_worker_ipv6: defaults::FLOWS_PER_WORKER,
        frames_per_queue: defaults::FRAMES_PER_QUEUE,
        hash_key: defaults::HASH_KEY,
        idle: Idle::Adaptive,
        worker_failure: WorkerFailure::Exit,
        icmp_rate: defaults::ICMP_RATE,
        reset_rate: defaults::RESET_RATE,
        timeouts: defaults::TIMEOUTS,
        metrics: None,
        socket_group: None,
    };
    Model {
        director,
        services,
        scripts: Scripts::default(),
        notify: Notify::default(),
        vrrp: Default::default(),
    }
}

fn service() -> VirtualService {
    VirtualService {
        key: ServiceKey { vip: WEB.parse().unwrap(), protocol: Protocol::Tcp, ports: Ports::exact(80) },
        scheduler: Scheduler::Wlc,
        persistence: None,
        one_packet: false,
        on_failure: OnFailure::Reset,
        no_real: NoReal::Unreachable,
        strict: false,
        keep_ttl: false,
        table_share: defaults::TABLE_SHARE,
        slow_start: None,
        timeouts: defaults::TIMEOUTS,
        vip_check: VipCheck::Reports,
        quorum: Quorum::default(),
        omega: false,
        group: None,
        passive: None,
        reals: Vec::new(),
    }
}

fn server(last: u8) -> RealServer {
    RealServer {
        address: [198, 18, 0, last].into(),
        weight: 1,
        thresholds: Thresholds::default(),
        vlan: Vlan::Keep,
        mac: None,
        interface: None,
        mtu: None,
        checks: Vec::new(),
        inhibit: false,
        hooks: Hooks::default(),
    }
}

fn check(probe: Probe) -> HealthCheck {
    let target = Target { port: 80, ..Target::default() };
    HealthCheck { probe, target, timing: timing(60, 5, 1, 1), start: Start::Up, log_all_failures: false }
}

fn http(path: &str, host: Option<&str>) -> Probe {
    let request =
        Request { path: path.into(), host: None, status: vec![(200, 200)], digest: None, pattern: None };
    Probe::Http(Http {
        tls: None,
        version: HttpVersion::Http10,
        host: host.map(str::to_owned),
        requests: vec![request],
        fast_recovery: false,
    })
}

/// In seconds, and the retries.
fn timing(interval: u64, timeout: u64, before_retry: u64, retries: u32) -> Timing {
    Timing {
        interval: Duration::from_secs(interval),
        timeout: Duration::from_secs(timeout),
        retry: Some(Duration::from_secs(before_retry)),
        rise: 1,
        fall: retries + 1,
        warmup: Some(Duration::from_secs(interval)),
    }
}
