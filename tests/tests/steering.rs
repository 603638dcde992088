//! The XDP program, as the kernel loaded it, on frames made to the byte: what it takes for the workers and what it leaves
//! to the kernel. It is attached to nothing and runs by BPF_PROG_TEST_RUN; without a socket a frame that would go to a
//! worker is dropped and counted as such, which tells it from one that is passed.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use shunt_dataplane::clock::Clock;
use shunt_dataplane::forwarding::{Ports, ServiceKey};
use shunt_dataplane::packet::{MacAddress, Protocol};
use shunt_dataplane::xsk::beat::{Beat, LIFE};
use shunt_dataplane::xsk::steering::{SteerCounts, Steered, Steering};
use shunt_tests::privilege::require_root;
use shunt_tests::wait;

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
const RANGE: Ports = Ports { first: 1000, last: 2000 };
/// A port of no service of the VIP.
const OTHER: u16 = 22;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;

const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
const IPV4_IN_IP: u8 = 4;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

/// Verdicts of linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The addresses of one family.
#[derive(Clone, Copy)]
struct Family {
    client: IpAddr,
    other_client: IpAddr,
    /// Port 80 and [`RANGE`], of every protocol.
    vip: IpAddr,
    /// Any port, of every protocol.
    any: IpAddr,
    /// TCP port 80 only.
    tcp_only: IpAddr,
    /// Of no service.
    other: IpAddr,
}

fn families() -> [Family; 2] {
    let family = |addresses: [&str; 6]| {
        let [client, other_client, vip, any, tcp_only, other] =
            addresses.map(|text| text.parse().expect("an address"));
        Family { client, other_client, vip, any, tcp_only, other }
    };
    [
        family(["198.51.100.7", "198.51.100.8", "192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.2"]),
        family([
            "2001:db8:1::7",
            "2001:db8:1::8",
            "2001:db8::10",
            "2001:db8::11",
            "2001:db8::12",
            "2001:db8::2",
        ]),
    ]
}

fn service(address: IpAddr, ports: Ports, protocol: Protocol) -> ServiceKey {
    ServiceKey { address: address.into(), ports, protocol }
}

fn services() -> Vec<ServiceKey> {
    let mut services = Vec::new();
    for family in families() {
        for protocol in PROTOCOLS {
            services.push(service(family.vip, Ports::exact(80), protocol));
            services.push(service(family.vip, RANGE, protocol));
            services.push(service(family.any, Ports::ANY, protocol));
        }
        services.push(service(family.tcp_only, Ports::exact(80), Protocol::Tcp));
    }
    services
}

/// Frames and what is to become of them, in order.
struct Cases {
    steering: Steering,
    expected: SteerCounts,
    wrong: Vec<String>,
}

impl Cases {
    /// The program, fed with `services`.
    #[track_caller]
    fn with(services: &[ServiceKey]) -> Cases {
        require_root();
        let mut steering = Steering::load(MacAddress(MAC)).expect("the kernel takes the program");
        steering.steer(&services.iter().collect()).expect("its maps have room");
        Cases { steering, expected: SteerCounts::default(), wrong: Vec::new() }
    }

    fn check(&mut self, steered: bool, name: &str, frame: &[u8]) {
        let verdict = self.steering.judge(frame).expect("the program can be run");
        let expected = if steered { XDP_DROP } else { XDP_PASS };
        self.expected.no_socket += u64::from(steered);
        self.expected.passed += u64::from(!steered);
        if verdict != expected {
            let bytes: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            self.wrong.push(format!("{name}: verdict {verdict}, not {expected}: {bytes}"));
        }
    }

    fn steered(&mut self, name: &str, frame: &[u8]) {
        self.check(true, name, frame);
    }

    fn passed(&mut self, name: &str, frame: &[u8]) {
        self.check(false, name, frame);
    }

    /// At least `least` cases, all as expected, and all counted so.
    #[track_caller]
    fn done(self, least: u64) {
        let cases = self.expected.passed + self.expected.no_socket;
        assert!(
            self.wrong.is_empty(),
            "{} of {cases} cases:\n{}",
            self.wrong.len(),
            self.wrong[..self.wrong.len().min(20)].join("\n")
        );
        assert!(cases >= least, "only {cases} cases");
        assert_eq!(self.steering.counts().expect("the map of counts is there"), self.expected);
    }
}

