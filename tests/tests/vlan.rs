//! VLAN tags: kept as they came, or as the real server wants them.
//!
//! No interface here knows VLANs: frames are made and injected with their tags, and looked at on the cable of the real
//! server.

use std::time::Duration;

use shunt_tests::address::{VIP, VIP6};
use shunt_tests::config;
use shunt_tests::{Director, Frame, Injector, Lab, Service, Tally, craft, wait};

const SOON: Duration = Duration::from_secs(20);
const PORT: u16 = 9;
const TAGS: [&[u16]; 4] = [&[], &[7], &[4094], &[7, 8]];

/// Sends a datagram with each of [`TAGS`] to each VIP, and checks what tags it has at the real server.
fn arrives_with(lines: &str, expected: impl Fn(&[u16]) -> Vec<u16>) {
    let lab = Lab::builder().real_servers(1).ipv6().build();
    let server = lab.real_server(0);
    let lines = lines.replace("MAC", &server.mac().to_string());
    let services = [(VIP, server.address()), (VIP6, server.address6())]
        .map(|(vip, address)| Service::udp(PORT).on(vip).real_with(address, 1, &lines));
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let injector = Injector::open(&lab, 0);
    let received = lab.capture(server.port(), &format!("ether src {}", lab.director(0).mac()));
    let sent: Vec<(Vec<u8>, Vec<u16>)> = [VIP, VIP6]
        .into_iter()
        .flat_map(|vip| TAGS.map(|tags| (vip, tags)))
        .enumerate()
        .map(|(n, (vip, tags))| {
            // The port tells the frames apart at the other end.
            let segment = injector.segment(30_000 + n as u16, (vip, PORT).into());
            (craft::tagged(&craft::udp(&segment, b"tagged"), tags), expected(tags))
        })
        .collect();
    let frames: Vec<Vec<u8>> = sent.iter().map(|(frame, _)| frame.clone()).collect();
    injector.send(&director, &frames);
    let tally = Tally::when(&director, "all frames to leave", |tally| tally.tx >= frames.len() as u64);
    assert_eq!(tally.refused(), 0, "{tally:#?}");
    let received = received.stop();
    for (n, (frame, tags)) in sent.iter().enumerate() {
        let source = 30_000 + n as u16;
        let here = |frame: &&Frame| frame.ip.as_ref().is_some_and(|ip| ip.ports == Some((source, PORT)));
        let arrived: Vec<&Frame> = received.iter().filter(here).collect();
        let [arrived] = arrived[..] else {
            panic!("{source} arrived {} times: {received:#?}", arrived.len())
        };
        let original = craft::view(frame);
        assert_eq!(&arrived.vlans, tags, "{original:?} became {arrived:?}");
        assert_eq!(arrived.destination, server.mac());
        // The packet is the one that was sent but for the TTL: its payload stands where it should.
        assert_eq!(arrived.transport(), original.transport());
        assert_eq!(arrived.ip.as_ref().map(|ip| ip.ttl), Some(63));
    }
}

#[test]
fn tags_are_kept_as_they_came() {
    arrives_with("", <[u16]>::to_vec);
}

#[test]
fn a_real_server_in_another_vlan_gets_its_own_tag_and_no_other() {
    arrives_with("vlan = 100\nmac = \"MAC\"\ninterface = \"eth0\"", |_| vec![100]);
}

#[test]
fn a_real_server_that_wants_no_tags_gets_none() {
    arrives_with("vlan = \"none\"", |_| vec![]);
}

#[test]
fn a_third_tag_is_refused_and_counted() {
    let lab = Lab::builder().real_servers(1).build();
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::udp(PORT).all(&lab)]));
    let injector = Injector::open(&lab, 0);
    let received = lab.capture(lab.real_server(0).port(), &format!("ether src {}", lab.director(0).mac()));
    let plain = craft::udp(&injector.segment(30_000, (VIP, PORT).into()), b"tagged");
    let before = Tally::settled(&director);
    injector.send(&director, &[craft::tagged(&plain, &[1, 2, 3])]);
    // Refused by a worker or left to the kernel by the XDP program, which looks no deeper: forwarded it is not.
    wait::until(SOON, "the frame to be counted", || {
        let tally = Tally::of(&director);
        (tally.dropped("vlan_too_deep") == 1 || tally.passed > before.passed).then_some(())
    });
    // A good one behind it: what was to leave before it has left.
    injector.send(&director, &[plain]);
    Tally::when(&director, "the good frame to leave", |tally| tally.tx > before.tx);
    let datagrams = received.stop().iter().filter(|frame| frame.is_to(VIP)).count();
    assert_eq!(datagrams, 1);
}
