//! A director of a hundred lines for the tests of the lab itself: a thread that forwards what an AF_PACKET socket
//! hands it. It is slow and remembers nothing, and it can be told to do its work badly.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::{self, MutableTcpPacket};
use pnet_packet::udp::{self, MutableUdpPacket};
use shunt_tests::{Frame, Lab, Mac, PacketSocket, craft};

/// What the stand-in does badly.
#[allow(dead_code, reason = "each test file is a program of its own")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Nothing,
    KeepsTtl,
    LeavesHeaderChecksum,
    LeavesHalfChecksum,
    ChangesPayload,
    ChangesDestination,
    KeepsSourceMac,
    SendsTwice,
    SendsToRouter,
    ForgetsAll,
}

pub struct StandIn {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const ETHERNET: usize = 14;

impl StandIn {
    /// Takes `vip` on director number 0 and forwards TCP and UDP for it to the real servers, by source port.
    pub fn start(lab: &Lab, vip: IpAddr, fault: Fault) -> StandIn {
        let director = lab.director(0);
        let family = if vip.is_ipv4() { "ip" } else { "ip6" };
        // The kernel's own stack must not answer for the VIP; the socket hears frames before this rule does.
        director.feed(
            "nft",
            &["-f", "-"],
            &format!(
                "add table netdev stand_in\n\
                 add chain netdev stand_in take {{ type filter hook ingress device eth0 priority 0; }}\n\
                 add rule netdev stand_in take {family} daddr {vip} meta l4proto {{ tcp, udp }} drop\n"
            ),
        );
        director.add_address(vip, "eth0");
        let incoming = PacketSocket::open(director, "eth0");
        let outgoing = lab.is_two_legged().then(|| PacketSocket::open(director, "eth1"));
        let servers: Vec<Mac> = lab.real_servers().map(|server| server.mac()).collect();
        let router = lab.router().mac();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let out = outgoing.as_ref().unwrap_or(&incoming);
            // Relaxed: the flag orders nothing else.
            while !stopped.load(Ordering::Relaxed) {
                let Some(bytes) = incoming.receive(Duration::from_millis(20)) else { continue };
                let frame = craft::view(&bytes);
                let wanted = frame.is_to(vip) && frame.destination == incoming.mac();
                let Some((source_port, _)) = frame.ip.as_ref().filter(|_| wanted).and_then(|ip| ip.ports)
                else {
                    continue;
                };
                // Linux picks even source ports for connections as long as it can.
                let server = servers[usize::from(source_port / 2) % servers.len()];
                let forwarded = forward(&frame, out.mac(), server, router, fault);
                match fault {
                    Fault::ForgetsAll => {}
                    Fault::SendsTwice => [&forwarded, &forwarded].into_iter().for_each(|copy| out.send(copy)),
                    _ => out.send(&forwarded),
                }
            }
        });
        StandIn { stop, thread: Some(thread) }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.take().expect("it is joined once").join();
        assert!(result.is_ok() || std::thread::panicking(), "the stand-in panicked");
    }
}

fn forward(frame: &Frame, own: Mac, server: Mac, router: Mac, fault: Fault) -> Vec<u8> {
    let mut bytes = frame.bytes.clone();
    let to = if fault == Fault::SendsToRouter { router } else { server };
    let from = if fault == Fault::KeepsSourceMac { frame.source } else { own };
    bytes[..6].copy_from_slice(&to.0);
    bytes[6..12].copy_from_slice(&from.0);
    let view = frame.ip.clone().expect("only IP packets are forwarded");
    if fault == Fault::ChangesPayload {
        // Far back, in the payload of a datagram or the options of a segment.
        bytes[view.packet.end - 1] ^= 1;
    }
    if fault == Fault::ChangesDestination {
        bytes[view.packet.start + 19] ^= 1;
    }
    if fault != Fault::LeavesHalfChecksum {
        complete(&mut bytes, &view);
    }
    if view.source.is_ipv6() {
        let mut packet = MutableIpv6Packet::new(&mut bytes[ETHERNET..]).expect("an IPv6 packet");
        packet.set_hop_limit(view.ttl - u8::from(fault != Fault::KeepsTtl));
        return bytes;
    }
    let mut packet = MutableIpv4Packet::new(&mut bytes[ETHERNET..]).expect("an IPv4 packet");
    if fault != Fault::KeepsTtl {
        packet.set_ttl(view.ttl - 1);
    }
    if fault != Fault::LeavesHeaderChecksum {
        let sum = ipv4::checksum(&packet.to_immutable());
        packet.set_checksum(sum);
    }
    bytes
}

fn complete(bytes: &mut [u8], view: &shunt_tests::frame::Ip) {
    let segment = &mut bytes[view.transport..view.packet.end];
    let protocol = pnet_packet::ip::IpNextHeaderProtocol(view.protocol);
    if protocol == IpNextHeaderProtocols::Tcp {
        let mut packet = MutableTcpPacket::new(segment).expect("a TCP segment");
        let sum = match (view.source, view.destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => tcp::ipv4_checksum(&packet.to_immutable(), &a, &b),
            (IpAddr::V6(a), IpAddr::V6(b)) => tcp::ipv6_checksum(&packet.to_immutable(), &a, &b),
            _ => return,
        };
        packet.set_checksum(sum);
    } else {
        let mut packet = MutableUdpPacket::new(segment).expect("a UDP datagram");
        let sum = match (view.source, view.destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => udp::ipv4_checksum(&packet.to_immutable(), &a, &b),
            (IpAddr::V6(a), IpAddr::V6(b)) => udp::ipv6_checksum(&packet.to_immutable(), &a, &b),
            _ => return,
        };
        packet.set_checksum(sum);
    }
}
