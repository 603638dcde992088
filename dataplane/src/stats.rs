//! Counters. Each has one writer, the worker it belongs to, and any number of readers; workers' counters are
//! cache lines apart, so that counting costs a worker two plain moves and nobody else anything.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::verdict::DropReason;

/// A single-writer counter or gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; by the owning worker only.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        // No read-modify-write instruction: there is no other writer.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts; by the owning worker only.
    #[inline(always)]
    pub fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }

    /// Sets; by the owning worker only.
    #[inline(always)]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One `T` for each worker, each on its own cache lines. A clone is the same counters.
#[derive(Debug)]
pub struct PerWorker<T>(Arc<[CachePadded<T>]>);

impl<T> Clone for PerWorker<T> {
    fn clone(&self) -> Self {
        PerWorker(self.0.clone())
    }
}

impl<T: Default> PerWorker<T> {
    /// Zeroed counters for this many workers.
    pub fn new(workers: usize) -> Self {
        PerWorker((0..workers).map(|_| CachePadded::default()).collect())
    }

    /// Sum over the workers of what `field` picks.
    pub fn total(&self, field: impl Fn(&T) -> &Counter) -> u64 {
        self.0.iter().map(|counters| field(counters).value()).fold(0, u64::wrapping_add)
    }
}

impl<T> Deref for PerWorker<T> {
    type Target = [CachePadded<T>];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// What a service counts.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    /// Frames that were for this service, forwarded or not.
    pub frames: Counter,
    /// Their bytes, Ethernet header included.
    pub bytes: Counter,
    /// New flows.
    pub flows: Counter,
}

/// What a real server counts.
#[derive(Debug, Default)]
pub struct RealCounters {
    /// Frames forwarded to it.
    pub frames: Counter,
    /// Their bytes, Ethernet header included.
    pub bytes: Counter,
    /// New flows it was given.
    pub flows: Counter,
    /// Gauge: remembered flows that count as active.
    pub active: Counter,
    /// Gauge: remembered flows that do not.
    pub inactive: Counter,
    /// Gauge: templates, by which the flows of one client stay together; a client that comes in on several workers
    /// has one with each.
    pub templates: Counter,
    /// Handshakes that the client completed.
    pub handshakes_completed: Counter,
    /// SYNs that came again: what the real server answered, if it did, did not reach the client.
    pub handshakes_retransmitted: Counter,
    /// Handshakes that the client ended with a RST.
    pub handshakes_reset: Counter,
}

/// What a worker counts.
// Two cache lines: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Frames received.
    pub rx_frames: Counter,
    /// Their bytes.
    pub rx_bytes: Counter,
    /// Frames forwarded.
    pub tx_frames: Counter,
    /// Their bytes.
    pub tx_bytes: Counter,
    /// Frames refused, by reason.
    pub drops: [Counter; DropReason::ALL.len()],
    /// Transport checksums completed for a sender that left them to hardware.
    pub checksums_completed: Counter,
    /// Bursts that had a frame.
    pub bursts: Counter,
    /// Turns of the loop.
    pub turns: Counter,
    /// Times the worker slept because nothing came.
    pub sleeps: Counter,
    /// Milliseconds at the end of which it was dealing with frames, looking for them aside: of a long time, as much as it
    /// had work for.
    pub busy_millis: Counter,
    /// Gauge: the kernel's number of its thread; 0 until that runs.
    pub thread: Counter,
    /// Generation of the forwarding state in use.
    pub generation: Counter,
    /// Gauge: flows remembered.
    pub flows: Counter,
    /// Gauge: flows that have another real server than the hash says, as of the last look through the whole table:
    /// what would move if the table were lost.
    pub flows_at_risk: Counter,
    /// Flows forgotten after their timeout.
    pub flows_expired: Counter,
    /// Flows on probation or closing that gave their place to a newcomer.
    pub flows_evicted: Counter,
    /// Flows that gave their place to a newcomer and lose nothing by it: the hash says the same.
    pub flows_dispensed: Counter,
    /// New flows the table had no place for: they live by the hash alone, and move when that changes.
    pub flows_refused: Counter,
    /// Flows taken over from another worker's table.
    pub flows_adopted: Counter,
    /// Flows taken over from what another director told of them.
    pub flows_synced: Counter,
    /// Flows that moved because their real server was gone.
    pub flows_moved: Counter,
    /// ICMP errors that this worker sent.
    pub answers_icmp: Counter,
    /// RSTs that it sent.
    pub answers_reset: Counter,
    /// ICMP errors and RSTs that it did not send because there were too many.
    pub answers_withheld: Counter,
    /// Fragments that waited for the first one of their datagram.
    pub fragments_held: Counter,
    /// Gauge: frames in nobody's hands but the worker's.
    pub frames_free: Counter,
    /// Gauge: frames lent to the kernel to receive into.
    pub frames_filling: Counter,
    /// Gauge: frames lent to the kernel to transmit.
    pub frames_sending: Counter,
    /// Gauge: fragments that wait for the first one of their datagram.
    pub frames_held: Counter,
    /// Frames of the UMEM in all.
    pub frames_total: Counter,
    /// Frames that were captured.
    pub captured: Counter,
    /// Frames that were to be captured and were not: whoever captures was too slow.
    pub capture_lost: Counter,
    /// Times the kernel refused a kick of a ring (sendto, poll): the device is gone, or going.
    pub kicks_refused: Counter,
}

impl WorkerStats {
    /// Frames refused for this reason.
    #[inline(always)]
    pub fn drops(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
    }

    /// Frames refused in all.
    pub fn drops_total(&self) -> u64 {
        self.drops.iter().map(Counter::value).sum()
    }
}
