//! What has come back in a round, weighed: anybody can write to the director, so only what shows that its sender has seen
//! the probe counts.
//!
//! *Invariants*
//! - an answer, or an error, that does not repeat the random sequence number of this round's probe is nothing;
//! - an error never takes back an answer.
//!
//! RFC 5927 (forged ICMP errors).

use std::net::IpAddr;

use super::Subject;
use super::diagnose::{Evidence, Reply};
use super::seen::{ACK, Error, RST, SYN, Seen};

/// The answers of a round.
pub(super) struct Answers<'a> {
    subject: &'a Subject,
    /// Where frames for the real server go.
    mac: [u8; 6],
    /// Of the SYN.
    pub(super) sequence: u32,
    /// Of the first of the echoes.
    echoes: u16,
    pub(super) evidence: Evidence,
}

/// An echo of a round: its place after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    ShortToVip,
    FullToVip,
    ShortToReal,
    Malformed,
}

/// A connection that is to be ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) to: IpAddr,
    pub(super) port: u16,
    pub(super) sequence: u32,
}

impl Answers<'_> {
    /// None yet. `random` is of this round alone; `full`: an echo of the longest packet is asked for.
    pub(super) fn to(subject: &Subject, mac: [u8; 6], random: u64, full: bool) -> Answers<'_> {
        let evidence = Evidence { full_echo_at_vip: full.then(Reply::default), ..Evidence::default() };
        Answers { subject, mac, sequence: random as u32, echoes: (random >> 32) as u16, evidence }
    }

    /// The sequence number of an echo.
    pub(super) fn echo(&self, echo: Echo) -> u16 {
        self.echoes.wrapping_add(echo as u16)
    }

    /// Takes in what came; what it says is to be ended, if anything.
    pub(super) fn take(&mut self, seen: Seen) -> Option<Reset> {
        match seen {
            Seen::Tcp { from, port, acknowledged, flags, .. } if Some(port) == self.subject.port() => {
                return self.segment(from, port, acknowledged, flags);
            }
            Seen::Echo { from, sequence, .. } => self.reply(from, sequence),
            Seen::Error { to, tcp: true, sequence, error, .. } if sequence == self.sequence => {
                self.error_about_syn(to, error);
            }
            Seen::Error { from, to, tcp: false, sequence, error, .. } => {
                if let Some(echo) = u16::try_from(sequence).ok().and_then(|sequence| self.asked(sequence)) {
                    self.error_about_echo(from, to, echo, error);
                }
            }
            Seen::Neighbor { address, mac } if address == self.subject.vip && mac == self.mac => {
                self.evidence.claims_vip = true;
            }
            // Of two that say so the one that is expected counts.
            Seen::Neighbor { address, mac }
                if address == self.subject.real && self.evidence.mac != Some(self.mac) =>
            {
                self.evidence.mac = Some(mac);
            }
            Seen::Tcp { .. } | Seen::Error { .. } | Seen::Neighbor { .. } => {}
        }
        None
    }

    fn segment(&mut self, from: IpAddr, port: u16, acknowledged: u32, flags: u8) -> Option<Reset> {
        let reset = Reset { to: from, port, sequence: acknowledged };
        if acknowledged != self.sequence.wrapping_add(1) {
            // It remembers another connection: that one is over.
            return (flags & RST == 0 && flags & ACK != 0).then_some(reset);
        }
        match flags & (SYN | RST) {
            SYN => {
                self.service(from, Reply::Good);
                Some(reset)
            }
            RST => {
                self.service(from, Reply::Refused);
                None
            }
            _ => None,
        }
    }

    fn reply(&mut self, from: IpAddr, sequence: u16) {
        let (vip, real) = (self.subject.vip, self.subject.real);
        match self.asked(sequence) {
            Some(Echo::ShortToVip) if from == vip => self.echoed(),
            Some(Echo::FullToVip) if from == vip => {
                self.evidence.full_echo_at_vip = Some(Reply::Good);
                self.echoed();
            }
            Some(Echo::ShortToReal) if from == real => self.evidence.echo_at_real = Reply::Good,
            _ => {}
        }
    }

    fn error_about_syn(&mut self, to: IpAddr, error: Error) {
        match error {
            Error::Port => self.service(to, Reply::Refused),
            Error::Prohibited => self.service(to, Reply::Rejected),
            Error::Elsewhere => self.passed_on(to),
            Error::TooBig | Error::Parameter => {}
        }
    }

    fn error_about_echo(&mut self, from: IpAddr, to: IpAddr, echo: Echo, error: Error) {
        if to == self.subject.vip {
            match (echo, error) {
                (Echo::Malformed, Error::Parameter) => self.evidence.holds_vip = Some(from == to),
                (Echo::FullToVip, Error::TooBig) if self.evidence.full_echo_at_vip == Some(Reply::Silent) => {
                    self.evidence.full_echo_at_vip = Some(Reply::Rejected);
                }
                (_, Error::Elsewhere) => self.passed_on(to),
                _ => {}
            }
        }
    }

    fn passed_on(&mut self, to: IpAddr) {
        self.evidence.passed_on |= to == self.subject.vip;
    }

    fn service(&mut self, at: IpAddr, reply: Reply) {
        let kept = match at {
            at if at == self.subject.vip => &mut self.evidence.service_at_vip,
            at if at == self.subject.real => &mut self.evidence.service_at_real,
            _ => return,
        };
        // The first answer counts: the same SYN sent again may meet what is left of the first.
        if *kept == Reply::Silent {
            *kept = reply;
        }
    }

    fn echoed(&mut self) {
        self.evidence.echo_at_vip = Reply::Good;
        if self.subject.port().is_none() {
            self.evidence.service_at_vip = Reply::Good;
        }
    }

    /// Which echo of this round has this sequence number.
    fn asked(&self, sequence: u16) -> Option<Echo> {
        let echoes = [Echo::ShortToVip, Echo::FullToVip, Echo::ShortToReal, Echo::Malformed];
        echoes.into_iter().find(|echo| self.echo(*echo) == sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::vip::Kind;

    const RANDOM: u64 = 0x1234_5678_dead_beef;
    const SEQUENCE: u32 = 0xdead_beef;
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];

    fn subject(kind: Kind) -> Subject {
        Subject { vip: "192.0.2.10".parse().unwrap(), real: "192.0.2.21".parse().unwrap(), kind }
    }

    fn error(subject: &Subject, tcp: bool, sequence: u32, error: Error) -> Seen {
        Seen::Error { from: subject.real, number: 61000, to: subject.vip, tcp, sequence, error }
    }

    #[test]
    fn an_error_that_does_not_quote_the_probe_is_nothing() {
        let subject = subject(Kind::Tcp(80));
        let mut answers = Answers::to(&subject, MAC, RANDOM, true);
        let nothing = answers.evidence.clone();
        let errors = [Error::Port, Error::Prohibited, Error::TooBig, Error::Elsewhere, Error::Parameter];
        for forged in errors {
            for sequence in [0, 1, 2, 3, SEQUENCE - 1, SEQUENCE + 1] {
                for tcp in [false, true] {
                    assert_eq!(answers.take(error(&subject, tcp, sequence, forged)), None);
                }
            }
        }
        // An echo's number in an error about TCP, and the other way round.
        answers.take(error(&subject, true, answers.echo(Echo::FullToVip).into(), Error::Prohibited));
        answers.take(error(&subject, false, SEQUENCE, Error::TooBig));
        assert_eq!(answers.evidence, nothing);
        for sequence in [1, 2, 3] {
            answers.take(Seen::Echo { from: subject.vip, number: 61000, sequence });
        }
        assert_eq!(answers.evidence, nothing, "nor is an answer");
    }

    #[test]
    fn an_error_that_quotes_the_probe_counts() {
        let subject = subject(Kind::Tcp(80));
        for (said, reply) in [(Error::Port, Reply::Refused), (Error::Prohibited, Reply::Rejected)] {
            let mut answers = Answers::to(&subject, MAC, RANDOM, true);
            answers.take(error(&subject, true, SEQUENCE, said));
            assert_eq!(answers.evidence.service_at_vip, reply);
        }
        let mut answers = Answers::to(&subject, MAC, RANDOM, true);
        answers.take(error(&subject, false, answers.echo(Echo::FullToVip).into(), Error::TooBig));
        assert_eq!(answers.evidence.full_echo_at_vip, Some(Reply::Rejected));
        answers.take(error(&subject, false, answers.echo(Echo::Malformed).into(), Error::Parameter));
        assert_eq!(answers.evidence.holds_vip, Some(false));
        answers.take(error(&subject, true, SEQUENCE, Error::Elsewhere));
        assert!(answers.evidence.passed_on);
    }

    #[test]
    fn no_error_takes_back_an_answer() {
        let subject = subject(Kind::Tcp(80));
        let mut answers = Answers::to(&subject, MAC, RANDOM, true);
        let sequence = answers.echo(Echo::FullToVip);
        answers.take(Seen::Echo { from: subject.vip, number: 61000, sequence });
        answers.take(error(&subject, false, sequence.into(), Error::TooBig));
        assert_eq!(answers.evidence.full_echo_at_vip, Some(Reply::Good));
    }
}
