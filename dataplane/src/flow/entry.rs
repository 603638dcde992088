//! One remembered flow in sixteen bytes, so that four share a cache line.
//!
//! ```text
//! word 0   client address 63..32 | client port 31..16 | destination port 15..0
//! word 1   service id 63..48 | real slot 47..32 | state 31..28 | epoch 27..24 | seen 23..0
//! ```
//! The key is exact: client address, client port, destination port, service id. The service id stands for VIP
//! and protocol; the destination port is there for services that have more than one. `seen` is the tick of
//! the last packet. `epoch` tells one tenant of a real slot from the next (`forwarding::Real::epoch`).
//!
//! This is the IPv4 entry; one for IPv6 has the same second word and a 16-byte address, 32 bytes in all.

use crate::clock::Tick;
use crate::flow::state::FlowState;
use crate::id::{RealSlot, ServiceId};

/// What identifies a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Word 0 of an entry.
    pub(super) endpoints: u64,
    pub(super) service: ServiceId,
}

impl FlowKey {
    /// The key of a flow from `client` (32 bits, host order) to a port of a service.
    #[inline(always)]
    pub const fn new(client: u32, client_port: u16, dst_port: u16, service: ServiceId) -> Self {
        FlowKey { endpoints: (client as u64) << 32 | (client_port as u64) << 16 | dst_port as u64, service }
    }

    /// The client's address, host order.
    pub const fn client(self) -> u32 {
        (self.endpoints >> 32) as u32
    }

    /// The client's port.
    pub const fn client_port(self) -> u16 {
        (self.endpoints >> 16) as u16
    }

    /// The port the client connects to.
    pub const fn dst_port(self) -> u16 {
        self.endpoints as u16
    }

    /// The service.
    pub const fn service(self) -> ServiceId {
        self.service
    }
}

/// What is remembered of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The real server, by its slot in the service.
    pub real: RealSlot,
    /// Which tenant of that slot, 0-15.
    pub epoch: u8,
    /// State of the flow.
    pub state: FlowState,
    /// When its last packet came.
    pub seen: Tick,
}

impl Flow {
    /// Word 1 of the entry.
    #[inline(always)]
    pub(super) const fn pack(self, service: ServiceId) -> u64 {
        (service.0 as u64) << 48
            | (self.real.0 as u64) << 32
            | (self.state as u64) << 28
            | ((self.epoch & 0xf) as u64) << 24
            | self.seen.number() as u64
    }

    /// The service and the flow of a word 1; none if the entry is free.
    #[inline(always)]
    pub(super) const fn unpack(word: u64) -> Option<(ServiceId, Flow)> {
        let Some(state) = FlowState::from_bits((word >> 28) as u8 & 0xf) else { return None };
        let flow = Flow {
            real: RealSlot((word >> 32) as u16),
            epoch: (word >> 24) as u8 & 0xf,
            state,
            seen: Tick::new(word as u32 & 0x00ff_ffff),
        };
        Some((ServiceId((word >> 48) as u16), flow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_survives_packing() {
        let flow =
            Flow { real: RealSlot(513), epoch: 15, state: FlowState::Udp, seen: Tick::new(0x00ab_cdef) };
        assert_eq!(Flow::unpack(flow.pack(ServiceId(65_535))), Some((ServiceId(65_535), flow)));
        assert_eq!(Flow::unpack(0), None);
    }
}
