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
