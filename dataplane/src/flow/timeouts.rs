//! How long a silent flow is remembered. A service has its own; the defaults are IPVS's
//! (Linux: net/netfilter/ipvs/ip_vs_proto_tcp.c, `tcp_timeouts`; ip_vs_proto_udp.c, `udp_timeouts`).
//!
//! *Invariant*: a timeout is at least one tick and at most `MAX`: what lies further ahead is taken for the past
//! (`entry`).

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::flow::state::FlowState;

/// Ticks of silence after which a flow is forgotten, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts([u32; 16]);

impl Timeouts {
    /// The longest timeout in ticks: 31 days, IPVS's bound for persistence.
    pub const MAX: u32 = 31 * 24 * 3600 * TICKS_PER_SECOND;

    /// Ticks of silence after which a flow in this state is forgotten, 1 to `MAX`.
    #[inline(always)]
    pub const fn of(&self, state: FlowState) -> u32 {
        self.0[state as usize & 15]
    }

    /// The same but for one state, which gets `ticks`, or what is nearest of 1 to `MAX`.
    #[must_use]
    pub const fn with(mut self, state: FlowState, ticks: u32) -> Self {
        self.0[state as usize & 15] = match ticks {
            0 => 1,
            ticks if ticks > Self::MAX => Self::MAX,
            ticks => ticks,
        };
        self
    }

    /// When a flow in this state is forgotten whose last packet came `now`.
    #[inline(always)]
    pub const fn expiry(&self, state: FlowState, now: Tick) -> Tick {
        Tick::new(now.number() + self.of(state))
    }
}

impl Default for Timeouts {
    /// IPVS's: SYN_RECV 60 s, ESTABLISHED 900 s, FIN_WAIT 120 s, TIME_WAIT 120 s, CLOSE 10 s, UDP 300 s, persistence
    /// 360 s (of a service that has it, its own). Ours: a connection met midway 60 s, SCTP 60 s for the first packet
    /// and 900 s after it.
    fn default() -> Self {
        let seconds = |state| match state {
            FlowState::SynReceived | FlowState::Midway | FlowState::SctpNew => 60,
            FlowState::Established | FlowState::Sctp => 900,
            FlowState::FinWait | FlowState::TimeWait => 120,
            FlowState::Closed => 10,
            FlowState::UdpNew | FlowState::Udp => 300,
            FlowState::TemplateNew | FlowState::Template => 360,
        };
        FlowState::ALL
            .into_iter()
            .fold(Timeouts([1; 16]), |all, state| all.with(state, seconds(state) * TICKS_PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_set_for_one_state_and_kept_within_its_bounds() {
        let timeouts = Timeouts::default().with(FlowState::Udp, 7);
        assert_eq!(timeouts.of(FlowState::Udp), 7);
        assert_eq!(timeouts.of(FlowState::UdpNew), 300 * TICKS_PER_SECOND);
        assert_eq!(timeouts.with(FlowState::Udp, 0).of(FlowState::Udp), 1);
        assert_eq!(timeouts.with(FlowState::Udp, u32::MAX).of(FlowState::Udp), Timeouts::MAX);
        assert_eq!(Timeouts::MAX, 10_713_600);
    }

    #[test]
    fn a_flow_expires_its_timeout_after_its_last_packet_across_the_wrap_too() {
        let now = Tick::new((1 << 24) - 10);
        let expiry = Timeouts::default().expiry(FlowState::Closed, now);
        assert_eq!(expiry.since(now), 40);
    }
}
