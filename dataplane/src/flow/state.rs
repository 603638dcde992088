//! The life of a flow as a director sees it that sees one side only: under DSR the real server's segments
//! never pass. The TCP table is the input-only one of IPVS (Linux: net/netfilter/ipvs/ip_vs_proto_tcp.c,
//! `tcp_states`, rows for input only), less the columns that a director that begins with them never reaches.
//!
//! Two things are ours. IPVS knows a connection from its SYN; here one may be met in the middle, after a change of
//! director: `Midway`, on probation until a second packet. And a segment without any of RST, SYN, FIN and ACK, which no
//! receiver accepts (RFC 9293, section 3.10.7), changes nothing, where IPVS closes the connection.

use crate::packet::{Protocol, TcpFlags};

/// State of a remembered flow. Fits four bits; 0 is a free entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowState {
    /// A client's SYN was seen, nothing after it.
    SynReceived = 1,
    /// The client has acknowledged: the handshake is complete.
    Established = 2,
    /// The client's FIN was seen on an established connection.
    FinWait = 3,
    /// The client's FIN was seen right after its SYN.
    TimeWait = 4,
    /// The client's RST was seen.
    Closed = 5,
    /// One segment from the middle of a connection was seen, nothing after it.
    Midway = 6,
    /// UDP: one packet so far.
    UdpNew = 7,
    /// UDP: two packets or more.
    Udp = 8,
    /// SCTP: one packet so far.
    SctpNew = 9,
    /// SCTP: two packets or more.
    Sctp = 10,
    /// Where the flows of a client go (persistence): one flow so far.
    TemplateNew = 11,
    /// Where the flows of a client go: it has come back, or its flow was more than a first packet.
    Template = 12,
}

use FlowState::{
    Closed, Established, FinWait, Midway, Sctp, SctpNew, SynReceived, Template, TemplateNew, TimeWait, Udp,
    UdpNew,
};

impl FlowState {
    /// All states, by number.
    pub const ALL: [FlowState; 12] = [
        SynReceived,
        Established,
        FinWait,
        TimeWait,
        Closed,
        Midway,
        UdpNew,
        Udp,
        SctpNew,
        Sctp,
        TemplateNew,
        Template,
    ];

