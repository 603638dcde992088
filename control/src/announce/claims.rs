//! Hears who else says that he has an address of ours: another active director, or somebody who was given the address by
//! mistake.
//!
//! *Invariants*
//! - what is neither ARP nor IPv6 is not looked at, and of IPv6 the kernel's filter lets through neighbour advertisements
//!   of this link only: the packet path pays nothing;
//! - what we send is never heard, and what carries a MAC address of ours is no claim;
//! - of one address on one interface a claim is told once in [`PAUSE`] at most, so that a forged flood makes no flood of
//!   announcements;
//! - [`Claims::next`] may be dropped at any time: no claim is lost by it.
//!
//! RFC 826, RFC 4861 section 7.1.2, RFC 5227 section 2.4; packet(7), `Documentation/networking/filter.rst`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet,
    NdiscRepr,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::socket::link_address;

/// Between two claims of one address on one interface.
pub const PAUSE: Duration = Duration::from_secs(1);
/// Frames read before others have their turn.
const AT_ONCE: usize = 64;
const LONGEST_FRAME: usize = 1518;

/// Somebody says that he has an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Index of the interface that it was heard on.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// The MAC address that he says it has.
    pub mac: [u8; 6],
}

/// Listens on some interfaces for claims of some addresses.
#[derive(Debug, Default)]
pub struct Claims {
    ears: BTreeMap<(u32, Family), AsyncFd<Socket>>,
    watched: HashMap<u32, HashSet<IpAddr>>,
    own: HashSet<[u8; 6]>,
    told: HashMap<(u32, IpAddr), Instant>,
    /// The ear that is asked first, so that a flood on one does not drown the others.
    turn: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Claims {
    /// Listens to nothing.
    pub fn new() -> Claims {
        Claims::default()
    }

    /// Listens from now on for claims of these addresses, by index of the interface, and for no others. `own` are the MAC
    /// addresses that the addresses may have: those of the interfaces, and virtual ones.
    ///
    /// Must be called on a tokio runtime, with CAP_NET_RAW. Returns the interfaces that cannot be listened on, and why;
    /// the others are.
    pub fn watch(
        &mut self,
        wanted: HashMap<u32, HashSet<IpAddr>>,
        own: HashSet<[u8; 6]>,
    ) -> Vec<(u32, io::Error)> {
        let ears: HashSet<(u32, Family)> = wanted
            .iter()
            .flat_map(|(index, addresses)| addresses.iter().map(|address| (*index, Family::of(*address))))
            .collect();
        self.ears.retain(|ear, _| ears.contains(ear));
        let mut refused = Vec::new();
        for ear in ears {
            if !self.ears.contains_key(&ear) {
                match listen(ear) {
                    Ok(socket) => drop(self.ears.insert(ear, socket)),
                    Err(error) => refused.push((ear.0, error)),
                }
            }
        }
        let is_wanted = |index: &u32, address: &IpAddr| {
            wanted.get(index).is_some_and(|addresses| addresses.contains(address))
        };
        self.told.retain(|(index, address), _| is_wanted(index, address));
        (self.watched, self.own) = (wanted, own);
        refused
    }

    /// The next claim; never, while nothing is watched. Cancel-safe.
    pub async fn next(&mut self) -> Claim {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Claim> {
        let Claims { ears, watched, own, told, turn } = self;
        let mut budget = AT_ONCE;
        let mut frame = [0; LONGEST_FRAME];
        *turn = turn.checked_add(1).filter(|turn| *turn < ears.len()).unwrap_or(0);
        for (&(interface, _), ear) in ears.iter().skip(*turn).chain(ears.iter().take(*turn)) {
            while let Poll::Ready(Ok(mut ready)) = ear.poll_read_ready(context) {
                let length = match ear.get_ref().read(&mut frame) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready.clear_ready();
                        continue;
                    }
                    // A signal; or the link went down, which is reported once.
                    Err(_) => 0,
                };
                let claim = read(&frame[..length])
                    .map(|(address, mac)| Claim { interface, address, mac })
                    .filter(|claim| !own.contains(&claim.mac))
                    .filter(|claim| watched.get(&interface).is_some_and(|all| all.contains(&claim.address)))
                    .filter(|claim| is_news(told, claim));
                if let Some(claim) = claim {
                    return Poll::Ready(claim);
                }
                budget -= 1;
                if budget == 0 {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }
}

impl Family {
    fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

fn is_news(told: &mut HashMap<(u32, IpAddr), Instant>, claim: &Claim) -> bool {
    let now = Instant::now();
    let last = told.get(&(claim.interface, claim.address));
    let news = last.is_none_or(|last| now.duration_since(*last) >= PAUSE);
    if news {
        told.insert((claim.interface, claim.address), now);
    }
    news
}

/// Whose address it is, by this frame: an ARP request or reply says it of its sender, a neighbour advertisement of its
/// target.
fn read(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()?;
            let ArpRepr::EthernetIpv4 { source_hardware_addr: mac, source_protocol_addr: address, .. } = arp
            else {
                return None;
            };
            Some((address.into(), mac.0))
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            // Another hop limit: it came through a router, from somebody who is not on this link.
            if packet.next_header() != IpProtocol::Icmpv6 || packet.hop_limit() != 255 {
                return None;
            }
            let icmp = Icmpv6Packet::new_checked(packet.payload()).ok()?;
            let all = ChecksumCapabilities::default();
            let Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, lladdr, .. }) =
                Icmpv6Repr::parse(&packet.src_addr(), &packet.dst_addr(), &icmp, &all).ok()?
            else {
                return None;
            };
            // Without the option it is that of the frame (RFC 4861 section 4.4).
            let mac = match lladdr {
                Some(lladdr) => lladdr.as_bytes().try_into().ok()?,
                None => frame.src_addr().0,
            };
            Some((target_addr.into(), mac))
        }
        _ => None,
    }
}

