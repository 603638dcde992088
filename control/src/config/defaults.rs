//! What a key means that is not there. `configs/reference.toml` shows the same values; a test keeps them equal.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::model::{Passive, Timeouts, Timing};

/// Flows one worker remembers.
pub const FLOWS_PER_WORKER: usize = 1 << 20;
/// ICMP errors a second that the director itself sends at most.
pub const ICMP_RATE: u32 = 1000;
/// TCP resets a second that the director itself sends at most.
pub const RESET_RATE: u32 = 10_000;
/// Frames of UMEM for each queue.
pub const FRAMES_PER_QUEUE: u32 = 4096;
/// Key of the scheduling hash: the ASCII codes of `shunt-default-k1`. It is public, so whoever wants clients to be
/// unable to predict their real server sets another.
pub const HASH_KEY: [u64; 2] = [0x7368_756e_742d_6465, 0x6661_756c_742d_6b31];
/// Weight of a real server.
pub const WEIGHT: u16 = 1;
/// How long silent flows are remembered: IPVS's defaults (`tcp_timeouts`, `udp_timeouts` and `sctp_timeouts` in
/// net/netfilter/ipvs/).
pub const TIMEOUTS: Timeouts = Timeouts {
    syn: Duration::from_secs(60),
    established: Duration::from_secs(900),
    fin: Duration::from_secs(120),
    closed: Duration::from_secs(10),
    udp: Duration::from_secs(300),
    sctp: Duration::from_secs(900),
};
/// Share of the flow table that the only service may take, in 1/1000.
pub const TABLE_SHARE_ALONE: u16 = 1000;
/// Share of the flow table that one of several services may take, in 1/1000: a flood on it leaves the others room.
pub const TABLE_SHARE: u16 = 500;
/// Passive health: share of handshakes that fail, window, least handshakes in it, and time out of service.
pub const PASSIVE: Passive =
    Passive { failures: 500, window: Duration::from_secs(10), minimum: 20, hold: Duration::from_secs(30) };
/// Time between the starts of two probes.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Time a probe has to be answered in; the interval, where that is shorter.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// Consecutive successes that bring a real server up.
pub const RISE: u32 = 1;
/// Consecutive failures that bring it down.
pub const FALL: u32 = 3;
/// All of it together.
pub const TIMING: Timing =
    Timing { interval: INTERVAL, timeout: TIMEOUT, retry: None, rise: RISE, fall: FALL, warmup: None };
/// Path of a request.
pub const PATH: &str = "/";
/// Status codes that are good.
pub const STATUS: (u16, u16) = (200, 299);
/// The name given with HELO by a check: what any host may call itself.
pub const HELO: &str = "localhost";
/// Type of the record that a DNS check asks for.
pub const RECORD: &str = "SOA";
/// The name that a DNS check asks for: the root, which every resolver knows.
pub const NAME: &str = ".";
/// Longest answer to a datagram that is good: any.
pub const MAX_REPLY: usize = 65_535;
/// Port of a mail server.
pub const MAIL_PORT: u16 = 25;
/// Longest conversation with a mail server.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(30);
/// UDP port on which directors tell each other of flows; IPVS has the same one.
pub const SYNC_PORT: u16 = 8848;
/// Multicast group of the same: IPVS's too (IP_VS_SYNC_GROUP).
pub const SYNC_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
/// The key that they share.
pub const SYNC_KEY_FILE: &str = "/etc/shunt/sync.key";
/// Flows a second that are told of at most.
pub const SYNC_RATE: u32 = 50_000;
/// A director that returns waits this long at most for the flows of the others.
pub const SYNC_WAIT: Duration = Duration::from_secs(10);
