//! The dataplane as one thing: programs attached, sockets bound, workers running. Control and the benchmark
//! harness hold a [`Dataplane`] and talk to it; they never touch a frame.
//!
//! There are as many workers as the interface with the fewest queues has, so that each has a queue of every
//! interface to transmit on. Worker n of N receives from the queues n, n + N, n + 2N, ... of every interface, and one UMEM for all of them, so that a frame that came in on any of
//! them leaves by any other without a copy.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::clock::{Clock, Tick};
use crate::director::shadow::Shadow;
use crate::director::{Director, Memory, Rates};
use crate::flow::{Capacity, FlowReader, FlowTable, FragmentReader};
use crate::forwarding::{ForwardingState, Synced};
use crate::hash::HashKey;
use crate::packet::MacAddress;
use crate::port::{Pool, PortId};
use crate::publish::Publisher;
use crate::recorder::{Armed, FlightReader, Recorder, Sieve, TapReader};
use crate::stats::WorkerStats;
use crate::worker::{AttachedPort, Idle, Worker};
use crate::xsk::lost::Lost;
use crate::xsk::program::{OpenError, Program, XdpMode};
use crate::xsk::socket::Socket;
use crate::xsk::steering::{MAX_QUEUES, SteerCounts, Steered};
use crate::xsk::umem::{Frame, Umem};

/// An interface to take over. Its place in [`Setup::interfaces`] is its `PortId`.
#[derive(Debug, Clone)]
pub struct InterfaceSetup {
    /// Name, for AF_XDP and messages.
    pub name: String,
    /// Kernel's index.
    pub index: u32,
    /// Its address.
    pub mac: MacAddress,
    /// Queues it receives on: each gets a socket, for a frame on a queue without one is lost.
    pub rx_queues: u32,
    /// Queues it transmits on.
    pub tx_queues: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// The device is virtual (veth, virtio, tap): senders may leave checksums to hardware.
    pub complete_checksums: bool,
}

/// What a dataplane is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Interfaces, at least one.
    pub interfaces: Vec<InterfaceSetup>,
    /// Core of worker 0, 1, ...; workers beyond the list take the machine's last cores downwards.
    pub cores: Vec<usize>,
    /// Flows one worker remembers.
    pub flows_per_worker: Capacity,
    /// Answers a second that the director may give, on all workers together.
    pub rates: Rates,
    /// Frames of UMEM for each (interface, queue).
    pub frames_per_queue: u32,
    /// What workers do when no frame comes.
    pub idle: Idle,
    /// Key of the scheduling hash.
    pub hash_key: HashKey,
}

/// One worker, as control sees it.
pub struct WorkerView {
    /// Its counters.
    pub stats: Arc<WorkerStats>,
    /// Its flow table.
    pub flows: FlowReader,
    /// Its last verdicts.
    pub flight: FlightReader,
    /// Where it knows fragments to go.
    pub fragments: FragmentReader,
    /// The core it was to be pinned to; none: the machine told of none.
    pub core: Option<usize>,
    /// Its (interface, queue) pairs, and whether each is zero-copy.
    pub queues: Vec<QueueView>,
}

type Bound = (Vec<AttachedPort<Socket>>, Pool<Frame>, Vec<QueueView>);

/// One socket of a worker.
#[derive(Debug, Clone)]
pub struct QueueView {
    /// Index of the interface.
    pub port: PortId,
    /// Interface name.
    pub interface: String,
    /// Queue number.
    pub queue: u32,
    /// Mode of the XDP program.
    pub mode: XdpMode,
    /// Whether the kernel and the worker share the frames' memory.
    pub zero_copy: bool,
    /// Frames that were steered to it while the worker was too slow.
    pub lost: Arc<Lost>,
}

/// All that is remembered of flows: what control tells other directors, and what it is told by them.
pub struct Flows<'a> {
    /// The state published last, which the ids and slots are of.
    pub state: &'a ForwardingState,
    /// The tables of the workers.
    pub workers: Vec<&'a FlowReader>,
    /// Flows of other directors. Workers read it when they do not know a flow.
    pub synced: &'a mut FlowTable,
    /// The workers' time.
    pub now: Tick,
}

/// A running dataplane. Dropping it stops the workers and detaches the programs.
pub struct Dataplane {
    programs: Vec<Program>,
    publisher: Publisher<ForwardingState>,
    /// What workers capture for, if anybody does.
    tap: Publisher<Armed>,
    /// What other directors told of their flows.
    synced: Option<FlowTable>,
    /// When this director became the active one last, or ceased to be.
    took_over: Tick,
    room: Option<Capacity>,
    workers: Vec<WorkerView>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    wake: OwnedFd,
    clock: Clock,
}

