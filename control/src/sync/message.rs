//! What directors tell each other, as bytes. Numbers are big-endian.
//!
//! ```text
//! datagram  "SHFS" | version 8 | kind 8 | boot 64 | sequence 64 | body | HMAC-SHA256 256 of all before it
//!
//! greeting  to 64 | asks 64 | answers 64        to 0: whoever hears it
//! request   to 64                               tell me all
//! flows     section, section, ...
//! end       to 64                               that was all
//! missing   to 64 | first 64 | last 64          send these again
//!
//! section   family 8 | protocol 8 | first port 16 | last port 16 | flows 16 | VIP | flow, flow, ...
//!           family: bit 0, VIP and clients are IPv6; bit 1, real servers are
//! flow      client | client port 16 | port 16 | real server | state 8 | left 32, quarters of a second
//!           bit 7 of the state: hearsay, of what another director told
//! ```
//! Services and real servers are named by what the operator calls them, so that two directors need not agree about ids,
//! nor about the whole of their configurations. A template (persistence) is a flow with both ports 0.
//!
//! *Invariants*: `decode` takes any bytes, allocates no more than they are long by a small factor, and accepts nothing
//! that `encode` would write otherwise.

use std::net::{IpAddr, Ipv6Addr};

use shunt_dataplane::flow::{FlowState, Timeouts};
use shunt_dataplane::forwarding::{Ports, ServiceKey};
use shunt_dataplane::packet::{Address, Protocol};

const MAGIC: [u8; 4] = *b"SHFS";
const VERSION: u8 = 1;
/// Bytes before the body.
const HEADER: usize = 22;
/// Bytes of a section before its flows, with an IPv6 VIP.
const SECTION: usize = 24;

/// Who says it, and the how manieth that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// One run of one director: random, not 0.
    pub boot: u64,
    /// Counts its datagrams, from 1.
    pub sequence: u64,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// I am here; to one director: prove that you are not a recording.
    Greeting {
        /// The director it is for; 0: all.
        to: u64,
        /// A number that the other is to answer with; 0: none.
        asks: u64,
        /// The number that the other asked with; 0: none.
        answers: u64,
    },
    /// Tell all that you know.
    Request {
        /// The director it is for.
        to: u64,
    },
    /// Flows, by service.
    Flows(Vec<Section>),
    /// That was all.
    End {
        /// The director it is for.
        to: u64,
    },
    /// Datagrams that did not come.
    Missing {
        /// The director it is for.
        to: u64,
        /// The first of them.
        first: u64,
        /// The last of them, not below `first`.
        last: u64,
    },
}

/// Flows of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The service.
    pub service: ServiceKey,
    /// At least one; the real servers are all of one family.
    pub flows: Vec<Told>,
}

/// One flow, or a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The client, of the family of the VIP.
    pub client: Address,
    /// Its port.
    pub client_port: u16,
    /// The port it connects to.
    pub port: u16,
    /// The real server.
    pub real: Address,
    /// The flow's state.
    pub state: FlowState,
    /// Another director told of it: it counts for less than what that one says itself.
    pub is_hearsay: bool,
    /// Ticks until it is forgotten, at most `Timeouts::MAX`.
    pub left: u32,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Not of this protocol, or of another version of it.
    Version,
    /// Broken, or longer than it should be.
    Body,
}

/// The bytes of a message, without the proof.
pub fn encode(header: Header, body: &Body) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend(MAGIC);
    bytes.extend([VERSION, kind(body)]);
    bytes.extend(header.boot.to_be_bytes());
    bytes.extend(header.sequence.to_be_bytes());
    let mut words = |words: &[u64]| bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    match body {
        Body::Greeting { to, asks, answers } => words(&[*to, *asks, *answers]),
        Body::Request { to } | Body::End { to } => words(&[*to]),
        Body::Missing { to, first, last } => words(&[*to, *first, *last]),
        Body::Flows(sections) => sections.iter().for_each(|section| write(&mut bytes, section)),
    }
    bytes
}

/// Whether these bytes begin like a message of this version.
pub fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC) && bytes.get(MAGIC.len()) == Some(&VERSION)
}

/// The message of these bytes, without the proof.
///
/// # Errors
/// They are none.
pub fn decode(bytes: &[u8]) -> Result<(Header, Body), Malformed> {
    if !is_ours(bytes) {
        return Err(Malformed::Version);
    }
    let mut rest = Reader(&bytes[MAGIC.len() + 1..]);
    (|| {
        let kind = rest.byte()?;
        let header = Header { boot: rest.word()?, sequence: rest.word()? };
        let body = match kind {
            1 => Body::Greeting { to: rest.word()?, asks: rest.word()?, answers: rest.word()? },
            2 => Body::Request { to: rest.word()? },
            3 => {
                let mut sections = Vec::new();
                while !rest.0.is_empty() {
                    sections.push(rest.section()?);
                }
                Body::Flows(sections)
            }
            4 => Body::End { to: rest.word()? },
            5 => Body::Missing { to: rest.word()?, first: rest.word()?, last: rest.word()? },
            _ => return None,
        };
        let is_sound = match body {
            Body::Missing { first, last, .. } => first <= last,
            _ => true,
        };
        (is_sound && rest.0.is_empty() && header.boot != 0 && header.sequence != 0).then_some((header, body))
    })()
    .ok_or(Malformed::Body)
}

