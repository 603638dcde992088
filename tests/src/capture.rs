//! What crosses a link, written down by tcpdump and read back as frames.
//!
//! Captures are taken on the bridge's end of a cable. On the director's own end tcpdump sees nothing of what XDP takes
//! away and nothing of what AF_XDP sends; the other end sees every frame, in both directions.
//!
//! Invariant: a capture is complete or it panics. "Such a frame was never seen" is only worth something then.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use pcap_file::pcap::PcapReader;

use crate::frame::Frame;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait;

/// tcpdump starts slowly on a machine whose cores compile something.
const START: Duration = Duration::from_secs(20);
/// For one answer of a running tcpdump.
const ANSWER: Duration = Duration::from_secs(10);
/// What is kept of a frame: all of one that fits the MTU. What the kernel would only later cut into segments may be
/// longer; of these the capture keeps the front.
const SNAPLEN: &str = "2048";
/// KiB of ring between kernel and tcpdump: some 30,000 frames.
const RING: &str = "65536";

/// A running capture.
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
    port: String,
}

/// What tcpdump says it has seen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tally {
    captured: u64,
    received: u64,
    dropped: u64,
}

impl Capture {
    /// Starts to write what passes `port` and tcpdump's `filter` (all, if it is empty) to `file`. On return it listens.
    #[track_caller]
    pub fn start(namespace: &Namespace, port: &str, filter: &str, file: &Path) -> Capture {
        let mut command = namespace.command("tcpdump");
        // -Z root: without it tcpdump becomes another user, who cannot write to the lab's folder.
        command.args([
            "-Z",
            "root",
            "-n",
            "-i",
            port,
            "-s",
            SNAPLEN,
            "-B",
            RING,
            "-U",
            "--immediate-mode",
            "-w",
        ]);
        command.arg(file).arg(filter);
        let tcpdump = namespace.spawn(command);
        tcpdump.wait_for_line("listening on", START);
        Capture { tcpdump, file: file.to_owned(), port: port.to_owned() }
    }

    /// Stops when every frame that has passed by now is in the file, and reads them.
    ///
    /// A frame is there for certain only if it passed before this call: wait for what it causes first.
    #[track_caller]
    pub fn stop(mut self) -> Vec<Frame> {
        self.settle();
        let status = self.tcpdump.stop(ANSWER);
        assert!(
            status.success(),
            "tcpdump on {} ended with {status}:\n{}",
            self.port,
            self.tcpdump.log().text()
        );
        // The last tally is spread over three lines.
        let text = self.tcpdump.log().text();
        assert!(
            text.contains("\n0 packets dropped by kernel"),
            "the capture on {} has gaps:\n{text}",
            self.port
        );
        read(&self.file)
    }

    /// The pid of tcpdump.
    pub fn pid(&self) -> i32 {
        self.tcpdump.pid()
    }

    /// Where the capture is written.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Waits until tcpdump has taken over all that the kernel has put aside for it.
    ///
    /// SIGUSR1 makes tcpdump say how many frames the kernel has kept for it and how many of them it has handled. A
    /// frame that came before the filter was in place counts as received and never as captured, therefore a tally that
    /// stands still is as good as one that is even: tcpdump works between two answers, if there is work.
    #[track_caller]
    fn settle(&mut self) {
        let mut last = None;
        let mut still = 0;
        wait::until(ANSWER, &format!("tcpdump on {} to catch up", self.port), || {
            let tally = self.tally();
            still = if last == Some(tally) { still + 1 } else { 0 };
            last = Some(tally);
            (tally.captured + tally.dropped >= tally.received || still >= 5).then_some(())
        });
    }

    #[track_caller]
    fn tally(&mut self) -> Tally {
        let mark = self.tcpdump.log().mark();
        self.tcpdump.signal(Signal::SIGUSR1);
        let line = self.tcpdump.wait_for_line_from(mark, "received by filter", ANSWER);
        // "tcpdump: 6 packets captured, 12 packets received by filter, 0 packets dropped by kernel"
        let numbers: Vec<u64> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [captured, received, dropped, ..] => Tally { captured, received, dropped },
            _ => panic!("tcpdump's tally is not understood: {line}"),
        }
    }
}

/// The frames of a pcap file.
#[track_caller]
pub fn read(file: &Path) -> Vec<Frame> {
    let fail = |fault: &dyn std::fmt::Display| -> ! { panic!("{}: {fault}", file.display()) };
    let opened = File::open(file).unwrap_or_else(|fault| fail(&fault));
    let mut reader = PcapReader::new(std::io::BufReader::new(opened)).unwrap_or_else(|fault| fail(&fault));
    let mut frames = Vec::new();
    // Raw: the checked reader refuses frames of which the capture has kept only the front.
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet.unwrap_or_else(|fault| fail(&fault));
        // tcpdump writes microseconds.
        let time = Duration::new(packet.ts_sec.into(), packet.ts_frac * 1000);
        frames.extend(Frame::parse(time, packet.data.into_owned(), packet.orig_len as usize));
    }
    frames
}
