//! Timeouts are a service's own.

use shunt_dataplane::flow::{FlowState, Timeouts};
use shunt_dataplane::forwarding::ServiceKey;

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{Rig, dns, http, sip, six, up, with};

const SECOND: u32 = 4;

#[test]
fn each_state_is_remembered_as_long_as_its_service_says_and_not_a_tick_less() {
    let tcp = |flags: &[u8]| -> Vec<Craft> { flags.iter().map(|flags| Craft::tcp(1, *flags)).collect() };
    let cases: [(FlowState, ServiceKey, Vec<Craft>); 10] = [
        (FlowState::SynReceived, http(), tcp(&[SYN])),
        (FlowState::Established, http(), tcp(&[SYN, ACK])),
        (FlowState::FinWait, http(), tcp(&[SYN, ACK, FIN | ACK])),
        (FlowState::TimeWait, http(), tcp(&[SYN, FIN | ACK])),
        (FlowState::Closed, http(), tcp(&[SYN, ACK, RST])),
        (FlowState::Midway, http(), tcp(&[ACK])),
        (FlowState::UdpNew, dns(), vec![Craft::udp(1)]),
        (FlowState::Udp, dns(), vec![Craft::udp(1); 2]),
        (FlowState::SctpNew, sip(), vec![Craft::sctp(1)]),
        (FlowState::Sctp, sip(), vec![Craft::sctp(1); 2]),
    ];
    for (n, (state, key, crafts)) in cases.into_iter().enumerate() {
        for v6 in [false, true] {
            let key = if v6 { six(key) } else { key };
            let seconds = 20 + n as u32 * 7;
            let mut rig = Rig::new(1, 64);
            let timeouts = FlowState::ALL.into_iter().fold(Timeouts::default(), |all, other| {
                all.with(other, if other == state { seconds * SECOND } else { 5000 * SECOND })
            });
            rig.publish(&[with(key, [up(1)], |options| options.timeouts = timeouts)]);
            for craft in &crafts {
                let craft = craft.clone();
                rig.real(0, &if v6 { craft.v6() } else { craft }.bytes()).expect("forwarded");
            }
            let flows = rig.flows(0);
            assert_eq!(flows.len(), 1);
            assert_eq!(flows[0].1.state, state);
            rig.wait(u64::from(seconds) - 1);
            assert_eq!(rig.flows(0).len(), 1, "{state:?}: forgotten too early");
            rig.wait(18);
            assert_eq!(rig.flows(0).len(), 0, "{state:?}: not forgotten");
            rig.check_gauges();
        }
    }
}

#[test]
fn a_new_timeout_counts_from_the_next_packet_of_a_flow() {
    let mut rig = Rig::new(1, 64);
    let timed = |seconds: u32| {
        [with(dns(), [up(1)], |options| {
            options.timeouts = Timeouts::default().with(FlowState::Udp, seconds * SECOND);
        })]
    };
    rig.publish(&timed(1000));
    for _ in 0..2 {
        rig.real(0, &Craft::udp(1).bytes());
    }
    rig.publish(&timed(10));
    rig.wait(100);
    assert_eq!(rig.flows(0).len(), 1);
    rig.real(0, &Craft::udp(1).bytes());
    rig.wait(28);
    assert_eq!(rig.flows(0).len(), 0);
}
