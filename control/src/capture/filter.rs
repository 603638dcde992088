//! What an operator wants to see, in tcpdump's words where it has them, and in shunt's for what tcpdump does not know:
//!
//! ```text
//! filter    := term { "or" term }
//! term      := factor { ["and"] factor }
//! factor    := "not" factor | "(" filter ")" | primitive
//! primitive := [ "src" | "dst" ] ( ["host"] ADDRESS | "net" PREFIX | "port" NUMBER )
//!            | "ip" | "ip6" | "tcp" | "udp" | "sctp" | "icmp" | "icmp6"
//!            | "verdict" ( "forward" | "drop" | "answer" ) | "reason" NAME
//!            | "service" VIP:PORT/PROTOCOL | "real" ADDRESS
//! ```
//!
//! "and" may be left out, `!`, `&&` and `||` are understood. Addresses and ports are those of the packet as it was received; of an ICMP
//! error they are its own, not those of the packet that it quotes. What a packet does not have (a later fragment has no
//! ports) equals nothing.

use std::net::IpAddr;

use shunt_dataplane::packet::{Address, Protocol};
use shunt_dataplane::recorder::{Outcome, Prefix, Sieve};
use shunt_dataplane::verdict::DropReason;

use super::packet::Decoded;
use crate::edit::service_key;

/// How deep brackets and "not" may go.
const DEPTH: usize = 32;
/// Longest filter, bytes.
pub const LONGEST: usize = 4096;

const PRIMITIVES: &str = "host, net, port, src, dst, ip, ip6, tcp, udp, sctp, icmp, icmp6, verdict, reason, service, real, not or (";

/// A filter that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Expression);

/// What is asked about one frame.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// What was received.
    pub packet: Option<Decoded>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, if it was not forwarded.
    pub reason: Option<DropReason>,
    /// Its service, as it is shown.
    pub service: Option<&'a str>,
    /// Its real server.
    pub real: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    All,
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Net(Side, Prefix),
    Port(Side, u16),
    /// IP version.
    Version(u8),
    /// IP protocol number.
    Protocol(u8),
    Outcome(Outcome),
    Reason(DropReason),
    Service(String),
    Real(IpAddr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Src,
    Dst,
    Either,
}

impl Filter {
    /// Reads a filter; an empty one lets everything through.
    ///
    /// # Errors
    /// Where it is wrong, and what is expected there.
    pub fn parse(text: &str) -> Result<Filter, String> {
        if text.len() > LONGEST {
            return Err(format!("filter: {} characters: at most {LONGEST} are read", text.len()));
        }
        let mut parser = Parser { words: words(text), next: 0, depth: 0, end: text.chars().count() };
        if parser.words.is_empty() {
            return Ok(Filter(Expression::All));
        }
        let expression = parser.filter()?;
        match parser.peek() {
            None => Ok(Filter(expression)),
            Some(_) => Err(parser.wrong("\"and\", \"or\" or the end of the filter is expected")),
        }
    }

    /// Whether the frame is wanted.
    pub fn has(&self, subject: &Subject<'_>) -> bool {
        self.0.has(subject)
    }

    /// What workers can tell by themselves: lets through all that the filter does, and as little else as that takes.
    pub fn sieve(&self) -> Sieve {
        let mut sieve = Sieve::OPEN;
        self.0.narrow(&mut sieve);
        sieve
    }
}

impl Expression {
    fn has(&self, subject: &Subject<'_>) -> bool {
        let packet = subject.packet.as_ref();
        match self {
            Expression::All => true,
            Expression::And(a, b) => a.has(subject) && b.has(subject),
            Expression::Or(a, b) => a.has(subject) || b.has(subject),
            Expression::Not(a) => !a.has(subject),
            Expression::Net(side, prefix) => packet.is_some_and(|packet| {
                side.any(Address::from(packet.src), Address::from(packet.dst), |address| {
                    // ::/0 has no IPv4 address.
                    prefix.network.v4().is_some() == address.v4().is_some() && prefix.has(address)
                })
            }),
            Expression::Port(side, port) => packet
                .and_then(|packet| packet.ports)
                .is_some_and(|(src, dst)| side.any(src, dst, |found| found == *port)),
            Expression::Version(version) => {
                packet.is_some_and(|packet| packet.src.is_ipv4() == (*version == 4))
            }
            Expression::Protocol(protocol) => packet.is_some_and(|packet| packet.protocol == *protocol),
            Expression::Outcome(outcome) => subject.outcome == *outcome,
            Expression::Reason(reason) => subject.reason == Some(*reason),
            Expression::Service(service) => subject.service == Some(service),
            Expression::Real(real) => subject.real == Some(*real),
        }
    }

