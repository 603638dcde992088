//! Where a subject stands: two namespaces and the cable between them, with a generator and a sink at the far end.

use shunt_tests::{Bare, Namespace};

use crate::wire::cores;
use crate::wire::generator::{self, Generator, Running, Traffic};
use crate::wire::sink::{Arrival, Sink};

/// The director's MAC address, and its address on the LAN.
pub const DIRECTOR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0xd0, 0x02];
/// The MAC address of the router that the clients are behind.
pub const ROUTER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0xa1, 0x01];
/// Real servers, 192.0.2.21 and those that follow.
pub const REAL_SERVERS: u8 = 10;
/// The interface of the subject.
pub const INTERFACE: &str = "eth0";
const WIRE: &str = "wire0";

/// The bed. Dropping it ends what runs on it and takes it away.
pub struct Bed {
    // Before the namespaces: programs are detached while their interfaces are there.
    generators: Vec<Generator>,
    sink: Sink,
    bare: Bare,
}

impl Bed {
    /// A bed whose subject's interface has `queues` queues, and a generator for each: veth puts what a core sends into
    /// the queue of its number (`veth_select_rxq` in drivers/net/veth.c). `arrival`: what frames are at the far end.
    #[track_caller]
    pub fn new(queues: usize, arrival: Arrival) -> Bed {
        let bare = Bare::new(&["director", "wire"]);
        let (director, wire) = (bare.namespace(0), bare.namespace(1));
        for namespace in [director, wire] {
            // Nobody speaks here but those who are measured.
            namespace.enter(|| {
                std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")
                    .expect("IPv6 can be turned off");
            });
        }
        let count = queues;
        let queues = format!("numtxqueues {queues} numrxqueues {queues}");
        director.ip(&format!(
            "link add {INTERFACE} index 1000 address {} {queues} type veth peer name {WIRE} netns {} {queues}\n\
             link set lo up\naddr add 192.0.2.2/24 dev {INTERFACE}\nlink set {INTERFACE} up\n",
            mac(DIRECTOR_MAC),
            wire.name(),
        ));
        wire.ip(&format!("link set {WIRE} up\n"));
        if arrival == Arrival::Skb {
            // The ring that frames come in by is there with XDP or with GRO.
            wire.run("ethtool", &["-K", WIRE, "gro", "on"]);
        }
        let (generators, sink) = wire.enter(|| {
            let index = nix::net::if_::if_nametoindex(WIRE).expect("it was made just now");
            let load = |n| Generator::load(wire.clone(), index, cores::generator(n));
            ((0..count).map(load).collect(), Sink::attach(WIRE, arrival))
        });
        Bed { generators, sink, bare }
    }

    /// The namespace of the subject.
    pub fn director(&self) -> &Namespace {
        self.bare.namespace(0)
    }

    /// The far end's namespace.
    pub fn wire(&self) -> &Namespace {
        self.bare.namespace(1)
    }

    /// Has `traffic` ready while `work` runs, which sends and holds it.
    #[track_caller]
    pub fn load<T>(&mut self, traffic: &Traffic, work: impl FnOnce(&mut Running<'_>, &mut Sink) -> T) -> T {
        let Bed { generators, sink, .. } = self;
        generator::during(generators, traffic, |running| work(running, sink))
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.generators.iter().map(Generator::sent).sum()
    }

    /// Who counts.
    pub fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    /// For a subject in the kernel: what comes in is worked off by a thread of the kernel on the subject's core, not by
    /// the generator as it sends. With XDP on the interface the ring that frames come in by is there; without, GRO
    /// makes it.
    #[track_caller]
    pub fn thread_softirq(&self, gro: bool) {
        if gro {
            self.director().run("ethtool", &["-K", INTERFACE, "gro", "on"]);
        }
        let before = napi_threads();
        let mut command = self.director().command_with_sysfs("sh");
        command.args(["-c", &format!("echo 1 > /sys/class/net/{INTERFACE}/threaded")]);
        let status = command.status().expect("sh is there");
        assert!(status.success(), "NAPI of {INTERFACE} cannot be threaded");
        for pid in napi_threads().into_iter().filter(|pid| !before.contains(pid)) {
            pin_process(pid, cores::subject());
            cores::prefer_thread(pid);
        }
    }
}

/// The MAC address of real server number `n`.
pub fn real_server_mac(n: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 0xe0, 0x21 + n]
}

/// A MAC address as people write it.
pub fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

fn napi_threads() -> Vec<i32> {
    let pids = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.starts_with(&format!("napi/{INTERFACE}-")))
    })
    .collect()
}

fn pin_process(pid: i32, core: usize) {
    let mut set = nix::sched::CpuSet::new();
    set.set(core).expect("a core that there is");
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(pid), &set)
        .unwrap_or_else(|fault| panic!("thread {pid} cannot be pinned: {fault}"));
}
