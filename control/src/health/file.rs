//! The file probe: a number in a file, written by whoever knows better than a probe (keepalived's `FILE_CHECK` of a
//! `track_file`). It takes a server out, or changes its weight.
//!
//! A number is what strtol(3) makes of the beginning of the file with base 0 (`012`, `0x1f`, `-3 of them`); no file and
//! an empty one are 0. What is no number, or none of 32 bits, is no result, as with keepalived: whoever writes the file
//! may not be done yet.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Failure, Success, Weight};
use crate::model::FileCheck;

/// Only so much of the file is looked at.
const LONGEST: u64 = 127;

/// The file of one check.
pub(super) struct Reader {
    file: FileCheck,
    /// A thread reads it.
    is_busy: Arc<AtomicBool>,
}

impl Reader {
    pub(super) fn new(file: &FileCheck) -> Reader {
        Reader { file: file.clone(), is_busy: Arc::default() }
    }

    /// Reads the file within `timeout`.
    pub(super) async fn probe(&self, timeout: Duration) -> Result<Success, Failure> {
        // It may be on a disk that takes its time, or on a server that is gone: one thread waits for it, no more.
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return Err(Failure::TimedOut(timeout));
        }
        let (path, is_busy) = (self.file.path.clone(), self.is_busy.clone());
        let read = tokio::task::spawn_blocking(move || {
            let text = read(&path);
            is_busy.store(false, Ordering::Release);
            text
        });
        match tokio::time::timeout(timeout, read).await {
            Ok(Ok(Ok(text))) => judge(&self.file, &text),
            Ok(Ok(Err(error))) => Err(unread(&self.file.path, &error)),
            Ok(Err(stopped)) => Err(unread(&self.file.path, &stopped)),
            Err(_) => Err(Failure::TimedOut(timeout)),
        }
    }
}

fn unread(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Inconclusive(io::Error::other(format!("{}: {error}", path.display())))
}

/// The beginning of a file; of one that is not there nothing.
///
/// # Errors
/// Whatever else keeps it from being read.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // Not to wait for somebody who writes into a named pipe.
    match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => {
            file.take(LONGEST).read_to_end(&mut text)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(text)
}

/// What the content of the file means.
fn judge(file: &FileCheck, text: &[u8]) -> Result<Success, Failure> {
    let path = file.path.display();
    let Some(number) = number(text) else {
        let text = text.escape_ascii();
        return Err(Failure::Inconclusive(io::Error::other(format!(
            "{path} has \"{text}\", which is no number"
        ))));
    };
    if file.factor == 0 {
        return match number {
            0 => Ok(Success::default()),
            number => Err(Failure::Wrong(format!("{path} has {number}: only 0 is up"))),
        };
    }
    let sum = number.saturating_mul(file.factor.into()).clamp(i32::MIN.into(), i32::MAX.into());
    match i32::try_from(sum) {
        // keepalived's IPVS_WEIGHT_FAULT.
        Ok(i32::MIN) | Err(_) => Err(Failure::Wrong(format!("{path} has {number}: less than any weight"))),
        Ok(sum) => Ok(Success { weight: Some(Weight::Add(sum)) }),
    }
}

/// The number at the beginning, -2^31 to 2^31.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Some(0);
    }
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => (16, rest),
        [b'0', ..] => (8, digits),
        all => (10, all),
    };
    let row = digits.iter().map_while(|digit| char::from(*digit).to_digit(base));
    let value = row
        .clone()
        .try_fold(0i64, |value, digit| value.checked_mul(base.into())?.checked_add(digit.into()))?;
    row.clone().next()?;
    let value = if negative { -value } else { value };
    (i64::from(i32::MIN)..=i64::from(i32::MAX) + 1).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::block_on;

    #[test]
    fn a_number_is_read_as_strtol_does() {
        for (text, value) in [
            ("", Some(0)),
            (" \n", Some(0)),
            ("0", Some(0)),
            ("5\n", Some(5)),
            ("\t-17 down", Some(-17)),
            ("+3", Some(3)),
            ("0x1F", Some(31)),
            ("012", Some(10)),
            ("09", Some(0)),
            ("0xyz", Some(0)),
            ("2147483648", Some(1 << 31)),
            ("-2147483648", Some(-(1 << 31))),
            ("2147483649", None),
            ("-2147483649", None),
            ("99999999999999999999", None),
            ("abc", None),
            ("-", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn without_a_factor_every_number_but_0_is_down() {
        let file = FileCheck { path: "/run/a".into(), factor: 0 };
        assert_eq!(judge(&file, b"0\n").unwrap(), Success::default());
        assert_eq!(judge(&file, b"-1").unwrap_err().to_string(), "/run/a has -1: only 0 is up");
    }

    #[test]
    fn with_a_factor_the_number_is_added_to_the_weight() {
        let added = |factor, text: &str| judge(&FileCheck { path: "/run/a".into(), factor }, text.as_bytes());
        let weight = |factor, text| added(factor, text).unwrap().weight;
        assert_eq!(weight(-3, "5"), Some(Weight::Add(-15)));
        assert_eq!(weight(1, ""), Some(Weight::Add(0)));
        assert_eq!(weight(i32::MAX, "2147483648"), Some(Weight::Add(i32::MAX)));
        let failure = added(i32::MIN, "1").unwrap_err();
        assert_eq!(failure.to_string(), "/run/a has 1: less than any weight");
        assert!(failure.counts());
    }

    #[test]
    fn what_is_no_number_changes_nothing() {
        let failure = judge(&FileCheck { path: "/run/a".into(), factor: 1 }, b"\xffhalf\n").unwrap_err();
        assert!(!failure.counts());
        assert_eq!(
            failure.to_string(),
            "the director could not probe: /run/a has \"\\xffhalf\\n\", which is no number"
        );
    }

    #[test]
    fn the_file_is_read_anew_by_each_probe() {
        let folder = tempfile::tempdir().unwrap();
        let file = FileCheck { path: folder.path().join("number"), factor: 1 };
        let result = |file| block_on(Reader::new(file).probe(Duration::from_secs(10)));
        let weight = || result(&file).unwrap().weight;
        assert_eq!(weight(), Some(Weight::Add(0)), "no file");
        std::fs::write(&file.path, "7").unwrap();
        assert_eq!(weight(), Some(Weight::Add(7)));
        std::fs::write(&file.path, "1".repeat(10_000_000)).unwrap();
        assert!(result(&file).is_err_and(|failure| !failure.counts()));
        let folder = FileCheck { path: folder.path().into(), factor: 1 };
        assert!(result(&folder).is_err_and(|failure| !failure.counts()));
    }

    #[test]
    fn a_file_that_is_still_being_read_is_not_read_twice() {
        let reader = Reader::new(&FileCheck { path: "/dev/null".into(), factor: 1 });
        reader.is_busy.store(true, Ordering::Release);
        let failure = block_on(reader.probe(Duration::from_secs(1))).unwrap_err();
        assert_eq!(failure.to_string(), "timed out after 1 s");
        reader.is_busy.store(false, Ordering::Release);
        assert!(block_on(reader.probe(Duration::from_secs(10))).is_ok());
    }
}
