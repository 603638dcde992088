//! The packet path neither allocates nor frees, whatever comes in and whatever is published meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use shunt_dataplane::forwarding::ServiceSpec;

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{PORTS, Rig, dns, down, draining, http, port, service, up};

/// The system's allocator, and a count of its calls by each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls of the allocator, frees included, that `work` makes on this thread.
pub(crate) fn calls(work: impl FnOnce()) -> u64 {
    let before = CALLS.with(Cell::get);
    work();
    CALLS.with(Cell::get) - before
}

#[test]
fn allocations_and_frees_are_counted() {
    assert_eq!(calls(|| {}), 0);
    assert_eq!(calls(|| drop(std::hint::black_box(Box::new(1)))), 2);
}

fn every_kind_of_frame() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    // More flows than the table has room for: evictions and refusals belong to it.
    for n in 0..600 {
        for flags in [SYN, ACK, FIN | ACK, SYN, RST] {
            frames.push(Craft::tcp(n, flags).bytes());
        }
        frames.push(Craft::udp(n).bytes());
        frames.push(Craft { options: vec![1; 40], payload: vec![7; 1001], ..Craft::tcp(n, ACK) }.bytes());
    }
    let tcp = || Craft::tcp(1, SYN);
    let wrong = [
        Craft { ether_type: 0x0806, ..tcp() },
        Craft { version: 6, ..tcp() },
        Craft { ihl: Some(4), ..tcp() },
        Craft { ihl: Some(15), ..tcp() },
        Craft { total_length: Some(99), ..tcp() },
        Craft { checksum_fault: 1, ..tcp() },
        Craft { fragment: 0x2000, ..tcp() },
        Craft { src: [127, 0, 0, 1].into(), ..tcp() },
        Craft { ttl: 1, ..tcp() },
        Craft { protocol: 1, payload: vec![8, 0, 0, 0], ..tcp() },
        Craft { data_offset: 4, ..tcp() },
        Craft { udp_length: Some(7), ..Craft::udp(1) },
        Craft { dst_port: 8080, ..tcp() },
    ];
    frames.extend(wrong.iter().map(Craft::bytes));
    frames.push(Vec::new());
    frames
}

fn sets() -> [Vec<ServiceSpec>; 5] {
    [
        vec![service(http(), [up(1), up(2), up(3)]), service(dns(), [up(1), up(2)])],
        vec![service(http(), [up(1), draining(2), down(3)]), service(dns(), [down(1)])],
        vec![service(http(), [up(4)])],
        vec![],
        vec![service(http(), [up(1), up(2), up(3), up(4)]), service(dns(), [up(1)])],
    ]
}

#[test]
fn two_million_frames_of_every_kind_cost_no_allocation_and_no_free() {
    let mut rig = Rig::new(2, 256);
    let frames = every_kind_of_frame();
    let sets = sets();
    let (mut sent, mut turns, mut spent) = (0u64, 0u64, 0u64);
    while sent < 2_000_000 {
        // A new state now and then, the first at once; workers meet it within a turn.
        if turns.is_multiple_of(4000) {
            rig.publish(&sets[(turns / 4000) as usize % sets.len()]);
        }
        let seat = (turns % 2) as usize;
        let now = turns * 40;
        for n in 0..64 {
            let frame = &frames[(turns * 61 + n * 7) as usize % frames.len()];
            sent += u64::from(port(&mut rig.seats[seat], (n % 2) as u8).arrive(frame));
        }
        let worker = &mut rig.seats[seat].worker;
        let mut received = 0;
        let cost = calls(|| received = worker.turn(now));
        assert!(received > 0, "no frames are left");
        for id in 0..PORTS {
            port(&mut rig.seats[seat], id).sent(|_| ());
        }
        turns += 1;
        // The first rounds of each worker: the memory port's own queues grow to their size.
        if turns > 100 {
            spent += cost;
        }
    }
    assert_eq!(spent, 0, "calls of the allocator in {turns} turns");
    // All that was to be covered has happened.
    let happened = [
        ("state switches", rig.state().generation()),
        ("drops", rig.total(|s| s.drops_total())),
        ("forwards", rig.total(|s| s.tx_frames.value())),
        ("evictions", rig.total(|s| s.flows_evicted.value())),
        ("expiries", rig.total(|s| s.flows_expired.value())),
        ("moves", rig.total(|s| s.flows_moved.value())),
        ("adoptions", rig.total(|s| s.flows_adopted.value())),
    ];
    for (what, count) in happened {
        assert!(count > 1, "{what}: {happened:?}");
    }
}
