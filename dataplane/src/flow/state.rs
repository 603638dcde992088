//! The life of a flow as a director sees it that sees one side only: under DSR the real server's segments
//! never pass. The TCP table is the input-only column of IPVS (Linux: net/netfilter/ipvs/ip_vs_proto_tcp.c,
//! `tcp_states`), the timeouts are its defaults.

use crate::clock::TICKS_PER_SECOND;
use crate::packet::TcpFlags;

/// State of a remembered flow. Fits four bits; 0 is a free entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowState {
    /// A client's SYN was seen, nothing after it.
    SynReceived = 1,
    /// The client has acknowledged: the handshake is complete.
    Established = 2,
    /// The client's FIN was seen.
    FinWait = 3,
    /// The client's RST was seen.
    Closed = 4,
    /// UDP: one packet so far.
    UdpNew = 5,
    /// UDP: two packets or more.
    Udp = 6,
}

impl FlowState {
    const ALL: [FlowState; 6] = [
        FlowState::SynReceived,
        FlowState::Established,
        FlowState::FinWait,
        FlowState::Closed,
        FlowState::UdpNew,
        FlowState::Udp,
    ];

    /// The state with this number; none for a free entry.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Option<FlowState> {
        match bits {
            1 => Some(FlowState::SynReceived),
            2 => Some(FlowState::Established),
            3 => Some(FlowState::FinWait),
            4 => Some(FlowState::Closed),
            5 => Some(FlowState::UdpNew),
            6 => Some(FlowState::Udp),
            _ => None,
        }
    }

    /// The state of a flow that begins (for the director) with this TCP segment. A segment from the middle
    /// of a connection is taken for an established one: it began before this director was there.
    #[inline(always)]
    pub const fn first_tcp(flags: TcpFlags) -> FlowState {
        if flags.has(TcpFlags::RST) {
            FlowState::Closed
        } else if flags.has(TcpFlags::SYN) {
            FlowState::SynReceived
        } else if flags.has(TcpFlags::FIN) {
            FlowState::FinWait
        } else {
            FlowState::Established
        }
    }

    /// The state after one more TCP segment from the client; RST, SYN, FIN, ACK in this order of priority,
    /// as IPVS has it.
    #[inline(always)]
    pub const fn next_tcp(self, flags: TcpFlags) -> FlowState {
        if flags.has(TcpFlags::RST) {
            return FlowState::Closed;
        }
        if flags.has(TcpFlags::SYN) {
            return match self {
                FlowState::Established => FlowState::Established,
                _ => FlowState::SynReceived,
            };
        }
        if flags.has(TcpFlags::FIN) {
            return match self {
                FlowState::Closed => FlowState::Closed,
                _ => FlowState::FinWait,
            };
        }
        match self {
            FlowState::SynReceived | FlowState::Established => FlowState::Established,
            other => other,
        }
    }

    /// The state after one more datagram from the client.
    #[inline(always)]
    pub const fn next_udp(self) -> FlowState {
        FlowState::Udp
    }

    /// Counted as an active connection (IPVS: `tcp_state_active_table`); UDP flows count as inactive there.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        matches!(self, FlowState::SynReceived | FlowState::Established)
    }

    /// Over, but remembered for stragglers.
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        matches!(self, FlowState::FinWait | FlowState::Closed)
    }

    /// Only a first packet so far: a flood looks like this.
    #[inline(always)]
    pub const fn is_on_probation(self) -> bool {
        matches!(self, FlowState::SynReceived | FlowState::UdpNew)
    }

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            FlowState::SynReceived => "syn-received",
            FlowState::Established => "established",
            FlowState::FinWait => "fin-wait",
            FlowState::Closed => "closed",
            FlowState::UdpNew => "udp-new",
            FlowState::Udp => "udp",
        }
    }
}

/// How long a silent flow is remembered, in ticks, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts([u32; 8]);

impl Timeouts {
    /// Ticks of silence after which a flow in this state is forgotten.
    #[inline(always)]
    pub fn of(&self, state: FlowState) -> u32 {
        self.0[state as usize & 7]
    }
}

impl Default for Timeouts {
    /// IPVS's defaults: SYN_RECV 60 s, ESTABLISHED 900 s, FIN_WAIT 120 s, CLOSE 10 s, UDP 300 s.
    fn default() -> Self {
        let mut ticks = [0; 8];
        for state in FlowState::ALL {
            let seconds = match state {
                FlowState::SynReceived => 60,
                FlowState::Established => 900,
                FlowState::FinWait => 120,
                FlowState::Closed => 10,
                FlowState::UdpNew | FlowState::Udp => 300,
            };
            ticks[state as usize] = seconds * TICKS_PER_SECOND;
        }
        Timeouts(ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const FIN_ACK: TcpFlags = TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0);
    const RST: TcpFlags = TcpFlags::RST;

    #[test]
    fn a_connection_seen_from_one_side_goes_through_its_states() {
        let state = FlowState::first_tcp(SYN);
        assert_eq!(state, FlowState::SynReceived);
        let state = state.next_tcp(ACK);
        assert_eq!(state, FlowState::Established);
        let state = state.next_tcp(FIN_ACK);
        assert_eq!(state, FlowState::FinWait);
        assert_eq!(state.next_tcp(ACK), FlowState::FinWait);
        assert_eq!(state.next_tcp(SYN), FlowState::SynReceived);
        assert_eq!(state.next_tcp(RST), FlowState::Closed);
    }

    #[test]
    fn a_syn_does_not_take_an_established_flow_back() {
        assert_eq!(FlowState::Established.next_tcp(SYN), FlowState::Established);
    }

    #[test]
    fn every_state_survives_its_four_bits() {
        for state in FlowState::ALL {
            assert_eq!(FlowState::from_bits(state as u8), Some(state));
        }
        assert_eq!(FlowState::from_bits(0), None);
    }
}
