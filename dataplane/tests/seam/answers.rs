//! What the director says, read by pnet_packet as its receiver would: addresses, lengths, checksums, and what is
//! quoted. And when it says nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet as _;
use pnet_packet::icmp::{self, IcmpPacket};
use pnet_packet::icmpv6::{self, Icmpv6Packet};
use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::{self, TcpPacket};
use proptest::prelude::*;
use shunt_dataplane::answer::{Answer, answer};
use shunt_dataplane::packet::{Address, Kind, Packet};
use shunt_dataplane::parse::parse;
use shunt_dataplane::port::FrameBytes;

use crate::craft::{
    ACK, Craft, DESTINATION, DIRECTOR_MAC, FIN, ROUTER_MAC, RST, SYN, VIP, VIP6, fragments, icmp_error,
    options_header,
};

/// An IP packet as its receiver sees it.
struct Received {
    protocol: IpNextHeaderProtocol,
    tos: u8,
    /// What the IP packet carries.
    message: Vec<u8>,
}

/// The frame that came, the answer as a frame, and the receiver's look at it.
fn answered(craft: &Craft, told: Answer) -> (Vec<u8>, Vec<u8>, Received) {
    let asked = craft.bytes();
    let packet = parse(&asked).expect("a good frame");
    let mut frame = asked.clone();
    assert!(answer(&mut frame, &packet, told));
    let received = receive(craft, &frame, usize::from(packet.l3));
    (asked, frame, received)
}

/// Checks Ethernet and IP of an answer to `craft`.
fn receive(craft: &Craft, frame: &[u8], l3: usize) -> Received {
    assert_eq!((&frame[..6], &frame[6..12]), (&ROUTER_MAC[..], &DIRECTOR_MAC[..]));
    assert_eq!(frame[12..l3], craft.bytes()[12..l3], "tags and EtherType stay");
    let ip = &frame[l3..];
    match craft.v6 {
        None => {
            let ip = Ipv4Packet::new(ip).unwrap();
            assert_eq!((ip.get_version(), ip.get_header_length(), ip.get_ttl()), (4, 5, 64));
            assert_eq!((ip.get_source(), ip.get_destination()), (VIP, craft.src));
            assert_eq!((ip.get_identification(), ip.get_flags(), ip.get_fragment_offset()), (0, 2, 0));
            assert_eq!(usize::from(ip.get_total_length()), ip.packet().len());
            assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
            let tos = ip.get_dscp() << 2 | ip.get_ecn();
            Received { protocol: ip.get_next_level_protocol(), tos, message: ip.payload().to_vec() }
        }
        Some((client, _)) => {
            let ip = Ipv6Packet::new(ip).unwrap();
            assert_eq!((ip.get_version(), ip.get_hop_limit(), ip.get_flow_label()), (6, 64, 0));
            assert_eq!((ip.get_source(), ip.get_destination()), (VIP6, client));
            assert_eq!(usize::from(ip.get_payload_length()), ip.payload().len());
            let tos = ip.get_traffic_class();
            Received { protocol: ip.get_next_header(), tos, message: ip.payload().to_vec() }
        }
    }
}

