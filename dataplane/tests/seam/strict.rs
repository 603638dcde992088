//! Strict services: a connection begins with a SYN, or it is none.

use shunt_dataplane::director::Rates;
use shunt_dataplane::verdict::DropReason;

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{Rig, dns, http, six, up, with};

fn rig(workers: usize, rates: Rates) -> Rig {
    let mut rig = Rig::with_rates(workers, 64, rates);
    rig.publish(&[http(), six(http()), dns()].map(|key| with(key, [up(1)], |options| options.strict = true)));
    rig
}

#[test]
fn what_comes_from_the_middle_of_an_unknown_connection_is_reset_and_not_remembered() {
    let mut rig = rig(1, Rates::default());
    for (n, flags) in [(1, ACK), (2, FIN | ACK), (3, ACK | 0x08)] {
        for craft in [Craft::tcp(n, flags), Craft::tcp(n, flags).v6()] {
            let sent = craft.bytes();
            let (_, answer) = rig.send(0, 0, &sent).expect("an answer");
            let l4 = answer.len() - 20;
            assert_eq!(answer[l4 + 13], RST);
            assert_eq!(answer[l4 + 4..l4 + 8], sent[l4 + 8..l4 + 12]);
        }
    }
    assert_eq!(rig.dropped(DropReason::FlowUnknown), 6);
    assert!(rig.flows(0).is_empty());
    // No RST to a RST.
    assert_eq!(rig.send(0, 0, &Craft::tcp(4, RST).bytes()), None);
    assert_eq!(rig.dropped(DropReason::FlowUnknown), 7);
}

#[test]
fn a_connection_that_began_with_a_syn_goes_on_with_every_worker() {
    let mut rig = rig(2, Rates::default());
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    for worker in [0, 1] {
        assert_eq!(rig.real(worker, &Craft::tcp(1, ACK).bytes()), Some(1));
    }
    assert_eq!(rig.real(0, &Craft::udp(1).bytes()), Some(1), "datagrams have no beginning");
}

#[test]
fn a_connection_whose_time_is_over_is_unknown_before_the_table_has_been_walked_through_too() {
    let mut rig = rig(1, Rates::default());
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    rig.now += 60_000;
    assert_eq!(rig.flows(0).len(), 1, "still in its place");
    assert!(rig.send(0, 0, &Craft::tcp(1, ACK).bytes()).is_some_and(|(_, answer)| answer[47] == RST));
    assert_eq!(rig.dropped(DropReason::FlowUnknown), 1);
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    rig.check_gauges();
}
