//! Memory that one writes and many read: buckets of four entries, each a few words of key and one more word, the
//! *meta* word, which is 0 while the entry is free. What the words mean is the business of those above.
//!
//! A key has two buckets, one in either half of the memory. It is stored in the emptier of the two (the first, if that
//! is nearly empty, or the other no emptier) and looked for in both. No entry ever moves. That ties always go to
//! the same half makes the choice worth more than it would be among any two buckets: a tenth as many newcomers find
//! both full. (Vöcking, "How Asymmetry Helps Load Balancing", J. ACM 50, 2003.)
//!
//! *Invariants*:
//! - memory is allocated once, in `new`;
//! - one writer (`Writer`, not `Clone`); whoever else reads while it writes sees an entry as it was, as it is or not
//!   at all, never a mixture of two;
//! - a key occurs at most once (whoever inserts has looked before).
//!
//! Words are atomics (loads and stores only: plain moves on x86) because other workers and the
//! control thread read the table while its worker writes.
//!
//! *Why no mixture*: a key may have several words, so a reader needs to know that all it loaded belong together. The
//! writer gives an entry to another key in this order: free the entry, count the write in `writes`, write the key,
//! write the meta word. A reader loads `writes`, then meta and key, then `writes` again. If it loaded a word that
//! write n + 1 stored after it was counted, the second look at `writes` shows n + 1 or more, and it tries again. If
//! both show n, then of write n (perhaps still going on) and its entry it saw either 0 or the new meta word, for the
//! entry was freed before n was counted; and who sees the new meta word sees the new key.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crossbeam::utils::CachePadded;

use crate::flow::pages::{Pages, Zeroable};
use crate::prefetch::prefetch;

/// Entries in a bucket: 64 bytes of one cache line for IPv4, 128 of two adjacent ones for IPv6.
pub const WAYS: usize = 4;
/// Fewest entries a table is made with.
pub const MIN_ENTRIES: usize = 64;

/// One entry: `KEY` words of key, and the meta word.
#[repr(C)]
pub(super) struct Entry<const KEY: usize> {
    key: [AtomicU64; KEY],
    meta: AtomicU64,
}

type Bucket<const KEY: usize> = [Entry<KEY>; WAYS];

// SAFETY: nothing but integers.
unsafe impl<const KEY: usize> Zeroable for Bucket<KEY> {}

/// What an entry must be like to be the one that is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<const KEY: usize> {
    /// Its key.
    pub key: [u64; KEY],
    /// The bits of its meta word that belong to the key, and what they have to be.
    pub mask: u64,
    pub bits: u64,
}

/// Where an entry may stand: its two buckets, one in either half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    first: u32,
    second: u32,
}

impl Pair {
    /// Both buckets.
    pub const fn buckets(self) -> [usize; 2] {
        [self.first as usize, self.second as usize]
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    bucket: u32,
    way: u32,
}

impl Place {
    /// Entry `way` (0 to 3) of a bucket.
    #[inline(always)]
    pub const fn new(bucket: usize, way: usize) -> Self {
        Place { bucket: bucket as u32, way: way as u32 }
    }
}

/// What all can do: read.
pub(super) struct Buckets<const KEY: usize> {
    /// An even number of them.
    pages: Pages<Bucket<KEY>>,
    /// Entries given to another key so far, the one in progress included.
    writes: CachePadded<AtomicU64>,
}

/// What its owner alone can do: write.
pub(super) struct Writer<const KEY: usize>(Arc<Buckets<KEY>>);

impl<const KEY: usize> Writer<KEY> {
    /// Room for at least so many entries (rounded up to a multiple of 8).
    pub fn new(entries: usize) -> Self {
        let buckets = entries.max(MIN_ENTRIES).div_ceil(2 * WAYS) * 2;
        assert!(u32::try_from(buckets).is_ok(), "a table has fewer than 2^34 entries");
        Writer(Arc::new(Buckets { pages: Pages::new(buckets), writes: CachePadded::default() }))
    }

    /// As much room as `other` has, all of it free. Only what is written to takes memory.
    pub fn shadow(other: &Buckets<KEY>) -> Self {
        Writer(Arc::new(Buckets { pages: Pages::shadow(other.len()), writes: CachePadded::default() }))
    }

