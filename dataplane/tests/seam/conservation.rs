//! Ten million frames: none lost, none made, each counted once.

use shunt_dataplane::port::BURST;
use shunt_dataplane::verdict::DropReason;

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{PORTS, Rig, dns, down, http, path, port, service, up};

const FRAMES: u64 = 10_000_000;

/// Frames of every kind, and what becomes of each; none: forwarded.
fn mixture() -> Vec<(Vec<u8>, Option<DropReason>)> {
    let mut frames = Vec::new();
    for n in 0..96 {
        let flags = [SYN, ACK, ACK, FIN | ACK, RST][n as usize % 5];
        frames.push((Craft::tcp(n, flags).bytes(), None));
        frames.push((Craft { padding: 7, ..Craft::udp(n) }.bytes(), None));
    }
    let tcp = || Craft::tcp(1, SYN);
    for (craft, reason) in [
        (Craft { ether_type: 0x0806, ..tcp() }, DropReason::EtherTypeUnsupported),
        (Craft { version: 6, ..tcp() }, DropReason::IpVersionBad),
        (Craft { ihl: Some(4), ..tcp() }, DropReason::IpHeaderLengthBad),
        (Craft { total_length: Some(99), ..tcp() }, DropReason::IpTotalLengthBad),
        (Craft { checksum_fault: 1, ..tcp() }, DropReason::IpChecksumBad),
        (Craft { fragment: 0x2000, ..tcp() }, DropReason::FragmentBad),
        (Craft { src: [127, 0, 0, 1].into(), ..tcp() }, DropReason::SourceMartian),
        (Craft { ttl: 1, ..tcp() }, DropReason::TtlExpired),
        (Craft { protocol: 1, payload: vec![8, 0, 0, 0], ..tcp() }, DropReason::ProtocolUnsupported),
        (Craft { data_offset: 4, ..tcp() }, DropReason::TcpHeaderBad),
        (Craft { udp_length: Some(7), ..Craft::udp(1) }, DropReason::UdpLengthBad),
        (Craft { dst_port: 8080, ..tcp() }, DropReason::NoService),
        (Craft { dst_port: 81, ..tcp() }, DropReason::NoReal),
    ] {
        frames.push((craft.bytes(), Some(reason)));
    }
    frames.push((tcp().bytes()[..33].to_vec(), Some(DropReason::FrameTruncated)));
    frames.push((Vec::new(), Some(DropReason::FrameTruncated)));
    for reason in DropReason::ALL {
        assert!(frames.iter().any(|(_, r)| *r == Some(reason)), "no frame is dropped for {}", reason.name());
    }
    frames
}

#[test]
fn after_ten_million_frames_everything_adds_up_to_the_frame() {
    let mut rig = Rig::new(1, 64);
    let no_real = shunt_dataplane::forwarding::ServiceKey {
        ports: shunt_dataplane::forwarding::Ports::exact(81),
        ..http()
    };
    let mut other_port = up(2);
    other_port.path = Some(path(2, 0));
    rig.publish(&[
        service(http(), [up(1), other_port]),
        service(dns(), [up(1), other_port]),
        service(no_real, [down(1)]),
    ]);
    let frames = mixture();
    let mut dropped = [0u64; DropReason::ALL.len()];
    let (mut arrived, mut forwarded, mut lost) = (0u64, 0u64, 0u64);
    let (mut rx_bytes, mut tx_bytes) = (0u64, 0u64);
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let seat = &mut rig.seats[0];
    let mut sent = [0u64; PORTS as usize];
    while arrived < FRAMES {
        for id in 0..PORTS {
            // Now and then more than a burst, so that frames wait in the port.
            for _ in 0..BURST + (random & 15) as usize - 4 {
                // xorshift64 (Marsaglia 2003): any mixture will do, but the same each time.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let (bytes, reason) = &frames[(random >> 33) as usize % frames.len()];
                if !port(seat, id).arrive(bytes) {
                    lost += 1;
                    continue;
                }
                arrived += 1;
                rx_bytes += bytes.len() as u64;
                match reason {
                    Some(reason) => dropped[*reason as usize] += 1,
                    None => {
                        forwarded += 1;
                        tx_bytes += bytes.len() as u64;
                    }
                }
            }
        }
        // A tick every 16 turns: flows age as well.
        assert!(seat.worker.turn(arrived / 2048 * 250) > 0, "no frames are left");
        let stats = &seat.stats;
        let places = [&stats.frames_free, &stats.frames_filling, &stats.frames_sending];
        let sum: u64 = places.iter().map(|gauge| gauge.value()).sum();
        assert_eq!(sum, stats.frames_total.value(), "after {arrived} frames");
        for (id, sent) in sent.iter_mut().enumerate() {
            *sent += port(seat, id as u8).sent(|_| ()) as u64;
        }
    }
    while seat.worker.turn(0) > 0 {}
    for (id, sent) in sent.iter_mut().enumerate() {
        *sent += port(seat, id as u8).sent(|_| ()) as u64;
    }
    let stats = &seat.stats;
    assert_eq!(stats.rx_frames.value(), arrived);
    assert_eq!(stats.rx_bytes.value(), rx_bytes);
    for reason in DropReason::ALL {
        assert_eq!(stats.drops(reason).value(), dropped[reason as usize], "{}", reason.name());
    }
    assert_eq!(stats.tx_frames.value(), forwarded);
    assert_eq!(stats.tx_bytes.value(), tx_bytes);
    assert_eq!(arrived, forwarded + stats.drops_total());
    assert_eq!(sent.iter().sum::<u64>(), forwarded);
    assert!(sent.iter().all(|&sent| sent > 0), "both ports sent: {sent:?}");
    assert!(lost > 0, "the ports were never full");
    // At rest nothing is on its way: every frame is free or waits to be received into.
    seat.worker.turn(0);
    assert_eq!(stats.frames_sending.value(), 0);
    rig.check_gauges();
}