/// A packet to be made.
#[derive(Clone)]
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// 32-bit words of options of an IPv4 header, 0-10.
    options: u8,
    /// Extension headers of an IPv6 packet: type, and all bytes but the type of the next.
    extensions: Vec<(u8, Vec<u8>)>,
    /// Of an IPv4 packet: identification, and flags and offset as they stand in the header.
    id: u16,
    fragment: u16,
    payload: Vec<u8>,
}

impl Packet {
    /// From `source` to `destination`, with the first bytes of a transport header.
    fn new(source: (IpAddr, u16), destination: (IpAddr, u16), protocol: u8) -> Packet {
        let mut payload = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
        payload.extend([0; 16]);
        Packet { payload, ..Packet::raw(source.0, destination.0, protocol) }
    }

    fn raw(source: IpAddr, destination: IpAddr, protocol: u8) -> Packet {
        let (options, extensions, id, fragment, payload) = (0, Vec::new(), 0, 0, Vec::new());
        Packet { source, destination, protocol, options, extensions, id, fragment, payload }
    }

    fn with_options(mut self, words: u8) -> Packet {
        self.options = words;
        self
    }

    /// One more extension header, behind those it has: `length` as its second byte says, with all that it promises.
    fn with_extension(mut self, kind: u8, length: u8) -> Packet {
        let size = if kind == AUTHENTICATION {
            (usize::from(length) + 2) * 4
        } else {
            (usize::from(length) + 1) * 8
        };
        let mut bytes = vec![0; size - 1];
        bytes[0] = length;
        self.extensions.push((kind, bytes));
        self
    }

    /// As a fragment: `offset` in units of 8 bytes. In IPv6, a fragment header behind the headers it has.
    fn with_fragment(mut self, id: u16, offset: u16, more: bool) -> Packet {
        if self.source.is_ipv4() {
            (self.id, self.fragment) = (id, offset | u16::from(more) << 13);
        } else {
            let mut bytes = vec![0];
            bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
            bytes.extend([0xab, 0xcd]);
            bytes.extend(id.to_be_bytes());
            self.extensions.push((FRAGMENT, bytes));
        }
        self
    }

    /// A later fragment carries what would be ports, if it were not one.
    fn later(self, id: u16) -> Packet {
        self.with_fragment(id, 185, false)
    }

