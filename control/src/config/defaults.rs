//! What a key means that is not there. `configs/reference.toml` shows the same values; a test keeps them equal.

use std::time::Duration;

/// Flows one worker remembers.
pub const FLOWS_PER_WORKER: usize = 1 << 20;
/// Frames of UMEM for each queue.
pub const FRAMES_PER_QUEUE: u32 = 4096;
/// Key of the scheduling hash: the ASCII codes of `shunt-default-k1`. It is public, so whoever wants clients to be
/// unable to predict their real server sets another.
pub const HASH_KEY: [u64; 2] = [0x7368_756e_742d_6465, 0x6661_756c_742d_6b31];
/// Weight of a real server.
pub const WEIGHT: u16 = 1;
/// Time between the starts of two probes.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Time a probe has to be answered in; the interval, where that is shorter.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// Consecutive successes that bring a real server up.
pub const RISE: u32 = 1;
/// Consecutive failures that bring it down.
pub const FALL: u32 = 3;