fn crafts() -> impl Strategy<Value = Craft> {
    let payload = proptest::collection::vec(any::<u8>(), 0..1400);
    let tags = proptest::collection::vec((Just(0x8100), any::<u16>()), 0..=2);
    let extras = (0usize..11, 0u8..4, 0usize..8, 1u8..);
    ((0..3usize, any::<bool>(), 0u32..1000, any::<u8>()), payload, tags, extras).prop_map(
        |((protocol, v6, n, flags), payload, tags, (words, extension, padding, ttl))| {
            let craft = [Craft::tcp(n, flags), Craft::udp(n), Craft::sctp(n)][protocol].clone();
            let craft = Craft { payload, padding, options: vec![1; words * 4], ttl, ..craft }.tagged(&tags);
            match (v6, extension) {
                (false, _) => craft,
                (true, 0) => craft.v6(),
                (true, words) => craft.v6().extended(DESTINATION, &options_header(words)),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_error_quotes_what_came_and_adds_up(
        craft in crafts(), mtu in any::<u16>(),
        told in prop_oneof![Just(Answer::TimeExceeded), Just(Answer::PortUnreachable), Just(Answer::TooBig { mtu: 0 })],
    ) {
        let told = if let Answer::TooBig { .. } = told { Answer::TooBig { mtu } } else { told };
        let (_, frame, received) = answered(&craft, told);
        let mtu = if let Answer::TooBig { mtu } = told { mtu } else { 0 };
        let [high, low] = mtu.to_be_bytes();
        prop_assert_eq!(&received.message[4..8], &[0, 0, high, low]);
        prop_assert_eq!(received.tos, if craft.v6.is_some() { 0 } else { 0xc0 });
        let (longest, header) = if let Some((client, _)) = craft.v6 {
            let message = Icmpv6Packet::new(&received.message).unwrap();
            let expected = match told {
                Answer::TimeExceeded => (3, 0),
                Answer::TooBig { .. } => (2, 0),
                _ => (1, 4),
            };
            prop_assert_eq!(received.protocol, IpNextHeaderProtocols::Icmpv6);
            prop_assert_eq!((message.get_icmpv6_type().0, message.get_icmpv6_code().0), expected);
            prop_assert_eq!(message.get_checksum(), icmpv6::checksum(&message, &VIP6, &client));
            (1280, 40)
        } else {
            let message = IcmpPacket::new(&received.message).unwrap();
            let expected = match told {
                Answer::TimeExceeded => (11, 0),
                Answer::TooBig { .. } => (3, 4),
                _ => (3, 3),
            };
            prop_assert_eq!(received.protocol, IpNextHeaderProtocols::Icmp);
            prop_assert_eq!((message.get_icmp_type().0, message.get_icmp_code().0), expected);
            prop_assert_eq!(message.get_checksum(), icmp::checksum(&message));
            (576, 20)
        };
        let came = craft.ip();
        let quoted = came.len().min(longest - header - 8);
        prop_assert_eq!(&received.message[8..], &came[..quoted]);
        // The client finds its own flow in the quote: what `parse` makes of the answer, were it the director's.
        let turned = parse(&frame).expect("a good error");
        prop_assert_eq!(turned.kind, Kind::Error);
        prop_assert_eq!((turned.src_port, turned.dst_port), (craft.dst_port, craft.src_port));
    }

    #[test]
    fn a_reset_is_one_that_the_sender_accepts(craft in crafts(), flags in any::<u8>()) {
        let craft = Craft { protocol: 6, flags: flags & !RST, dst_port: 80, ..craft };
        let (_, _, received) = answered(&craft, Answer::Reset);
        prop_assert_eq!(received.protocol, IpNextHeaderProtocols::Tcp);
        prop_assert_eq!(received.message.len(), 20);
        let tcp = TcpPacket::new(&received.message).unwrap();
        prop_assert_eq!((tcp.get_source(), tcp.get_destination()), (craft.dst_port, craft.src_port));
        prop_assert_eq!((tcp.get_data_offset(), tcp.get_reserved(), tcp.get_urgent_ptr()), (5, 0, 0));
        let checksum = match craft.v6 {
            Some((client, _)) => tcp::ipv6_checksum(&tcp, &VIP6, &client),
            None => tcp::ipv4_checksum(&tcp, &VIP, &craft.src),
        };
        prop_assert_eq!(tcp.get_checksum(), checksum);
        // Crafted segments have sequence number 1 and acknowledge 2.
        let length = craft.payload.len() as u32 + u32::from(flags & SYN > 0) + u32::from(flags & FIN > 0);
        let expected = if flags & ACK > 0 { (2, 0, RST) } else { (0, 1 + length, RST | ACK) };
        prop_assert_eq!((tcp.get_sequence(), tcp.get_acknowledgement(), tcp.get_flags()), expected);
    }
}

/// TCP options are no data: RFC 9293, section 3.4.
#[test]
fn a_reset_counts_the_data_behind_tcp_options_and_wraps_around() {
    let craft = Craft { data_offset: 8, payload: vec![1; 12 + 5], ..Craft::tcp(1, SYN) };
    let (_, _, received) = answered(&craft, Answer::Reset);
    assert_eq!(TcpPacket::new(&received.message).unwrap().get_acknowledgement(), 1 + 1 + 5);
    let mut frame = Craft::tcp(1, SYN).bytes();
    frame[38..42].fill(0xff);
    let packet = parse(&frame).unwrap();
    assert!(answer(&mut frame, &packet, Answer::Reset));
    assert_eq!(TcpPacket::new(&frame[34..]).unwrap().get_acknowledgement(), 0);
}

const ALL: [Answer; 4] =
    [Answer::TimeExceeded, Answer::TooBig { mtu: 1400 }, Answer::PortUnreachable, Answer::Reset];

/// Which answers a frame gets; one that is refused is left alone.
fn given(frame: &[u8], packet: &Packet) -> Vec<Answer> {
    let tried = ALL.into_iter().filter(|told| {
        let mut changed = frame.to_vec();
        let is_given = answer(&mut changed, packet, *told);
        assert_eq!(is_given, changed != frame, "{told:?}");
        is_given
    });
    tried.collect()
}

#[test]
fn errors_later_fragments_and_what_did_not_come_from_one_host_to_one_host_get_no_answer() {
    for v6 in [false, true] {
        let family = |craft: Craft| if v6 { craft.v6() } else { craft };
        let tcp = family(Craft { payload: vec![0; 40], ..Craft::tcp(1, ACK) });
        let good = tcp.bytes();
        let packet = parse(&good).unwrap();
        assert_eq!(given(&good, &packet), ALL);
        let pieces = fragments(&good, 24, 7, 0);
        assert_eq!(
            given(&pieces[0], &parse(&pieces[0]).unwrap()),
            ALL[..3],
            "a first one, whose length nobody knows"
        );
        assert_eq!(given(&pieces[1], &parse(&pieces[1]).unwrap()), []);
        let error = icmp_error(3, 1, 0, &tcp.clone().reverse().ip());
        assert_eq!(given(&error, &parse(&error).unwrap()), []);
        for mac in [0, 6] {
            let mut group = good.clone();
            group[mac] |= 1;
            assert_eq!(given(&group, &packet), [], "a broadcast or multicast frame");
        }
        let strangers: [Address; 2] = if v6 {
            [Ipv6Addr::UNSPECIFIED, "ff02::1".parse().unwrap()].map(|a| std::net::IpAddr::from(a).into())
        } else {
            [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST].map(Address::from)
        };
        for stranger in strangers {
            assert_eq!(given(&good, &Packet { src: stranger, ..packet }), []);
            assert_eq!(given(&good, &Packet { dst: stranger, ..packet }), []);
        }
        let short = &good[..good.len() - 1];
        assert_eq!(given(short, &packet), [], "not the frame of this packet");
        for (craft, why) in [
            (family(Craft::tcp(1, RST)), "a RST for a RST would never end"),
            (family(Craft::udp(1)), "only TCP knows RST"),
            (family(Craft::sctp(1)), "only TCP knows RST"),
        ] {
            let frame = craft.bytes();
            assert_eq!(given(&frame, &parse(&frame).unwrap()), ALL[..3], "{why}");
        }
    }
}

/// A frame with little room behind it.
struct Tight(Vec<u8>, usize);

impl AsRef<[u8]> for Tight {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Tight {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl FrameBytes for Tight {
    fn resize(&mut self, len: usize) -> bool {
        if len > self.1 {
            return false;
        }
        self.0.resize(len, 0);
        true
    }
}

#[test]
fn an_error_needs_room_for_its_headers() {
    let good = Craft::tcp(1, ACK).bytes();
    let packet = parse(&good).unwrap();
    let told = |room| {
        let mut frame = Tight(good.clone(), room);
        let is_given = answer(&mut frame, &packet, Answer::TimeExceeded);
        assert_eq!(is_given, frame.0 != good);
        is_given
    };
    assert!(!told(good.len() + 27));
    assert!(told(good.len() + 28));
}