    fn first(self, id: u16) -> Packet {
        self.with_fragment(id, 0, true)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + usize::from(self.options) * 4;
                bytes = vec![0x40 | (5 + self.options), 0];
                bytes.extend(((header + self.payload.len()) as u16).to_be_bytes());
                bytes.extend(self.id.to_be_bytes());
                bytes.extend(self.fragment.to_be_bytes());
                bytes.extend([64, self.protocol, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                // No-operation options (RFC 791, section 3.1).
                bytes.resize(header, 1);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let kinds = self.extensions.iter().map(|(kind, _)| *kind).chain([self.protocol]);
                let kinds: Vec<u8> = kinds.collect();
                let extensions: usize = self.extensions.iter().map(|(_, bytes)| bytes.len() + 1).sum();
                bytes = vec![0x60, 0, 0, 0];
                bytes.extend(((extensions + self.payload.len()) as u16).to_be_bytes());
                bytes.extend([kinds[0], 64]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                for ((_, rest), next) in self.extensions.iter().zip(&kinds[1..]) {
                    bytes.push(*next);
                    bytes.extend(rest);
                }
            }
            _ => panic!("source and destination are of two families"),
        }
        bytes.extend(&self.payload);
        bytes
    }

    fn frame(&self) -> Vec<u8> {
        self.tagged(0)
    }

    /// In a frame with so many VLAN tags, the outer ones of a provider (IEEE 802.1ad).
    fn tagged(&self, tags: usize) -> Vec<u8> {
        frame(MAC, tags, if self.source.is_ipv4() { IPV4 } else { IPV6 }, &self.bytes())
    }
}

fn frame(destination: [u8; 6], tags: usize, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = destination.to_vec();
    bytes.extend([0x02, 0, 0, 0, 0, 2]);
    for left in (1..=tags).rev() {
        bytes.extend(if left > 1 { 0x88a8_u16 } else { 0x8100 }.to_be_bytes());
        bytes.extend((100 + left as u16).to_be_bytes());
    }
    bytes.extend(kind.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// An ICMP or ICMPv6 message of this type to `destination`, with `quoted` where an error has what it is about.
fn message(source: IpAddr, destination: IpAddr, kind: u8, quoted: &[u8]) -> Packet {
    let protocol = if source.is_ipv4() { ICMP } else { ICMPV6 };
    let payload = [&[kind, 0, 0, 0, 0, 0, 0, 0], quoted].concat();
    Packet { payload, ..Packet::raw(source, destination, protocol) }
}

/// A router on the way back says that what the VIP sent from `port` was too big.
fn too_big(family: Family, vip: IpAddr, port: u16, protocol: Protocol) -> Packet {
    let quoted = Packet::new((vip, port), (family.client, 4000), protocol as u8);
    error_about(family, vip, &quoted)
}

fn error_about(family: Family, vip: IpAddr, quoted: &Packet) -> Packet {
    message(family.other_client, vip, if vip.is_ipv4() { 3 } else { 2 }, &quoted.bytes())
}

#[test]
fn a_packet_to_a_port_of_a_service_is_steered_under_up_to_two_tags_and_no_other_packet() {
    let mut cases = Cases::with(&services());
    for family in families() {
        // Only of the VIP with any port is a service on the ports around the range, and on the last.
        let ports = [0, 1, 22, 79, 80, 81, 999, 1000, 1001, 1023, 1024, 1535, 1536, 1999, 2000, 2001, 65535];
        for (vip, port) in [family.vip, family.any, family.tcp_only, family.other]
            .into_iter()
            .flat_map(|vip| ports.map(|port| (vip, port)))
        {
            for protocol in PROTOCOLS {
                let is_service = services()
                    .iter()
                    .any(|key| *key == service(vip, key.ports, protocol) && key.ports.contains(port));
                let packet = Packet::new((family.client, 4000), (vip, port), protocol as u8);
                for tags in 0..=3 {
                    let name = format!("{protocol} to {vip} port {port}, {tags} tags");
                    cases.check(is_service && tags <= 2, &name, &packet.tagged(tags));
                }
                // Ports the other way round.
                let packet = Packet::new((family.client, port), (family.tcp_only, 443), protocol as u8);
                cases.passed(&format!("{protocol} from port {port}"), &packet.frame());
            }
        }
    }
    cases.done(2 * 17 * 4 * 3 * 5);
}

#[test]
fn options_and_extension_headers_hide_no_port() {
    let mut cases = Cases::with(&services());
    let [v4, v6] = families();
    for protocol in PROTOCOLS {
        let to =
            |family: Family, port| Packet::new((family.client, 4000), (family.vip, port), protocol as u8);
        for words in 0..=10 {
            let name = format!("{protocol}, {words} words of options");
            cases.steered(&name, &to(v4, 80).with_options(words).frame());
            cases.steered(&name, &to(v4, 1500).with_options(words).tagged(2));
            cases.passed(&name, &to(v4, OTHER).with_options(words).frame());
        }
        for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, AUTHENTICATION] {
            for length in [0, 1, 2, 7, 40] {
                let name = format!("{protocol}, extension header {kind} of length {length}");
                cases.steered(&name, &to(v6, 80).with_extension(kind, length).frame());
                cases.steered(&name, &to(v6, 1500).with_extension(kind, length).tagged(2));
                cases.passed(&name, &to(v6, OTHER).with_extension(kind, length).frame());
            }
            for (count, steered) in [(2, true), (7, true), (8, true), (9, false), (12, false)] {
                let packet = (0..count).fold(to(v6, 80), |packet, _| packet.with_extension(kind, 1));
                cases.check(steered, &format!("{count} extension headers {kind}"), &packet.frame());
            }
        }
        let all = to(v6, 1000)
            .with_extension(HOP_BY_HOP, 0)
            .with_extension(DESTINATION_OPTIONS, 3)
            .with_extension(ROUTING, 2)
            .with_fragment(1, 0, false)
            .with_extension(AUTHENTICATION, 4)
            .with_extension(DESTINATION_OPTIONS, 0);
        cases.steered("all extension headers", &all.frame());
        let mut bad = to(v4, 80).frame();
        for (byte, name) in [(0x65, "version 6"), (0x05, "version 0"), (0x44, "a header of 16 bytes")] {
            bad[14] = byte;
            cases.passed(name, &bad);
        }
        let mut bad = to(v6, 80).frame();
        bad[14] = 0x40;
        cases.passed("version 4 as IPv6", &bad);
    }
    cases.done(300);
}

#[test]
fn later_fragments_go_where_the_first_went() {
    let mut cases = Cases::with(&services());
    for (family, number) in families().into_iter().zip(1..) {
        let udp = Protocol::Udp as u8;
        let to = |vip, port| Packet::new((family.client, 4000), (vip, port), udp);
        let vip = family.vip;
        for (id, name, port) in [(1, "one port", 80), (2, "a range", 1999)] {
            cases.steered(name, &to(vip, port).first(id).frame());
            cases.steered(name, &to(vip, OTHER).later(id).frame());
            cases.steered(name, &to(vip, OTHER).with_fragment(id, 1, true).tagged(2));
        }
        cases.steered("any port", &to(family.any, 9).first(3).frame());
        cases.steered("any port", &to(family.any, OTHER).later(3).frame());
        cases.steered("ahead of the first", &to(vip, OTHER).later(4).frame());

        cases.passed("first, no service", &to(vip, OTHER).first(5).tagged(1));
        cases.passed("later, no service", &to(vip, 80).later(5).frame());
        cases.passed("in the middle, no service", &to(vip, 80).with_fragment(5, 1, true).tagged(1));
        cases.steered("another datagram", &to(vip, OTHER).later(6).frame());
        cases.steered("another VIP", &to(family.any, OTHER).later(5).frame());
        let other = Packet { source: family.other_client, ..to(vip, OTHER) };
        cases.steered("another client", &other.later(5).frame());
        // In IPv4 each protocol has identifications of its own; in IPv6 all have the same.
        let tcp = Packet { protocol: Protocol::Tcp as u8, ..to(vip, OTHER) };
        cases.check(family.vip.is_ipv4(), "another protocol", &tcp.later(5).frame());
        cases.steered("the identification comes again", &to(vip, 80).first(5).frame());
        cases.steered("the identification comes again", &to(vip, OTHER).later(5).frame());

        cases.passed("no service of the protocol", &to(family.tcp_only, 80).later(7).frame());
        cases.passed("no VIP", &to(family.other, 80).later(8).frame());
        cases.passed("no VIP, first", &to(family.other, 80).first(8).frame());
        let ping = Packet { protocol: if number == 1 { ICMP } else { ICMPV6 }, ..to(vip, 80) };
        cases.passed("of an echo request", &ping.later(9).frame());
    }

    let [v4, v6] = families();
    let to = |family: Family, port| Packet::new((family.client, 4000), (family.vip, port), 17);
    cases.steered("Don't Fragment is no fragment", &Packet { fragment: 0x4000, ..to(v4, 80) }.frame());
    cases.passed("Don't Fragment, no service", &Packet { fragment: 0x4000, ..to(v4, OTHER) }.frame());
    cases.steered("atomic", &to(v6, 80).with_fragment(10, 0, false).frame());
    cases.passed("atomic, no service", &to(v6, OTHER).with_fragment(10, 0, false).frame());
    cases.steered("an atomic fragment is not remembered", &to(v6, OTHER).later(10).frame());
    let between = |packet: Packet| packet.with_extension(ROUTING, 2);
    let behind = |packet: Packet| packet.with_extension(DESTINATION_OPTIONS, 1);
    cases.steered("first, headers around", &behind(between(to(v6, 80)).first(11)).frame());
    cases.steered("later, header before", &between(to(v6, OTHER)).later(11).frame());
    cases.passed("first, headers around, no service", &behind(between(to(v6, OTHER)).first(12)).frame());
    cases.passed("later, header before, no service", &between(to(v6, 80)).later(12).frame());
    cases.passed("later, of a header", &behind(to(v6, 80).later(13)).frame());
    cases.done(50);
}

#[test]
fn an_icmp_error_about_what_a_vip_sent_is_steered() {
    let mut cases = Cases::with(&services());
    for family in families() {
        let vip = family.vip;
        for protocol in PROTOCOLS {
            for (vip, port, steered) in [
                (vip, 80, true),
                (vip, 1000, true),
                (vip, 2000, true),
                (vip, OTHER, false),
                (family.any, OTHER, true),
                (family.tcp_only, 80, protocol == Protocol::Tcp),
                (family.other, 80, false),
            ] {
                for tags in 0..=3 {
                    let name = format!("error about {protocol} from {vip} port {port}, {tags} tags");
                    cases.check(
                        steered && tags <= 2,
                        &name,
                        &too_big(family, vip, port, protocol).tagged(tags),
                    );
                }
            }
        }
        let quoted = Packet::new((vip, 80), (family.client, 4000), 6);
        let errors: &[u8] = if vip.is_ipv4() { &[3, 4, 11, 12] } else { &[1, 2, 3, 4] };
        for kind in 0..=255 {
            // Among the others: echo, and neighbour and router discovery.
            let packet = message(family.client, vip, kind, &quoted.bytes());
            cases.check(errors.contains(&kind), &format!("type {kind} to {vip}"), &packet.frame());
        }
        let about = |quoted: &Packet| error_about(family, vip, quoted);
        cases.steered("about a first fragment", &about(&quoted.clone().first(1)).frame());
        cases.passed("about a later fragment", &about(&quoted.clone().later(1)).frame());
        cases.passed(
            "about what another sent",
            &about(&Packet { source: family.any, ..quoted.clone() }).frame(),
        );
        let reverse = Packet::new((family.client, 80), (vip, 80), 6);
        cases.passed("about what the client sent", &about(&reverse).frame());
        for protocol in [ICMP, ICMPV6, ESP, IPV4_IN_IP] {
            let other = Packet { protocol, ..quoted.clone() };
            cases.passed(&format!("about protocol {protocol}"), &about(&other).frame());
        }
        cases.passed("in fragments", &about(&quoted).first(2).frame());
        cases.passed("in fragments", &about(&quoted).later(2).frame());
    }

    let [v4, v6] = families();
    let quoted = |family: Family| Packet::new((family.vip, 80), (family.client, 4000), 17);
    for words in 0..=10 {
        let name = format!("{words} words of options");
        cases.steered(&name, &error_about(v4, v4.vip, &quoted(v4).with_options(words)).frame());
        cases.steered(&name, &error_about(v4, v4.vip, &quoted(v4)).with_options(words).tagged(2));
    }
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, AUTHENTICATION] {
        for (count, steered) in [(1, true), (8, true), (9, false)] {
            let name = format!("{count} extension headers {kind}");
            let long = |packet| (0..count).fold(packet, |packet: Packet, _| packet.with_extension(kind, 1));
            cases.check(steered, &name, &error_about(v6, v6.vip, &long(quoted(v6))).frame());
            cases.check(steered, &name, &long(error_about(v6, v6.vip, &quoted(v6))).tagged(2));
        }
    }
    cases.steered(
        "about an atomic fragment",
        &error_about(v6, v6.vip, &quoted(v6).with_fragment(1, 0, false)).frame(),
    );
    let crossed = [
        message(v4.other_client, v4.vip, 3, &quoted(v6).bytes()),
        message(v6.other_client, v6.vip, 1, &quoted(v4).bytes()),
        Packet { protocol: ICMPV6, ..error_about(v4, v4.vip, &quoted(v4)) },
        Packet { protocol: ICMP, ..message(v6.other_client, v6.vip, 3, &quoted(v6).bytes()) },
    ];
    for packet in crossed {
        cases.passed("of the other family", &packet.frame());
    }
    cases.done(700);
}

#[test]
fn what_ends_before_it_says_whose_it_is_is_passed() {
    let mut cases = Cases::with(&services());
    let [v4, v6] = families();
    let to = |family: Family| Packet::new((family.client, 4000), (family.vip, 80), 6);
    let long = |packet: Packet| {
        packet.with_extension(HOP_BY_HOP, 1).with_extension(AUTHENTICATION, 3).with_fragment(1, 0, false)
    };
    // Bytes of IP headers, and of what an ICMP error has before the ports it quotes.
    let frames = [
        (to(v4), 20),
        (to(v4).with_options(10), 60),
        (to(v6), 40),
        (long(to(v6)), 40 + 16 + 20 + 8),
        (error_about(v4, v4.vip, &to_reverse(v4).with_options(3)), 20 + 8 + 32),
        (error_about(v6, v6.vip, &to_reverse(v6)), 40 + 8 + 40),
        (long(error_about(v6, v6.vip, &long(to_reverse(v6)))), 40 + 44 + 8 + 40 + 44),
    ];
    for (number, (packet, headers)) in frames.iter().enumerate() {
        for tags in 0..=2 {
            let frame = packet.tagged(tags);
            let needed = 14 + 4 * tags + headers + 4;
            for length in 14..frame.len() {
                let name = format!("frame {number} with {tags} tags, cut to {length} bytes");
                cases.check(length >= needed, &name, &frame[..length]);
            }
        }
    }
    // A later fragment has to show no more than its header.
    for (packet, headers) in [(to(v4).later(2), 20), (to(v6).later(2), 48)] {
        let frame = packet.frame();
        for length in 14..frame.len() {
            cases.check(length >= 14 + headers, "a later fragment, cut", &frame[..length]);
        }
    }
    // The length of an extension header points out of the frame.
    let mut frame = to(v6).with_extension(ROUTING, 1).frame();
    frame[14 + 40 + 1] = 255;
    cases.passed("an extension header without end", &frame);
    cases.done(1500);
}

/// A packet of the kind that errors quote.
fn to_reverse(family: Family) -> Packet {
    Packet::new((family.vip, 80), (family.client, 4000), 6)
}

#[test]
fn frames_for_others_and_of_other_protocols_are_passed() {
    let mut cases = Cases::with(&services());
    for family in families() {
        let packet = Packet::new((family.client, 4000), (family.vip, 80), 6);
        let kind = if family.vip.is_ipv4() { IPV4 } else { IPV6 };
        cases.steered("ours", &frame(MAC, 0, kind, &packet.bytes()));
        cases.passed("for another host", &frame([2, 0, 0, 0, 0, 3], 0, kind, &packet.bytes()));
        cases.passed("broadcast", &frame([0xff; 6], 0, kind, &packet.bytes()));
        let crossed = if kind == IPV4 { IPV6 } else { IPV4 };
        for kind in [ARP, 0x0600, 0x0026, 0x9100, 0x8847, 0x8864, crossed] {
            cases.passed(&format!("EtherType {kind:#x}"), &frame(MAC, 0, kind, &packet.bytes()));
        }
        for protocol in (0..=255).filter(|protocol| ![6, 17, 132].contains(protocol)) {
            let other = Packet { protocol, ..packet.clone() };
            cases.passed(&format!("protocol {protocol}"), &other.frame());
        }
        let mut steering = Steering::load(MacAddress(MAC)).expect("the kernel takes the program");
        assert_eq!(steering.judge(&packet.frame()), Ok(XDP_PASS), "without a service");
    }
    let packet = Packet::new((families()[0].client, 4000), (families()[0].vip, 80), 6);
    let second = [2, 0, 0, 0, 0, 3];
    cases.steering.set_mac(MacAddress(second)).expect("the map has room");
    cases.steered("a second address", &frame(second, 0, IPV4, &packet.bytes()));
    cases.steering.unset_mac(MacAddress(second)).expect("it is in the map");
    cases.passed("no more", &frame(second, 0, IPV4, &packet.bytes()));
    cases.done(500);
}

#[test]
fn what_services_share_is_steered_until_the_last_of_them_is_gone() {
    let [v4, _] = families();
    let key = |first, last| service(v4.vip, Ports { first, last }, Protocol::Udp);
    let (narrow, wide, one) = (key(1024, 1535), key(1000, 3000), key(1100, 1100));
    let mut cases = Cases::with(&[narrow, wide, one]);
    let to = |port| Packet::new((v4.client, 4000), (v4.vip, port), 17).frame();
    let later = Packet::new((v4.client, 4000), (v4.vip, 1), 17).later(1).frame();
    let steps: [(&[ServiceKey], [bool; 5]); 6] = [
        // Whether ports 1000, 1024, 1100 and 1535 are steered, and a later fragment.
        (&[narrow, wide, one], [true, true, true, true, true]),
        (&[narrow, one], [false, true, true, true, true]),
        (&[one], [false, false, true, false, true]),
        (&[], [false, false, false, false, false]),
        (&[wide], [true, true, true, true, true]),
        (&[narrow], [false, true, true, true, true]),
    ];
    for (services, expected) in steps {
        let wanted: Steered = services.iter().collect();
        cases.steering.unsteer_others(&wanted).expect("they are in the maps");
        cases.steering.steer(&wanted).expect("the maps have room");
        let frames = [&to(1000), &to(1024), &to(1100), &to(1535), &later];
        for (frame, steered) in frames.into_iter().zip(expected) {
            cases.check(steered, &format!("with {services:?}"), frame);
        }
    }
    cases.done(30);
}

/// A router that has not heard yet who is active sends to a director that is not: it forwards as the active one would,
/// instead of leaving to its kernel what that knows nothing of.
#[test]
fn a_frame_for_a_vip_that_another_director_holds_is_steered_all_the_same() {
    let mut cases = Cases::with(&services());
    for family in families() {
        let bound = std::net::UdpSocket::bind((family.vip, 0));
        assert!(bound.is_err(), "this host holds {}: the test says nothing", family.vip);
        for protocol in PROTOCOLS {
            let packet = Packet::new((family.client, 4000), (family.vip, 80), protocol as u8);
            cases.steered(&format!("{protocol} to {}", family.vip), &packet.frame());
        }
    }
    cases.done(6);
}

#[test]
fn what_a_worker_without_a_sign_of_life_would_get_is_dropped_and_what_is_for_the_host_passes() {
    require_root();
    let family = families()[0];
    let mut steering = Steering::load(MacAddress(MAC)).expect("the kernel takes the program");
    steering.steer(&services().iter().collect()).expect("its maps have room");
    // Bound to nothing: nothing is sent.
    let socket = socket2::Socket::new(libc::AF_XDP.into(), socket2::Type::RAW, None).expect("a socket");
    steering.set_socket(0, socket.as_raw_fd()).expect("the map takes it");
    let to = |port| Packet::new((family.client, 4000), (family.vip, port), Protocol::Tcp as u8).frame();
    let (of_service, of_host) = (to(80), to(OTHER));
    let mut judge = |frame: &[u8]| steering.judge(frame).expect("the program can be run");
    assert_eq!(judge(&of_service), XDP_REDIRECT, "nobody has ever said that a worker is there");

    let beats = steering.beats().expect("the map can be mapped");
    let mut judge = |frame: &[u8]| steering.judge(frame).expect("the program can be run");
    let clock = Clock::new();
    let [beat, other] = [0, 1].map(|queue| Beat::new(vec![(beats.clone(), queue)], clock));
    drop(other);
    assert_eq!(judge(&of_service), XDP_REDIRECT, "only the worker of another queue is gone");
    let lapsed = || (judge(&of_service) == XDP_DROP).then_some(());
    wait::until(LIFE + Duration::from_secs(20), "the last beat to be over", lapsed);
    assert!(clock.millis() >= LIFE.as_millis() as u64, "it was over after {} ms", clock.millis());
    assert_eq!(judge(&of_host), XDP_PASS);
    beat.strike(clock.millis());
    assert_eq!(judge(&of_service), XDP_REDIRECT);
    drop(beat);
    assert_eq!(judge(&of_service), XDP_DROP);
    assert_eq!(judge(&of_host), XDP_PASS);
    let counts = steering.counts().expect("the map of counts is there");
    assert_eq!((counts.worker_stalled, counts.passed, counts.no_socket), (2, 2, 0), "{counts:?}");
}
