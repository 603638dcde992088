//! Ten million frames: none lost, none made, each counted once.

use shunt_dataplane::director::Rates;
use shunt_dataplane::forwarding::{OnFailure, Ports, ServiceKey, ServiceSpec};
use shunt_dataplane::port::BURST;
use shunt_dataplane::verdict::DropReason;

use crate::craft::{ACK, Craft, FIN, HOP_BY_HOP, RST, SYN, fragments, icmp_error, options_header};
use crate::rig::{PORTS, Rig, dns, down, http, path, port, service, sip, six, up};

const FRAMES: u64 = 10_000_000;
/// What becomes of a frame, or one of a few things by what came before.
type Fate = &'static [DropReason];
const FORWARDED: Fate = &[];

/// Services of one protocol and port that something is wrong with.
fn odd(port: u16) -> ServiceKey {
    ServiceKey { ports: Ports::exact(port), ..http() }
}

/// A datagram in four fragments.
fn pieces(n: u32) -> Vec<Vec<u8>> {
    fragments(&Craft { payload: vec![7; 100], ..Craft::udp(n) }.bytes(), 32, n + 1, 0)
}

/// Frames of every kind, and what becomes of each.
fn mixture() -> Vec<(Vec<u8>, Fate)> {
    let mut frames: Vec<(Vec<u8>, Fate)> = Vec::new();
    for n in 0..96 {
        let flags = [SYN, ACK, ACK, FIN | ACK, RST][n as usize % 5];
        frames.push((Craft::tcp(n, flags).bytes(), FORWARDED));
        frames.push((Craft { padding: 7, ..Craft::udp(n) }.bytes(), FORWARDED));
    }
    for n in 0..24 {
        frames.push((Craft::tcp(n, ACK).v6().bytes(), FORWARDED));
        frames.push((Craft::sctp(n).tagged(&[(0x8100, 7)]).bytes(), FORWARDED));
        frames.push((icmp_error(3, 4, 1400, &Craft::tcp(n, ACK).reverse().ip()), FORWARDED));
        frames.extend(pieces(n).into_iter().map(|fragment| (fragment, FORWARDED)));
    }
    let tcp = || Craft::tcp(1, SYN);
    let mut broken = icmp_error(3, 1, 0, &tcp().reverse().ip());
    broken[36] ^= 1;
    let unrelated = icmp_error(3, 1, 0, &Craft { dst_port: 81, ..Craft::tcp(99, SYN) }.reverse().ip());
    let mut orphan = fragments(&Craft { payload: vec![7; 100], ..Craft::udp(1) }.bytes(), 32, 0xdead, 0);
    let padded = options_header(1);
    let bad: Vec<(Vec<u8>, Fate)> = vec![
        (Craft { ether_type: 0x0806, ..tcp() }.bytes(), &[DropReason::EtherTypeUnsupported]),
        (tcp().tagged(&[(0x8100, 1); 3]).bytes(), &[DropReason::VlanTooDeep]),
        (Craft { version: 6, ..tcp() }.bytes(), &[DropReason::IpVersionBad]),
        (Craft { ihl: Some(4), ..tcp() }.bytes(), &[DropReason::IpHeaderLengthBad]),
        (Craft { total_length: Some(99), ..tcp() }.bytes(), &[DropReason::IpTotalLengthBad]),
        (Craft { checksum_fault: 1, ..tcp() }.bytes(), &[DropReason::IpChecksumBad]),
        (
            tcp().v6().extended(HOP_BY_HOP, &padded).extended(HOP_BY_HOP, &padded).bytes(),
            &[DropReason::ExtensionBad],
        ),
        (Craft { fragment: 0x2000, ..tcp() }.bytes(), &[DropReason::FragmentBad]),
        (Craft { src: [127, 0, 0, 1].into(), ..tcp() }.bytes(), &[DropReason::SourceMartian]),
        (Craft { ttl: 1, ..tcp() }.bytes(), &[DropReason::TtlExpired]),
        (
            Craft { protocol: 1, payload: vec![8, 0, 0, 0], ..tcp() }.bytes(),
            &[DropReason::ProtocolUnsupported],
        ),
        (Craft { data_offset: 4, ..tcp() }.bytes(), &[DropReason::TcpHeaderBad]),
        (Craft { udp_length: Some(7), ..Craft::udp(1) }.bytes(), &[DropReason::UdpLengthBad]),
        (Craft { dst_port: 0, ..tcp() }.bytes(), &[DropReason::PortZero]),
        (broken, &[DropReason::IcmpBad]),
        (unrelated, &[DropReason::IcmpUnrelated]),
        (Craft { dst_port: 84, payload: vec![7; 100], ..tcp() }.bytes(), &[DropReason::TooBig]),
        (Craft { dst_port: 83, flags: ACK, ..tcp() }.bytes(), &[DropReason::FlowUnknown]),
        (Craft { dst_port: 8080, ..tcp() }.bytes(), &[DropReason::NoService]),
        (Craft { dst_port: 81, flags: ACK, ..tcp() }.bytes(), &[DropReason::NoReal, DropReason::RealGone]),
        (tcp().bytes()[..33].to_vec(), &[DropReason::FrameTruncated]),
        (Vec::new(), &[DropReason::FrameTruncated]),
    ];
    frames.extend(bad);
    // So many that some find no room.
    let fate: Fate = &[DropReason::FragmentOrphan, DropReason::FragmentNoRoom];
    frames.extend(std::iter::repeat_n((orphan.remove(1), fate), 30));
    for reason in DropReason::ALL {
        assert!(
            frames.iter().any(|(_, fate)| fate.contains(&reason)),
            "no frame is dropped for {}",
            reason.name()
        );
    }
    frames
}

