//! The short way (`director/lane.rs`) against the whole way: a packet with IP options goes the whole way always. So two
//! directors that see the same clients, one without options and one with options that say nothing, must do the same in
//! all that anybody can see.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shunt_dataplane::flow::{Flow, FlowKey, FlowState};
use shunt_dataplane::forwarding::{Options, Persistence, RealSpec, ServiceSpec};

use crate::craft::{ACK, Craft, FIN, RST, SYN, repair_ip_checksum, sum};
use crate::rig::{Rig, counters, dns, down, draining, http, state_counters, up, with};

/// Four times "no operation" (RFC 791).
const NOTHING: [u8; 4] = [1; 4];
const ETHERNET: usize = 14;

#[derive(Debug, Clone)]
enum Step {
    Packet {
        client: u32,
        flags: Option<u8>,
        ttl: u8,
        payload: usize,
        ingress: u8,
        tag: bool,
        partial: bool,
    },
    /// Milliseconds go by.
    Wait(u64),
    /// Another state: what becomes of real server 0, and how the services treat their flows.
    Publish {
        real: u8,
        keep_ttl: bool,
        persistence: bool,
        mtu: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        4 => Just(Some(ACK)), 2 => Just(Some(SYN)), 1 => Just(Some(FIN | ACK)), 1 => Just(Some(RST)),
        1 => Just(Some(0)), 1 => Just(Some(ACK | 0x08)), 4 => Just(None),
    ];
    let packet = (
        0u32..6,
        flags,
        prop_oneof![8 => Just(64), 1 => 0u8..3],
        prop_oneof![8 => 12usize..40, 1 => Just(1_490)],
        0u8..2,
        any::<bool>(),
        any::<bool>(),
    );
    let packet = packet.prop_map(|(client, flags, ttl, payload, ingress, tag, partial)| Step::Packet {
        client,
        flags,
        ttl,
        payload,
        ingress,
        tag,
        partial,
    });
    let publish = (0u8..4, any::<bool>(), any::<bool>(), prop_oneof![Just(1_500), Just(70)]);
    let publish = publish.prop_map(|(real, keep_ttl, persistence, mtu)| Step::Publish {
        real,
        keep_ttl,
        persistence,
        mtu,
    });
    prop_oneof![20 => packet, 2 => (1u64..400_000).prop_map(Step::Wait), 1 => publish]
}

fn services(real: u8, keep_ttl: bool, persistence: bool, mtu: u16) -> Vec<ServiceSpec> {
    let first = match real {
        0 => Some(up(0)),
        1 => Some(draining(0)),
        2 => Some(down(0)),
        _ => None,
    };
    let treat = |options: &mut Options| {
        options.keep_ttl = keep_ttl;
        options.persistence = persistence.then_some(Persistence { timeout: 400, mask: u128::MAX });
    };
    let reals = || -> Vec<RealSpec> {
        let mut reals: Vec<_> = first.into_iter().chain([up(1), up(2)]).collect();
        for path in reals.iter_mut().filter_map(|real| real.path.as_mut()) {
            path.mtu = mtu;
        }
        reals
    };
    vec![with(http(), reals(), treat), with(dns(), reals(), treat)]
}

/// A frame, with options or without. `partial`: its sender leaves the checksum to hardware.
fn frame(craft: &Craft, options: &[u8], partial: bool) -> Vec<u8> {
    let mut frame = Craft { options: options.to_vec(), ..craft.clone() }.bytes();
    if partial {
        let l4 = ETHERNET + 4 * craft.tags.len() + 20 + options.len();
        let length = frame.len() - craft.padding - l4;
        let mut pseudo = craft.src.octets().to_vec();
        pseudo.extend(craft.dst.octets());
        pseudo.extend([0, craft.protocol]);
        pseudo.extend((length as u16).to_be_bytes());
        let at = l4 + if craft.protocol == 6 { 16 } else { 6 };
        frame[at..at + 2].copy_from_slice(&sum(&pseudo).to_be_bytes());
    }
    frame
}

/// A forwarded frame without its options.
fn stripped(mut frame: Vec<u8>) -> Vec<u8> {
    let l3 = if frame[12..14] == [0x81, 0x00] { 18 } else { 14 };
    frame.drain(l3 + 20..l3 + 24);
    frame[l3] = 0x45;
    let length = u16::from_be_bytes([frame[l3 + 2], frame[l3 + 3]]) - 4;
    frame[l3 + 2..l3 + 4].copy_from_slice(&length.to_be_bytes());
    repair_ip_checksum(&mut frame);
    frame
}

type Counts = BTreeMap<String, u64>;

/// All that there is to see of a rig, but for bytes: of those one has more.
fn seen(rig: &Rig) -> (Counts, Counts, Vec<(FlowKey, Flow)>) {
    let mut all = (counters(&rig.seats[0].stats), state_counters(rig.state()), rig.flows(0));
    all.0.retain(|name, _| !name.ends_with("bytes"));
    all.1.retain(|name, _| !name.ends_with("bytes"));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_frame_fares_the_short_way_as_it_would_the_whole_way(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let (mut short, mut whole) = (Rig::new(1, 64), Rig::new(1, 64));
        short.publish(&services(0, false, false, 1_500));
        whole.publish(&services(0, false, false, 1_504));
        for step in steps {
            match step {
                Step::Wait(time) => [&mut short, &mut whole].into_iter().for_each(|rig| rig.now += time),
                Step::Publish { real, keep_ttl, persistence, mtu } => {
                    short.publish(&services(real, keep_ttl, persistence, mtu));
                    // The options are four bytes.
                    whole.publish(&services(real, keep_ttl, persistence, mtu + 4));
                }
                Step::Packet { client, flags, ttl, payload, ingress, tag, partial } => {
                    let craft = flags.map_or_else(|| Craft::udp(client), |flags| Craft::tcp(client, flags));
                    let tags = if tag { vec![(0x8100, 42)] } else { vec![] };
                    let craft = Craft { tags, ttl, payload: vec![7; payload], padding: 6, ..craft };
                    let one = short.send(0, ingress, &frame(&craft, &[], partial));
                    let other = whole.send(0, ingress, &frame(&craft, &NOTHING, partial));
                    let forwarded = short.seats[0].stats.tx_frames.value();
                    prop_assert_eq!(forwarded, whole.seats[0].stats.tx_frames.value());
                    prop_assert_eq!(one.is_some(), other.is_some());
                    if let (Some((to, one)), Some((too, other))) = (one, other) {
                        prop_assert_eq!(to, too);
                        // Answers quote the packet, or are none's but the client's.
                        if one[0] == 2 {
                            prop_assert_eq!(one, stripped(other));
                        }
                    }
                }
            }
            prop_assert_eq!(seen(&short), seen(&whole));
        }
        short.check_gauges();
    }
}

#[test]
fn bytes_are_counted_as_they_came_in() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&services(0, false, false, 1_500));
    let craft = Craft { padding: 6, ..Craft::tcp(1, ACK) };
    let length = craft.bytes().len() as u64;
    for n in 1..=5 {
        rig.send(0, 0, &craft.bytes()).expect("forwarded");
        let counted = state_counters(rig.state());
        assert_eq!(counted["tcp.service.bytes"], n * length);
        assert_eq!(
            counted
                .iter()
                .filter(|(name, _)| name.starts_with("tcp.real") && name.ends_with("bytes"))
                .map(|(_, bytes)| bytes)
                .sum::<u64>(),
            n * length
        );
    }
    assert_eq!(rig.flows(0)[0].1.state, FlowState::Established, "it went the short way");
}
