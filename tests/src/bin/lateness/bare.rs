//! A thread that does nothing but wake up in time, with the rights that shunt's has: what the machine is good for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(2);

pub struct Timer {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Timer {
    pub fn start() -> Timer {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let parameter = libc::sched_param { sched_priority: 1 };
            // SAFETY: the parameter lives through the call; 0 is this thread.
            let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameter) };
            assert_eq!(done, 0, "real-time priority: {}", std::io::Error::last_os_error());
            let (mut late, mut next) = (Vec::new(), Instant::now());
            while !until.load(Ordering::Relaxed) {
                next += INTERVAL;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                late.push(next.elapsed());
            }
            late
        });
        Timer { over, thread }
    }

    /// The lateness that 999 of 1000 wake-ups did not exceed, and the worst.
    pub fn stop(self) -> (Duration, Duration) {
        self.over.store(true, Ordering::Relaxed);
        let mut late = self.thread.join().expect("it does not panic");
        late.sort_unstable();
        (late[(late.len() - 1) * 999 / 1000], late[late.len() - 1])
    }
}