/// All services; the real server of one is there, or gone.
fn services(gone: bool) -> Vec<ServiceSpec> {
    let mut other_port = up(2);
    other_port.path = Some(path(2, 0));
    let mut narrow = up(1);
    narrow.path.as_mut().expect("it is up").mtu = 100;
    let mut services: Vec<ServiceSpec> =
        [http(), dns(), sip(), six(http())].map(|key| service(key, [up(1), other_port])).into();
    let mut failing = service(odd(81), [if gone { down(1) } else { up(1) }]);
    failing.options.on_failure = OnFailure::Reset;
    let mut strict = service(odd(83), [up(1)]);
    strict.options.strict = true;
    services.extend([failing, strict, service(odd(84), [narrow])]);
    services
}

#[test]
fn after_ten_million_frames_everything_adds_up_to_the_frame() {
    // So few answers that some are withheld.
    let mut rig = Rig::with_rates(1, 64, Rates { icmp: 20, reset: 5 });
    // A connection whose real server then fails.
    rig.publish(&services(false));
    let (mut arrived, mut forwarded, mut lost) = (0u64, 0u64, 0u64);
    let (mut rx_bytes, mut tx_bytes) = (0u64, 0u64);
    let mut prologue: Vec<_> =
        [SYN, ACK].map(|flags| Craft { dst_port: 81, ..Craft::tcp(1, flags) }.bytes()).into();
    // And the first fragments of datagrams, without which the later ones would have to be lucky.
    prologue.extend((0..24).map(|n| pieces(n).remove(0)));
    let mut sent = [0u64; PORTS as usize];
    for frame in prologue {
        let (id, _) = rig.send(0, 0, &frame).expect("forwarded");
        sent[usize::from(id)] += 1;
        arrived += 1;
        forwarded += 1;
        rx_bytes += frame.len() as u64;
        tx_bytes += frame.len() as u64;
    }
    rig.publish(&services(true));
    let frames = mixture();
    let mut dropped: Vec<(Fate, u64)> = Vec::new();
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let seat = &mut rig.seats[0];
    while arrived < FRAMES {
        for id in 0..PORTS {
            // Now and then more than a burst, so that frames wait in the port.
            for _ in 0..BURST + (random & 15) as usize - 4 {
                // xorshift64 (Marsaglia 2003): any mixture will do, but the same each time.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let (bytes, fate) = &frames[(random >> 33) as usize % frames.len()];
                if !port(seat, id).arrive(bytes) {
                    lost += 1;
                    continue;
                }
                arrived += 1;
                rx_bytes += bytes.len() as u64;
                if fate.is_empty() {
                    forwarded += 1;
                    tx_bytes += bytes.len() as u64;
                    continue;
                }
                match dropped.iter_mut().find(|(known, _)| known == fate) {
                    Some((_, count)) => *count += 1,
                    None => dropped.push((fate, 1)),
                }
            }
        }
        // 20 ms a turn: flows age, and fragments wait for ten turns.
        assert!(seat.worker.turn(arrived / 128 * 20) > 0, "no frames are left");
        let stats = &seat.stats;
        let places = [&stats.frames_free, &stats.frames_held, &stats.frames_filling, &stats.frames_sending];
        let sum: u64 = places.iter().map(|gauge| gauge.value()).sum();
        assert_eq!(sum, stats.frames_total.value(), "after {arrived} frames");
        assert!(stats.frames_held.value() <= BURST as u64);
        for (id, sent) in sent.iter_mut().enumerate() {
            *sent += port(seat, id as u8).sent(|_| ()) as u64;
        }
    }
    let late = arrived / 128 * 20 + 1000;
    while seat.worker.turn(late) > 0 {}
    // Nobody waits for longer than that.
    seat.worker.turn(late + 200);
    for (id, sent) in sent.iter_mut().enumerate() {
        *sent += port(seat, id as u8).sent(|_| ()) as u64;
    }
    let stats = &seat.stats;
    assert_eq!(stats.rx_frames.value(), arrived);
    assert_eq!(stats.rx_bytes.value(), rx_bytes);
    for (fate, count) in dropped {
        let counted: u64 = fate.iter().map(|reason| stats.drops(*reason).value()).sum();
        assert_eq!(counted, count, "{fate:?}");
    }
    for reason in DropReason::ALL {
        assert!(stats.drops(reason).value() > 0, "nothing was dropped for {}", reason.name());
    }
    assert_eq!(stats.tx_frames.value(), forwarded);
    assert_eq!(stats.tx_bytes.value(), tx_bytes);
    assert_eq!(arrived, forwarded + stats.drops_total());
    // An answer counts as a drop, and goes back where it came from.
    let (icmp, reset) = (stats.answers_icmp.value(), stats.answers_reset.value());
    assert!(icmp > 0 && reset > 0 && stats.answers_withheld.value() > 0);
    assert_eq!(sent.iter().sum::<u64>(), forwarded + icmp + reset);
    assert!(sent.iter().all(|&sent| sent > 0), "both ports sent: {sent:?}");
    assert!(lost > 0, "the ports were never full");
    // At rest nothing is on its way: every frame is free or waits to be received into.
    seat.worker.turn(late);
    assert_eq!(stats.frames_sending.value(), 0);
    assert_eq!(stats.frames_held.value(), 0);
    rig.check_gauges();
}