    /// Copies a bucket of `other`, which is as large, to the same place.
    pub fn copy(&mut self, other: &Buckets<KEY>, bucket: usize) {
        for place in (0..WAYS).map(|way| Place::new(bucket, way)) {
            if let Some((key, meta)) = other.look(place) {
                self.write(place, key, meta);
            }
        }
    }

    /// A reading end.
    pub fn reader(&self) -> Arc<Buckets<KEY>> {
        self.0.clone()
    }

    /// Gives an entry, free or not, to this key. `meta` is not 0.
    #[inline(always)]
    pub fn write(&mut self, place: Place, key: [u64; KEY], meta: u64) {
        let (entry, writes) = (self.0.at(place), &self.0.writes);
        entry.meta.store(0, Ordering::Relaxed);
        // There is no other writer. Release: who sees this count sees the entry freed; pairs with the first Acquire in
        // `undisturbed`. The fence keeps the stores below behind it: pairs with the fence there.
        writes.store(writes.load(Ordering::Relaxed) + 1, Ordering::Release);
        fence(Ordering::Release);
        for (word, value) in entry.key.iter().zip(key) {
            word.store(value, Ordering::Relaxed);
        }
        // Release: who sees it sees the key; pairs with Acquire in `find_in` and `entry`.
        entry.meta.store(meta, Ordering::Release);
    }

    /// Looks for an entry: where it stands, and its meta word. As `Buckets::find`, for whom nobody writes meanwhile.
    #[inline(always)]
    pub fn find(&self, pair: Pair, wanted: &Wanted<KEY>) -> Option<(Place, u64)> {
        match self.first(pair, &wanted.key) {
            Some((place, meta)) if meta & wanted.mask == wanted.bits && meta != 0 => Some((place, meta)),
            Some(_) => self.find_slowly(pair, wanted),
            None => None,
        }
    }

    /// The first entry with this key, and its meta word: that of another service, if this one has no such flow or a later
    /// one; 0, if it is free and still has its former key. The keys of all eight are compared, without a branch that
    /// could be foreseen wrongly.
    #[inline(always)]
    pub fn first(&self, pair: Pair, key: &[u64; KEY]) -> Option<(Place, u64)> {
        let (first, second) = (self.0.bucket(pair.first), self.0.bucket(pair.second));
        let way = first_alike([first, second], key)?;
        let (bucket, number) = if way < WAYS as u32 { (first, pair.first) } else { (second, pair.second) };
        let way = way % WAYS as u32;
        Some((Place { bucket: number, way }, bucket[way as usize].meta.load(Ordering::Relaxed)))
    }

    #[cold]
    fn find_slowly(&self, pair: Pair, wanted: &Wanted<KEY>) -> Option<(Place, u64)> {
        self.0.find(pair, wanted)
    }

    /// Changes the meta word of an entry, but for those bits of it that belong to the key.
    #[inline(always)]
    pub fn update(&mut self, place: Place, meta: u64) {
        // Release, for a reader that knows the key from this word alone: pairs as in `write`.
        self.0.at(place).meta.store(meta, Ordering::Release);
    }

    /// Frees an entry.
    #[inline(always)]
    pub fn free(&mut self, place: Place) {
        self.0.at(place).meta.store(0, Ordering::Relaxed);
    }
}

impl<const KEY: usize> Deref for Writer<KEY> {
    type Target = Buckets<KEY>;

    #[inline(always)]
    fn deref(&self) -> &Buckets<KEY> {
        &self.0
    }
}

impl<const KEY: usize> Buckets<KEY> {
    /// Number of buckets.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Entries there is room for.
    #[inline(always)]
    pub fn capacity(&self) -> usize {
        self.pages.len() * WAYS
    }

    /// The two buckets for these 64 evenly spread bits, 32 for each.
    #[inline(always)]
    pub fn pair(&self, mixed: u64) -> Pair {
        // Lemire, "Fast Random Integer Generation in an Interval", 2019: a number below 2^32 scaled to one below `half`.
        let half = self.pages.len() as u64 / 2;
        let scaled = |bits: u64| ((bits & 0xffff_ffff) * half) >> 32;
        Pair { first: scaled(mixed) as u32, second: (half + scaled(mixed >> 32)) as u32 }
    }

    /// Asks the processor to fetch the buckets of `pair`.
    #[inline(always)]
    pub fn prefetch(&self, pair: Pair) {
        for bucket in [pair.first, pair.second] {
            let bucket = self.pages.as_ptr().wrapping_add(bucket as usize).cast::<u8>();
            for line in (0..size_of::<Bucket<KEY>>()).step_by(64) {
                prefetch(bucket.wrapping_add(line));
            }
        }
    }