/// The fewest messages of at most `room` bytes each, before the proof, that tell of these flows. Flows of one service
/// should follow each other.
pub fn pack(flows: &[(ServiceKey, Told)], room: usize) -> Vec<Body> {
    let mut bodies = Vec::new();
    let (mut sections, mut used) = (Vec::<Section>::new(), HEADER);
    for (service, told) in flows {
        let size = told_size(told);
        let follows = sections.last().is_some_and(|section| {
            section.service == *service
                && section.flows.last().is_some_and(|flow| is_v6(flow.real) == is_v6(told.real))
        });
        if used + size + if follows { 0 } else { SECTION } > room && !sections.is_empty() {
            bodies.push(Body::Flows(std::mem::take(&mut sections)));
            used = HEADER;
        }
        match sections.last_mut().filter(|_| follows) {
            Some(section) => section.flows.push(*told),
            None => {
                sections.push(Section { service: *service, flows: vec![*told] });
                used += SECTION;
            }
        }
        used += size;
    }
    if !sections.is_empty() {
        bodies.push(Body::Flows(sections));
    }
    bodies
}

fn kind(body: &Body) -> u8 {
    match body {
        Body::Greeting { .. } => 1,
        Body::Request { .. } => 2,
        Body::Flows(_) => 3,
        Body::End { .. } => 4,
        Body::Missing { .. } => 5,
    }
}

fn is_v6(address: Address) -> bool {
    address.v4().is_none()
}

fn told_size(told: &Told) -> usize {
    let size = |address| if is_v6(address) { 16 } else { 4 };
    size(told.client) + size(told.real) + 9
}

fn write(bytes: &mut Vec<u8>, section: &Section) {
    let Section { service: ServiceKey { address, ports, protocol }, flows } = section;
    let family = u8::from(is_v6(*address)) | u8::from(flows.iter().any(|flow| is_v6(flow.real))) << 1;
    bytes.extend([family, *protocol as u8]);
    for number in [ports.first, ports.last, flows.len() as u16] {
        bytes.extend(number.to_be_bytes());
    }
    write_address(bytes, *address);
    for flow in flows {
        write_address(bytes, flow.client);
        bytes.extend(flow.client_port.to_be_bytes());
        bytes.extend(flow.port.to_be_bytes());
        write_address(bytes, flow.real);
        bytes.push(flow.state as u8 | u8::from(flow.is_hearsay) << 7);
        bytes.extend(flow.left.to_be_bytes());
    }
}

