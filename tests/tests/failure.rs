//! A real server dies in the middle of a download, and the service says what becomes of the flow.
//!
//! The server is killed and its host falls silent: nothing leaves it from the VIP any more, as if the power were gone.
//! (While the host lives its kernel ends the connection itself.) The director can only answer what the client sends: it
//! asks once a second whether the server is still there (TCP keepalive), as every client that only listens should.

use std::process::ExitStatus;
use std::time::Duration;

use pnet_packet::tcp::TcpFlags;
use shunt_tests::address::VIP;
use shunt_tests::{
    Capture, Director, Frame, Lab, Process, Service, Tally, WebServer, config, craft, expect, shown, wait,
};

const SOON: Duration = Duration::from_secs(30);
const BYTES: u64 = 64 << 20;
/// One failure is enough, and it is noticed at once.
const CHECK: &str = r#"{ type = "tcp", interval = "100ms", timeout = "100ms", rise = 1, fall = 1 }"#;

struct Scene {
    // Before the lab: ended while the namespaces still stand.
    download: Process,
    director: Director,
    _servers: Vec<WebServer>,
    /// All RSTs from the VIP, at the director's port and at the ports of both real servers.
    resets: [Capture; 3],
    holder: usize,
    lab: Lab,
}

/// A download whose real server has just died, and the director knows.
fn a_server_dies(on_failure: &str) -> Scene {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    servers.iter().for_each(|server| drop(server.file("slow", BYTES, 1)));
    let service = Service::tcp(80).checked(CHECK).with(&format!("on_failure = \"{on_failure}\"")).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let client = lab.client(0);
    let file = lab.file("long");
    let mut curl = client.curl();
    // What is slow is the server: curl's own limit makes it sleep, and deaf, for as long as its average asks.
    curl.args(["--fail", "--no-buffer", "--keepalive-time", "1", "--output"]);
    curl.arg(&file).arg(format!("http://{VIP}/slow"));
    let download = client.spawn(curl);
    let holder = shown::holder(&lab, &director, client.address());
    wait::until(SOON, "its beginning", || (std::fs::metadata(&file).ok()?.len() > 0).then_some(()));

    let filter = format!("src host {VIP} and tcp[tcpflags] & tcp-rst != 0");
    let resets = [lab.director(0), lab.real_server(0), lab.real_server(1)]
        .map(|host| lab.capture(host.port(), &filter));
    let host = lab.real_server(holder);
    host.feed(
        "nft",
        &["-f", "-"],
        &format!(
            "add table inet silent\n\
             add chain inet silent output {{ type filter hook output priority 0; }}\n\
             add rule inet silent output ip saddr {VIP} drop\n"
        ),
    );
    servers[holder].kill9();
    shown::until_state(&director, host.address(), "down");
    Scene { download, director, _servers: servers, resets, holder, lab }
}

impl Scene {
    fn ends(&mut self) -> ExitStatus {
        self.download.wait(SOON)
    }

    /// The RSTs seen so far: at the director, at the dead server, at the other one.
    fn resets(self) -> [Vec<Frame>; 3] {
        let [director, first, second] = self.resets.map(Capture::stop);
        if self.holder == 0 { [director, first, second] } else { [director, second, first] }
    }
}

/// curl's word for "the connection was reset" (CURLE_RECV_ERROR).
const RESET: Option<i32> = Some(56);

#[test]
fn the_client_of_a_dead_server_is_reset_by_the_director() {
    let mut scene = a_server_dies("reset");
    let status = scene.ends();
    assert_eq!(status.code(), RESET, "{}", scene.download.log().text());
    let tally = Tally::settled(&scene.director);
    assert!(tally.dropped("real_gone") > 0, "{tally:#?}");
    // Others are served by the one that lives.
    let shares = expect::answered(&scene.lab.client(0).get_many(VIP, 20)).unwrap();
    assert_eq!(shares.len(), 1, "{shares:?}");
    let (mac, client, router) =
        (scene.lab.director(0).mac(), scene.lab.client(0).address(), scene.lab.router().mac());
    let [director, dead, other] = scene.resets();
    let sent: Vec<&Frame> = director.iter().filter(|frame| frame.source == mac).collect();
    assert!(!sent.is_empty(), "{director:#?}");
    for frame in sent {
        assert!(frame.is_from(VIP) && frame.is_to(client) && frame.destination == router, "{frame:?}");
        assert_eq!(frame.ip.as_ref().and_then(|ip| ip.ports).map(|ports| ports.0), Some(80));
        assert!(frame.tcp_flags() & TcpFlags::RST != 0);
    }
    let from_servers = dead.iter().chain(&other).filter(|frame| frame.source != mac).count();
    assert_eq!(from_servers, 0, "{dead:#?} {other:#?}");
}

#[test]
fn the_flow_of_a_dead_server_moves_to_another_which_resets_the_client() {
    let mut scene = a_server_dies("rehash");
    let status = scene.ends();
    assert_eq!(status.code(), RESET, "{}", scene.download.log().text());
    assert_eq!(shown::sum(&scene.director.show("workers"), &["moved"]), 1);
    let (director_mac, other_mac) =
        (scene.lab.director(0).mac(), scene.lab.real_server(1 - scene.holder).mac());
    let [director, _, other] = scene.resets();
    assert!(other.iter().any(|frame| frame.source == other_mac), "{other:#?}");
    assert!(!director.iter().any(|frame| frame.source == director_mac), "{director:#?}");
}

#[test]
fn the_flow_of_a_dead_server_is_kept_where_the_service_says_so() {
    let mut scene = a_server_dies("keep");
    // Heard from now on: the director knows that the server is dead, and sends it what the client says.
    let host = scene.lab.real_server(scene.holder);
    let client = scene.lab.client(0).address();
    let kept = host.packet_socket();
    let frame = kept.receive_where(SOON, |frame| {
        let frame = craft::view(frame);
        frame.is_from(client) && frame.is_to(VIP) && frame.source == scene.lab.director(0).mac()
    });
    assert!(frame.is_some(), "the dead server is sent its flow's frames");
    assert!(scene.download.ended().is_none(), "nobody has told the client");
    let workers = scene.director.show("workers");
    assert_eq!(shown::sum(&workers, &["moved"]), 0, "{workers:#}");
    let tally = Tally::of(&scene.director);
    assert_eq!(tally.dropped("real_gone"), 0, "{tally:#?}");
    // New flows do not go there.
    let shares = expect::answered(&scene.lab.client(0).get_many(VIP, 20)).unwrap();
    assert_eq!(shares.len(), 1, "{shares:?}");
    let mac = scene.lab.director(0).mac();
    let [director, ..] = scene.resets();
    assert!(!director.iter().any(|frame| frame.source == mac), "{director:#?}");
}
