//! Files that are worth a digest: of any length, and no two parts alike.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;

/// Writes `bytes` bytes that look random and follow from `seed`.
pub fn write(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    stream(&mut file, bytes, seed)?;
    file.flush()
}

/// The same, to wherever.
pub fn stream(to: &mut impl Write, bytes: u64, seed: u64) -> io::Result<()> {
    let mut state = seed;
    let mut left = bytes;
    while left > 0 {
        let word = next(&mut state).to_le_bytes();
        let take = left.min(8) as usize;
        to.write_all(&word[..take])?;
        left -= take as u64;
    }
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal.
#[track_caller]
pub fn digest(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output();
    let output = output.unwrap_or_else(|fault| panic!("sha256sum does not start: {fault}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", complaint.trim());
    let text = String::from_utf8_lossy(&output.stdout);
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_length_and_follows_from_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, seed) in [("one", 1), ("same", 1), ("other", 2)] {
            write(&path(name), 100_003, seed).unwrap();
        }
        assert_eq!(std::fs::metadata(path("one")).unwrap().len(), 100_003);
        assert_eq!(digest(&path("one")).len(), 64);
        assert_eq!(digest(&path("one")), digest(&path("same")));
        assert_ne!(digest(&path("one")), digest(&path("other")));
    }
}