fn write_address(bytes: &mut Vec<u8>, address: Address) {
    match address.v4() {
        Some(bits) => bytes.extend(bits.to_be_bytes()),
        None => bytes.extend(address.octets()),
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn word(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn address(&mut self, is_ipv6: bool) -> Option<Address> {
        if !is_ipv6 {
            return self.array().map(u32::from_be_bytes).map(Address::from_v4);
        }
        let address = Address::from(IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)));
        // A mapped IPv4 address would have been written as one.
        is_v6(address).then_some(address)
    }

    fn section(&mut self) -> Option<Section> {
        let family = self.byte().filter(|family| *family < 4)?;
        let protocol = Protocol::from_number(self.byte()?)?;
        let ports = Ports { first: self.short()?, last: self.short()? };
        let count = self.short()?;
        if ports.first == 0 || ports.first > ports.last || count == 0 {
            return None;
        }
        let address = self.address(family & 1 == 1)?;
        let service = ServiceKey { address, ports, protocol };
        // No memory for more than can come.
        let mut flows = Vec::with_capacity(usize::from(count).min(self.0.len() / 17));
        for _ in 0..count {
            let (client, client_port) = (self.address(family & 1 == 1)?, self.short()?);
            let (port, real, state) = (self.short()?, self.address(family & 2 == 2)?, self.byte()?);
            let told = Told {
                client,
                client_port,
                port,
                real,
                state: FlowState::from_bits(state & 0x7f)?,
                is_hearsay: state & 0x80 != 0,
                left: self.array().map(u32::from_be_bytes).filter(|left| *left <= Timeouts::MAX)?,
            };
            flows.push(told);
        }
        Some(Section { service, flows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: Header = Header { boot: 7, sequence: 9 };

    fn address(is_ipv6: bool) -> BoxedStrategy<Address> {
        match is_ipv6 {
            false => any::<u32>().prop_map(Address::from_v4).boxed(),
            true => any::<u128>()
                .prop_map(|bits| Address::from(IpAddr::V6(Ipv6Addr::from_bits(bits | 1 << 127))))
                .boxed(),
        }
    }

    fn told(v6: bool, real_v6: bool) -> impl Strategy<Value = Told> {
        let state = prop::sample::select(FlowState::ALL.to_vec());
        let ports = any::<(u16, u16)>();
        (address(v6), ports, address(real_v6), state, any::<bool>(), 0..=Timeouts::MAX).prop_map(
            |(client, (client_port, port), real, state, is_hearsay, left)| Told {
                client,
                client_port,
                port,
                real,
                state,
                is_hearsay,
                left,
            },
        )
    }

    fn service(v6: bool) -> impl Strategy<Value = ServiceKey> {
        let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
        (address(v6), 1..=u16::MAX, 1..=u16::MAX, protocol).prop_map(|(address, a, b, protocol)| {
            let ports = Ports { first: a.min(b), last: a.max(b) };
            ServiceKey { address, ports, protocol }
        })
    }

    fn section() -> impl Strategy<Value = Section> {
        any::<(bool, bool)>().prop_flat_map(|(v6, real_v6)| {
            let flows = prop::collection::vec(told(v6, real_v6), 1..20);
            (service(v6), flows).prop_map(|(service, flows)| Section { service, flows })
        })
    }

    fn body() -> impl Strategy<Value = Body> {
        prop_oneof![
            any::<[u64; 3]>().prop_map(|[to, asks, answers]| Body::Greeting { to, asks, answers }),
            any::<u64>().prop_map(|to| Body::Request { to }),
            any::<u64>().prop_map(|to| Body::End { to }),
            any::<[u64; 3]>().prop_map(|[to, a, b]| Body::Missing { to, first: a.min(b), last: a.max(b) }),
            prop::collection::vec(section(), 0..6).prop_map(Body::Flows),
        ]
    }

    proptest! {
        #[test]
        fn a_message_survives_its_bytes_and_no_part_of_it_is_one(boot in 1..u64::MAX, sequence in 1..u64::MAX, body in body()) {
            let header = Header { boot, sequence };
            let bytes = encode(header, &body);
            prop_assert_eq!(decode(&bytes), Ok((header, body.clone())));
            for length in 0..bytes.len() {
                if let Ok((_, part)) = decode(&bytes[..length]) {
                    // Whole sections can be cut off: the proof tells.
                    prop_assert!(matches!(part, Body::Flows(_)) && matches!(body, Body::Flows(_)));
                }
            }
        }

        #[test]
        fn what_is_decoded_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200, body in body()) {
            let mut mutated = encode(HEAD, &body);
            let length = mutated.len();
            for (n, byte) in bytes.iter().take(4).enumerate() {
                mutated[(at * 31 + n) % length] = *byte;
            }
            let header: Vec<u8> = mutated[..HEADER].iter().chain(&bytes).copied().collect();
            for bytes in [mutated, header, bytes] {
                if let Ok((header, body)) = decode(&bytes) {
                    prop_assert_eq!(encode(header, &body), bytes);
                }
            }
        }

        #[test]
        fn packed_flows_fit_and_none_is_lost(sections in prop::collection::vec(section(), 0..20), room in 600usize..1500) {
            let flat = |sections: &[Section]| -> Vec<(ServiceKey, Told)> {
                sections.iter().flat_map(|s| s.flows.iter().map(|flow| (s.service, *flow))).collect()
            };
            let flows = flat(&sections);
            let mut come = Vec::new();
            for body in pack(&flows, room) {
                let bytes = encode(HEAD, &body);
                prop_assert!(bytes.len() <= room);
                prop_assert_eq!(decode(&bytes), Ok((HEAD, body.clone())));
                let Body::Flows(sections) = body else { panic!("flows were packed") };
                come.extend(flat(&sections));
            }
            prop_assert_eq!(come, flows);
        }
    }

    #[test]
    fn other_versions_and_kinds_are_told_apart_from_broken_ones() {
        let good = encode(HEAD, &Body::Request { to: 3 });
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decode(&bytes)
        };
        assert_eq!(with(0, b'X'), Err(Malformed::Version));
        assert_eq!(with(4, 2), Err(Malformed::Version));
        assert_eq!(with(5, 0), Err(Malformed::Body));
        assert_eq!(with(5, 6), Err(Malformed::Body));
        assert_eq!(with(13, 0), Err(Malformed::Body), "boot 0");
        assert_eq!(with(21, 0), Err(Malformed::Body), "sequence 0");
        assert_eq!(decode(&[]), Err(Malformed::Version));
        let backwards = Body::Missing { to: 1, first: 3, last: 2 };
        assert_eq!(decode(&encode(HEAD, &backwards)), Err(Malformed::Body));
    }

    #[test]
    fn eighty_ipv4_flows_of_a_service_fit_a_datagram() {
        let service =
            ServiceKey { address: Address::from_v4(1), ports: Ports::exact(80), protocol: Protocol::Tcp };
        let told = |n| Told {
            client: Address::from_v4(n),
            client_port: 1,
            port: 80,
            real: Address::from_v4(2),
            state: FlowState::Established,
            is_hearsay: false,
            left: 3600,
        };
        let flows: Vec<_> = (0..80).map(|n| (service, told(n))).collect();
        assert_eq!(pack(&flows, 1500 - 28 - 32).len(), 1);
    }
}
