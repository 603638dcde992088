//! An ICMP or ICMPv6 echo request and what comes back, without a socket.
//!
//! *Invariant*: no input panics; what is not the reply to this very request says nothing.
//!
//! RFC 792, RFC 4443 sections 4.1 and 4.2.

use smoltcp::wire::Icmpv4Packet;

const HEADER: usize = 8;
const V4: (u8, u8) = (8, 0);
const V6: (u8, u8) = (128, 129);

/// One echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// ICMPv6 and not ICMP.
    pub is_ipv6: bool,
    /// The identifier; none: the kernel sets it, and gives this socket its own replies only.
    pub identifier: Option<u16>,
    /// Sequence number.
    pub sequence: u16,
    /// What the reply must repeat: no stranger guesses it.
    pub data: [u8; 16],
}

impl Echo {
    /// The message. The checksum is that of ICMP; the kernel writes that of ICMPv6.
    pub fn request(&self) -> Vec<u8> {
        let mut message = vec![0; HEADER];
        message[0] = self.types().0;
        message[4..6].copy_from_slice(&self.identifier.unwrap_or(0).to_be_bytes());
        message[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        message.extend_from_slice(&self.data);
        Icmpv4Packet::new_unchecked(&mut message).fill_checksum();
        message
    }

    /// Whether a message is the reply. With `has_ip_header` an IPv4 header comes first, as raw sockets have it.
    pub fn is_answered_by(&self, message: &[u8], has_ip_header: bool) -> bool {
        let message = match has_ip_header {
            true => message.get(message.first().map_or(0, |byte| usize::from(byte & 0x0f) * 4)..),
            false => Some(message),
        };
        let Some((header, data)) = message.and_then(|message| message.split_at_checked(HEADER)) else {
            return false;
        };
        header[..2] == [self.types().1, 0]
            && self.identifier.is_none_or(|identifier| header[4..6] == identifier.to_be_bytes())
            && header[6..8] == self.sequence.to_be_bytes()
            && data == self.data
    }

    fn types(&self) -> (u8, u8) {
        if self.is_ipv6 { V6 } else { V4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Echo = Echo { is_ipv6: false, identifier: Some(0x0102), sequence: 0x0304, data: [7; 16] };

    fn reply(echo: &Echo) -> Vec<u8> {
        let mut message = echo.request();
        message[0] = if echo.is_ipv6 { 129 } else { 0 };
        message
    }

    #[test]
    fn a_request_has_the_checksum_of_icmp() {
        let message = ECHO.request();
        assert_eq!(message[..8], [8, 0, 0xbb, 0xc1, 1, 2, 3, 4]);
        assert!(Icmpv4Packet::new_checked(&message).unwrap().verify_checksum());
        assert_eq!(Echo { is_ipv6: true, ..ECHO }.request()[0], 128);
    }

    #[test]
    fn only_the_reply_to_the_request_is_the_answer() {
        for echo in [ECHO, Echo { is_ipv6: true, ..ECHO }] {
            let good = reply(&echo);
            assert!(echo.is_answered_by(&good, false));
            assert!(!echo.is_answered_by(&echo.request(), false));
            for at in [0, 1, 4, 5, 6, 7, 8, 23] {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert!(!echo.is_answered_by(&bad, false), "byte {at}");
            }
            for length in 0..good.len() {
                assert!(!echo.is_answered_by(&good[..length], false));
            }
        }
        let mut other = reply(&ECHO);
        other[4] ^= 1;
        assert!(Echo { identifier: None, ..ECHO }.is_answered_by(&other, false));
    }

    #[test]
    fn an_ip_header_is_passed_over_with_its_options() {
        for words in [5u8, 6, 15] {
            let mut packet = vec![0; usize::from(words) * 4];
            packet[0] = 0x40 | words;
            packet.extend(reply(&ECHO));
            assert!(ECHO.is_answered_by(&packet, true));
            for length in 0..packet.len() {
                assert!(!ECHO.is_answered_by(&packet[..length], true));
            }
        }
    }
}
