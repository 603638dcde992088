//! Network namespaces for the tests of this crate: each lives in a thread that left the machine's, has no name, and is gone
//! with the thread and its sockets, also when the test is killed.
//!
//! (The lab of `tests/` has names, bridges and captures; these tests need two ends of a wire.)

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No test waits longer than this for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A network namespace and the thread that is in it.
pub struct Namespace {
    tid: i32,
    jobs: Option<Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A new one with `lo` up. Panics if not root: a test that cannot run has not passed.
    pub fn new() -> Namespace {
        let (jobs, inbox) = channel::<Box<dyn FnOnce() + Send>>();
        let (started, start) = channel();
        let thread = std::thread::spawn(move || {
            let left = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            started.send((left, nix::unistd::gettid().as_raw())).unwrap();
            inbox.iter().for_each(|job| job());
        });
        let (left, tid) = start.recv().unwrap();
        left.expect("these tests make network namespaces: run them as root");
        let namespace = Namespace { tid, jobs: Some(jobs), thread: Some(thread) };
        namespace.ip("link set lo up");
        namespace
    }

    /// Two of them with a wire: `d0` with 192.0.2.1/24 here, `r0` with 192.0.2.21/24 and MAC 02:..:21 there.
    /// The kernel's neighbour timers are shortened, so that giving up takes 0.3 s.
    pub fn pair() -> (Namespace, Namespace) {
        let (near, far) = (Namespace::new(), Namespace::new());
        near.ip(&format!("link add d0 type veth peer name r0 netns {}", far.tid));
        near.ip("link set d0 address 02:00:00:00:00:01");
        far.ip("link set r0 address 02:00:00:00:00:21");
        near.ip("address add 192.0.2.1/24 dev d0");
        far.ip("address add 192.0.2.21/24 dev r0");
        near.ip("link set d0 up");
        far.ip("link set r0 up");
        for (namespace, name) in [(&near, "d0"), (&far, "r0")] {
            namespace.wait_for(&format!("link show {name}"), "state UP");
        }
        near.sysctl("net.ipv4.neigh.d0.retrans_time_ms", "100");
        near.sysctl("net.ipv4.neigh.d0.delay_first_probe_time", "1");
        (near, far)
    }

    /// A pair with IPv6 too: 2001:db8::1/64 here, 2001:db8::21/64 there.
    pub fn pair_with_ipv6() -> (Namespace, Namespace) {
        let (near, far) = Namespace::pair();
        for (namespace, name, address) in [(&near, "d0", "2001:db8::1"), (&far, "r0", "2001:db8::21")] {
            namespace.ip(&format!("address add {address}/64 dev {name} nodad"));
            // An address is listed before it works; it works when its route is there.
            namespace.wait_for("-6 route show table local", &format!("local {address} "));
        }
        (near, far)
    }

    /// Runs `job` in the namespace and waits for it. A panic in it is a panic here.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let (done, result) = channel();
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(job)));
        });
        // SAFETY: only the lifetime changes. `recv` returns after the job ran or was dropped with its `done`, so
        // that nothing the job borrows ends before it.
        let job = unsafe {
            std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Box<dyn FnOnce() + Send + 'static>>(job)
        };
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().unwrap().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs an asynchronous test in the namespace, on a current-thread runtime as the director has.
    pub fn block_on<T: Send>(&self, test: impl AsyncFnOnce() -> T + Send) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { tokio::time::timeout(DEADLINE * 2, test()).await.expect("in time") })
        })
    }

    /// Runs a command line in the namespace (words are split at blanks) and returns what it printed.
    pub fn command(&self, line: &str) -> String {
        let line = line.to_owned();
        self.run(move || shell(&line))
    }

    /// `ip` in the namespace.
    pub fn ip(&self, arguments: &str) -> String {
        self.command(&format!("ip {arguments}"))
    }

    /// Waits until `ip` with these arguments prints `text`: what the kernel does behind its answer.
    pub fn wait_for(&self, arguments: &str, text: &str) {
        let give_up = Instant::now() + DEADLINE;
        while !self.ip(arguments).contains(text) {
            assert!(Instant::now() < give_up, "ip {arguments} never printed {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The index of an interface.
    pub fn index(&self, name: &str) -> u32 {
        self.run(|| nix::net::if_::if_nametoindex(name).unwrap())
    }

    /// Sets a kernel parameter of the namespace.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.run(|| std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// Runs a command line in the namespace of this thread.
pub fn shell(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The next event, or a panic that says what was waited for.
pub async fn next<E>(inbox: &mut tokio::sync::mpsc::UnboundedReceiver<E>, what: &str) -> E {
    match tokio::time::timeout(DEADLINE, inbox.recv()).await {
        Ok(Some(event)) => event,
        Ok(None) => panic!("the watch ended while waiting for {what}"),
        Err(_) => panic!("no event while waiting for {what}"),
    }
}

/// Waits until `fact` is true.
pub async fn until(what: &str, fact: impl Fn() -> bool) {
    let give_up = tokio::time::Instant::now() + DEADLINE;
    while !fact() {
        assert!(tokio::time::Instant::now() < give_up, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
