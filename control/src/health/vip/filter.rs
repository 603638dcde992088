//! Which frames a probing socket hears, decided in the kernel: a director's interface carries everything else, and a
//! probe must cost nothing while no answer comes.
//!
//! *Invariants*
//! - the filter is static: every answer carries a number of [`NUMBERS`], as TCP port or as ICMP identifier, which
//!   neither the kernel's own connections nor anybody's ping is likely to use;
//! - fragments but the first are not heard: they carry no number.
//!
//! Classic BPF, `Documentation/networking/filter.rst`. VLAN tags are no part of what a filter sees (`skb_vlan_untag` in
//! net/core/skbuff.c).

use std::ops::RangeInclusive;

use socket2::SockFilter;

/// Source ports and ICMP identifiers of probes: outside the ports that Linux gives to connections of its own
/// (`net.ipv4.ip_local_port_range`, 32768-60999).
pub(super) const NUMBERS: RangeInclusive<u16> = 61000..=65000;

/// Nothing gets through, and the kernel answers nothing.
pub(super) fn nothing() -> [SockFilter; 1] {
    [SockFilter::new(RETURN, 0, 0, 0)]
}

/// Answers to probes, and nothing else.
pub(super) fn answers() -> Vec<SockFilter> {
    const HEARD: &str = "heard";
    const DROPPED: &str = "dropped";
    assemble(&[
        // Sent to this machine (PACKET_HOST): neither what it sends itself nor what the switch floods.
        Load(WORD, PACKET_TYPE),
        If(EQUAL, 0, "type", DROPPED),
        Label("type"),
        Load(HALF, 12),
        If(EQUAL, 0x0800, "ipv4", "not ipv4"),
        Label("not ipv4"),
        If(EQUAL, 0x86dd, "ipv6", "not ip"),
        Label("not ip"),
        If(EQUAL, 0x0806, "arp", DROPPED),
        Label("arp"),
        Load(HALF, 20),
        If(EQUAL, 2, HEARD, DROPPED),
        Label("ipv4"),
        Load(HALF, 20),
        If(ANY_BIT, 0x1fff, DROPPED, "first"),
        Label("first"),
        Load(HEADER_LENGTH, 14),
        Load(BYTE, 23),
        If(EQUAL, 6, "tcp", "not tcp"),
        Label("tcp"),
        Load(HALF_BEYOND, 14 + 2),
        If(EQUAL, 0, DROPPED, "number"),
        Label("not tcp"),
        If(EQUAL, 1, "icmp", DROPPED),
        Label("icmp"),
        Load(BYTE_BEYOND, 14),
        If(EQUAL, 0, "echo", "not echo"),
        Label("echo"),
        Load(HALF_BEYOND, 14 + 4),
        If(EQUAL, 0, DROPPED, "number"),
        Label("not echo"),
        // Unreachable, redirect, time exceeded: the packet they are about is in them, after 8 bytes, and has no
        // options; its ports come first, an identifier of ICMP fourth.
        If(EQUAL, 3, "about", "not unreachable"),
        Label("not unreachable"),
        If(EQUAL, 5, "about", "not redirect"),
        Label("not redirect"),
        If(EQUAL, 11, "about", "not exceeded"),
        Label("not exceeded"),
        // Parameter problem: about the one packet with options, four bytes of them.
        If(EQUAL, 12, "about options", DROPPED),
        Label("about"),
        Load(HALF_BEYOND, 14 + 8 + 20),
        If(AT_LEAST, *NUMBERS.start() as u32, "about port", "about echo"),
        Label("about port"),
        If(ABOVE, *NUMBERS.end() as u32, "about echo", HEARD),
        Label("about echo"),
        Load(HALF_BEYOND, 14 + 8 + 20 + 4),
        If(EQUAL, 0, DROPPED, "number"),
        Label("about options"),
        Load(HALF_BEYOND, 14 + 8 + 24 + 4),
        If(EQUAL, 0, DROPPED, "number"),
        Label("ipv6"),
        Load(BYTE, 20),
        If(EQUAL, 6, "tcp6", "not tcp6"),
        Label("tcp6"),
        Load(HALF, 54 + 2),
        If(EQUAL, 0, DROPPED, "number"),
        Label("not tcp6"),
        If(EQUAL, 58, "icmp6", DROPPED),
        Label("icmp6"),
        Load(BYTE, 54),
        If(EQUAL, 129, "echo6", "not echo6"),
        Label("echo6"),
        Load(HALF, 54 + 4),
        If(EQUAL, 0, DROPPED, "number"),
        Label("not echo6"),
        If(EQUAL, 136, HEARD, "not neighbour"),
        Label("not neighbour"),
        // Parameter problem: about the one packet with a hop-by-hop header, 8 bytes long.
        If(EQUAL, 4, "about options6", "not parameter"),
        Label("about options6"),
        Load(HALF, 54 + 8 + 40 + 8 + 4),
        If(EQUAL, 0, DROPPED, "number"),
        Label("not parameter"),
        If(ABOVE, 3, DROPPED, "about6"),
        Label("about6"),
        Load(HALF, 54 + 8 + 40),
        If(AT_LEAST, *NUMBERS.start() as u32, "about port6", "about echo6"),
        Label("about port6"),
        If(ABOVE, *NUMBERS.end() as u32, "about echo6", HEARD),
        Label("about echo6"),
        Load(HALF, 54 + 8 + 40 + 4),
        If(EQUAL, 0, DROPPED, "number"),
        Label("number"),
        If(AT_LEAST, *NUMBERS.start() as u32, "not below", DROPPED),
        Label("not below"),
        If(ABOVE, *NUMBERS.end() as u32, DROPPED, HEARD),
        Label(HEARD),
        Return(u32::MAX),
        Label(DROPPED),
        Return(0),
    ])
}

