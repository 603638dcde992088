//! Everything around the director goes wrong, under load: what clients lose is bounded and explained, and nothing leaks.
//! The long version of this is the program `soak`.

use std::time::Duration;

use shunt_tests::chaos::{Fault, Load, Stage};

/// Light enough for several tests side by side.
const LOAD: Load = Load {
    per_second: 100,
    downloads: 12,
    hold: Duration::from_secs(1),
    stop: Duration::from_secs(2),
    reloads: 100,
};
/// Memory that tables and pools take as they are used for the first time, KiB.
const GROWTH: u64 = 32 << 10;

#[track_caller]
fn suffers(faults: &[Fault]) {
    let mut stage = Stage::set(LOAD);
    faults.iter().for_each(|fault| stage.suffer(*fault));
    let outcome = stage.end();
    for noticed in &outcome.noticed {
        println!(
            "{:?} for {:?}: {} of {} requests failed, {} of {} downloads broke, a gap of {:?}; {}",
            noticed.fault,
            noticed.lasted,
            noticed.seen.failed.len(),
            noticed.seen.made,
            noticed.broken.len(),
            noticed.downloads,
            noticed.seen.gap,
            noticed.counted.words()
        );
        noticed.check();
    }
    let [before, after] = outcome.held;
    assert!(after.descriptors <= before.descriptors, "files: {before:?} {after:?}");
    // One that reads files is kept for the next file.
    assert!(after.threads <= before.threads + 1 && after.children <= before.children, "{before:?} {after:?}");
    assert!(after.resident <= before.resident + GROWTH, "memory: {before:?} {after:?}");
}

#[test]
fn a_link_that_goes_and_comes_delays_clients_and_breaks_nothing() {
    suffers(&[Fault::LinkDown, Fault::CableOut, Fault::Mtu]);
}

#[test]
fn queues_without_workers_lose_frames_and_that_is_said() {
    suffers(&[Fault::Queues]);
}

#[test]
fn real_servers_that_change_their_address_lose_no_more_than_they_had() {
    suffers(&[Fault::Neighbors, Fault::MacAnnounced, Fault::MacSilent]);
}

#[test]
fn a_process_that_is_stopped_and_a_clock_that_jumps_break_nothing() {
    suffers(&[Fault::Stopped, Fault::Clock]);
}

#[test]
fn a_full_disk_a_file_that_is_gone_and_many_reloads_break_nothing() {
    suffers(&[Fault::LogFull, Fault::ConfigDeleted, Fault::Reloads]);
}

#[test]
fn whatever_clients_of_the_socket_do_breaks_nothing() {
    suffers(&[Fault::Descriptors, Fault::Garbage]);
}
