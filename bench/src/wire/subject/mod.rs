//! What is measured, one file each. All of them send each frame back by the interface that it came in on.

pub mod bridge;
pub mod nft;
pub mod reflector;
pub mod shunt;
pub mod testpmd;
pub mod xdp_tx;

use std::time::Duration;

use crate::wire::bed::{Bed, DIRECTOR_MAC, ROUTER_MAC, real_server_mac};
use crate::wire::generator::{Running, Traffic};
use crate::wire::measure;
use crate::wire::sink::{Arrival, Sink};

/// The first frame that comes through takes no longer, however busy the machine is.
const START: Duration = Duration::from_secs(20);

/// The kinds of subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The real program, `shunt run`: one worker, one service, ten real servers, Maglev.
    Shunt,
    /// A bare AF_XDP reflector on the same rings: the limit of this path.
    Reflector,
    /// dpdk-testpmd with the AF_XDP driver, swapping MAC addresses: decides nothing.
    Testpmd,
    /// nftables in the netdev hook: a hash over ten real servers, then `fwd`. Remembers no flows.
    Nft,
    /// An XDP program that sends every frame back: the limit of the device.
    XdpTx,
    /// The kernel's bridge, sending frames back by the port that they came in on: decides by MAC address.
    Bridge,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Shunt, Kind::Reflector, Kind::Testpmd, Kind::Nft, Kind::XdpTx, Kind::Bridge];

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Shunt => "shunt",
            Kind::Reflector => "af_xdp_reflector",
            Kind::Testpmd => "testpmd_macswap",
            Kind::Nft => "nftables_fwd",
            Kind::XdpTx => "xdp_tx",
            Kind::Bridge => "bridge",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Puts one of it on a bed of its own. On return it forwards.
    #[track_caller]
    pub fn stand(self) -> Stand {
        let arrival = if self == Kind::XdpTx { Arrival::Frame } else { Arrival::Skb };
        let bed = Bed::new(1, arrival);
        let runner: Box<dyn Runner> = match self {
            Kind::Shunt => Box::new(shunt::Shunt::start(&bed, &shunt::Load::default())),
            Kind::Reflector => Box::new(reflector::Reflector::start(&bed, reflector::Tuning::default())),
            Kind::Testpmd => Box::new(testpmd::Testpmd::start(&bed)),
            Kind::Nft => Box::new(nft::start(&bed)),
            Kind::XdpTx => Box::new(xdp_tx::XdpTx::start(&bed)),
            Kind::Bridge => Box::new(bridge::start(&bed)),
        };
        let mut stand = Stand::new(self.name(), self.addresses(), runner, bed);
        measure::prove(&mut stand, START);
        stand
    }

    /// Destination and source of the frames it gets, such that what it sends on has a real server's destination.
    fn addresses(self) -> [[u8; 6]; 2] {
        match self {
            Kind::Testpmd => [DIRECTOR_MAC, real_server_mac(0)],
            Kind::Bridge => [real_server_mac(0), ROUTER_MAC],
            _ => [DIRECTOR_MAC, ROUTER_MAC],
        }
    }
}

/// What forwards. Dropping it ends it.
pub trait Runner {
    /// It shall use no core while others are measured.
    fn pause(&mut self) {}

    /// It shall forward again.
    fn resume(&mut self) {}

    /// The process, where it is one of its own.
    fn pid(&self) -> Option<i32> {
        None
    }
}

/// In the kernel: is there, and costs nothing while no frame comes.
pub struct InKernel;

impl Runner for InKernel {}

/// A subject on its bed, paused but while it is measured.
pub struct Stand {
    /// Its name in results.
    pub name: String,
    addresses: [[u8; 6]; 2],
    // Before the bed: it ends while its interface is there.
    runner: Box<dyn Runner>,
    bed: Bed,
}

impl Stand {
    /// A running subject. `addresses`: destination and source of the frames it gets.
    pub fn new(name: &str, addresses: [[u8; 6]; 2], mut runner: Box<dyn Runner>, bed: Bed) -> Stand {
        runner.pause();
        Stand { name: name.to_owned(), addresses, runner, bed }
    }

    /// Has frames for it ready, at a rate or as many as can be, and lets it run while `work` does, which sends them.
    #[track_caller]
    pub fn load<T>(
        &mut self,
        rate: Option<f64>,
        flows: u32,
        work: impl FnOnce(&mut Running<'_>, &mut Sink) -> T,
    ) -> T {
        let Stand { addresses: [destination, source], runner, bed, .. } = self;
        let traffic = Traffic { rate, flows, destination: *destination, source: *source };
        bed.load(&traffic, |running, sink| {
            // Not before: the generator takes its time to begin, and to end, which a spinning subject would make longer.
            runner.resume();
            let result = work(running, sink);
            runner.pause();
            result
        })
    }

    /// What forwards.
    pub fn runner(&mut self) -> &mut dyn Runner {
        &mut *self.runner
    }

    /// Who counts what it forwards.
    pub fn sink(&mut self) -> &mut Sink {
        self.bed.sink()
    }
}
