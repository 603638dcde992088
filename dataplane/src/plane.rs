//! The dataplane as one thing: programs attached, sockets bound, workers running. Control and the benchmark
//! harness hold a [`Dataplane`] and talk to it; they never touch a frame.
//!
//! There are as many workers as the interface with the fewest queues has, so that each has a queue of every
//! interface to transmit on. Worker n of N receives from the queues n, n + N, n + 2N, ... of every interface, and one UMEM for all of them, so that a frame that came in on any of
//! them leaves by any other without a copy.
//!
//! A worker that panics ends alone, and another one can take its place with what it remembered. One that hangs keeps its
//! sockets: only the end of the process takes them from it.

mod thread;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
use crate::worker::{AttachedPort, Idle, Remains, Worker};
use crate::xsk::beat::{Beat, Beats};
use crate::xsk::lost::Lost;
use crate::xsk::program::{OpenError, Program, XdpMode};
use crate::xsk::socket::Socket;
use crate::xsk::steering::{MAX_QUEUES, SteerCounts, Steered};
use crate::xsk::umem::{Frame, Umem};

pub use thread::NAME as THREAD_NAME;
use thread::{Left, Orders, WorkerThread};

/// A queue is released some time after the socket before was closed (the kernel frees UMEMs from a work queue): that it is
/// taken is final only after this.
const RELEASE: Duration = Duration::from_secs(3);
/// How long the end of the dataplane waits for that of its workers.
const END: Duration = Duration::from_secs(1);

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
    /// Its (interface, queue) pairs, and whether each is zero-copy. None while it is dead.
    pub queues: Vec<QueueView>,
}

/// Where the thread of a worker is.
enum Seat {
    Running(WorkerThread),
    /// It has ended, and left this if it could.
    Left(Option<Box<Left>>),
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
    /// Whether the memory of its worker's frames is in huge pages.
    pub huge_pages: bool,
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
    setup: Setup,
    programs: Vec<Program>,
    /// The programs know all services of the state published last, and no others.
    is_steered: bool,
    /// Of each program.
    beats: Vec<Beats>,
    publisher: Publisher<ForwardingState>,
    /// What workers capture for, if anybody does.
    tap: Publisher<Armed>,
    /// What other directors told of their flows.
    synced: Option<FlowTable>,
    /// When this director became the active one last, or ceased to be.
    took_over: Tick,
    room: Option<Capacity>,
    workers: Vec<WorkerView>,
    threads: Vec<Seat>,
    orders: Orders,
}

impl Dataplane {
    /// Opens the interfaces and starts the workers. Nothing is steered to them yet: `publish` does that.
    ///
    /// Errors leave nothing behind.
    pub fn open(setup: &Setup) -> Result<Self, OpenError> {
        let (mut programs, mut beats) = (Vec::new(), Vec::new());
        for interface in &setup.interfaces {
            if interface.rx_queues == 0 || interface.tx_queues == 0 {
                return Err(OpenError::NoQueue { interface: interface.name.clone() });
            }
            let program = Program::attach(&interface.name, interface.index, interface.mac)?;
            beats.push(program.beats().map_err(|reason| OpenError::Load { reason })?);
            programs.push(program);
        }
        let mut plane = Dataplane {
            setup: setup.clone(),
            programs,
            is_steered: false,
            beats,
            publisher: Publisher::new(ForwardingState::empty(setup.hash_key)),
            tap: Publisher::new(Armed::default()),
            synced: None,
            took_over: Tick::default(),
            room: None,
            workers: Vec::new(),
            threads: Vec::new(),
            orders: Orders {
                stop: Arc::new(AtomicBool::new(false)),
                wake: Arc::new(event_fd().map_err(OpenError::Thread)?),
                clock: Clock::new(),
                idle: setup.idle,
            },
        };
        plane.start()?;
        Ok(plane)
    }