fn listen((index, family): (u32, Family)) -> io::Result<AsyncFd<Socket>> {
    // Protocol 0 until it is bound and filtered: before that it would hear all interfaces. One protocol, not all of them:
    // such a socket costs other packets nothing, and does not hear what this host sends.
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(0)))?;
    let (filter, protocol) = match family {
        Family::V4 => (FILTER_ARP, libc::ETH_P_ARP),
        Family::V6 => (FILTER_NA, libc::ETH_P_IPV6),
    };
    socket.attach_filter(filter)?;
    socket.bind(&link_address(index, protocol as u16))?;
    // SAFETY: the socket owns its descriptor, which stays open and the same until the socket is dropped, and the
    // `AsyncFd` owns the socket until then.
    Ok(unsafe { AsyncFd::register(socket)? })
}

// BPF_LD | BPF_H | BPF_ABS, BPF_LD | BPF_B | BPF_ABS; BPF_JMP | BPF_JEQ | BPF_K, BPF_JMP | BPF_JSET | BPF_K; BPF_RET | BPF_K.
const HALF: u16 = 0x28;
const BYTE: u16 = 0x30;
const EQUAL: u16 = 0x15;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
/// SKF_AD_OFF + SKF_AD_VLAN_TAG: taken off the frame before it is heard. A frame of another VLAN is of another link.
const VLAN_TAG: u32 = -0x1000_i32 as u32 + 44;
const VLAN_ID: u32 = 0x0fff;

/// All ARP of this link: whose addresses are ours a table knows.
const FILTER_ARP: &[SockFilter] = &[
    step(HALF, 0, 0, VLAN_TAG),
    step(ANY_BIT, 1, 0, VLAN_ID),
    step(RETURN, 0, 0, u32::MAX),
    step(RETURN, 0, 0, 0),
];

/// Neighbour advertisements of this link: ICMPv6 directly behind the header, type 136.
const FILTER_NA: &[SockFilter] = &[
    step(HALF, 0, 0, VLAN_TAG),
    step(ANY_BIT, 5, 0, VLAN_ID),
    step(BYTE, 0, 0, 14 + 6),
    step(EQUAL, 0, 3, 58),
    step(BYTE, 0, 0, 14 + 40),
    step(EQUAL, 0, 1, 136),
    step(RETURN, 0, 0, u32::MAX),
    step(RETURN, 0, 0, 0),
];

const fn step(code: u16, yes: u8, no: u8, k: u32) -> SockFilter {
    SockFilter::new(code, yes, no, k)
}
