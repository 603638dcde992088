//! The four things that hold in every end-to-end test, whatever it is about:
//!
//! 1. [`answered`]: the client gets its answer;
//! 2. [`replies_bypass`]: the answer never crosses the director's port;
//! 3. [`forwarded_intact`]: a forwarded frame goes from the director's MAC to a real server's, and the packet in it is
//!    the received one but for the TTL;
//! 4. [`owner_answers_arp`]: nobody but the owner of the VIP says where the VIP is.
//!
//! Each takes frames and gives a verdict, so that a test can also show that it *fails* when it should. The usual way in
//! is [`crate::Watch`], which takes the captures and calls all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::address::{Mac, Segment};
use crate::client::Answer;
use crate::frame::{Arp, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Neighbor};
use crate::lab::Lab;
use crate::twin;

/// What was seen that must not be.
pub struct Violation(String);

impl Violation {
    pub(crate) fn new(what: String) -> Violation {
        Violation(what)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// `unwrap` prints this; escaped line breaks would make a report of several frames unreadable.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}

/// Who is who on the wire, for one director.
#[derive(Clone, Debug)]
pub struct Cast {
    /// The addresses that are shared.
    pub vips: Vec<IpAddr>,
    /// The real servers' Ethernet addresses.
    pub real_servers: Vec<Mac>,
    /// The director's Ethernet address where frames come in ...
    pub director_in: Mac,
    /// ... and where they leave; the same unless it has two legs.
    pub director_out: Mac,
    /// The director's own addresses: what it sends as a host (health checks), rather than forwards.
    pub director_addrs: Vec<IpAddr>,
    /// The Ethernet addresses of the other directors.
    pub others: Vec<Mac>,
}

impl Cast {
    /// The cast of director number `n` of `lab`.
    #[track_caller]
    pub fn of(lab: &Lab, n: usize) -> Cast {
        let out = lab.server_segment();
        let director = lab.director(n);
        Cast {
            vips: lab.vips(),
            real_servers: lab.real_servers().map(|server| server.mac()).collect(),
            director_in: director.leg(Segment::Lan).mac,
            director_out: director.leg(out).mac,
            // The link-local ones: neighbour discovery speaks from there.
            director_addrs: director
                .legs()
                .iter()
                .flat_map(|leg| [Some(leg.address), leg.address6, Some(leg.mac.link_local())])
                .flatten()
                .collect(),
            others: lab
                .directors()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, other)| other.leg(out).mac)
                .collect(),
        }
    }

    fn is_for_vip(&self, frame: &Frame) -> bool {
        self.vips.iter().any(|vip| frame.is_to(*vip))
    }

    /// Sent by the director to a real server, and not as a host of its own. Not "for the VIP": a director that spoils
    /// the destination must not get away with it.
    fn is_forwarded(&self, frame: &Frame) -> bool {
        frame.source == self.director_out
            && (self.is_for_vip(frame) || (self.real_servers.contains(&frame.destination) && is_ip(frame)))
            && !self.director_addrs.iter().any(|address| frame.is_from(*address))
    }

    fn is_from_vip(&self, frame: &Frame) -> bool {
        self.vips.iter().any(|vip| frame.is_from(*vip))
    }
}

/// How many answers each real server has given.
pub type Shares = BTreeMap<String, usize>;

/// The client has got an answer to every request, each from one of the real servers. Says who answered how often.
pub fn answered(answers: &[Answer]) -> Result<Shares, Violation> {
    let mut shares = Shares::new();
    let mut failed = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        match (&answer.server, answer.status) {
            (Some(server), 200) => *shares.entry(server.clone()).or_default() += 1,
            _ => failed.push(format!("  number {}: {answer:?}", number + 1)),
        }
    }
    if answers.is_empty() {
        return Err(Violation::new("nothing was asked, so nothing was answered".to_owned()));
    }
    if !failed.is_empty() {
        let (count, total) = (failed.len(), answers.len());
        failed.truncate(10);
        return Err(Violation::new(format!("{count} of {total} requests failed:\n{}", failed.join("\n"))));
    }
    Ok(shares)
}

/// No frame in `frames`, taken at the director's ports, is an answer: from a VIP and sent by a real server.
pub fn replies_bypass(frames: &[Frame], cast: &Cast) -> Result<(), Violation> {
    // What answers the director itself (a check through the VIP) is no client's.
    let is_own = |frame: &Frame| cast.director_addrs.iter().any(|address| frame.is_to(*address));
    let crossing = |frame: &&Frame| {
        cast.is_from_vip(frame) && cast.real_servers.contains(&frame.source) && !is_own(frame)
    };
    report(frames.iter().filter(crossing), "answers crossed the director's port")
}

