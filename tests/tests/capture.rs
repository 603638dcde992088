//! `shunt capture` on the lab, read by a real tshark: frames as received and as sent with their verdicts, what is asked for in
//! the middle of a flood, what was lost, and what was refused before anybody asked.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use pnet_packet::tcp::TcpFlags;
use shunt_tests::address::VIP;
use shunt_tests::{
    Director, Flood, Injector, Lab, Process, Service, Sink, Tally, Watch, WebServer, config, craft, director,
    expect, wait,
};

const SOON: Duration = Duration::from_secs(20);

/// A capture in the background, which has begun.
#[track_caller]
fn capture(director: &Director, file: &Path, filter: &[&str]) -> Process {
    let mut command = director::command(director.host(), director.socket());
    command.arg("capture").arg("-w").arg(file).args(filter);
    let process = director.host().spawn(command);
    process.wait_for_line("capturing on eth0", SOON);
    process
}

/// Ends a capture by Ctrl-C: what it says then.
#[track_caller]
fn ended(mut capture: Process) -> String {
    capture.signal(Signal::SIGINT);
    let status = capture.wait(SOON);
    let text = capture.log().text();
    assert!(status.success(), "{status}: {text}");
    text
}

/// One packet of a file, as tshark tells of it.
#[derive(Debug, Clone)]
struct Packet {
    is_inbound: bool,
    comment: String,
    source_mac: String,
    destination_mac: String,
    source: String,
    source_port: String,
    ttl: u32,
    length: usize,
    interface: String,
}

impl Packet {
    /// What its comment says of something.
    #[track_caller]
    fn said(&self, key: &str) -> &str {
        let key = format!("{key}=");
        let value = self.comment.split(' ').find_map(|word| word.strip_prefix(&key));
        value.unwrap_or_else(|| panic!("no {key} in {:?}", self.comment))
    }
}

/// Has tshark read a file.
#[track_caller]
fn packets(lab: &Lab, file: &Path) -> Vec<Packet> {
    let fields = [
        "frame.packet_flags_direction",
        "frame.comment",
        "eth.src",
        "eth.dst",
        "ip.src",
        "tcp.srcport",
        "ip.ttl",
        "frame.len",
        "frame.interface_name",
    ];
    let path = file.to_str().expect("a path in UTF-8");
    let mut arguments = vec!["-n", "-r", path, "-T", "fields", "-E", "separator=|", "-E", "occurrence=f"];
    fields.iter().for_each(|field| arguments.extend(["-e", field]));
    let text = lab.switch().run("tshark", &arguments);
    let packet = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        let [direction, comment, source_mac, destination_mac, source, source_port, ttl, length, interface] =
            fields[..]
        else {
            panic!("{line}")
        };
        Packet {
            is_inbound: match direction {
                "1" | "0x00000001" => true,
                "2" | "0x00000002" => false,
                _ => panic!("neither in nor out: {line}"),
            },
            comment: comment.into(),
            source_mac: source_mac.into(),
            destination_mac: destination_mac.into(),
            source: source.into(),
            source_port: source_port.into(),
            ttl: ttl.parse().unwrap_or_else(|_| panic!("{line}")),
            length: length.parse().unwrap_or_else(|_| panic!("{line}")),
            interface: interface.into(),
        }
    };
    text.lines().map(packet).collect()
}

fn real_of(lab: &Lab, address: &str) -> String {
    let address: IpAddr = address.parse().unwrap_or_else(|_| panic!("{address}"));
    lab.real_servers().find(|server| server.address() == address).expect("a real server").mac().to_string()
}

