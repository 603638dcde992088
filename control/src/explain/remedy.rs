//! What to do about a frame that is dropped.

use shunt_dataplane::verdict::DropReason;

/// What to do, in one sentence.
pub(super) fn remedy(reason: DropReason) -> &'static str {
    match reason {
        DropReason::FrameTruncated | DropReason::IpTotalLengthBad => {
            "If it was pasted or captured, it was cut short: take all of it (`tcpdump -s 0`); else its sender, or a device \
             on the way, is broken."
        }
        DropReason::EtherTypeUnsupported => {
            "Nothing: the XDP program leaves such frames, ARP among them, to the kernel."
        }
        DropReason::VlanTooDeep => "Take tags off before the director: shunt looks behind two.",
        DropReason::IpVersionBad | DropReason::IpHeaderLengthBad | DropReason::IpChecksumBad => {
            "Its sender, or a device on the way, is broken: compare a capture at the client with one here."
        }
        DropReason::ExtensionBad => {
            "Its sender is broken or hostile: nobody needs so many extension headers."
        }
        DropReason::FragmentBad => "Its sender is broken or hostile: no host makes such fragments.",
        DropReason::FragmentOrphan => {
            "The first fragment was lost on the way or dropped here: see what else `shunt show drops` counts; smaller \
             datagrams, or path MTU discovery, avoid fragments."
        }
        DropReason::FragmentNoRoom => {
            "Fragments come out of order, or it is a flood of them: see who sends them with tcpdump."
        }
        DropReason::SourceMartian => {
            "Its source address is forged, or the host that has the VIP sends to itself: filter at the router (BCP 38)."
        }
        DropReason::TtlExpired => {
            "The client is too far away, or packets go in a circle: traceroute to the VIP shows it."
        }
        DropReason::ProtocolUnsupported => {
            "Nothing: services are TCP, UDP or SCTP; a ping of the VIP is the kernel's."
        }
        DropReason::TcpHeaderBad | DropReason::UdpLengthBad | DropReason::IcmpBad => {
            "Its sender, or a device on the way, is broken or hostile."
        }
        DropReason::PortZero => "Nothing: no client connects to port 0.",
        DropReason::IcmpUnrelated => "Nothing: it is late, or forged.",
        DropReason::TooBig => {
            "The client is told, and sends less at once; if it does not, a firewall on the way drops ICMP: allow \
             \"fragmentation needed\" and \"packet too big\"."
        }
        DropReason::FlowUnknown => {
            "The service is `strict`: the connection was silent for longer than its timeout, or began elsewhere. Give it a \
             longer timeout, or let directors tell each other of flows."
        }
        DropReason::RealGone => {
            "The client is told to connect anew. `on_failure = \"rehash\"` or \"keep\" would treat it otherwise; see \
             `shunt show reals` for why the real server is gone."
        }
        DropReason::NoService => "Check address, port and protocol against `shunt show services`.",
        DropReason::NoReal => "See why each real server takes none, above and in `shunt show reals`.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remedy_is_a_sentence() {
        for reason in DropReason::ALL {
            assert!(remedy(reason).ends_with('.'), "{}", reason.name());
        }
    }
}
