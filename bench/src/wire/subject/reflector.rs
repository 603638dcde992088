//! A bare AF_XDP reflector on the rings that shunt uses (xsk-rs), set as shunt sets them: receives, writes two MAC
//! addresses, sends. What a director on this path can reach at most; and where the settings of the path are tried.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{MapData, XskMap};
use shunt_dataplane::port::BURST;
use shunt_dataplane::prefetch::prefetch;
use shunt_dataplane::xsk::options;
use xsk_rs::config::{BindFlags, FrameSize, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue, Umem};

use crate::wire::bed::{Bed, DIRECTOR_MAC, INTERFACE, real_server_mac};
use crate::wire::cores;
use crate::wire::subject::{Runner, xdp_tx};

/// Socket options of if_xdp.h and socket.h that libc does not know.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Most frames of one receive that can be tried.
const MOST: usize = 256;

/// How the socket is set and served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Frames of UMEM; the rings are as long.
    pub frames: u32,
    /// Frames of one receive, 1 to 256.
    pub burst: usize,
    /// `XDP_MAX_TX_SKB_BUDGET`; none: the kernel's 32.
    pub budget: Option<u32>,
    /// Bytes of the send buffer; none: the machine's default.
    pub send_buffer: Option<u32>,
    /// Budget of a preferred busy poll; none: the softirq receives.
    pub busy_poll: Option<u32>,
    /// The kernel says when it wants to be woken.
    pub need_wakeup: bool,
    /// The frames of a burst are on their way into the cache before the first of them is looked at.
    pub prefetch: bool,
    /// Descriptors that wait before the kernel is told of them, or the turn was empty.
    pub kick_at: u32,
}

impl Default for Tuning {
    /// As the dataplane has it.
    fn default() -> Tuning {
        Tuning {
            frames: 4096,
            burst: BURST,
            budget: Some(4096),
            send_buffer: Some(4096 * 4096),
            busy_poll: None,
            need_wakeup: true,
            prefetch: true,
            kick_at: 1,
        }
    }
}

/// The running reflector.
pub struct Reflector {
    stop: Arc<AtomicBool>,
    awake: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    // The program is detached when the thread has ended.
    _ebpf: Ebpf,
}

impl Reflector {
    /// Starts it on queue 0.
    #[track_caller]
    pub fn start(bed: &Bed, tuning: Tuning) -> Reflector {
        let mut ebpf = xdp_tx::load();
        xdp_tx::attach(&mut ebpf, "redirect", bed);
        let rings = bed.director().enter(|| Rings::open(tuning));
        let map = ebpf.map_mut("sockets").expect("it is in the object");
        let mut sockets: XskMap<&mut MapData> = map.try_into().expect("its layout is that of the object");
        sockets.set(0, rings.fd(), 0).expect("the map has 64 rows");
        let (stop, awake) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let thread = std::thread::spawn({
            let (stop, awake) = (stop.clone(), awake.clone());
            move || rings.reflect(&stop, &awake)
        });
        Reflector { stop, awake, thread: Some(thread), _ebpf: ebpf }
    }
}

impl Runner for Reflector {
    fn pause(&mut self) {
        // Relaxed: nothing else is read because of it.
        self.awake.store(false, Ordering::Relaxed);
    }