    /// The state with this number; none for a free entry.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Option<FlowState> {
        match bits {
            1 => Some(SynReceived),
            2 => Some(Established),
            3 => Some(FinWait),
            4 => Some(TimeWait),
            5 => Some(Closed),
            6 => Some(Midway),
            7 => Some(UdpNew),
            8 => Some(Udp),
            9 => Some(SctpNew),
            10 => Some(Sctp),
            11 => Some(TemplateNew),
            12 => Some(Template),
            _ => None,
        }
    }

    /// The state of a flow that begins (for the director) with this packet. `flags` count for TCP only.
    #[inline(always)]
    pub const fn first(protocol: Protocol, flags: TcpFlags) -> FlowState {
        match protocol {
            Protocol::Udp => UdpNew,
            Protocol::Sctp => SctpNew,
            // From RST down to ACK: tcp_state_idx().
            Protocol::Tcp if flags.has(TcpFlags::RST) => Closed,
            Protocol::Tcp if flags.has(TcpFlags::SYN) => SynReceived,
            Protocol::Tcp if flags.has(TcpFlags::FIN) => Closed,
            Protocol::Tcp => Midway,
        }
    }

    /// The state after one more packet from the client. `flags` count for TCP only. Of a template: after one more
    /// flow.
    #[inline(always)]
    pub const fn next(self, protocol: Protocol, flags: TcpFlags) -> FlowState {
        match (self, protocol) {
            (TemplateNew | Template, _) => Template,
            (_, Protocol::Udp) => Udp,
            (_, Protocol::Sctp) => Sctp,
            (_, Protocol::Tcp) => self.next_tcp(flags),
        }
    }

    #[inline(always)]
    const fn next_tcp(self, flags: TcpFlags) -> FlowState {
        // What nearly all segments are comes first.
        const SPECIAL: u8 = TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0;
        if flags.0 & SPECIAL == 0 && matches!(self, Established) {
            Established
        } else if flags.has(TcpFlags::RST) {
            // A RST that no segment of the handshake followed may be anybody's: IPVS waits for the timeout.
            match self {
                SynReceived => SynReceived,
                _ => Closed,
            }
        } else if flags.has(TcpFlags::SYN) {
            match self {
                Established => Established,
                _ => SynReceived,
            }
        } else if flags.has(TcpFlags::FIN) {
            match self {
                SynReceived | TimeWait => TimeWait,
                Closed => Closed,
                _ => FinWait,
            }
        } else if flags.has(TcpFlags::ACK) {
            match self {
                SynReceived | Midway => Established,
                state => state,
            }
        } else {
            self
        }
    }

    /// Counted as an active connection (IPVS: `tcp_state_active_table`). Flows of other protocols count as inactive
    /// there, and so do templates here.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        matches!(self, SynReceived | Established | Midway)
    }

    /// Over, but remembered for stragglers.
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        matches!(self, FinWait | TimeWait | Closed)
    }

    /// Only a first packet so far: a flood looks like this.
    #[inline(always)]
    pub const fn is_on_probation(self) -> bool {
        matches!(self, SynReceived | Midway | UdpNew | SctpNew | TemplateNew)
    }

    /// Not a flow, but where the flows of a client go.
    #[inline(always)]
    pub const fn is_template(self) -> bool {
        matches!(self, TemplateNew | Template)
    }

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            SynReceived => "syn-received",
            Established => "established",
            FinWait => "fin-wait",
            TimeWait => "time-wait",
            Closed => "closed",
            Midway => "midway",
            UdpNew => "udp-new",
            Udp => "udp",
            SctpNew => "sctp-new",
            Sctp => "sctp",
            TemplateNew => "template-new",
            Template => "template",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: TcpFlags = TcpFlags(0);
    const PSH: u8 = 0x08;
    const TCP: Protocol = Protocol::Tcp;

    /// A segment with these flags, and with those that count for less or for nothing.
    fn segments(flag: TcpFlags, lesser: &[TcpFlags]) -> Vec<TcpFlags> {
        let all = lesser.iter().fold(flag.0, |all, lesser| all | lesser.0);
        vec![flag, TcpFlags(all), TcpFlags(all | PSH), TcpFlags(flag.0 | PSH)]
    }

    #[test]
    fn the_tcp_table_is_that_of_ipvs_for_one_direction() {
        use TcpFlags as F;
        let columns = [SynReceived, Established, FinWait, TimeWait, Closed, Midway];
        let rows = [
            (
                segments(F::SYN, &[F::FIN, F::ACK]),
                [SynReceived, Established, SynReceived, SynReceived, SynReceived, SynReceived],
                SynReceived,
            ),
            (segments(F::FIN, &[F::ACK]), [TimeWait, FinWait, FinWait, TimeWait, Closed, FinWait], Closed),
            (
                segments(F::ACK, &[]),
                [Established, Established, FinWait, TimeWait, Closed, Established],
                Midway,
            ),
            (
                segments(F::RST, &[F::SYN, F::FIN, F::ACK]),
                [SynReceived, Closed, Closed, Closed, Closed, Closed],
                Closed,
            ),
            (vec![NONE, TcpFlags(PSH)], columns, Midway),
        ];
        for (segments, next, first) in rows {
            for flags in segments {
                assert_eq!(columns.map(|state| state.next(TCP, flags)), next, "{flags:?}");
                assert_eq!(FlowState::first(TCP, flags), first, "{flags:?}");
            }
        }
    }

    #[test]
    fn a_second_packet_ends_the_probation_of_other_protocols_whatever_the_flags() {
        for flags in [NONE, TcpFlags::RST, TcpFlags(0xff)] {
            for (protocol, first, next) in [(Protocol::Udp, UdpNew, Udp), (Protocol::Sctp, SctpNew, Sctp)] {
                assert_eq!(FlowState::first(protocol, flags), first);
                assert_eq!(first.next(protocol, flags), next);
                assert_eq!(next.next(protocol, flags), next);
            }
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                assert_eq!(TemplateNew.next(protocol, flags), Template);
                assert_eq!(Template.next(protocol, flags), Template);
            }
        }
    }

    #[test]
    fn every_state_survives_its_four_bits_and_is_listed_by_its_number() {
        for (n, state) in FlowState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, n + 1);
            assert_eq!(FlowState::from_bits(state as u8), Some(state));
        }
        for bits in [0, 13, 14, 15] {
            assert_eq!(FlowState::from_bits(bits), None);
        }
    }

    #[test]
    fn no_flow_is_two_of_settled_closing_and_on_probation() {
        let of =
            |is: fn(FlowState) -> bool| FlowState::ALL.into_iter().filter(|s| is(*s)).collect::<Vec<_>>();
        assert_eq!(of(FlowState::is_closing), [FinWait, TimeWait, Closed]);
        assert_eq!(of(FlowState::is_on_probation), [SynReceived, Midway, UdpNew, SctpNew, TemplateNew]);
        assert_eq!(of(FlowState::is_active), [SynReceived, Established, Midway]);
        assert_eq!(of(FlowState::is_template), [TemplateNew, Template]);
    }
}