    /// Looks for an entry: where it stands, and its meta word. Within `undisturbed`.
    #[inline(always)]
    pub fn find(&self, pair: Pair, wanted: &Wanted<KEY>) -> Option<(Place, u64)> {
        self.find_in(pair.first, wanted).or_else(|| self.find_in(pair.second, wanted))
    }

    #[inline(always)]
    fn find_in(&self, bucket: u32, wanted: &Wanted<KEY>) -> Option<(Place, u64)> {
        for (way, entry) in self.bucket(bucket).iter().enumerate() {
            // Acquire: pairs with Release in `write`.
            let meta = entry.meta.load(Ordering::Acquire);
            if entry.key() == wanted.key && meta & wanted.mask == wanted.bits && meta != 0 {
                return Some((Place { bucket, way: way as u32 }, meta));
            }
        }
        None
    }

    /// What `read` finds, once all the words it loaded are known to belong together.
    #[inline]
    pub fn undisturbed<T>(&self, mut read: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            // Acquire: pairs with Release in `write`.
            let writes = self.writes.load(Ordering::Acquire);
            let found = read()?;
            // Keeps the loads above before the one below: pairs with the fence in `write`.
            fence(Ordering::Acquire);
            if self.writes.load(Ordering::Relaxed) == writes {
                return Some(found);
            }
        }
    }

    /// Where a newcomer finds room: in the emptier bucket, or in the first if it is nearly empty, so that many lookups
    /// end there.
    #[inline(always)]
    pub fn vacancy(&self, pair: Pair) -> Option<Place> {
        let (first, first_way) = self.free_in(pair.first);
        let (second, second_way) = self.free_in(pair.second);
        let (bucket, way) =
            if first >= 3 || first >= second { (pair.first, first_way) } else { (pair.second, second_way) };
        way.map(|way| Place { bucket, way })
    }

    /// Free entries of a bucket: how many, and the first.
    #[inline(always)]
    fn free_in(&self, bucket: u32) -> (usize, Option<u32>) {
        let mut free = (0, None);
        for (way, entry) in self.bucket(bucket).iter().enumerate().rev() {
            if entry.meta.load(Ordering::Relaxed) == 0 {
                free = (free.0 + 1, Some(way as u32));
            }
        }
        free
    }

    /// The entries of both buckets that are not free: where they stand, and their meta words. For the writer.
    #[inline(always)]
    pub fn occupied(&self, pair: Pair) -> impl Iterator<Item = (Place, u64)> + '_ {
        [pair.first, pair.second].into_iter().flat_map(move |bucket| {
            self.bucket(bucket).iter().enumerate().filter_map(move |(way, entry)| {
                let meta = entry.meta.load(Ordering::Relaxed);
                (meta != 0).then_some((Place { bucket, way: way as u32 }, meta))
            })
        })
    }

    /// The key and the meta word of an entry. For the writer.
    #[inline(always)]
    pub fn entry(&self, place: Place) -> ([u64; KEY], u64) {
        let entry = self.at(place);
        (entry.key(), entry.meta.load(Ordering::Relaxed))
    }

    /// Keys and meta words of all entries while this walks, for whoever reads beside the writer.
    pub fn iter(&self) -> impl Iterator<Item = ([u64; KEY], u64)> + '_ {
        let places = (0..self.len()).flat_map(|bucket| (0..WAYS).map(move |way| Place::new(bucket, way)));
        places.filter_map(|place| self.look(place))
    }

    /// The key and the meta word of an entry that is not free, for whoever reads beside the writer.
    #[inline]
    pub fn look(&self, place: Place) -> Option<([u64; KEY], u64)> {
        let entry = self.at(place);
        // Most are free: `writes`, which the writer needs, is not asked for about them.
        if entry.meta.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.undisturbed(|| {
            // Acquire: pairs with Release in `write`.
            let meta = entry.meta.load(Ordering::Acquire);
            (meta != 0).then(|| (entry.key(), meta))
        })
    }

    #[inline(always)]
    fn bucket(&self, bucket: u32) -> &Bucket<KEY> {
        &self.pages[bucket as usize]
    }

    #[inline(always)]
    fn at(&self, place: Place) -> &Entry<KEY> {
        &self.bucket(place.bucket)[place.way as usize % WAYS]
    }
}

