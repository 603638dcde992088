//! Waiting for an event, never for a time: a test that sleeps is either slow or flaky, mostly both.

use std::time::{Duration, Instant};

/// The first pause between two looks; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Long enough to leave the (two) cores to those who work, short enough not to be noticed.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Looks with `look` until it finds something, and returns it.
///
/// Panics at the caller's line when `deadline` has passed, naming `what` was waited for.
#[track_caller]
pub fn until<T>(deadline: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    match try_until(deadline, look) {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain for {what}"),
    }
}

/// As [`until`], but `None` when `deadline` has passed. `look` runs at least twice: a process that was not scheduled
/// for the whole time still gets to look once after it.
pub fn try_until<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    let mut pause = FIRST_PAUSE;
    loop {
        let last = Instant::now() >= end;
        if let Some(found) = look() {
            return Some(found);
        }
        if last {
            return None;
        }
        std::thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_is_found() {
        let mut looks = 0;
        let found = until(Duration::from_secs(5), "the third look", || {
            looks += 1;
            (looks == 3).then_some("it")
        });
        assert_eq!((found, looks), ("it", 3));
    }

    #[test]
    fn a_passed_deadline_still_gets_a_look() {
        assert_eq!(try_until(Duration::ZERO, || Some(1)), Some(1));
        assert_eq!(try_until(Duration::ZERO, || None::<u8>), None);
    }

    #[test]
    #[should_panic(expected = "in vain for the end of time")]
    fn the_panic_names_what_did_not_come() {
        until(Duration::from_millis(5), "the end of time", || None::<()>);
    }
}
