//! Watching a whole test: captures at every port of a director and on the LAN, and the verdict on them.

use std::net::IpAddr;

use crate::address::Segment;
use crate::capture::Capture;
use crate::expect::{self, Cast, Violation};
use crate::frame::Frame;
use crate::lab::Lab;

/// Captures that run while a test does its work.
///
/// All frames are kept: this is for thousands of them, not for a download. A test that moves much gives
/// [`Lab::capture`] a filter that only lets through what must not be.
pub struct Watch {
    cast: Cast,
    incoming: Capture,
    /// Where frames leave, if that is another port.
    outgoing: Option<Capture>,
    lan: Capture,
}

impl Watch {
    /// Watches director number `n` of `lab`. On return every capture listens.
    #[track_caller]
    pub fn start(lab: &Lab, n: usize) -> Watch {
        let director = lab.director(n);
        Watch {
            cast: Cast::of(lab, n),
            incoming: lab.capture(&director.leg(Segment::Lan).port, ""),
            outgoing: lab.is_two_legged().then(|| lab.capture(&director.leg(Segment::Servers).port, "")),
            // The bridge itself, listening to all: what one station says to another passes here too.
            lan: lab.capture("br-lan", "arp or icmp6"),
        }
    }

    /// Ends the captures. What has passed by now is in them.
    #[track_caller]
    pub fn stop(self) -> Seen {
        Seen {
            cast: self.cast,
            incoming: self.incoming.stop(),
            outgoing: self.outgoing.map(Capture::stop),
            arp: self.lan.stop(),
        }
    }
}

/// What a [`Watch`] has seen.
pub struct Seen {
    /// Who is who.
    pub cast: Cast,
    /// All that crossed the director's port on the LAN.
    pub incoming: Vec<Frame>,
    /// All that crossed its second port, if it has one.
    pub outgoing: Option<Vec<Frame>>,
    /// All messages of ARP and neighbour discovery on the LAN, and other ICMPv6.
    pub arp: Vec<Frame>,
}

impl Seen {
    /// All that holds in every test: no answer through the director, forwarded frames intact, and the VIP at its owner.
    /// Says how many frames were forwarded. Panics with what was seen otherwise, or if nothing was forwarded.
    #[track_caller]
    pub fn check(&self) -> usize {
        match self.verdict() {
            Ok(0) => panic!("the director has forwarded nothing; at its port were\n{:#?}", self.incoming),
            Ok(forwarded) => forwarded,
            Err(violation) => panic!("{violation}"),
        }
    }

    /// As [`Seen::check`], as a value.
    pub fn verdict(&self) -> Result<usize, Violation> {
        self.replies_bypass()?;
        for vip in &self.cast.vips {
            self.owner_answers_arp(*vip)?;
        }
        self.forwarded_intact()
    }

    /// See [`expect::replies_bypass`].
    pub fn replies_bypass(&self) -> Result<(), Violation> {
        expect::replies_bypass(&self.incoming, &self.cast)?;
        expect::replies_bypass(self.outgoing(), &self.cast)
    }

    /// See [`expect::forwarded_intact`].
    pub fn forwarded_intact(&self) -> Result<usize, Violation> {
        expect::forwarded_intact(&self.incoming, self.outgoing(), &self.cast)
    }

    /// See [`expect::owner_answers_arp`]; the owner is the watched director.
    pub fn owner_answers_arp(&self, vip: IpAddr) -> Result<usize, Violation> {
        expect::owner_answers_arp(&self.arp, vip, self.cast.director_in)
    }

    fn outgoing(&self) -> &[Frame] {
        self.outgoing.as_ref().unwrap_or(&self.incoming)
    }
}