    fn start(&mut self) -> Result<(), OpenError> {
        let count = self.count();
        let cores = placement(&self.setup.cores, count as usize);
        // One secret for all tables of this boot: a flow has the same slot in each.
        let boot_key = RandomState::new().hash_one("shunt");
        let memories = Memory::for_workers(count as usize, self.setup.flows_per_worker, boot_key);
        let Rates { icmp, reset } = self.setup.rates;
        let rates = Rates { icmp: icmp.div_ceil(count), reset: reset.div_ceil(count) };
        for (n, memory) in memories.into_iter().enumerate() {
            let stats = Arc::new(WorkerStats::default());
            let (flows, fragments) = (memory.flows.reader(), memory.fragments.reader());
            let director = Director::new(n, memory, rates, stats.clone());
            let recorder = Recorder::new(n, self.tap.subscribe(), stats.clone());
            let flight = recorder.reader();
            let core = cores.get(n).copied().flatten();
            self.workers.push(WorkerView { stats, flows, flight, fragments, core, queues: Vec::new() });
            let bound = self.bind(n as u32, RELEASE)?;
            let memory = (director, self.publisher.subscribe(), Some(recorder));
            let thread = self.launch(n, bound, memory)?;
            self.threads.push(Seat::Running(thread));
        }
        Ok(())
    }

    /// How many workers there are to be.
    fn count(&self) -> u32 {
        let queues = self.setup.interfaces.iter().map(|i| i.rx_queues.min(i.tx_queues).min(MAX_QUEUES));
        queues.min().unwrap_or(0)
    }

    /// Starts worker `n` on these sockets, with this memory.
    fn launch(
        &mut self,
        n: usize,
        (ports, pool, queues): Bound,
        (director, subscriber, recorder): Remains,
    ) -> Result<WorkerThread, OpenError> {
        let sockets: Vec<RawFd> = ports.iter().map(|attached| attached.port.fd()).collect();
        let cells = queues.iter().map(|view| (self.beats[view.port.0 as usize].clone(), view.queue));
        let beat = Beat::new(cells.collect(), self.orders.clock);
        let view = &mut self.workers[n];
        // Fills the fill rings; only then may frames be steered to the sockets.
        let mut worker = Worker::new(ports, pool, director, subscriber, view.stats.clone());
        if let Some(recorder) = recorder {
            worker = worker.with_recorder(recorder);
        }
        for (view, socket) in queues.iter().zip(&sockets) {
            self.programs[view.port.0 as usize]
                .set_socket(view.queue, *socket)
                .map_err(|reason| OpenError::Load { reason })?;
        }
        view.queues = queues;
        WorkerThread::start(n, worker, sockets, beat, view.core, self.orders.clone())
    }

    /// The workers that have died since this was asked last, and their last words.
    pub fn died(&mut self) -> Vec<(usize, String)> {
        let mut died = Vec::new();
        for (n, seat) in self.threads.iter_mut().enumerate() {
            match std::mem::replace(seat, Seat::Left(None)) {
                Seat::Running(thread) if thread.has_ended() => {
                    let left = thread.left();
                    let why = match &left {
                        Ok(left) => left.panic.clone().unwrap_or_else(|| "nobody told it to stop".into()),
                        Err(why) => why.clone(),
                    };
                    *seat = Seat::Left(left.ok().map(Box::new));
                    // They hold its sockets open.
                    self.workers[n].queues.clear();
                    died.push((n, why));
                }
                other => *seat = other,
            }
        }
        died
    }

    /// Puts another worker in the place of one that died, with the flows that it remembered. Its frames are lost, and what
    /// the kernel counted for its sockets.
    ///
    /// # Errors
    /// The sockets cannot be had; [`OpenError::QueueTaken`]: not yet perhaps, for the kernel takes its time to release those
    /// of the dead one.
    pub fn revive(&mut self, n: usize) -> Result<(), OpenError> {
        let Some(Seat::Left(left)) = self.threads.get_mut(n) else { return Ok(()) };
        let Some(left) = left.take() else {
            return Err(OpenError::Thread(io::Error::other("the one before has left nothing")));
        };
        let bound = match self.bind(n as u32, Duration::ZERO) {
            Ok(bound) => bound,
            Err(error) => {
                self.threads[n] = Seat::Left(Some(left));
                return Err(error);
            }
        };
        let Left { memory: (mut director, mut subscriber, recorder), .. } = *left;
        director.recount(subscriber.current());
        let thread = self.launch(n, bound, (director, subscriber, recorder))?;
        self.threads[n] = Seat::Running(thread);
        Ok(())
    }

