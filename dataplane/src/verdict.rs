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
    EtherTypeUnsupported "ether_type_unsupported" "The frame is not IPv4.";
    IpVersionBad "ip_version_bad" "The IP version is not the one the EtherType promised.";
    IpHeaderLengthBad "ip_header_length_bad" "The IP header length is under 20 bytes.";
    IpTotalLengthBad "ip_total_length_bad" "The IP total length is shorter than its headers or longer than the frame.";
    IpChecksumBad "ip_checksum_bad" "The IPv4 header checksum is wrong.";
    IpFragment "ip_fragment" "The packet is a fragment.";
    SourceMartian "source_martian" "The source address cannot be a client: 0/8, loopback, multicast, or the VIP itself.";
    TtlExpired "ttl_expired" "The time to live would reach zero here.";
    ProtocolUnsupported "protocol_unsupported" "The transport protocol is neither TCP nor UDP.";
    TcpHeaderBad "tcp_header_bad" "The TCP data offset is under 20 bytes or points behind the packet.";
    UdpLengthBad "udp_length_bad" "The UDP length is under 8 bytes or points behind the packet.";
    NoService "no_service" "No virtual service has this destination (just removed, or steered in error).";
    NoReal "no_real" "The service has no real server that is up.";
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