impl Dataplane {
    /// Opens the interfaces and starts the workers. Nothing is steered to them yet: `publish` does that.
    ///
    /// Errors leave nothing behind.
    pub fn open(setup: &Setup) -> Result<Self, OpenError> {
        let mut programs = Vec::new();
        for interface in &setup.interfaces {
            if interface.rx_queues == 0 || interface.tx_queues == 0 {
                return Err(OpenError::NoQueue { interface: interface.name.clone() });
            }
            programs.push(Program::attach(&interface.name, interface.index, interface.mac)?);
        }
        let mut plane = Dataplane {
            programs,
            publisher: Publisher::new(ForwardingState::empty(setup.hash_key)),
            tap: Publisher::new(Armed::default()),
            synced: None,
            took_over: Tick::default(),
            room: None,
            workers: Vec::new(),
            threads: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            wake: event_fd().map_err(OpenError::Thread)?,
            clock: Clock::new(),
        };
        plane.start(setup)?;
        Ok(plane)
    }

    fn start(&mut self, setup: &Setup) -> Result<(), OpenError> {
        let count =
            setup.interfaces.iter().map(|i| i.rx_queues.min(i.tx_queues).min(MAX_QUEUES)).min().unwrap_or(0);
        let cores = placement(&setup.cores, count as usize);
        // One secret for all tables of this boot: a flow has the same slot in each.
        let boot_key = RandomState::new().hash_one("shunt");
        let memories = Memory::for_workers(count as usize, setup.flows_per_worker, boot_key);
        let rates =
            Rates { icmp: setup.rates.icmp.div_ceil(count), reset: setup.rates.reset.div_ceil(count) };
        for (n, memory) in memories.into_iter().enumerate() {
            let stats = Arc::new(WorkerStats::default());
            let (flows, fragments) = (memory.flows.reader(), memory.fragments.reader());
            let director = Director::new(n, memory, rates, stats.clone());
            let (ports, pool, queues) = self.bind(setup, n as u32, count)?;
            let sockets: Vec<RawFd> = ports.iter().map(|attached| attached.port.fd()).collect();
            // Fills the fill rings; only then may frames be steered to the sockets.
            let worker = Worker::new(ports, pool, director, self.publisher.subscribe(), stats.clone());
            let recorder = Recorder::new(n, self.tap.subscribe(), stats.clone());
            let flight = recorder.reader();
            let worker = worker.with_recorder(recorder);
            for (view, socket) in queues.iter().zip(&sockets) {
                self.programs[view.port.0 as usize]
                    .set_socket(view.queue, *socket)
                    .map_err(|reason| OpenError::Load { reason })?;
            }
            let core = cores.get(n).copied().flatten();
            self.spawn(n, worker, sockets, core, setup.idle)?;
            self.workers.push(WorkerView { stats, flows, flight, fragments, core, queues });
        }
        Ok(())
    }

    /// The sockets of worker `n` of `count`, their frames, and what to show of them.
    fn bind(&self, setup: &Setup, n: u32, count: u32) -> Result<Bound, OpenError> {
        let mine: Vec<(PortId, &InterfaceSetup, XdpMode, u32)> = setup
            .interfaces
            .iter()
            .zip(&self.programs)
            .enumerate()
            .flat_map(|(id, (interface, program))| {
                let queues = (n..interface.rx_queues.min(MAX_QUEUES)).step_by(count as usize);
                queues.map(move |queue| (PortId(id as u8), interface, program.mode(), queue))
            })
            .collect();
        let mtu = setup.interfaces.iter().map(|i| i.mtu).max().unwrap_or(0);
        let (umem, frames) = Umem::new(setup.frames_per_queue * mine.len() as u32, mtu)?;
        let (mut ports, mut queues) = (Vec::new(), Vec::new());
        for (port, interface, mode, queue) in mine {
            let socket = Socket::open(&umem, &interface.name, queue, setup.frames_per_queue, mode)?;
            let (name, zero_copy) = (interface.name.clone(), socket.is_zero_copy());
            let lost = Lost::of(socket.fd()).map_err(|error| OpenError::Bind {
                interface: name.clone(),
                queue,
                reason: error.to_string(),
            })?;
            queues.push(QueueView { port, interface: name, queue, mode, zero_copy, lost: Arc::new(lost) });
            // In generic mode frames come out of skbs, checksummed or not.
            let complete_checksums = interface.complete_checksums || mode == XdpMode::Generic;
            ports.push(AttachedPort { port: socket, interface: port, complete_checksums });
        }
        Ok((ports, Pool::new(frames), queues))
    }

