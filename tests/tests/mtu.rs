//! Narrow places: whoever sends what does not fit is told so, whichever side of the director the place is on.
//!
//! TCP sends with "don't fragment" set, so a transfer of some size only works if the word gets through (RFC 1191, RFC
//! 8201). What happens without it is shown in `lab_families.rs`: nothing arrives.

use std::net::IpAddr;
use std::time::Duration;

use shunt_tests::address::{Segment, VIP, VIP6};
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::frame::Icmp;
use shunt_tests::{Capture, Director, Frame, Lab, Service, Tally, WebServer, payload, wait};

const SOON: Duration = Duration::from_secs(60);
const BYTES: u64 = 5 << 20;
const MTU: u16 = 1400;

/// "Send smaller packets", in the words of the family of `address`.
fn shrink(address: IpAddr) -> (u8, u8) {
    if address.is_ipv4() { Icmp::FRAGMENTATION_NEEDED } else { Icmp::PACKET_TOO_BIG }
}

/// Whether this frame says "send packets of [`MTU`] bytes" to `to`.
fn tells(frame: &Frame, to: IpAddr) -> bool {
    let word = frame.ip.as_ref().and_then(|ip| ip.icmp).map(|icmp| icmp.word);
    frame.is_to(to) && frame.is_icmp(shrink(to)) && word == Some(MTU.into())
}

fn services(lab: &Lab) -> [Service; 2] {
    [VIP, VIP6].map(|vip| Service::tcp(80).on(vip).checked(QUICK_CHECK).all(lab))
}

#[test]
fn a_download_through_a_narrow_router_works_because_its_word_to_the_vip_reaches_the_real_server() {
    let lab = Lab::builder().real_servers(3).ipv6().build();
    let servers = WebServer::on_all(&lab);
    let digests: Vec<_> =
        servers.iter().map(|server| payload::digest(&server.file("big", BYTES, 3))).collect();
    lab.narrow(lab.client(0), Segment::Outside, MTU);
    let _director = Director::start(&lab, 0, &config::file(&lab, &services(&lab)));
    for vip in [VIP, VIP6] {
        let captures: Vec<Capture> =
            lab.real_servers().map(|server| lab.capture(server.port(), "icmp or icmp6")).collect();
        let file = lab.file("big");
        let mut download = lab.client(0).download(vip, "/big", &file, None);
        assert!(download.wait(SOON).success(), "{}", download.log().text());
        assert_eq!(payload::digest(&file), digests[0]);
        let requests = || servers.iter().map(|server| server.requests()).collect::<Vec<_>>();
        // It names the client as it came: the request itself says who served it.
        let family = if vip.is_ipv4() { "198.51.100.7:" } else { "2001:db8:51::7:" };
        let holder = wait::until(SOON, "the request in a log", || {
            requests().iter().position(|lines| lines.iter().any(|line| line.starts_with(family)))
        });
        for (n, (capture, server)) in captures.into_iter().zip(lab.real_servers()).enumerate() {
            let frames = capture.stop();
            let told: Vec<&Frame> = frames.iter().filter(|frame| tells(frame, vip)).collect();
            let to_it =
                |frame: &&&Frame| frame.source == lab.director(0).mac() && frame.destination == server.mac();
            assert!(told.iter().all(|frame| to_it(&frame)), "{told:#?}");
            assert_eq!(!told.is_empty(), n == holder, "rs{} of rs{}: {told:#?}", n + 1, holder + 1);
        }
    }
}

#[test]
fn an_upload_to_a_real_server_behind_a_narrow_cable_works_because_the_director_says_so() {
    let lab = Lab::builder().real_servers(1).ipv6().build();
    let host = lab.real_server(0);
    let server = WebServer::start(&lab, host);
    lab.narrow(host, Segment::Lan, MTU);
    let services = [(VIP, host.address()), (VIP6, host.address6())].map(|(vip, address)| {
        Service::tcp(80).on(vip).checked(QUICK_CHECK).real_with(address, 1, &format!("mtu = {MTU}"))
    });
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let file = lab.file("up");
    payload::write(&file, BYTES, 4).expect("there is room for it");
    for (vip, client, name) in
        [(VIP, lab.client(0).address(), "four"), (VIP6, lab.client(0).address6(), "six")]
    {
        let before = Tally::settled(&director);
        // The clients' bridge is the router's.
        let port = lab.client(0).port();
        let capture = Capture::start(lab.router(), port, "icmp or icmp6", &lab.file("client.pcap"));
        let mut upload = lab.client(0).upload(vip, &file, name, None);
        assert!(upload.wait(SOON).success(), "{}", upload.log().text());
        let kept = server.uploaded(name).expect("curl has its answer, so it is there");
        assert_eq!(payload::digest(&kept), payload::digest(&file));
        let frames = capture.stop();
        let told: Vec<&Frame> = frames.iter().filter(|frame| tells(frame, client)).collect();
        // From the address that the client sends to, or from one of the director's own.
        let from = |frame: &&Frame| {
            let leg = &lab.director(0).legs()[0];
            frame.is_from(vip)
                || frame.is_from(leg.address)
                || leg.address6.is_some_and(|own| frame.is_from(own))
        };
        assert!(!told.is_empty() && told.iter().all(from), "{frames:#?}");
        let after = Tally::settled(&director);
        let refused = after.dropped("too_big") - before.dropped("too_big");
        assert!(refused >= told.len() as u64, "each was about a frame that was too big: {after:#?}");
    }
}
