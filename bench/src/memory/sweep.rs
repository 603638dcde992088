//! What a row costs when somebody else has had the last cache: a table that fits into a cache which other programs, or other
//! guests of the machine, want as well is not there when the next burst comes.

use std::hint::black_box;

use crate::memory::Row;
use crate::report::last_cache;

/// Bytes of a cache line, in words.
const LINE: usize = 64 / size_of::<u64>();
/// Where the kernel does not tell: more than most machines have.
const UNKNOWN: usize = 64 << 20;
/// No more is swept, or a turn takes seconds.
const MOST: usize = 1 << 30;

/// The same row, but before each turn, and not counted, all that is in the caches is put out of them.
pub fn swept(mut row: Row) -> Row {
    Row::timed(format!("{}/swept", row.name), row.parameter.clone(), row.floor, move || {
        let mut broom = vec![1_u64; (2 * cache()).min(MOST) / size_of::<u64>()];
        move |bursts| {
            for line in broom.chunks_mut(LINE) {
                line[0] = line[0].wrapping_add(1);
            }
            black_box(&broom);
            row.run(bursts)
        }
    })
}

/// Bytes of the last cache.
fn cache() -> usize {
    let text = last_cache();
    text.strip_suffix('K')
        .and_then(|kibibytes| kibibytes.parse::<usize>().ok())
        .map_or(UNKNOWN, |kib| kib << 10)
}