/// A line of a filter, with names in place of distances.
enum Step {
    /// An instruction without a jump, and its offset.
    Load(u16, u32),
    /// Compares; where it goes on if so, and if not.
    If(u16, u32, &'static str, &'static str),
    Label(&'static str),
    /// Keeps so many bytes of the frame.
    Return(u32),
}
use Step::{If, Label, Load, Return};

// BPF_LD | BPF_W, BPF_H, BPF_B | BPF_ABS or, relative to X, BPF_IND; X = 4 * (byte & 15).
const WORD: u16 = 0x20;
const HALF: u16 = 0x28;
const BYTE: u16 = 0x30;
const HALF_BEYOND: u16 = 0x48;
const BYTE_BEYOND: u16 = 0x50;
const HEADER_LENGTH: u16 = 0xb1;
// BPF_JMP | BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JSET | BPF_K.
const EQUAL: u16 = 0x15;
const ABOVE: u16 = 0x25;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
// BPF_RET | BPF_K.
const RETURN: u16 = 0x06;
/// SKF_AD_OFF + SKF_AD_PKTTYPE.
const PACKET_TYPE: u32 = -0x1000_i32 as u32 + 4;

fn assemble(steps: &[Step]) -> Vec<SockFilter> {
    let at = |name: &str| {
        let label = steps.iter().position(|step| matches!(step, Label(label) if *label == name));
        let label = label.unwrap_or_else(|| unreachable!("every jump of the filter has a target"));
        steps[..label].iter().filter(|step| !matches!(step, Label(_))).count()
    };
    let mut filter = Vec::with_capacity(steps.len());
    for step in steps {
        let distance = |name: &str| (at(name) - filter.len() - 1) as u8;
        let instruction = match *step {
            Label(_) => continue,
            Load(code, k) => SockFilter::new(code, 0, 0, k),
            Return(k) => SockFilter::new(RETURN, 0, 0, k),
            If(code, k, yes, no) => SockFilter::new(code, distance(yes), distance(no), k),
        };
        filter.push(instruction);
    }
    filter
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::os::unix::net::UnixDatagram;

    use socket2::SockRef;

    use super::*;
    use crate::health::vip::packet::{Ethertype, Tcp, complaint, echo, frame};
    use crate::model::Vlan;

    /// The frames that the kernel lets through. Any socket takes a filter.
    fn heard(frames: &[Vec<u8>]) -> Vec<usize> {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        SockRef::from(&receiver).attach_filter(&answers()).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2048];
        let mut was_heard = |frame: &[u8]| {
            // What a filter drops is an error for the sender, or nothing.
            let _ = sender.send(frame);
            receiver.recv(&mut buffer).is_ok()
        };
        (0..frames.len()).filter(|n| was_heard(&frames[*n])).collect()
    }

    fn families() -> [(IpAddr, IpAddr); 2] {
        [("192.0.2.10", "192.0.2.1"), ("2001:db8::10", "2001:db8::1")]
            .map(|(vip, own)| (vip.parse().unwrap(), own.parse().unwrap()))
    }

    fn packet(from: IpAddr, payload: &[u8]) -> Vec<u8> {
        frame([1; 6], [2; 6], Vlan::Keep, Ethertype::of(from), payload)
    }

    /// A segment from a VIP to this port.
    fn segment(from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
        let segment = Tcp { from, to, source_port: 80, port, sequence: 0, reset: true };
        packet(from, &segment.packet())
    }

    #[test]
    fn only_segments_to_the_ports_of_probes_are_heard() {
        for (vip, own) in families() {
            let ports = [22, 60_999, 61_000, 63_000, 65_000, 65_001];
            assert_eq!(heard(&ports.map(|port| segment(vip, own, port))), [2, 3, 4], "{vip}");
        }
    }

    #[test]
    fn only_echoes_and_errors_about_probes_are_heard() {
        for (vip, own) in families() {
            let is_ipv4 = vip.is_ipv4();
            let header = if is_ipv4 { 20 } else { 40 };
            // What came back: the type of an echo request changed.
            let replied = |number| {
                let mut message = echo(vip, own, number, 1, 0);
                message[header] = if is_ipv4 { 0 } else { 129 };
                packet(vip, &message)
            };
            let error = |kind: u8, about: &[u8]| {
                let mut message = echo(vip, own, 0, 0, 0);
                message[header] = kind;
                message.extend(about);
                packet(vip, &message)
            };
            let (unreachable, parameter) = if is_ipv4 { (3, 12) } else { (1, 4) };
            let syn = |source_port| {
                Tcp { from: own, to: vip, source_port, port: 80, sequence: 0, reset: false }.packet()
            };
            let frames = [
                replied(61_000),
                replied(7),
                error(unreachable, &syn(61_000)),
                error(unreachable, &syn(40_000)),
                error(unreachable, &echo(own, vip, 65_000, 1, 0)),
                error(unreachable, &echo(own, vip, 7, 1, 0)),
                error(parameter, &complaint(own, vip, 65_000, 0)),
                error(parameter, &complaint(own, vip, 7, 0)),
                packet(vip, &echo(vip, own, 61_000, 1, 0)),
            ];
            assert_eq!(heard(&frames), [0, 2, 4, 6], "{vip}");
        }
    }
}