    fn spawn(
        &mut self,
        n: usize,
        worker: Worker<Socket>,
        sockets: Vec<RawFd>,
        core: Option<usize>,
        idle: Idle,
    ) -> Result<(), OpenError> {
        let (stop, wake, clock) = (self.stop.clone(), self.wake.as_raw_fd(), self.clock);
        let thread = std::thread::Builder::new().name(format!("worker-{n}")).spawn(move || {
            if let Some(id) = core {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            let mut poll: Vec<libc::pollfd> = sockets
                .iter()
                .chain([&wake])
                .map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
                .collect();
            worker.run(clock, idle, &stop, |timeout| {
                // SAFETY: `poll` is an array of the length given.
                unsafe { libc::poll(poll.as_mut_ptr(), poll.len() as libc::nfds_t, timeout) };
            });
        });
        self.threads.push(thread.map_err(OpenError::Thread)?);
        Ok(())
    }

    /// Makes `state` the forwarding state of every worker, and steers its services' frames to them. Frames of
    /// a service that is gone are left to the kernel before workers stop knowing it; frames of a new one come
    /// only when workers know it.
    ///
    /// Errors: a map of the kernel's is full or gone; what could be steered is.
    pub fn publish(&mut self, state: ForwardingState) -> Result<(), String> {
        let wanted: Steered = state.services().map(|(_, service)| service.key()).collect();
        let mut result = Ok(());
        for program in &mut self.programs {
            result = result.and(program.unsteer_others(&wanted));
        }
        let synced = self.synced.as_ref().map(|synced| Synced::new(synced.reader(), self.took_over));
        self.publisher.publish(state.with_synced(synced));
        for program in &mut self.programs {
            result = result.and(program.steer(&wanted));
        }
        result
    }

    /// Makes room for flows that other directors tell of, or gives it back with `None`. Workers know of it by the state
    /// that is published next. Room that is as large already keeps what is in it.
    pub fn make_room(&mut self, room: Option<Capacity>) {
        if self.room != room {
            self.room = room;
            self.synced = room.map(|room| FlowTable::new(room, RandomState::new().hash_one("synced")));
        }
    }

    /// This director has become the active one, or has ceased to be: what it remembers of flows may be old news where other
    /// directors tell of them. Workers know of it by the state that is published next.
    pub fn take_over(&mut self) {
        self.took_over = self.now();
    }

    /// All that is remembered of flows; none without room for those of other directors.
    pub fn flows(&mut self) -> Option<Flows<'_>> {
        let now = self.now();
        Some(Flows {
            state: self.publisher.current(),
            workers: self.workers.iter().map(|worker| &worker.flows).collect(),
            synced: self.synced.as_mut()?,
            now,
        })
    }

    /// All of it that decides, to try frames on. Costs what compiling a state costs, and memory by what is tried.
    pub fn shadow(&self) -> Shadow {
        Shadow::of(self.state(), self.workers.iter().map(|worker| (&worker.flows, &worker.fragments)))
    }

    /// Has workers capture the frames that `sieve` lets through, `snap` bytes of each, in place of what they captured for
    /// before. Frames that come in from here on are seen.
    pub fn tap(&mut self, sieve: Sieve, snap: u16) -> TapReader {
        let reader = TapReader::new(self.workers.len(), self.programs.len(), sieve, snap);
        self.tap.publish(reader.armed());
        reader
    }

    /// Has workers capture nothing any more.
    pub fn untap(&mut self) {
        self.tap.publish(Armed::default());
    }

    /// The workers' clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The state published last.
    pub fn state(&self) -> &Arc<ForwardingState> {
        self.publisher.current()
    }

    /// The workers' time.
    pub fn now(&self) -> Tick {
        Tick::from_millis(self.clock.millis())
    }

    /// Frees states and taps that workers have handed back. Call now and then.
    pub fn collect(&self) {
        self.publisher.collect();
        self.tap.collect();
    }

    /// The workers.
    pub fn workers(&self) -> &[WorkerView] {
        &self.workers
    }

    /// The addresses that frames have which come in on interface number `interface` and are for this director.
    pub fn macs(&self, interface: usize) -> Result<Vec<MacAddress>, String> {
        self.programs.get(interface).map_or_else(|| Ok(Vec::new()), Program::macs)
    }

    /// The program on interface number `interface`.
    pub fn program(&mut self, interface: usize) -> Option<&mut Program> {
        self.programs.get_mut(interface)
    }

    /// What the XDP program counted on each interface.
    pub fn steer_counts(&self) -> Vec<Result<SteerCounts, String>> {
        self.programs.iter().map(Program::counts).collect()
    }

    /// Whether every worker thread still runs.
    pub fn is_alive(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        // Frames go to the kernel again before the workers stop taking them.
        self.programs.clear();
        // Relaxed: see `Worker::run`.
        self.stop.store(true, Ordering::Relaxed);
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes, what an eventfd takes.
        unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The cores this process may use, in order.
pub fn cores() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// The core of each worker: as configured, else the machine's last cores downwards, leaving the first to
/// control and the kernel as long as possible.
pub fn placement(configured: &[usize], workers: usize) -> Vec<Option<usize>> {
    let mut cores = cores();
    cores.reverse();
    (0..workers)
        .map(|n| configured.get(n).copied().or_else(|| cores.get(n % cores.len().max(1)).copied()))
        .collect()
}

fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no pointers; a result that is not negative is a new descriptor, owned here.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}