/// Every frame that the director has forwarded went to a real server, from the director's own MAC, and its packet is
/// that of a received frame but for the TTL. `incoming` is what was seen where frames come in, `outgoing` what was
/// seen where they leave: the same capture, unless the director has two legs. Says how many were forwarded.
///
/// A director that forwards nothing passes: look at the number.
pub fn forwarded_intact(incoming: &[Frame], outgoing: &[Frame], cast: &Cast) -> Result<usize, Violation> {
    let to_server = |frame: &Frame| cast.real_servers.contains(&frame.destination);
    let foreign = |frame: &&Frame| {
        cast.is_for_vip(frame)
            && to_server(frame)
            && frame.source != cast.director_out
            // What the other director forwards, the switch may flood.
            && !cast.others.contains(&frame.source)
    };
    report(
        outgoing.iter().filter(foreign),
        "frames for real servers do not carry the director's MAC as source",
    )?;
    let astray =
        |frame: &&Frame| cast.is_for_vip(frame) && frame.source == cast.director_out && !to_server(frame);
    report(
        outgoing.iter().filter(astray),
        "the director sent frames for the VIP to somebody who is no real server",
    )?;

    let for_director = |frame: &&Frame| frame.destination == cast.director_in && cast.is_for_vip(frame);
    let received: Vec<&Frame> = incoming.iter().filter(for_director).collect();
    let forwarded: Vec<&Frame> = outgoing.iter().filter(|frame| cast.is_forwarded(frame)).collect();
    twin::pair(&received, &forwarded)
}

/// Everybody who says where `vip` is, in answer to a request or unasked, says that it is at `owner`, and sends from
/// there. Says how often that was.
///
/// A silent LAN passes: look at the number.
pub fn owner_answers_arp(frames: &[Frame], vip: IpAddr, owner: Mac) -> Result<usize, Violation> {
    let claims: Vec<(&Frame, Mac)> =
        frames.iter().filter_map(|frame| Some((frame, claim(frame, vip)?))).collect();
    let wrong = claims.iter().filter(|(frame, mac)| *mac != owner || frame.source != owner);
    report(wrong.map(|(frame, _)| *frame), &format!("others than {owner} say that {vip} is theirs"))?;
    Ok(claims.len())
}

/// Where this frame says that `vip` is: an ARP message from it, an advertisement of it, or a solicitation from it.
fn claim(frame: &Frame, vip: IpAddr) -> Option<Mac> {
    if let Some(arp) = frame.arp {
        return (IpAddr::V4(arp.sender) == vip).then_some(arp.sender_mac);
    }
    let neighbor = frame.neighbor?;
    let is_claim = match neighbor.kind {
        Neighbor::ADVERTISEMENT => IpAddr::V6(neighbor.target) == vip,
        _ => frame.is_from(vip),
    };
    is_claim.then(|| neighbor.mac.unwrap_or(frame.source))
}

/// Whether anybody asked for `vip` by ARP or neighbour discovery: without a question, no answer shows nothing.
pub fn asked_for(frames: &[Frame], vip: IpAddr) -> bool {
    frames.iter().any(|frame| match (frame.arp, frame.neighbor) {
        (Some(arp), _) => arp.operation == Arp::REQUEST && arp.target == vip && IpAddr::V4(arp.sender) != vip,
        (_, Some(neighbor)) => {
            neighbor.kind == Neighbor::SOLICITATION
                && IpAddr::V6(neighbor.target) == vip
                // From nowhere is who would like to have it (RFC 4862 section 5.4.2).
                && !frame.is_from(vip)
                && !frame.is_from(Ipv6Addr::UNSPECIFIED.into())
        }
        _ => false,
    })
}

/// Whether it says that it carries IP, whatever it carries.
fn is_ip(frame: &Frame) -> bool {
    matches!(frame.ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6)
}

/// The first few frames that must not be, if there are any.
fn report<'a>(wrong: impl Iterator<Item = &'a Frame>, what: &str) -> Result<(), Violation> {
    let wrong: Vec<&Frame> = wrong.collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = wrong.iter().take(10).map(|frame| format!("  {frame:?}")).collect();
    Err(Violation::new(format!("{what}, {} frames:\n{}", wrong.len(), shown.join("\n"))))
}
