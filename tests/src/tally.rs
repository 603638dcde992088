//! What a director has counted, summed up over its workers and interfaces: every frame it was given is in one of
//! these numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::director::Director;
use crate::wait;

/// Frames take far less; a core that compiles something else takes its time.
const CATCH_UP: Duration = Duration::from_secs(30);

/// The counters of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Frames the XDP programs gave to workers.
    pub redirected: u64,
    /// Frames the XDP programs left to the kernel.
    pub passed: u64,
    /// Frames that workers received, worker by worker.
    pub rx: Vec<u64>,
    /// Frames that workers forwarded.
    pub tx: u64,
    /// Frames refused, by reason; those that are 0 are not mentioned.
    pub drops: BTreeMap<String, u64>,
    /// Transport checksums that senders left half done.
    pub completed: u64,
    /// Frames of all UMEMs, and where they are: free, filling, sending.
    pub frames: [u64; 4],
    /// Fragments that wait for the first one of their datagram, in frames that are none of these.
    pub held: u64,
}

impl Tally {
    /// The counters of `director` now.
    #[track_caller]
    pub fn of(director: &Director) -> Tally {
        let workers = director.show("workers");
        let sum = |rows: &str, path: &[&str]| list(&workers[rows]).iter().map(|row| number(row, path)).sum();
        let drops = director.show("drops");
        Tally {
            redirected: sum("interfaces", &["redirected"]),
            passed: sum("interfaces", &["passed"]),
            rx: list(&workers["workers"]).iter().map(|worker| number(worker, &["rx_frames"])).collect(),
            tx: sum("workers", &["tx_frames"]),
            drops: list(&drops["drops"])
                .iter()
                .map(|row| (row["reason"].as_str().unwrap_or_default().to_owned(), number(row, &["frames"])))
                .filter(|(_, frames)| *frames > 0)
                .collect(),
            completed: sum("workers", &["checksums_completed"]),
            held: list(&workers["workers"])
                .iter()
                .map(|worker| worker["frames"]["held"].as_u64().unwrap_or(0))
                .sum(),
            frames: ["total", "free", "filling", "sending"].map(|place| sum("workers", &["frames", place])),
        }
    }

    /// The counters as soon as the workers have dealt with all that was steered to them and nothing is on its way out.
    #[track_caller]
    pub fn settled(director: &Director) -> Tally {
        Tally::when(director, "the workers to catch up", |_| true)
    }

    /// The counters as soon as they are settled and `wanted` likes them.
    #[track_caller]
    pub fn when(director: &Director, what: &str, wanted: impl Fn(&Tally) -> bool) -> Tally {
        let mut last = None;
        let found = wait::try_until(CATCH_UP, || {
            let tally = Tally::of(director);
            last = Some(tally.clone());
            (tally.is_settled() && wanted(&tally)).then_some(tally)
        });
        found.unwrap_or_else(|| panic!("waited {CATCH_UP:?} in vain for {what}; last there was {last:#?}"))
    }

    fn is_settled(&self) -> bool {
        self.redirected == self.rx() + self.lost() && self.frames[3] == 0 && self.held == 0
    }

    /// Frames that workers received.
    pub fn rx(&self) -> u64 {
        self.rx.iter().sum()
    }

    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.drops.get(reason).copied().unwrap_or(0)
    }

    /// Frames that workers dropped, for whatever reason; not those they never got.
    pub fn refused(&self) -> u64 {
        let unreceived = self.lost() + self.dropped("no_socket") + self.dropped("worker_stalled");
        self.drops.values().sum::<u64>() - unreceived
    }

    /// Frames that were steered to a worker and that its socket could not take.
    pub fn lost(&self) -> u64 {
        self.dropped("worker_slow") + self.dropped("frame_too_long")
    }

    /// Every frame is accounted for: each that was steered was received or could not be, each that was
    /// received was forwarded or refused, and all frames of the UMEM are somewhere. Panics otherwise.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(self.redirected, self.rx() + self.lost(), "steered = received + lost: {self:#?}");
        assert_eq!(
            self.rx(),
            self.tx + self.refused() + self.held,
            "received = forwarded + refused + held: {self:#?}"
        );
        let [total, free, filling, sending] = self.frames;
        assert_eq!(total, free + filling + sending + self.held, "no frame of the UMEM is lost: {self:#?}");
    }
}

/// The rows of a view.
#[track_caller]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

#[track_caller]
fn number(row: &Value, path: &[&str]) -> u64 {
    let value = path.iter().fold(row, |value, key| &value[*key]);
    value.as_u64().unwrap_or_else(|| panic!("no number at {path:?} of {row}"))
}
