//! What came of reading the configuration again: a refused one changes nothing, and so is easily overlooked.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Counters since the start.
#[derive(Debug, Clone, Copy)]
pub struct Reloads {
    done: u64,
    refused: u64,
    last_successful: bool,
    last_success: SystemTime,
}

impl Reloads {
    /// The configuration of the start is in force.
    pub fn new() -> Reloads {
        Reloads { done: 0, refused: 0, last_successful: true, last_success: SystemTime::now() }
    }

    /// It was read again; `done`: what it says is in force.
    pub fn count(&mut self, done: bool) {
        self.last_successful = done;
        if done {
            self.done += 1;
            self.last_success = SystemTime::now();
        } else {
            self.refused += 1;
        }
    }

    /// As JSON.
    pub fn shown(&self) -> Value {
        let since_1970 = self.last_success.duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({
            "done": self.done,
            "refused": self.refused,
            "last_successful": self.last_successful,
            "last_success_seconds": since_1970.as_secs_f64(),
        })
    }
}

impl Default for Reloads {
    fn default() -> Reloads {
        Reloads::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_says_whether_the_file_is_in_force() {
        let mut reloads = Reloads::new();
        let start = reloads.shown()["last_success_seconds"].clone();
        assert_eq!(reloads.shown()["last_successful"], true);
        reloads.count(false);
        let refused = reloads.shown();
        assert_eq!((&refused["last_successful"], &refused["last_success_seconds"]), (&json!(false), &start));
        reloads.count(true);
        let done = reloads.shown();
        assert_eq!(
            (&done["done"], &done["refused"], &done["last_successful"]),
            (&json!(1), &json!(1), &json!(true))
        );
        assert!(done["last_success_seconds"].as_f64() >= start.as_f64(), "{done}");
    }
}
