//! The short way: a plain IPv4 packet of a settled flow, to which nothing happens but that it is one more.
//!
//! Nearly all frames are that, and for them most of what the director may have to do is known not to be needed. What is left is
//! done here, with a fraction of the facts; anything else goes the whole way (`Director::decide`).
//!
//! *Invariants*
//! - a frame that goes this way leaves as it would have left by the other, and leaves behind it what it would have left
//!   there (`tests/seam/lane.rs`);
//! - nothing is changed before it is known that the frame goes this way.

use crate::checksum;
use crate::clock::Tick;
use crate::director::{Candidate, Director, Lookup};
use crate::flow::table::Spot;
use crate::flow::{Flow, FlowKey, FlowState};
use crate::forwarding::{ForwardingState, Service};
use crate::packet::{Address, Kind, Packet, Protocol, TcpFlags};
use crate::parse::{Plain, plain, ttl};
use crate::port::{FrameBytes, PortId};
use crate::rewrite::{Vlan, rewrite};

/// What the first pass finds out about a plain packet: what the second one needs, in less than a cache line.
pub(super) struct Sight {
    hash: u64,
    spot: Spot,
    dst: u32,
    length: u16,
    protocol: Protocol,
    flags: TcpFlags,
    l3: u8,
}

impl Sight {
    /// The same as all other packets have it.
    #[inline(always)]
    fn packet(&self) -> Packet {
        let FlowKey { client, client_port, dst_port, .. } = self.spot.key();
        let (l3, dst) = (u16::from(self.l3), Address::from_v4(self.dst));
        Packet {
            kind: Kind::Whole,
            src: client,
            dst,
            src_port: client_port,
            dst_port,
            protocol: self.protocol,
            flags: self.flags,
            l3,
            l4: l3 + 20,
            end: l3 + self.length,
        }
    }

    /// All that there is to know of it.
    #[inline(always)]
    pub(super) fn candidate(&self, bytes: u64) -> Candidate {
        let lookup = Lookup { hash: self.hash, key: self.spot.key(), slot: self.spot.slot() };
        Candidate { packet: self.packet(), bytes, flow: Some(lookup) }
    }
}

impl Director {
    /// What a frame is and which flow it is of, if it is plain and for a service.
    #[inline(always)]
    pub(super) fn glance(&self, state: &ForwardingState, frame: &[u8]) -> Option<Sight> {
        let Plain { src, dst, src_port, dst_port, length, protocol, flags, l3 } = plain(frame)?;
        let (client, vip) = (Address::from_v4(src), Address::from_v4(dst));
        let service = state.lookup_at(vip, dst_port, protocol)?;
        let hash = state.hash_key().flow(client, vip, src_port, dst_port, protocol as u8);
        let spot = self.memory.flows.spot(hash, &FlowKey::new(client, src_port, dst_port, service));
        Some(Sight { hash, spot, dst, length, protocol, flags, l3 })
    }

    /// Readies a frame for the real server of its flow, and counts it; none, and nothing done, unless that is all.
    #[inline(always)]
    pub(super) fn pass_on<F: FrameBytes>(
        &mut self,
        state: &ForwardingState,
        frame: &mut F,
        sight: &Sight,
        complete_checksums: bool,
        now: Tick,
    ) -> Option<PortId> {
        let service = state.service(sight.spot.service())?;
        let options = service.options();
        let (position, flow) = self.memory.flows.find_at(&sight.spot)?;
        if !stays(&flow, sight) || flow.is_expired(now) || may_be_corrected(state, service, &flow, now) {
            return None;
        }
        let real = service.holder(flow.real, flow.epoch)?;
        let path = real.path()?;
        let packet = sight.packet();
        let is_passed = (options.keep_ttl || ttl(frame.as_ref(), &packet) > 1) && sight.length <= path.mtu;
        if !is_passed || path.vlan != Vlan::Keep {
            return None;
        }
        let expires = now.after(options.timeouts.of(flow.state));
        if expires != flow.expires {
            // Once a tick. The client's template has to be told.
            if options.persistence.is_some() {
                return None;
            }
            self.memory.flows.update(position, &sight.spot.key(), Flow { expires, ..flow });
        }
        let bytes = frame.as_ref().len() as u64;
        self.count_service(service, bytes);
        self.count_real(real, bytes);
        if complete_checksums && checksum::complete(frame.as_mut(), &packet) {
            self.stats.checksums_completed.add(1);
        }
        rewrite(frame, &packet, &path.header, Vlan::Keep, options.keep_ttl);
        Some(path.port)
    }
}

/// Whether the state of a flow is after a packet what it was before, and one in which there is nothing to count.
#[inline(always)]
fn stays(flow: &Flow, sight: &Sight) -> bool {
    const SPECIAL: u8 = TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0;
    match sight.protocol {
        Protocol::Tcp => flow.state == FlowState::Established && sight.flags.0 & SPECIAL == 0,
        _ => flow.state == FlowState::Udp,
    }
}

/// Whether another director may know better than this one (`Director::corrected`).
#[inline(always)]
fn may_be_corrected(state: &ForwardingState, service: &Service, flow: &Flow, now: Tick) -> bool {
    state.synced().is_some_and(|synced| synced.may_know_better(flow, &service.options().timeouts, now))
}