#[test]
fn a_capture_has_each_frame_as_received_and_as_sent_with_its_verdict_and_survives_a_reload() {
    let lab = Lab::builder().queues(2).build();
    let _servers = WebServer::on_all(&lab);
    let services = |weights: &[Option<u32>]| config::file(&lab, &[Service::tcp(80).weighted(&lab, weights)]);
    let mut director = Director::start(&lab, 0, &services(&[Some(1), Some(1)]));
    let watch = Watch::start(&lab, 0);
    let file = lab.file("all.pcapng");
    let before = Tally::settled(&director);
    let running = capture(&director, &file, &[]);

    let complaint = director.ask(&["capture", "-c", "1"]).expect_err("one at a time");
    assert!(complaint.contains("capture 1 has not ended"), "{complaint}");
    expect::answered(&lab.client(0).get_many(VIP, 10)).expect("answers");
    director.reload(&services(&[Some(1), Some(0)])).expect("a right configuration");
    expect::answered(&lab.client(0).get_many(VIP, 10)).expect("answers");
    // Refused, and its sender told; refused, and nobody told.
    let injector = Injector::open(&lab, 0);
    let segment = injector.segment(33_333, (VIP, 80).into());
    let mut broken = craft::tcp(&segment, b"");
    broken[14 + 10] ^= 0x55;
    let frames = [craft::tcp(&craft::Segment { ttl: 1, ..segment }, b""), broken];
    injector.send(&director, &frames);
    let after = Tally::settled(&director);
    let said = ended(running);

    let received = after.rx() - before.rx();
    assert!(said.contains(&format!("{received} frames captured, 0 lost")), "{received}: {said}");
    let (inbound, outbound): (Vec<Packet>, Vec<Packet>) =
        packets(&lab, &file).into_iter().partition(|packet| packet.is_inbound);
    assert_eq!(
        (inbound.len() as u64, outbound.len() as u64),
        (received, received - 1),
        "all but the broken one"
    );
    let of = |packets: &[Packet], verdict: &str| -> Vec<Packet> {
        packets.iter().filter(|packet| packet.said("verdict") == verdict).cloned().collect()
    };
    let (came, went) = (of(&inbound, "forward"), of(&outbound, "forward"));
    assert!(came.len() >= 80 && came.len() == went.len());
    let own = lab.director(0).mac().to_string();
    let mut generations = Vec::new();
    for (came, went) in came.iter().zip(&went) {
        assert!(
            came.comment.starts_with("received ") && went.comment.starts_with("sent "),
            "{came:?} {went:?}"
        );
        assert_eq!((&came.destination_mac, &went.source_mac), (&own, &own));
        assert_eq!(went.destination_mac, real_of(&lab, went.said("real")), "{went:?}");
        assert_eq!(came.comment["received".len()..], went.comment["sent".len()..]);
        assert_eq!((came.ttl - 1, came.length), (went.ttl, went.length), "{came:?} {went:?}");
        assert_eq!((&came.source, &came.source_port), (&went.source, &went.source_port));
        assert_eq!((came.said("service"), came.interface.as_str()), ("192.0.2.10:80/tcp", "eth0"));
        generations.push(came.said("generation").to_owned());
    }
    generations.dedup();
    assert!(generations.len() >= 2, "one state only: {generations:?}");
    let refused: Vec<(String, String)> = inbound
        .iter()
        .filter(|packet| packet.said("verdict") != "forward")
        .map(|packet| (packet.said("verdict").to_owned(), packet.said("reason").to_owned()))
        .collect();
    let expected = [("answer", "ttl_expired"), ("drop", "ip_checksum_bad")];
    assert_eq!(refused, expected.map(|(verdict, reason)| (verdict.to_owned(), reason.to_owned())));
    let answers = of(&outbound, "answer");
    assert_eq!((answers.len(), answers[0].source.as_str()), (1, "192.0.2.10"));
    after.check();
    watch.stop().check();

    // As many as were asked for, and only what was asked for.
    let some = lab.file("some.pcapng");
    let mut three = capture(&director, &some, &["-c", "3", "-s", "60", "tcp", "and", "src", "port", "45001"]);
    for port in [45_000, 45_001] {
        drop(lab.client(0).connect_from(port, (VIP, 80).into(), SOON).expect("a connection"));
    }
    assert!(three.wait(SOON).success());
    let caught = packets(&lab, &some);
    assert_eq!(caught.iter().filter(|packet| packet.is_inbound).count(), 3);
    assert!(caught.iter().all(|packet| packet.source_port == "45001"), "{caught:#?}");

    for (arguments, told) in [
        (&["host", "nobody"][..], "character 6: \"nobody\": an address is expected"),
        (&["reason", "no_reel"], "no_real?"),
        (&["-w", "/proc/nowhere/file"], "cannot be written"),
        (&["-w", "/dev/full"], "No space left on device"),
    ] {
        let complaint = director.ask(&[&["capture"], arguments].concat()).expect_err("refused");
        assert!(complaint.contains(told), "{complaint}");
    }
}