    fn resume(&mut self) {
        self.awake.store(true, Ordering::Relaxed);
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Rings {
    umem: Umem,
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    tuning: Tuning,
    sending: usize,
}

impl Rings {
    fn open(tuning: Tuning) -> Rings {
        let ring = QueueSize::new(tuning.frames).expect("a power of two");
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(2048).expect("a size that there is"))
            .fill_queue_size(ring)
            .comp_queue_size(ring)
            .build()
            .expect("good sizes");
        let count = tuning.frames.try_into().expect("more than none");
        let (umem, descs) = Umem::new(config, count, false).unwrap_or_else(|fault| panic!("UMEM: {fault}"));
        let wakeup = if tuning.need_wakeup { BindFlags::XDP_USE_NEED_WAKEUP } else { BindFlags::empty() };
        let config = SocketConfig::builder()
            .rx_queue_size(ring)
            .tx_queue_size(ring)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(wakeup)
            .build();
        let name = INTERFACE.parse().expect("a name");
        // SAFETY: the contract concerns programs that libxdp loads; loading is inhibited.
        let (tx, rx, rings) = unsafe { xsk_rs::Socket::new(config, &umem, &name, 0) }
            .unwrap_or_else(|fault| panic!("an AF_XDP socket on {INTERFACE}: {fault}"));
        let (mut fill, completion) = rings.expect("the first socket of its UMEM has them");
        // SAFETY: fresh descriptors of this UMEM; no ring has them.
        let filled = unsafe { fill.produce(&descs) };
        assert_eq!(filled, descs.len(), "the fill ring has room for every frame");
        let rings = Rings { umem, rx, tx, fill, completion, tuning, sending: 0 };
        rings.set();
        rings
    }

    fn set(&self) {
        let set = |level, name, value: u32| {
            options::set(self.fd(), level, name, value as libc::c_int)
                .unwrap_or_else(|fault| panic!("socket option {level}/{name} = {value}: {fault}"));
        };
        if let Some(bytes) = self.tuning.send_buffer {
            set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes);
        }
        if let Some(budget) = self.tuning.budget {
            set(libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, budget);
        }
        if let Some(budget) = self.tuning.busy_poll {
            set(libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
            set(libc::SOL_SOCKET, libc::SO_BUSY_POLL, 20);
            set(libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, budget);
        }
    }

    fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    fn reflect(mut self, stop: &AtomicBool, awake: &AtomicBool) {
        cores::pin(cores::subject());
        let mut burst = [FrameDesc::default(); MOST];
        while !stop.load(Ordering::Relaxed) {
            if !awake.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            self.turn(&mut burst);
        }
    }

    fn turn(&mut self, burst: &mut [FrameDesc; MOST]) {
        // SAFETY: all rings are of the one UMEM.
        let received = unsafe { self.rx.consume(&mut burst[..self.tuning.burst]) };
        if self.tuning.prefetch {
            burst[..received].iter().for_each(|desc| {
                // SAFETY: just consumed from the RX ring: nobody else has this frame.
                prefetch(unsafe { self.umem.data(desc) }.contents().as_ptr());
            });
        }
        for desc in &mut burst[..received] {
            // SAFETY: just consumed from the RX ring: nobody else has this frame.
            let mut data = unsafe { self.umem.data_mut(desc) };
            if let Some(ethernet) = data.contents_mut().first_chunk_mut::<12>() {
                ethernet[..6].copy_from_slice(&real_server_mac(0));
                ethernet[6..].copy_from_slice(&DIRECTOR_MAC);
            }
        }
        if received > 0 {
            // SAFETY: as above; the TX ring has room for every frame there is.
            self.sending += unsafe { self.tx.produce(&burst[..received]) };
        }
        self.kick(received);
        // SAFETY: all rings are of the one UMEM.
        let done = unsafe { self.completion.consume(&mut burst[..]) };
        self.sending -= done;
        if done > 0 {
            // The ring has room for every frame, but can look fuller than it is for a moment (`Socket::refill` says why).
            // SAFETY: just consumed from the completion ring: nobody else has these frames.
            while unsafe { self.fill.produce(&burst[..done]) } == 0 {
                std::hint::spin_loop();
            }
            if self.fill.needs_wakeup() {
                let _ = self.fill.wakeup(self.rx.fd_mut(), 0);
            }
        }
        if received == 0 && self.tuning.busy_poll.is_some() {
            // The softirq does not run by itself any more.
            let _ = self.rx.poll(0);
        }
    }

    fn kick(&mut self, received: usize) {
        if self.sending == 0 {
            return;
        }
        let unsent = self.tuning.frames - self.tx.nb_free_exact();
        let is_due = unsent >= self.tuning.kick_at || received == 0;
        if unsent > 0 && is_due && (!self.tuning.need_wakeup || self.tx.needs_wakeup()) {
            // Refused for now: the next turn asks again.
            let _ = self.tx.wakeup();
        }
    }
}
