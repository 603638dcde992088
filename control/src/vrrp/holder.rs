//! What the kernel may keep one waiting for: it does under its RTNL lock, which others hold for as long as they like, and the
//! clock of VRRP must not stand still meanwhile. So a thread of its own adds and removes the virtual addresses, makes
//! virtual MACs, opens and closes sockets (groups are joined and left under that lock), and watches links and addresses.
//! Nothing is decided here.
//!
//! *Invariants*
//! - requests are done in order, and each ticket is answered when its addresses are, or are refused;
//! - an address of ours that goes without our doing is told; one that goes with its link, or by us, is not;
//! - when the other end of the requests is gone, whatever way, all addresses are taken off and the thread ends.
//!
//! Follows rtnetlink(7) RTM_NEWADDR, `IFA_PROTO` in `include/uapi/linux/if_addr.h`.

mod batch;
mod group;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::Socket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::seat::{self, Place, Vmacs};
use super::vmac;
use super::wire::{Opened, Port};
use crate::address::{Address, addresses};
use crate::link::{self, Link, LinkWatch};
use crate::model::Vrrp;
use crate::netlink::{Error, Netlink};
use crate::rights;
use batch::Placed;
use table::{Change, Table};

/// `IFA_PROTO` of virtual addresses, the letter `v`: `ip address show proto 0x76` lists them.
pub const MARK: u8 = 0x76;

/// What could not be done for want of something that no notification tells of is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);

/// What is asked of the thread.
#[derive(Debug)]
pub(super) enum Request {
    /// Another configuration: other sockets and virtual MACs.
    Configure(Arc<Vrrp>),
    /// A router holds these, and no others.
    Hold {
        /// Its name.
        router: String,
        /// What it holds.
        places: Vec<Place>,
        /// Answered with [`Report::Done`].
        ticket: u64,
    },
    /// A router holds nothing.
    Release {
        /// Its name.
        router: String,
        /// Answered with [`Report::Done`].
        ticket: u64,
    },
    /// Of routers that hold nothing: what they would hold must not be there, whoever put it there.
    Sweep(Vec<(String, Vec<Place>)>),
    /// A socket that is not needed any more.
    Close(Socket),
}

/// What the thread has to say.
#[derive(Debug)]
pub(super) enum Report {
    /// All links, and what changed since the last report.
    Links(Arc<BTreeMap<u32, Link>>, Vec<link::Event>),
    /// All addresses of the host but those that routers hold.
    Addresses(Arc<Vec<Address>>),
    /// The interfaces of virtual MACs.
    Vmacs(Vmacs),
    /// A socket, in place of one for the same interface and family.
    Opened(Opened),
    /// A socket that is not needed any more, or whose interface is gone.
    Closed(Port),
    /// All up to this ticket is done, or was refused and said so.
    Done(u64),
    /// Somebody removed an address that a router holds.
    Lost {
        /// Name of the router.
        router: String,
        /// The address.
        address: IpAddr,
    },
}

