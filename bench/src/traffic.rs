//! Bursts of minimal TCP frames of a given number of flows, in an order that no cache foresees.
//!
//! Writing a burst restores all that the pass changes (MAC addresses, TTL, header checksum), so every row
//! writes its burst first and all rows pay the same for it: the row `floor/write`.

use shunt_dataplane::packet::Address;
use shunt_dataplane::port::BURST;

/// The virtual IP that all frames are for, host order.
pub const VIP: u32 = 0xc000_020a;
/// The port that all frames are for.
pub const PORT: u16 = 80;
/// Ethernet, IPv4 and TCP headers, padded to the least that Ethernet carries (without FCS).
pub const FRAME: usize = 60;
/// Flows of one client address.
const PORTS: usize = 1024;
/// Primes: a stride of either meets every flow before it meets one again.
const STRIDE: usize = 611_953;

/// One burst.
pub type Frames = [[u8; FRAME]; BURST];

/// A source of bursts.
pub struct Traffic {
    /// The first 34 bytes of each client's frames.
    headers: Vec<[u8; 34]>,
    flows: usize,
    next: usize,
}

impl Traffic {
    /// Traffic of `flows` flows, at least one.
    pub fn new(flows: usize) -> Self {
        let clients = flows.div_ceil(PORTS).max(1) as u32;
        let headers = (0..clients).map(|client| header(0xc612_0001 + client)).collect();
        Traffic { headers, flows, next: 0 }
    }

    /// How many flows.
    pub fn flows(&self) -> usize {
        self.flows
    }

    /// Writes the next burst over the one before.
    #[inline(always)]
    pub fn write(&mut self, frames: &mut Frames) {
        for frame in frames {
            let flow = self.next;
            self.next = (self.next + STRIDE) % self.flows;
            frame[..34].copy_from_slice(&self.headers[flow / PORTS]);
            frame[34..36].copy_from_slice(&client_port(flow).to_be_bytes());
        }
    }

    /// A burst with all that `write` leaves alone.
    pub fn frames(&self) -> Frames {
        let mut frame = [0; FRAME];
        frame[36..38].copy_from_slice(&PORT.to_be_bytes());
        frame[46] = 5 << 4;
        // ACK: the middle of a connection.
        frame[47] = 0x10;
        [frame; BURST]
    }
}

fn client_port(flow: usize) -> u16 {
    (40_000 + flow % PORTS) as u16
}

/// Ethernet and IPv4 headers of a client's frames.
fn header(client: u32) -> [u8; 34] {
    let mut header = [0; 34];
    header[..6].copy_from_slice(&[0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d]);
    header[6..12].copy_from_slice(&[0x00, 0x00, 0x5e, 0x00, 0x53, 0x01]);
    header[12..14].copy_from_slice(&[0x08, 0x00]);
    header[14..24].copy_from_slice(&[0x45, 0, 0, 40, 0x1d, 0x0f, 0x40, 0, 64, 6]);
    header[26..30].copy_from_slice(&client.to_be_bytes());
    header[30..34].copy_from_slice(&VIP.to_be_bytes());
    let checksum = !shunt_dataplane::checksum::sum(&header[14..34]);
    header[24..26].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// The VIP as the dataplane has it.
pub fn vip() -> Address {
    Address::from_v4(VIP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt_dataplane::parse::parse;
    use std::collections::HashSet;

    #[test]
    fn every_flow_comes_once_before_one_comes_again() {
        for flows in [1, 1_000, 100_000, 1_000_000] {
            let mut traffic = Traffic::new(flows);
            let (mut frames, mut seen) = (traffic.frames(), HashSet::new());
            let bursts = flows.div_ceil(BURST);
            for _ in 0..bursts {
                traffic.write(&mut frames);
                for frame in &frames {
                    let packet = parse(frame).expect("a good frame");
                    seen.insert((packet.src, packet.src_port));
                }
            }
            assert_eq!(seen.len(), flows);
        }
    }
}
