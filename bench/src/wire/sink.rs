//! The sink: `bpf/sink.bpf.c` at the far end, which counts and drops.

use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};

use crate::wire::histogram::{BUCKETS, Histogram};

const DELIVERED: u32 = 0;
const FOREIGN: u32 = 1;

/// What a frame is at the far end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// An skb, as from every sender but XDP.
    Skb,
    /// A bare frame, from one driver to the other.
    Frame,
}

/// Frames that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// At a real server.
    pub delivered: u64,
    /// Elsewhere, or not the generator's.
    pub foreign: u64,
}

/// The sink of one bed.
pub struct Sink(Ebpf);

impl Sink {
    /// Attaches it to an interface of the namespace that the calling thread is in.
    #[track_caller]
    pub fn attach(interface: &str, arrival: Arrival) -> Sink {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sink.bpf.o"));
        let mut ebpf = Ebpf::load(object).unwrap_or_else(|fault| panic!("sink.bpf.o: {fault}"));
        let attached = match arrival {
            Arrival::Skb => {
                let program: &mut SchedClassifier =
                    ebpf.program_mut("sink_skb").expect("it is in the object").try_into().expect("it is tc");
                program.load().and_then(|()| program.attach(interface, TcAttachType::Ingress).map(drop))
            }
            Arrival::Frame => {
                let program: &mut Xdp = ebpf
                    .program_mut("sink_frame")
                    .expect("it is in the object")
                    .try_into()
                    .expect("it is XDP");
                program.load().and_then(|()| program.attach(interface, XdpMode::Driver).map(drop))
            }
        };
        attached.unwrap_or_else(|fault| panic!("the sink on {interface}: {fault:?}"));
        Sink(ebpf)
    }

    /// Frames so far.
    pub fn counts(&self) -> Counts {
        let map = self.0.map("counts").expect("it is in the object");
        let rows: PerCpuArray<&MapData, u64> = map.try_into().expect("its layout is that of the object");
        let sum = |row: u32| rows.get(&row, 0).expect("a row of the array").iter().sum();
        Counts { delivered: sum(DELIVERED), foreign: sum(FOREIGN) }
    }

    /// Frames delivered so far.
    pub fn delivered(&self) -> u64 {
        self.counts().delivered
    }

    /// From here on times under way are taken, or no longer.
    pub fn take_times(&mut self, taking: bool) {
        let map = self.0.map_mut("taking").expect("it is in the object");
        let mut rows: Array<&mut MapData, u32> = map.try_into().expect("its layout is that of the object");
        rows.set(0, u32::from(taking), 0).expect("row 0 is always there");
    }

    /// The times taken so far.
    pub fn times(&self) -> Histogram {
        let map = self.0.map("times").expect("it is in the object");
        let rows: PerCpuArray<&MapData, u64> = map.try_into().expect("its layout is that of the object");
        let counts =
            (0..BUCKETS as u32).map(|row| rows.get(&row, 0).expect("a row of the array").iter().sum());
        Histogram::new(counts.collect())
    }
}