    /// The sockets of worker `n`, their frames, and what to show of them. `patience`: how long a queue may be taken.
    fn bind(&self, n: u32, patience: Duration) -> Result<Bound, OpenError> {
        let setup = &self.setup;
        let mine: Vec<(PortId, &InterfaceSetup, XdpMode, u32)> = setup
            .interfaces
            .iter()
            .zip(&self.programs)
            .enumerate()
            .flat_map(|(id, (interface, program))| {
                let queues = (n..interface.rx_queues.min(MAX_QUEUES)).step_by(self.count() as usize);
                queues.map(move |queue| (PortId(id as u8), interface, program.mode(), queue))
            })
            .collect();
        let mtu = setup.interfaces.iter().map(|i| i.mtu).max().unwrap_or(0);
        let (umem, frames) = Umem::new(setup.frames_per_queue * mine.len() as u32, mtu)?;
        let (mut ports, mut queues) = (Vec::new(), Vec::new());
        for (port, interface, mode, queue) in mine {
            let socket = Socket::open(&umem, &interface.name, queue, setup.frames_per_queue, mode, patience)?;
            let (name, zero_copy) = (interface.name.clone(), socket.is_zero_copy());
            let lost = Lost::of(socket.fd()).map_err(|error| OpenError::Bind {
                interface: name.clone(),
                queue,
                reason: error.to_string(),
            })?;
            let (huge_pages, lost) = (umem.is_huge(), Arc::new(lost));
            queues.push(QueueView { port, interface: name, queue, mode, zero_copy, huge_pages, lost });
            // In generic mode frames come out of skbs, checksummed or not.
            let complete_checksums = interface.complete_checksums || mode == XdpMode::Generic;
            ports.push(AttachedPort { port: socket, interface: port, complete_checksums });
        }
        Ok((ports, Pool::new(frames), queues))
    }

    /// Makes `state` the forwarding state of every worker, and steers its services' frames to them. Frames of
    /// a service that is gone are left to the kernel before workers stop knowing it; frames of a new one come
    /// only when workers know it.
    ///
    /// Errors: a map of the kernel's is full or gone; what could be steered is.
    pub fn publish(&mut self, state: ForwardingState) -> Result<(), String> {
        let synced = self.synced.as_ref().map(|synced| Synced::new(synced.reader(), self.took_over));
        // Of ten thousand services each is a row, or many.
        if self.is_steered && state.serves_as(self.publisher.current()) {
            self.publisher.publish(state.with_synced(synced));
            return Ok(());
        }
        let wanted: Steered = state.services().map(|(_, service)| service.key()).collect();
        let mut result = Ok(());
        for program in &mut self.programs {
            result = result.and(program.unsteer_others(&wanted));
        }
        self.publisher.publish(state.with_synced(synced));
        for program in &mut self.programs {
            result = result.and(program.steer(&wanted));
        }
        self.is_steered = result.is_ok();
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
        self.orders.clock
    }

    /// The state published last.
    pub fn state(&self) -> &Arc<ForwardingState> {
        self.publisher.current()
    }

    /// The workers' time.
    pub fn now(&self) -> Tick {
        Tick::from_millis(self.orders.clock.millis())
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
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        // Frames go to the kernel again before the workers stop taking them.
        self.programs.clear();
        // Relaxed: see `Worker::run`.
        self.orders.stop.store(true, Ordering::Relaxed);
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes, what an eventfd takes.
        unsafe { libc::write(self.orders.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        let by = Instant::now() + END;
        for seat in self.threads.drain(..) {
            if let Seat::Running(thread) = seat {
                thread.end(by);
            }
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