impl<const KEY: usize> Entry<KEY> {
    /// To be called after its meta word was loaded.
    #[inline(always)]
    fn key(&self) -> [u64; KEY] {
        std::array::from_fn(|n| self.key[n].load(Ordering::Relaxed))
    }
}

/// The first entry of the buckets of a pair that has this key: 0 to 3 in the first, 4 to 7 in the second. For the writer.
#[inline(always)]
fn first_alike<const KEY: usize>(pair: [&Bucket<KEY>; 2], key: &[u64; KEY]) -> Option<u32> {
    #[cfg(target_arch = "x86_64")]
    if let [key] = key[..] {
        // SAFETY: a bucket is `WAYS` entries of `KEY` + 1 words, `KEY` being 1. Others only read them.
        return unsafe { first_alike_at(pair.map(|bucket| bucket.as_ptr().cast()), key) };
    }
    let is_alike = |entry: &Entry<KEY>| {
        let differs = entry.key.iter().zip(key).map(|(word, wanted)| word.load(Ordering::Relaxed) ^ wanted);
        u32::from(differs.fold(0, |all, bits| all | bits) == 0)
    };
    let of = |bucket: &Bucket<KEY>| {
        bucket.iter().enumerate().fold(0, |ways, (way, entry)| ways | is_alike(entry) << way)
    };
    let ways = of(pair[0]) | of(pair[1]) << WAYS;
    (ways != 0).then(|| ways.trailing_zeros())
}

/// The same of buckets of four entries of two words, of which the first is the key: sixteen comparisons of 32 bits, four at
/// once (SSE2, which every x86-64 has).
///
/// # Safety
/// Both may be read, and nobody writes to them meanwhile.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
unsafe fn first_alike_at(pair: [*const std::arch::x86_64::__m128i; 2], key: u64) -> Option<u32> {
    use std::arch::x86_64::*;
    let wanted = _mm_set1_epi64x(key.cast_signed());
    // Of two entries: are the halves of their keys as wanted?
    let two = |bucket: *const __m128i, from: usize| {
        // SAFETY: a bucket is four times sixteen bytes, and aligned to them.
        let (one, other) =
            unsafe { (_mm_load_si128(bucket.add(from)), _mm_load_si128(bucket.add(from + 1))) };
        _mm_cmpeq_epi32(_mm_unpacklo_epi64(one, other), wanted)
    };
    let four = |bucket| _mm_packs_epi32(two(bucket, 0), two(bucket, 2));
    let halves = _mm_movemask_epi8(_mm_packs_epi16(four(pair[0]), four(pair[1]))).cast_unsigned();
    // Two bits an entry. Both set: the lower one stays.
    let both = halves & halves >> 1 & 0x5555;
    (both != 0).then(|| both.trailing_zeros() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_ipv4_entries_are_one_cache_line_and_four_ipv6_entries_two() {
        assert_eq!((size_of::<Entry<1>>(), size_of::<Bucket<1>>()), (16, 64));
        assert_eq!((size_of::<Entry<3>>(), size_of::<Bucket<3>>()), (32, 128));
        for entries in [1, 100, 1 << 20] {
            assert_eq!(Writer::<1>::new(entries).pages.as_ptr() as usize % 64, 0);
            assert_eq!(Writer::<3>::new(entries).pages.as_ptr() as usize % 128, 0);
        }
    }

    #[test]
    fn the_two_buckets_of_a_pair_are_one_in_either_half() {
        for entries in [1, 65, 72, 1000] {
            let buckets = Writer::<1>::new(entries);
            assert!(buckets.capacity() >= entries && buckets.capacity().is_multiple_of(8));
            for n in 0..100_000u64 {
                // The same 32 bits twice, from 0 to the largest.
                let bits = n * (0xffff_ffff / 99_999);
                let Pair { first, second } = buckets.pair(bits << 32 | bits);
                assert!((first as usize) < buckets.len() / 2);
                assert!((buckets.len() / 2..buckets.len()).contains(&(second as usize)));
            }
            let pair = buckets.pair(u64::MAX);
            assert_eq!(
                (pair.first as usize, pair.second as usize),
                (buckets.len() / 2 - 1, buckets.len() - 1)
            );
            buckets.prefetch(pair);
        }
    }
}
