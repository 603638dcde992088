//! The key that directors share, and what it proves: that a datagram was made by one of them and is as it was made
//! (HMAC-SHA256, RFC 2104). It hides nothing: addresses of clients cross the wire in clear.
//!
//! *Invariant*: the key is never logged, shown or written.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use ring::hmac;
use thiserror::Error;

/// Bytes of a key, and of what proves it behind each datagram.
pub const LENGTH: usize = 32;

/// What is wrong with a key file.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The kernel does not give it.
    #[error("the key file {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("the key file {} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may use it.
    #[error("the key file {} may be used by others than its owner (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to somebody who could change it.
    #[error("the key file {} belongs to user {owner}: run `chown root {}`", path.display(), path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It holds something else than a key.
    #[error(
        "the key file {} holds no key: 64 hexadecimal digits are wanted, {found} (make one with \
         `openssl rand -hex 32`, and copy it to every director)",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
}

/// The key that directors share.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// Reads a key file: 64 hexadecimal digits, with white space around them, in a regular file of root's or of this
    /// user's that nobody else may use.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn load(path: &Path) -> Result<Key, KeyError> {
        let unreadable = |error| KeyError::Unreadable { path: path.into(), error };
        // Nobody waits for the other end of a pipe.
        let options = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = options.map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(KeyError::NotAFile { path: path.into() });
        }
        let owner = metadata.uid();
        if owner != 0 && owner != Uid::effective().as_raw() {
            return Err(KeyError::Foreign { path: path.into(), owner });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.into(), mode });
        }
        let mut text = Vec::new();
        file.take(1024).read_to_end(&mut text).map_err(unreadable)?;
        parse(&text).map_err(|found| KeyError::NoKey { path: path.into(), found })
    }

    /// A key of these bytes.
    pub fn new(bytes: &[u8; LENGTH]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Puts the proof behind a datagram.
    pub fn seal(&self, datagram: &mut Vec<u8>) {
        let tag = hmac::sign(&self.0, datagram);
        datagram.extend_from_slice(tag.as_ref());
    }

    /// What stands before the proof; none if it is too short to have one, or the proof is wrong. Takes the same time
    /// wherever it is wrong.
    pub fn open<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (said, tag) = datagram.split_at_checked(datagram.len().checked_sub(LENGTH)?)?;
        hmac::verify(&self.0, said, tag).ok()?;
        Some(said)
    }

    /// The first 8 bytes of the proof of `words`: a number that nobody else can say.
    pub(super) fn number(&self, words: [u64; 2]) -> u64 {
        let tag = hmac::sign(&self.0, words.map(u64::to_be_bytes).as_flattened());
        tag.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The key of a text, or what the text is instead.
fn parse(text: &[u8]) -> Result<Key, String> {
    let digits = text.trim_ascii();
    let Some(wrong) = digits.iter().find(|byte| !byte.is_ascii_hexdigit()) else {
        if digits.len() != 2 * LENGTH {
            return Err(format!("it has {}", digits.len()));
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
        let mut bytes = [0; LENGTH];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        return Ok(Key::new(&bytes));
    };
    Err(format!("it has {:?}", char::from(*wrong)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("key");
        fs::write(&path, content).expect("it is ours");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        (folder, path)
    }

    fn refusal(content: &str, mode: u32) -> String {
        let (_folder, path) = file(content, mode);
        Key::load(&path).expect_err("no key").to_string()
    }

    #[test]
    fn what_is_sealed_with_a_key_is_opened_with_it_alone_and_unchanged_only() {
        let (_folder, path) = file(&format!("  {}\n", "0aF9".repeat(16)), 0o600);
        let (key, other) = (Key::load(&path).expect("a key"), Key::new(&[7; LENGTH]));
        let mut datagram = b"flows".to_vec();
        key.seal(&mut datagram);
        assert_eq!(datagram.len(), 5 + LENGTH);
        assert_eq!(key.open(&datagram), Some(&b"flows"[..]));
        assert_eq!(other.open(&datagram), None);
        for bit in 0..8 * datagram.len() {
            let mut changed = datagram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&changed), None, "bit {bit}");
        }
        for short in 0..datagram.len() {
            assert_eq!(key.open(&datagram[..short]), None);
        }
    }

    #[test]
    fn the_proof_is_hmac_sha256_of_rfc_4231() {
        // Test case 2 has the key "Jefe": a short key is one filled up with zeros.
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(b"Jefe");
        let mut datagram = b"what do ya want for nothing?".to_vec();
        Key::new(&bytes).seal(&mut datagram);
        assert_eq!(datagram[28..34], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60]);
    }

    #[test]
    fn a_file_that_others_may_use_is_refused_and_the_remedy_is_told() {
        let key = "0".repeat(64);
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let said = refusal(&key, mode);
            assert!(said.contains("chmod 600") && said.contains(&format!("{mode:04o}")), "{said}");
        }
        let (_folder, path) = file(&key, 0o400);
        assert!(Key::load(&path).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        assert!(refusal("", 0o600).contains("it has 0"));
        assert!(refusal(&"a".repeat(63), 0o600).contains("it has 63"));
        assert!(refusal(&"a".repeat(5000), 0o600).contains("64 hexadecimal digits"));
        let said = refusal(&format!("{}g", "abcdef".repeat(10)), 0o600);
        assert!(said.contains("'g'") && !said.contains("abcdef"), "{said}");
    }

    #[test]
    fn a_file_that_is_none_or_not_there_is_refused() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let said = |path: &Path| Key::load(path).expect_err("no key").to_string();
        assert!(said(folder.path()).contains("not a regular file"));
        assert!(said(&folder.path().join("none")).contains("cannot be read"));
    }

    #[test]
    fn a_file_of_another_user_is_refused_and_the_remedy_is_told() {
        let (_folder, path) = file(&"0".repeat(64), 0o600);
        std::os::unix::fs::chown(&path, Some(12345), None).expect("tests run as root");
        let said = Key::load(&path).expect_err("no key").to_string();
        assert!(said.contains("belongs to user 12345") && said.contains("chown root"), "{said}");
    }
}
