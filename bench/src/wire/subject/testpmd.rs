//! dpdk-testpmd with DPDK's AF_XDP driver: receives, swaps the MAC addresses, sends. No huge pages, since a machine
//! that only runs the benchmark has none reserved; one core to forward, beside the main one that sleeps.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use shunt_tests::Process;

use crate::wire::bed::{Bed, INTERFACE};
use crate::wire::cores;
use crate::wire::subject::Runner;

const START: Duration = Duration::from_secs(30);

/// The running program.
pub struct Testpmd(Process);

impl Testpmd {
    /// Starts it, with what its driver does by itself: busy polling, 64 frames at a time.
    #[track_caller]
    pub fn start(bed: &Bed) -> Testpmd {
        Testpmd::start_with(bed, "")
    }

    /// Starts it with more arguments for its driver, each behind a comma.
    #[track_caller]
    pub fn start_with(bed: &Bed, arguments: &str) -> Testpmd {
        let (main, forward) = (cores::generator(0), cores::subject());
        // Its driver looks into /sys/class/net.
        let mut command = bed.director().command_with_sysfs("stdbuf");
        command
            // So that what it says of itself is heard at once.
            .args(["-oL", "dpdk-testpmd"])
            .args(["--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--no-shconf"])
            .args(["--lcores", &format!("0@{main},1@{forward}")])
            .args([
                "--vdev",
                &format!("net_af_xdp0,iface={INTERFACE},start_queue=0,queue_count=1{arguments}"),
            ])
            .args(["--", "--forward-mode=macswap", "--auto-start", "--nb-cores=1", "--total-num-mbufs=16384"])
            .args(["--stats-period=3600", "--no-mlockall"])
            .stdin(Stdio::null());
        let process = bed.director().spawn(command);
        process.wait_for_line("Logical Core", START);
        Testpmd(process)
    }
}

impl Runner for Testpmd {
    fn pause(&mut self) {
        self.0.signal(Signal::SIGSTOP);
    }

    fn resume(&mut self) {
        self.0.signal(Signal::SIGCONT);
    }

    fn pid(&self) -> Option<i32> {
        Some(self.0.pid())
    }
}
