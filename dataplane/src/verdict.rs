//! The outcome of one frame. A refusal is a value: one `DropReason` = one counter = one row of the docs =
//! one golden test.

use crate::port::PortId;

/// What becomes of a frame that reached a worker. (The third verdict, *pass*, is the XDP program's: what it
/// passes to the kernel never reaches a worker.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Rewritten; to be transmitted on this port.
    Forward(PortId),
    /// Refused; the frame is recycled and the reason counted.
    Drop(DropReason),
    /// Refused, and the reason counted; the frame now holds what the sender is told (`answer`), and goes back where
    /// it came from.
    Answer(DropReason),
    /// A fragment that overtook the first of its datagram: to be shown again soon.
    Hold,
}

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// Why a frame was not forwarded.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $doc] $variant,)* }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: [DropReason; [$(DropReason::$variant),*].len()] = [$(DropReason::$variant),*];

            /// The name in counters, `shunt show drops` and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }

            /// One sentence for a person.
            pub const fn meaning(self) -> &'static str {
                match self { $(DropReason::$variant => $doc,)* }
            }
        }
    };
}

drop_reasons! {
    FrameTruncated "frame_truncated" "The frame ends before its Ethernet, IP or transport header does.";
    EtherTypeUnsupported "ether_type_unsupported" "The frame is neither IPv4 nor IPv6.";
    VlanTooDeep "vlan_too_deep" "The frame has more than two VLAN tags.";
    IpVersionBad "ip_version_bad" "The IP version is not the one the EtherType promised.";
    IpHeaderLengthBad "ip_header_length_bad" "The IPv4 header length is under 20 bytes.";
    IpTotalLengthBad "ip_total_length_bad" "The IP length is shorter than the packet's headers or longer than the frame.";
    IpChecksumBad "ip_checksum_bad" "The IPv4 header checksum is wrong.";
    ExtensionBad "extension_bad" "An IPv6 extension header is broken, or there are more of them than shunt walks through.";
    FragmentBad "fragment_bad" "The fragment is impossible: its length, its place, or a first one without its transport header.";
    FragmentOrphan "fragment_orphan" "The first fragment of the datagram did not come, or not in time.";
    FragmentNoRoom "fragment_no_room" "The fragment overtook the first one, and too many such wait already.";
    SourceMartian "source_martian" "The source address cannot be a client: unspecified, loopback, multicast, or the VIP itself.";
    TtlExpired "ttl_expired" "The time to live (hop limit) would reach zero here: the client is told by ICMP.";
    ProtocolUnsupported "protocol_unsupported" "The transport protocol is not TCP, UDP or SCTP, nor is it an ICMP error.";
    TcpHeaderBad "tcp_header_bad" "The TCP data offset is under 20 bytes or points behind the packet.";
    UdpLengthBad "udp_length_bad" "The UDP length is under 8 bytes or points behind the packet.";
    PortZero "port_zero" "The destination port is 0.";
    IcmpBad "icmp_bad" "The ICMP error is broken: its checksum, or too little of the packet it is about.";
    IcmpUnrelated "icmp_unrelated" "An ICMP error about a flow that is not remembered and has no real server by its hash.";
    TooBig "too_big" "The packet is longer than the way to the real server allows: the client is told by ICMP.";
    FlowUnknown "flow_unknown" "A TCP segment from the middle of a connection that is not remembered, to a strict service.";
    RealGone "real_gone" "The flow's real server failed or was removed: the client is told by a RST.";
    NoService "no_service" "No virtual service has this destination (just removed, or steered in error).";
    NoReal "no_real" "The service has no real server that takes the flow: the client is told by ICMP or a RST.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_number_their_counters_without_gaps_and_have_unique_names() {
        let mut names = std::collections::HashSet::new();
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
            assert!(names.insert(reason.name()), "{} twice", reason.name());
        }
    }
}