/// The thread, and the way to it.
#[derive(Debug)]
pub(super) struct Holder {
    requests: UnboundedSender<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    /// Starts the thread; it begins with reports of links and addresses.
    pub(super) fn start() -> Result<(Holder, UnboundedReceiver<Report>), Error> {
        let (requests, inbox) = unbounded_channel();
        let (reports, outbox) = unbounded_channel();
        let (begun, begin) = std::sync::mpsc::channel();
        let run = move || {
            let runtime = rights::keep(rights::HOLDER)
                .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(source) => return drop(begun.send(Err(failed("set up a thread", source)))),
            };
            runtime.block_on(async {
                match Work::begin(reports).await {
                    Ok((work, links)) => {
                        let _ = begun.send(Ok(()));
                        work.run(inbox, links).await;
                    }
                    Err(error) => drop(begun.send(Err(error))),
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("shunt-vrrp-hold".into())
            .spawn(run)
            .map_err(|source| failed("start a thread", source))?;
        match begin.recv() {
            Ok(begun) => begun?,
            Err(_) => return Err(failed("start a thread", io::Error::other("it ended"))),
        }
        Ok((Holder { requests, thread: Some(thread) }, outbox))
    }

    /// Asks for something. Waits for nothing.
    pub(super) fn ask(&self, request: Request) {
        // It ends before us only by a panic, which the end of its reports tells.
        let _ = self.requests.send(request);
    }
}

impl Drop for Holder {
    /// Has everything taken off, and waits for it.
    fn drop(&mut self) {
        self.requests = unbounded_channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    netlink: Netlink,
    links: LinkWatch,
    table: Table,
    reports: UnboundedSender<Report>,
    vrrp: Arc<Vrrp>,
    /// Of each router that holds addresses, by name.
    held: BTreeMap<String, Vec<Placed>>,
    /// Sockets that are open, and the index of their interface.
    open: BTreeMap<Port, u32>,
    /// Indices of the interfaces of virtual MACs that are there, and their names by router.
    vmacs: BTreeSet<u32>,
    vmac_names: Vmacs,
    /// Failures that were told, by what they are about, so that each is told once.
    told: BTreeMap<String, String>,
    configured: bool,
}

impl Work {
    async fn begin(
        reports: UnboundedSender<Report>,
    ) -> Result<(Work, UnboundedReceiver<link::Event>), Error> {
        let netlink = Netlink::open().map_err(|source| failed("open a netlink socket", source))?;
        let (events, link_events) = unbounded_channel();
        let links = LinkWatch::start(&netlink, events).await?;
        let table = Table::open(&netlink).await?;
        let _ = reports.send(Report::Links(links.view(), Vec::new()));
        let _ = reports.send(Report::Addresses(table.view()));
        let work = Work {
            netlink,
            links,
            table,
            reports,
            vrrp: Arc::default(),
            held: BTreeMap::new(),
            open: BTreeMap::new(),
            vmacs: BTreeSet::new(),
            vmac_names: Vmacs::new(),
            told: BTreeMap::new(),
            configured: false,
        };
        Ok((work, link_events))
    }

    async fn run(
        mut self,
        mut requests: UnboundedReceiver<Request>,
        mut links: UnboundedReceiver<link::Event>,
    ) {
        loop {
            tokio::select! {
                biased;
                event = links.recv() => {
                    let mut events: Vec<link::Event> = event.into_iter().collect();
                    events.extend(std::iter::from_fn(|| links.try_recv().ok()));
                    self.links_changed(events).await;
                }
                request = requests.recv() => match request {
                    Some(request) => self.do_request(request).await,
                    None => break,
                },
                change = self.table.next(&self.netlink) => self.address_changed(change).await,
                () = tokio::time::sleep(AGAIN), if !self.told.is_empty() => self.furnish().await,
            }
        }
        self.leave().await;
    }

    async fn do_request(&mut self, request: Request) {
        match request {
            Request::Configure(vrrp) => {
                self.vrrp = vrrp;
                self.furnish().await;
                if !self.configured {
                    self.configured = true;
                    self.remove_leftovers().await;
                }
            }
            Request::Hold { router, places, ticket } => {
                self.hold(&router, places).await;
                let _ = self.reports.send(Report::Done(ticket));
            }
            Request::Release { router, ticket } => {
                self.release(&router).await;
                let _ = self.reports.send(Report::Done(ticket));
            }
            Request::Sweep(routers) => self.sweep(routers).await,
            Request::Close(socket) => drop(socket),
        }
    }

    async fn hold(&mut self, router: &str, places: Vec<Place>) {
        let mut wanted = Vec::with_capacity(places.len());
        for place in places {
            match self.links.named(&place.interface) {
                Some(link) => wanted.push(Placed { index: link.index, place }),
                None => tracing::warn!(
                    "({router}) {} cannot be added: there is no interface {}; it is added when there is",
                    place.address,
                    place.interface
                ),
            }
        }
        let before = self.held.insert(router.to_owned(), wanted.clone()).unwrap_or_default();
        let gone: Vec<Placed> = before.into_iter().filter(|placed| !wanted.contains(placed)).collect();
        self.remove(router, &gone).await;
        self.table.holding(self.held.values().flatten());
        for (placed, error) in batch::add(&self.netlink, &wanted).await {
            tracing::error!(
                "({router}) {} is not held: {error}; {}",
                placed.place.address,
                batch::remedy(&error)
            );
        }
    }

    async fn release(&mut self, router: &str) {
        let unwanted = self.held.remove(router).unwrap_or_default();
        self.table.holding(self.held.values().flatten());
        self.remove(router, &unwanted).await;
    }

    async fn sweep(&mut self, routers: Vec<(String, Vec<Place>)>) {
        // Afresh: what was added a moment ago is there, whether its notification was read or not.
        let there = match addresses(&self.netlink).await {
            Ok(there) => there,
            Err(error) => {
                return tracing::warn!(%error, "cannot see whether virtual addresses are there already");
            }
        };
        let mut of: BTreeMap<(u32, IpAddr), Vec<Address>> = BTreeMap::new();
        for address in there {
            of.entry((address.index, address.address)).or_default().push(address);
        }
        for (router, places) in routers {
            let mut unwanted = Vec::new();
            for place in places {
                let Some(link) = self.links.named(&place.interface) else { continue };
                // Any prefix: a host that has the address answers for it, however many neighbours it thinks it has.
                for there in of.get(&(link.index, place.address)).into_iter().flatten() {
                    tracing::info!(
                        "({router}) {}/{} is on {} already; removing it until this node is active",
                        there.address,
                        there.prefix_len,
                        place.interface
                    );
                    unwanted.push(Placed::found(there, &place.interface));
                }
            }
            self.remove(&router, &unwanted).await;
        }
    }

    /// Removes those that no router holds: two with other peers may have one address.
    async fn remove(&mut self, router: &str, unwanted: &[Placed]) {
        let held: Vec<Placed> = self.held.values().flatten().cloned().collect();
        let unwanted: Vec<Placed> =
            unwanted.iter().filter(|placed| !held.iter().any(|held| held.is(placed))).cloned().collect();
        self.table.removing(&unwanted);
        for (placed, error) in batch::remove(&self.netlink, &unwanted).await {
            self.table.kept(placed);
            // Gone before us, with its interface or by hand: as it should be.
            if !matches!(error.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) {
                tracing::error!("({router}) {} stays: {error}; remove it by hand", placed.place.address);
            }
        }
        // With the first address of an IPv4 subnet the kernel removes the others of it (unless promote_secondaries is set).
        let took_others = |held: &Placed| {
            unwanted.iter().any(|gone| gone.index == held.index && gone.place.prefix_len < 32)
                && held.place.address.is_ipv4()
                && held.place.prefix_len < 32
        };
        let others: Vec<Placed> = held.into_iter().filter(took_others).collect();
        for (placed, error) in batch::add(&self.netlink, &others).await {
            tracing::error!(
                "{} is not held any more: {error}; {}",
                placed.place.address,
                batch::remedy(&error)
            );
        }
    }

    /// What a killed shunt left on the interfaces of this configuration for routers that it has no more.
    async fn remove_leftovers(&mut self) {
        let interfaces: BTreeSet<u32> = self
            .vrrp
            .routers
            .iter()
            .flat_map(|router| seat::places(router, &self.vmac_names))
            .filter_map(|place| Some(self.links.named(&place.interface)?.index))
            .collect();
        let left: Vec<Placed> =
            self.table.marked().filter(|placed| interfaces.contains(&placed.index)).collect();
        for placed in &left {
            tracing::info!("{} was left by a shunt that was killed; removing it", placed.place.address);
        }
        self.remove("leftover", &left).await;
        let kept: Vec<u32> = self.vmacs.iter().copied().collect();
        if let Err(error) = vmac::remove_leftovers(&self.netlink, &kept).await {
            tracing::warn!(%error, "the interface of a virtual MAC that a killed shunt left stays; remove it by hand");
        }
    }

    async fn remove_vmacs(&mut self, kept: BTreeSet<u32>) {
        for index in self.vmacs.difference(&kept) {
            if let Err(error) = vmac::remove(&self.netlink, *index).await {
                tracing::warn!(%error, "the interface of a virtual MAC stays; remove it by hand");
            }
        }
        self.vmacs = kept;
    }

    async fn links_changed(&mut self, events: Vec<link::Event>) {
        self.furnish().await;
        let _ = self.reports.send(Report::Links(self.links.view(), events));
    }

    async fn address_changed(&mut self, change: Change) {
        match change {
            Change::Host(addresses) => drop(self.reports.send(Report::Addresses(addresses))),
            Change::Lost(lost) => self.lost(lost).await,
            Change::None => {}
        }
    }

    async fn lost(&mut self, lost: Vec<(u32, IpAddr)>) {
        // The notification may be older than our own addition: only what is missing now was taken from us.
        let there = match addresses(&self.netlink).await {
            Ok(there) => there,
            Err(error) => return tracing::warn!(%error, "cannot see whether virtual addresses were removed"),
        };
        for (index, address) in lost {
            let is_there = there.iter().any(|there| (there.index, there.address) == (index, address));
            // It went with its link, and comes back with it; the link itself is told.
            if is_there || !is_up(&self.links, index) {
                continue;
            }
            let holds = |held: &[Placed]| {
                held.iter().any(|held| (held.index, held.place.address) == (index, address))
            };
            for (router, _) in self.held.iter().filter(|(_, held)| holds(held)) {
                let _ = self.reports.send(Report::Lost { router: router.clone(), address });
            }
        }
    }

    /// Makes what the configuration needs and the links allow: virtual MACs, then sockets.
    async fn furnish(&mut self) {
        self.make_vmacs().await;
        let mut wanted = seat::ports(&self.vrrp, &self.vmac_names);
        wanted.retain(|port| self.links.named(&port.interface).is_some());
        let is_kept = |open: &Port| {
            wanted.iter().any(|port| (&port.interface, port.ipv6) == (&open.interface, open.ipv6))
        };
        let gone: Vec<(Port, u32)> = self.open.extract_if(.., |port, _| !wanted.contains(port)).collect();
        for (port, index) in gone {
            group::forget(&self.netlink, &port, index).await;
            // Another for the same takes its place, and the router is never without.
            if !is_kept(&port) {
                let _ = self.reports.send(Report::Closed(port));
            }
        }
        for port in wanted {
            let Some(link) = self.links.named(&port.interface) else { continue };
            // Each time: with the link they go.
            self.fix_groups(&port, &link).await;
            if self.open.get(&port) == Some(&link.index) {
                continue;
            }
            let about = format!("socket of {} ({})", port.interface, if port.ipv6 { "IPv6" } else { "IPv4" });
            match Opened::open(&port, link.index) {
                Ok(opened) => {
                    self.told.remove(&about);
                    self.open.insert(port, link.index);
                    let _ = self.reports.send(Report::Opened(opened));
                }
                Err(error) => self.tell(
                    about,
                    format!(
                        "no adverts on {}: cannot open a raw socket for {}: {error}; trying again (it needs CAP_NET_RAW{})",
                        port.interface,
                        if port.ipv6 { "IPv6" } else { "IPv4" },
                        if port.ipv6 { format!(", and net.ipv6.conf.{}.disable_ipv6 = 0", port.interface) } else { String::new() }
                    ),
                ),
            }
        }
    }

    async fn fix_groups(&mut self, port: &Port, link: &Link) {
        let about = format!("groups of {} ({})", port.interface, if port.ipv6 { "IPv6" } else { "IPv4" });
        match group::fix(&self.netlink, port, link.index).await {
            Ok(()) => drop(self.told.remove(&about)),
            Err(error) => self.tell(
                about,
                format!(
                    "adverts on {} stop when the kernel's neighbour table is full: {error}; trying again",
                    port.interface
                ),
            ),
        }
    }

    async fn make_vmacs(&mut self) {
        let vrrp = Arc::clone(&self.vrrp);
        let (mut kept, mut names) = (BTreeSet::new(), Vmacs::new());
        for router in vrrp.routers.iter().filter(|router| router.vmac.is_some()) {
            let Some(base) = self.links.named(&router.interface) else { continue };
            let about = format!("virtual MAC of {}", router.name);
            match vmac::ensure(&self.netlink, router, &base).await {
                Ok(link) => {
                    self.told.remove(&about);
                    kept.insert(link.index);
                    names.insert(router.name.clone(), link.name);
                }
                Err(error) => self.tell(
                    about,
                    format!(
                        "({}) no virtual MAC on {}: {error}; trying again",
                        router.name, router.interface
                    ),
                ),
            }
        }
        self.remove_vmacs(kept).await;
        if self.vmac_names != names {
            self.vmac_names = names;
            let _ = self.reports.send(Report::Vmacs(self.vmac_names.clone()));
        }
    }

    fn tell(&mut self, about: String, text: String) {
        if self.told.get(&about) != Some(&text) {
            tracing::warn!("{text}");
            self.told.insert(about, text);
        }
    }

    /// The end.
    async fn leave(mut self) {
        for router in self.held.keys().cloned().collect::<Vec<_>>() {
            self.release(&router).await;
        }
        for (port, index) in &self.open {
            group::forget(&self.netlink, port, *index).await;
        }
        self.remove_vmacs(BTreeSet::new()).await;
    }
}

/// Whether the administrator's switch of an interface is on at this moment: addresses of IPv6 go before a notification
/// says that it is not.
fn is_up(links: &LinkWatch, index: u32) -> bool {
    links
        .view()
        .get(&index)
        .is_some_and(|link| flags(&link.name).is_ok_and(|flags| flags & libc::IFF_UP != 0))
}

fn flags(interface: &str) -> io::Result<i32> {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: a structure of integers and arrays of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    // SAFETY: the request is what this call takes, and lives through it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded: the kernel has written the flags.
    Ok(unsafe { request.ifr_ifru.ifru_flags }.into())
}

fn failed(call: &str, source: io::Error) -> Error {
    Error { call: call.into(), source }
}