#[test]
fn a_rare_flow_is_caught_in_a_flood_and_what_finds_no_room_is_counted() {
    let lab = Lab::builder().clients(2).build();
    let _servers = WebServer::on_all(&lab);
    let _sinks: Vec<Sink> = lab.real_servers().map(|server| Sink::open(server, Flood::MATCH)).collect();
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    let injector = Injector::open(&lab, 0);
    let to: SocketAddr = (VIP, 80).into();
    let rare = lab.client(1).address().to_string();
    let file = lab.file("rare.pcapng");
    let running = capture(&director, &file, &["src", "host", &rare]);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| Flood::send(&injector, to, 0, 50_000));
        expect::answered(&lab.client(1).get_many(VIP, 5)).expect("answers");
        flood.join().expect("a flood");
    });
    Tally::settled(&director);
    let said = ended(running);
    assert!(said.contains("frames captured, 0 lost"), "{said}");
    let caught = packets(&lab, &file);
    assert!(
        caught.len() >= 40 && caught.iter().all(|packet| packet.source == rare),
        "{} packets",
        caught.len()
    );

    // Nobody reads, and so much comes that there is no room for it. (Workers cannot tell by "or": they take all of it.)
    let before = Tally::settled(&director);
    let file = lab.file("flood.pcapng");
    let mut running = capture(&director, &file, &["src", "port", "40000", "or", "src", "port", "40002"]);
    running.signal(Signal::SIGSTOP);
    // From the middle of a connection: nobody says anything to what a real server answers.
    let frame =
        |port| craft::tcp(&craft::Segment { flags: TcpFlags::ACK, ..injector.segment(port, to) }, &[7; 1400]);
    injector.send(&director, &[frame(40_000)]);
    injector.send_fast(&[frame(40_001)], 10_000);
    injector.send(&director, &[frame(40_002)]);
    let after = Tally::settled(&director);
    running.signal(Signal::SIGCONT);
    let said = ended(running);
    after.check();
    let received = after.rx() - before.rx();
    let lost = director.show("workers")["workers"][0]["capture_lost"].as_u64().expect("a counter");
    assert!(lost > 0 && lost < received - 1000, "{lost} of {received}");
    // The first one had room, the last one had not.
    assert!(said.contains(&format!("1 frame captured, {lost} lost")), "{lost}: {said}");
    let caught = packets(&lab, &file);
    assert!(caught.len() == 2 && caught.iter().all(|packet| packet.source_port == "40000"), "{caught:#?}");
    let path = file.to_str().expect("a path in UTF-8");
    let read = ["-n", "-r", path, "-X", "read_format:MIME Files Format", "-V"];
    let blocks = lab.switch().run("tshark", &read);
    for (name, count) in [("Received", received), ("Dropped", lost)] {
        assert!(
            blocks.contains(&format!("Option: Number of {name} Packets = {count}\n")),
            "{name} {count}: {blocks}"
        );
    }
}

#[test]
fn what_was_refused_before_anybody_asked_is_in_the_flight_recorder() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let mut director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    expect::answered(&lab.client(0).get_many(VIP, 3)).expect("answers");
    let nobody = config::file(&lab, &[Service::tcp(80).weighted(&lab, &[Some(0), Some(0)])]);
    director.reload(&nobody).expect("a right configuration");
    let to: SocketAddr = (VIP, 80).into();
    assert!(lab.client(0).connect_from(45_000, to, SOON).is_err(), "there is nobody");
    let tally = Tally::settled(&director);
    tally.check();
    assert!(tally.dropped("no_real") > 0, "{tally:#?}");

    let past = |arguments: &[&str]| -> Vec<String> {
        let text = director.ask(&[&["capture", "--last", "1m"], arguments].concat()).expect("what has been");
        text.lines().map(str::to_owned).collect()
    };
    let all = past(&[]);
    assert_eq!(all.len() as u64, tally.rx(), "{all:#?}");
    let refused = past(&["reason", "no_real", "and", "src", "port", "45000"]);
    assert_eq!(refused.len() as u64, tally.dropped("no_real"), "{refused:#?}");
    let told = format!("{}:45000 > 192.0.2.10:80 tcp SYN", lab.client(0).address());
    assert!(
        refused[0].contains(&told) && refused[0].contains("answer no_real, service 192.0.2.10:80/tcp"),
        "{refused:#?}"
    );
    let forwarded = past(&["verdict", "forward"]);
    assert!(
        forwarded.len() >= 12 && forwarded.iter().all(|line| line.contains("forward to 192.0.2.2")),
        "{forwarded:#?}"
    );
    assert_eq!(past(&["verdict", "drop"]), Vec::<String>::new());
    let first = lab.real_server(0).address().to_string();
    let of_first = past(&["service", "192.0.2.10:80/tcp", "and", "real", &first]);
    let expected: Vec<String> =
        forwarded.iter().filter(|line| line.contains(&format!(" to {first} "))).cloned().collect();
    assert_eq!(of_first, expected);

    // The same as a file.
    let file: PathBuf = lab.file("past.pcapng");
    director
        .ask(&["capture", "--last", "1m", "-w", file.to_str().expect("UTF-8"), "verdict", "answer"])
        .expect("a file");
    let packets = packets(&lab, &file);
    assert_eq!(packets.len(), refused.len());
    assert!(
        packets.iter().all(|packet| packet.is_inbound && packet.said("reason") == "no_real"),
        "{packets:#?}"
    );

    // Whoever breaks off without a word leaves no tap behind.
    let mut killed = capture(&director, &lab.file("killed.pcapng"), &[]);
    killed.kill9();
    wait::until(SOON, "the tap to be free", || director.ask(&["capture", "--duration", "1ms"]).ok());
}
