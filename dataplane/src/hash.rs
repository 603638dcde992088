//! The one keyed hash of a packet, computed for the first of a flow: its high bits choose the Maglev slot. The same construction,
//! with a secret of this boot for a key, chooses the flow table's buckets (`flow::entry`).
//!
//! *Invariants*: the output for a given key and input never changes between versions of shunt, for every
//! director of a cluster must choose alike (golden vectors below). The key comes from the configuration.
//!
//! The construction is the folded 64x64 -> 128 bit multiplication of wyhash and its relatives: two
//! multiplications a packet, no table, no state. It is keyed, not cryptographic: who knows the key, which stands in
//! the configuration of every director of a cluster, can make as many flows as he likes with one hash. What he gains is
//! a lopsided share. The flow table does not rely on it: flows whose hashes agree in all 64 bits have buckets
//! of their own, by their keys, where they go, and a secret that nobody typed.

use crate::packet::Address;

/// Key of a hash, 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u64; 2]);

/// Odd constants from the fractional digits of pi: nothing up the sleeve.
const PI: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1];

/// Multiplies to 128 bits and folds the halves.
#[inline(always)]
pub const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

impl HashKey {
    /// Hashes two words. Each word meets each half of the key, so that no single value of one word
    /// makes the other irrelevant.
    #[inline(always)]
    pub const fn words(self, a: u64, b: u64) -> u64 {
        let first = fold(a ^ self.0[0] ^ PI[0], b ^ self.0[1] ^ PI[1]);
        fold(first ^ a.rotate_left(32) ^ self.0[1], first.rotate_left(29) ^ b ^ self.0[0] ^ PI[2])
    }

    /// Hashes a flow: addresses, ports and protocol.
    #[inline(always)]
    pub fn flow(self, src: Address, dst: Address, src_port: u16, dst_port: u16, protocol: u8) -> u64 {
        let ports = (src_port as u64) << 48 | (dst_port as u64) << 32 | protocol as u64;
        if let (Some(src), Some(dst)) = (src.v4(), dst.v4()) {
            return self.words((src as u64) << 32 | dst as u64, ports);
        }
        let ([src_high, src_low], [dst_high, dst_low]) = (src.words(), dst.words());
        let mixed = self.words(src_high, src_low);
        let mixed = HashKey([mixed, self.0[1]]).words(dst_high, dst_low);
        HashKey([mixed, self.0[0]]).words(mixed, ports)
    }

    /// Hashes an address and a port, as the identity of a real server or a service.
    #[inline(always)]
    pub fn endpoint(self, address: Address, port: u16, protocol: u8) -> u64 {
        let [high, low] = address.words();
        let mixed = self.words(high, low);
        HashKey([mixed, self.0[0]]).words(mixed, (port as u64) << 8 | protocol as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const KEY: HashKey = HashKey([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);

    fn v4(a: u8, b: u8, c: u8, d: u8) -> Address {
        Address::from(Ipv4Addr::new(a, b, c, d))
    }

    #[test]
    fn golden_vectors_never_change() {
        let vip = v4(192, 0, 2, 10);
        assert_eq!(KEY.flow(v4(198, 51, 100, 7), vip, 40000, 80, 6), 0x6512_e60d_2d45_7451);
        assert_eq!(KEY.flow(v4(198, 51, 100, 7), vip, 40001, 80, 6), 0x8a3a_e4dc_fb14_7329);
        assert_eq!(KEY.endpoint(v4(192, 0, 2, 21), 80, 6), 0x8db9_8379_b9e1_0b41);
        assert_eq!(HashKey([0, 0]).words(0, 0), 0xfa25_497c_0dcc_2dc5);
    }

    #[test]
    fn sequential_flows_spread_evenly_over_slots_and_buckets() {
        // Chi-square over 256 cells, 255 degrees of freedom: 99.9 % of good hashes stay under 330.
        for shift in [0, 20, 40, 56] {
            let mut cells = [0u32; 256];
            let n = 100_000u32;
            for i in 0..n {
                let client = v4(198, 18, (i >> 14) as u8, (i >> 6) as u8);
                let h = KEY.flow(client, v4(192, 0, 2, 10), 1024 + (i & 63) as u16, 80, 6);
                cells[(h >> shift) as usize & 255] += 1;
            }
            let expected = n as f64 / 256.0;
            let chi: f64 = cells.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
            assert!(chi < 330.0, "bits {shift}..{}: chi-square {chi}", shift + 8);
        }
    }
}