    /// Adds what must hold for this to hold.
    fn narrow(&self, sieve: &mut Sieve) {
        match self {
            Expression::And(a, b) => {
                a.narrow(sieve);
                b.narrow(sieve);
            }
            // Of two conditions on the same field the first is kept: the sieve may let through more than is wanted.
            Expression::Net(side, prefix) => {
                let field = match side {
                    Side::Src => &mut sieve.src,
                    Side::Dst => &mut sieve.dst,
                    Side::Either => &mut sieve.host,
                };
                field.get_or_insert(*prefix);
            }
            Expression::Port(side, port) => {
                let field = match side {
                    Side::Src => &mut sieve.src_port,
                    Side::Dst => &mut sieve.dst_port,
                    Side::Either => &mut sieve.port,
                };
                field.get_or_insert(*port);
            }
            Expression::Protocol(number) => {
                if let Some(protocol) = Protocol::from_number(*number) {
                    sieve.protocol.get_or_insert(protocol);
                }
            }
            Expression::Outcome(outcome) => sieve.outcomes &= 1 << *outcome as u8,
            Expression::Reason(reason) => {
                sieve.reasons &= 1 << *reason as u8;
                sieve.outcomes &= !(1 << Outcome::Forward as u8);
            }
            // Only flows have a service, and only some frames a real server: not for a worker to tell.
            Expression::All
            | Expression::Or(..)
            | Expression::Not(_)
            | Expression::Version(_)
            | Expression::Service(_)
            | Expression::Real(_) => {}
        }
    }
}

impl Side {
    fn any<T>(self, src: T, dst: T, is: impl Fn(T) -> bool) -> bool {
        match self {
            Side::Src => is(src),
            Side::Dst => is(dst),
            Side::Either => is(src) || is(dst),
        }
    }
}

/// A word of the filter, and its place: characters from 1.
#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

/// Words between spaces; brackets and "!" stand for themselves. (No address, name or number has one inside.)
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut is_inside = false;
    for (n, (byte, character)) in text.char_indices().enumerate() {
        let stands_alone = matches!(character, '(' | ')' | '!');
        let end = byte + character.len_utf8();
        match words.last_mut().filter(|_| is_inside && !stands_alone && !character.is_whitespace()) {
            Some(word) => word.text = &text[byte - word.text.len()..end],
            None if !character.is_whitespace() => words.push(Word { text: &text[byte..end], at: n + 1 }),
            None => {}
        }
        is_inside = !stands_alone && !character.is_whitespace();
    }
    words
}

struct Parser<'a> {
    words: Vec<Word<'a>>,
    next: usize,
    depth: usize,
    /// Characters of the text.
    end: usize,
}

