//! The short way: a plain IPv4 packet of a settled flow, to which nothing happens but that it is one more.
//!
//! Nearly all frames are that, and for them most of what the director may have to do is known not to be needed. What is left is
//! done here, with a fraction of the facts; anything else goes the whole way (`Director::decide`). Which service a frame
//! is for is not looked up: its flow's entry says so, and the service whether that is right.
//!
//! *Invariants*
//! - a frame that goes this way leaves as it would have left by the other, and leaves behind it what it would have left
//!   there (`tests/seam/lane.rs`);
//! - nothing is changed before it is known that the frame goes this way.

use crate::checksum;
use crate::clock::Tick;
use crate::director::Director;
use crate::flow::table::Spot;
use crate::flow::{Destination, Flow, FlowState};
use crate::forwarding::real::Reach;
use crate::forwarding::service::Exact;
use crate::forwarding::{ForwardingState, Service};
use crate::id::ServiceId;
use crate::packet::{Address, Protocol, TcpFlags};
use crate::parse::{Plain, plain};
use crate::port::{FrameBytes, PortId};
use crate::rewrite::forward;

/// What the first pass finds out about a plain packet: what the second one needs, in half a cache line.
pub(super) struct Sight {
    spot: Spot,
    to: Exact,
    length: u16,
    l3: u8,
    /// What its flow has to be, so that this packet changes nothing.
    settled: FlowState,
}

impl Sight {
    #[inline(always)]
    fn protocol(&self) -> Protocol {
        if self.settled == FlowState::Established { Protocol::Tcp } else { Protocol::Udp }
    }
}

impl Director {
    /// What a frame is and which flow it may be of, if it is plain and from the middle of one.
    #[inline(always)]
    pub(super) fn glance(&self, frame: &[u8]) -> Option<Sight> {
        const SPECIAL: u8 = TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0;
        let packet = plain(frame)?;
        let Plain { client, dst, length, protocol, flags, l3 } = packet;
        if flags.0 & SPECIAL != 0 {
            return None;
        }
        let settled = if protocol == Protocol::Tcp { FlowState::Established } else { FlowState::Udp };
        let to = Destination::new(Address::from_v4(dst), protocol);
        let spot = self.memory.flows.spot(client, to);
        Some(Sight { spot, to: Exact::new(dst, packet.dst_port(), protocol), length, l3, settled })
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
        let (position, id, flow) = self.memory.flows.find_at(&sight.spot)?;
        let service = state.service(id)?;
        if flow.state != sight.settled || !is_for(state, service, id, sight) {
            return None;
        }
        let real = service.real(flow.real)?;
        let Reach { header, port, .. } = real.reach(flow.epoch, sight.length)?;
        let options = service.options();
        let expires = now.after(options.timeouts.of(sight.settled));
        if may_be_corrected(state, service, &flow, now) {
            return None;
        }
        if expires != flow.expires {
            // Once a tick. The client's template has to be told.
            if flow.is_expired(now) || options.persistence.is_some() {
                return None;
            }
            self.memory.flows.update(position, id, Flow { expires, ..flow });
        }
        let (bytes, l3) = (frame.as_ref().len() as u64, usize::from(sight.l3));
        self.count_service(service, bytes);
        self.count_real(real, bytes);
        let frame = frame.as_mut();
        if complete_checksums && checksum::complete_plain(frame, l3, sight.length, sight.protocol()) {
            self.stats.checksums_completed.add(1);
        }
        forward(frame, l3, header, options.keep_ttl);
        Some(*port)
    }
}

/// Whether packets like this one are the service's that their flow's entry names.
#[inline(always)]
fn is_for(state: &ForwardingState, service: &Service, id: ServiceId, sight: &Sight) -> bool {
    service.exact() == sight.to || (service.exact() == Exact::NONE && is_in_range(state, id, sight))
}

/// Of a service of many ports: another one may have this port for itself.
#[inline(never)]
fn is_in_range(state: &ForwardingState, id: ServiceId, sight: &Sight) -> bool {
    let address = Address::from_v4(sight.to.address());
    state.lookup_at(address, sight.to.port(), sight.protocol()) == Some(id)
}

/// Whether another director may know better than this one (`Director::corrected`).
#[inline(always)]
fn may_be_corrected(state: &ForwardingState, service: &Service, flow: &Flow, now: Tick) -> bool {
    state.synced().is_some_and(|synced| synced.may_know_better(flow, &service.options().timeouts, now))
}
