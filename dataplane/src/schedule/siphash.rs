//! SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with one round a block and three
//! at the end): on 64-bit kernels it is what `hsiphash` computes (lib/siphash.c), and `mh` places everything with
//! it.
//!
//! *Invariant*: the output never changes between versions (vectors below), or flows would move.

/// A key: the two halves of its 16 bytes, little endian.
pub(super) type Key = [u64; 2];

/// The hash of four bytes: those of `word`, little endian.
#[inline]
pub(super) const fn of_word(key: Key, word: u32) -> u64 {
    // The last block holds what is left of the message, and its length in the highest byte.
    State::new(key).block(word as u64 | 4 << 56).end()
}

struct State([u64; 4]);

impl State {
    const fn new([low, high]: Key) -> Self {
        // "somepseudorandomlygeneratedbytes".
        State([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ])
    }

    const fn round(self) -> Self {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        State([a, b, c.rotate_left(32), d])
    }

    const fn block(self, block: u64) -> Self {
        let [a, b, c, d] = self.0;
        let [a, b, c, d] = State([a, b, c, d ^ block]).round().0;
        State([a ^ block, b, c, d])
    }

    const fn end(self) -> u64 {
        let [a, b, c, d] = self.0;
        let [a, b, c, d] = State([a, b, c ^ 0xff, d]).round().round().round().0;
        a ^ b ^ c ^ d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of any message, block by block.
    fn of_bytes(key: Key, bytes: &[u8]) -> u64 {
        let mut blocks = bytes.chunks_exact(8);
        let mut state = State::new(key);
        for block in &mut blocks {
            state = state.block(u64::from_le_bytes(block.try_into().unwrap()));
        }
        let mut last = [0; 8];
        last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
        last[7] = bytes.len() as u8;
        state.block(u64::from_le_bytes(last)).end()
    }

    /// Key 00 01 .. 0f, messages of length 0, 1, 2, ...: 00 01 02 ...; outputs in the order of their bytes, as in
    /// the reference vectors of Rust's own SipHasher13 (library/coretests/tests/hash/sip.rs).
    const KEY: Key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    const VECTORS: [u64; 17] = [
        0xdcc4_0f05_5801_acab,
        0x93ca_577d_f39b_f4c9,
        0x4dd4_c74d_029b_cb82,
        0xfbf7_dde7_b80a_f88b,
        0x2883_d388_6057_75cf,
        0x673b_5349_2fd5_f9de,
        0xa722_9fc5_502b_0dc5,
        0x4011_b19b_987d_92d3,
        0x8e9a_298d_1195_9036,
        0xe43d_066c_b38e_a425,
        0x7f09_ff92_ee85_de79,
        0x52c3_4df9_c118_c170,
        0xa2d9_b457_b184_a378,
        0xa7ff_2912_0c76_6f30,
        0x345d_f9c0_11a1_5a60,
        0x5699_512a_6dd8_20d3,
        0x668b_907d_1add_4fcc,
    ];

    #[test]
    fn the_reference_vectors_come_out() {
        let message: Vec<u8> = (0..VECTORS.len() as u8).collect();
        for (length, vector) in VECTORS.into_iter().enumerate() {
            assert_eq!(of_bytes(KEY, &message[..length]).swap_bytes(), vector, "{length} bytes");
        }
    }

    #[test]
    fn a_word_is_its_four_bytes() {
        assert_eq!(of_word(KEY, 0x0302_0100).swap_bytes(), VECTORS[4]);
        for word in [0, 1, 0xc000_0214, u32::MAX] {
            assert_eq!(of_word(KEY, word), of_bytes(KEY, &word.to_le_bytes()));
        }
    }
}