impl<'a> Parser<'a> {
    fn filter(&mut self) -> Result<Expression, String> {
        let mut left = self.term()?;
        while self.accept(&["or", "||"]) {
            left = Expression::Or(Box::new(left), Box::new(self.term()?));
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Expression, String> {
        let mut left = self.factor()?;
        loop {
            let is_said = self.accept(&["and", "&&"]);
            if !is_said && self.peek().is_none_or(|word| matches!(word, "or" | "||" | ")")) {
                return Ok(left);
            }
            left = Expression::And(Box::new(left), Box::new(self.factor()?));
        }
    }

    fn factor(&mut self) -> Result<Expression, String> {
        if self.depth == DEPTH {
            return Err(self.wrong(&format!("brackets and \"not\" go no deeper than {DEPTH}")));
        }
        if self.accept(&["not", "!"]) {
            self.depth += 1;
            let inner = self.factor()?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.accept(&["("]) {
            self.depth += 1;
            let inner = self.filter()?;
            self.depth -= 1;
            return if self.accept(&[")"]) { Ok(inner) } else { Err(self.wrong("\")\" is expected")) };
        }
        self.primitive()
    }

    fn primitive(&mut self) -> Result<Expression, String> {
        let side = match self.peek() {
            Some("src") => Side::Src,
            Some("dst") => Side::Dst,
            _ => return self.sideless(),
        };
        self.next += 1;
        match self.peek() {
            Some("host" | "net" | "port") => self.endpoint(side),
            // As tcpdump: the last qualifier may be left out.
            Some(word) if word.parse::<IpAddr>().is_ok() => self.host(side),
            _ => Err(self.wrong("host, net, port or an address is expected")),
        }
    }

    fn sideless(&mut self) -> Result<Expression, String> {
        let Some(word) = self.peek() else {
            return Err(self.wrong(&format!("one of these is expected: {PRIMITIVES}")));
        };
        let protocol = match word {
            "host" | "net" | "port" => return self.endpoint(Side::Either),
            "ip" => Expression::Version(4),
            "ip6" => Expression::Version(6),
            "icmp" => Expression::Protocol(1),
            "tcp" => Expression::Protocol(6),
            "udp" => Expression::Protocol(17),
            "icmp6" => Expression::Protocol(58),
            "sctp" => Expression::Protocol(132),
            "verdict" | "reason" | "service" | "real" => return self.of_shunt(word),
            _ => return Err(self.wrong(&format!("one of these is expected: {PRIMITIVES}"))),
        };
        self.next += 1;
        Ok(protocol)
    }

    fn endpoint(&mut self, side: Side) -> Result<Expression, String> {
        let kind = self.peek();
        self.next += 1;
        match kind {
            Some("net") => self
                .value("a network is expected: 192.0.2.0/24", prefix)
                .map(|net| Expression::Net(side, net)),
            Some("port") => self
                .value("a port from 0 to 65535 is expected", |word| {
                    // u16's own parser takes a sign.
                    word.parse().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit()))
                })
                .map(|port| Expression::Port(side, port)),
            _ => self.host(side),
        }
    }

    fn host(&mut self, side: Side) -> Result<Expression, String> {
        let host = |word: &str| word.parse::<IpAddr>().ok().map(|address| whole(address.into()));
        self.value("an address is expected: 192.0.2.1 or 2001:db8::1", host)
            .map(|net| Expression::Net(side, net))
    }

    fn of_shunt(&mut self, kind: &str) -> Result<Expression, String> {
        self.next += 1;
        match kind {
            "verdict" => self
                .value("forward, drop or answer is expected", |word| {
                    Outcome::ALL.into_iter().find(|outcome| outcome.name() == word)
                })
                .map(Expression::Outcome),
            "reason" => {
                let names = DropReason::ALL.map(DropReason::name);
                let near = self.peek().and_then(|word| crate::config::closest(word, names.into_iter()));
                let expected = match near {
                    Some(near) => format!("a reason as `shunt show drops` names it is expected: {near}?"),
                    None => "a reason as `shunt show drops` names it is expected".to_owned(),
                };
                let reason = |word: &str| DropReason::ALL.into_iter().find(|reason| reason.name() == word);
                self.value(&expected, reason).map(Expression::Reason)
            }
            "service" => self
                .value("a service as it is shown is expected: 192.0.2.10:80/tcp", |word| {
                    service_key(word).ok().map(|key| key.to_string())
                })
                .map(Expression::Service),
            _ => self
                .value("the address of a real server is expected", |word| word.parse().ok())
                .map(Expression::Real),
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).map(|word| word.text)
    }

    fn accept(&mut self, these: &[&str]) -> bool {
        let is_one = self.peek().is_some_and(|word| these.contains(&word));
        self.next += usize::from(is_one);
        is_one
    }

    fn value<T>(&mut self, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let value = self.peek().and_then(read).ok_or_else(|| self.wrong(expected))?;
        self.next += 1;
        Ok(value)
    }

    /// What is wrong with the next word.
    fn wrong(&self, expected: &str) -> String {
        match self.words.get(self.next) {
            Some(word) => format!("filter, character {}: {:?}: {expected}", word.at, word.text),
            None => format!("filter, character {}: it ends here: {expected}", self.end + 1),
        }
    }
}

fn whole(address: Address) -> Prefix {
    Prefix { network: address, mask: u128::MAX }
}

/// `192.0.2.0/24`; bits behind the prefix must be 0, as for tcpdump.
fn prefix(word: &str) -> Option<Prefix> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address.parse::<IpAddr>().ok()?, Some(length.parse::<u32>().ok()?)),
        None => (word.parse::<IpAddr>().ok()?, None),
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(bits);
    let free = bits.checked_sub(length)?;
    let mask = u128::MAX.checked_shl(free).unwrap_or(0);
    let network = Address::from(address);
    (network.masked(mask) == network).then_some(Prefix { network, mask })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shunt_dataplane::packet::{Kind, Packet, TcpFlags};

    fn addresses() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u8..4).prop_map(|n| IpAddr::from([192, 0, 2, n])),
            (0u16..4).prop_map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]))
        ]
    }

    /// A packet with addresses of one family.
    fn packets() -> impl Strategy<Value = Decoded> {
        let protocol = prop_oneof![Just(1u8), Just(6), Just(17), Just(132), Just(58)];
        let ports = proptest::option::of((0u16..4, 0u16..4));
        (addresses(), addresses(), protocol, ports).prop_map(|(src, dst, protocol, ports)| Decoded {
            src,
            dst: if src.is_ipv4() == dst.is_ipv4() { dst } else { src },
            protocol,
            ports: ports.filter(|_| matches!(protocol, 6 | 17 | 132)),
            flags: 0,
            vlan: None,
        })
    }

    /// A filter's text, and what it means to somebody who has not seen the parser.
    type Model = std::sync::Arc<dyn Fn(&Subject<'_>) -> bool>;

    #[derive(Clone)]
    struct Said(String, Model);

    impl std::fmt::Debug for Said {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fmt(f)
        }
    }

    fn said(text: String, means: impl Fn(&Subject<'_>) -> bool + 'static) -> Said {
        Said(text, std::sync::Arc::new(means))
    }

    fn primitives() -> impl Strategy<Value = Said> {
        let side = prop_oneof![Just("src "), Just("dst "), Just("")];
        let host = (side.clone(), addresses()).prop_map(|(side, address)| {
            said(format!("{side}host {address}"), move |subject| {
                subject.packet.is_some_and(|p| {
                    (side != "dst " && p.src == address) || (side != "src " && p.dst == address)
                })
            })
        });
        let port = (side, 0u16..4).prop_map(|(side, port)| {
            said(format!("{side}port {port}"), move |subject| {
                let ports = subject.packet.and_then(|packet| packet.ports);
                ports.is_some_and(|(src, dst)| {
                    (side != "dst " && src == port) || (side != "src " && dst == port)
                })
            })
        });
        let net = (30u32..=32, 0u32..4).prop_map(|(length, n)| {
            let network = u32::from_be_bytes([192, 0, 2, 0]) | (n & (u32::MAX << (32 - length)));
            let inside = move |address| match address {
                IpAddr::V4(address) => u32::from(address) >> (32 - length) == network >> (32 - length),
                IpAddr::V6(_) => false,
            };
            said(format!("net {}/{length}", std::net::Ipv4Addr::from(network)), move |subject| {
                subject.packet.is_some_and(|packet| inside(packet.src) || inside(packet.dst))
            })
        });
        let names = [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1), ("icmp6", 58)];
        let protocol = (0..names.len()).prop_map(move |n| {
            let (name, number) = names[n];
            said(name.into(), move |subject| subject.packet.is_some_and(|packet| packet.protocol == number))
        });
        let verdict = (0..3usize).prop_map(|n| {
            said(format!("verdict {}", ["forward", "drop", "answer"][n]), move |subject| {
                subject.outcome as usize == n
            })
        });
        let reason = (0..3usize).prop_map(|n| {
            let reason = DropReason::ALL[n];
            said(format!("reason {}", reason.name()), move |subject| subject.reason == Some(reason))
        });
        prop_oneof![host, port, net, protocol, verdict, reason]
    }

    fn filters() -> impl Strategy<Value = Said> {
        primitives().prop_recursive(4, 24, 2, |inner| {
            let pair = || (inner.clone(), inner.clone());
            prop_oneof![
                pair().prop_map(|(a, b)| said(format!("({}) or ({})", a.0, b.0), move |s| a.1(s) || b.1(s))),
                pair().prop_map(|(a, b)| said(format!("({}) and ({})", a.0, b.0), move |s| a.1(s) && b.1(s))),
                pair().prop_map(|(a, b)| said(format!("({}) ({})", a.0, b.0), move |s| a.1(s) && b.1(s))),
                inner.clone().prop_map(|a| said(format!("not ({})", a.0), move |s| !a.1(s))),
            ]
        })
    }

    fn subjects() -> impl Strategy<Value = Subject<'static>> {
        (proptest::option::weighted(0.9, packets()), 0..3usize, 0..3usize).prop_map(
            |(packet, outcome, reason)| Subject {
                packet,
                outcome: Outcome::ALL[outcome],
                reason: (outcome > 0).then_some(DropReason::ALL[reason]),
                service: None,
                real: None,
            },
        )
    }

    /// As the worker's parser has it; it knows no other protocols.
    fn of_worker(packet: &Decoded) -> Option<Packet> {
        let (src_port, dst_port) = packet.ports.unwrap_or((0, 0));
        Some(Packet {
            kind: if packet.ports.is_some() { Kind::Whole } else { Kind::Later },
            src: packet.src.into(),
            dst: packet.dst.into(),
            src_port,
            dst_port,
            protocol: Protocol::from_number(packet.protocol)?,
            flags: TcpFlags(0),
            l3: 14,
            l4: 34,
            end: 54,
        })
    }

    proptest! {
        #[test]
        fn a_filter_means_what_it_says_and_a_worker_never_withholds_what_it_wants(
            filter in filters(), subjects in proptest::collection::vec(subjects(), 1..20),
        ) {
            let Said(text, means) = filter;
            let filter = Filter::parse(&text).map_err(TestCaseError::fail)?;
            let sieve = filter.sieve();
            for subject in subjects {
                prop_assert_eq!(filter.has(&subject), means(&subject), "{}: {:?}", text, subject);
                let packet = subject.packet.as_ref().and_then(of_worker);
                let passes = sieve.takes(subject.outcome, subject.reason) && sieve.has(packet.as_ref());
                prop_assert!(passes || !filter.has(&subject), "{}: {:?} is withheld", text, subject);
            }
        }

        #[test]
        fn no_text_is_too_much_for_the_parser(text in "[ -~é()!]{0,60}|(not |\\(|host |192.0.2.1 |and |or |\\)){0,40}") {
            let _ = Filter::parse(&text);
        }
    }

    #[test]
    fn and_binds_closer_than_or_and_not_closest() {
        let tcp = Box::new(Expression::Protocol(6));
        let udp = Box::new(Expression::Protocol(17));
        let drop = Box::new(Expression::Outcome(Outcome::Drop));
        let expected = Expression::Or(udp, Box::new(Expression::And(Box::new(Expression::Not(tcp)), drop)));
        for text in [
            "udp or not tcp and verdict drop",
            "udp || !tcp verdict drop",
            "udp or (not tcp && verdict drop)",
        ] {
            assert_eq!(Filter::parse(text), Ok(Filter(expected.clone())), "{text}");
        }
        assert_eq!(Filter::parse("src 192.0.2.1"), Filter::parse("src host 192.0.2.1"));
        assert_eq!(Filter::parse("net 192.0.2.1"), Filter::parse("host 192.0.2.1"));
    }

    #[test]
    fn a_filter_that_is_wrong_is_refused_with_the_place_and_what_is_expected() {
        for (text, place, expected) in [
            ("host nobody", 6, "an address is expected"),
            ("port 65536", 6, "0 to 65535"),
            ("port +1", 6, "0 to 65535"),
            ("tcp and", 8, "it ends here: one of these is expected: host"),
            ("(tcp", 5, "\")\" is expected"),
            ("tcp )", 5, "the end of the filter is expected"),
            ("src tcp", 5, "host, net, port or an address"),
            ("net 192.0.2.1/24", 5, "a network is expected"),
            ("net 192.0.2.0/33", 5, "a network is expected"),
            ("reason no_reel", 8, "no_real?"),
            ("verdict lost", 9, "forward, drop or answer"),
            ("service 192.0.2.10:80", 9, "192.0.2.10:80/tcp"),
            ("real www", 6, "the address of a real server"),
        ] {
            let complaint = Filter::parse(text).expect_err(text);
            assert!(complaint.contains(&format!("character {place}: ")), "{text}: {complaint}");
            assert!(complaint.contains(expected), "{text}: {complaint}");
        }
        assert!(Filter::parse(&"(".repeat(1000)).unwrap_err().contains("no deeper"));
        assert!(Filter::parse(&"not ".repeat(1000)).unwrap_err().contains("no deeper"));
        assert!(Filter::parse(&"tcp ".repeat(2000)).unwrap_err().contains("at most"));
    }
}
