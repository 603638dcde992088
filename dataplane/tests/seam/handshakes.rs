//! How handshakes end, as the client's side shows it: what passive health counts by.

use shunt_dataplane::stats::{Counter, RealCounters};

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{Rig, http, service, up};

fn counted(rig: &Rig, count: fn(&RealCounters) -> &Counter) -> u64 {
    let (_, service) = rig.state().services().next().expect("one service");
    service.reals().map(|(_, real)| real.counters().total(count)).sum()
}

/// Completed, retransmitted, reset.
fn handshakes(rig: &Rig) -> [u64; 3] {
    [
        counted(rig, |c| &c.handshakes_completed),
        counted(rig, |c| &c.handshakes_retransmitted),
        counted(rig, |c| &c.handshakes_reset),
    ]
}

#[test]
fn each_segment_of_a_handshake_counts_once_and_for_the_right_thing() {
    let cases: [(&[u8], [u64; 3]); 10] = [
        (&[SYN], [0, 0, 0]),
        (&[SYN, ACK], [1, 0, 0]),
        (&[SYN, ACK, ACK, FIN | ACK, ACK], [1, 0, 0]),
        (&[SYN, SYN, SYN], [0, 2, 0]),
        (&[SYN, SYN, ACK], [1, 1, 0]),
        (&[SYN, RST], [0, 0, 1]),
        (&[SYN, RST | ACK], [0, 0, 1]),
        (&[SYN, ACK, RST], [1, 0, 0]),
        // Met in the middle: its handshake was another director's.
        (&[ACK, ACK, RST], [0, 0, 0]),
        // A second connection from the same port.
        (&[SYN, ACK, FIN | ACK, SYN, ACK], [2, 0, 0]),
    ];
    for v6 in [false, true] {
        for (segments, expected) in cases {
            let mut rig = Rig::new(1, 64);
            rig.publish(&[service(http(), [up(1)]), service(crate::rig::six(http()), [up(1)])]);
            for &flags in segments {
                let craft = Craft::tcp(1, flags);
                rig.real(0, &if v6 { craft.v6() } else { craft }.bytes()).expect("forwarded");
            }
            let mut all = handshakes(&rig);
            let other = rig.state().services().nth(1).expect("two services").1;
            for (_, real) in other.reals() {
                let counters = real.counters();
                all[0] += counters.total(|c| &c.handshakes_completed);
                all[1] += counters.total(|c| &c.handshakes_retransmitted);
                all[2] += counters.total(|c| &c.handshakes_reset);
            }
            assert_eq!(all, expected, "{segments:02x?}, IPv6: {v6}");
        }
    }
}
