//! Asks the kernel for the wanted neighbours and hears its answers.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::table::{Observation, Table};
use super::{Event, NeighborKey, NeighborView};
use crate::netlink::{Error, Netlink, Notice, Subscription, insist};

/// Sleeps no longer than this when nothing is wanted; any value does.
const IDLE: Duration = Duration::from_secs(60);

/// The wanted neighbours, kept current by a task until it is dropped.
#[derive(Debug)]
pub struct NeighborWatch {
    view: Arc<Mutex<Arc<NeighborView>>>,
    commands: UnboundedSender<Command>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Command {
    Want(BTreeSet<NeighborKey>),
    Revalidate(NeighborKey),
    RevalidateAll,
}

impl NeighborWatch {
    /// Watches, and wants nobody yet; events go to `events` as long as someone listens.
    pub fn start<E>(netlink: &Netlink, events: UnboundedSender<E>) -> Result<NeighborWatch, Error>
    where
        E: From<Event> + Send + 'static,
    {
        let subscription = Subscription::open(&[MulticastGroup::Neigh])
            .map_err(|source| Error { call: "subscribe to neighbour changes".into(), source })?;
        let view = Arc::default();
        let (commands, inbox) = unbounded_channel();
        let state =
            State { netlink: netlink.clone(), table: Table::default(), view: Arc::clone(&view), events };
        let task = tokio::spawn(state.run(subscription, inbox));
        Ok(NeighborWatch { view, commands, task })
    }

    /// Replaces the set of wanted neighbours; what is known of those that stay is kept.
    pub fn want(&self, wanted: impl IntoIterator<Item = NeighborKey>) {
        self.send(Command::Want(wanted.into_iter().collect()));
    }

    /// Makes the kernel ask a neighbour now whether it is still there, whatever it believes: it has failed or
    /// is confirmed some 3 s later. For a real server whose health check fails.
    pub fn revalidate(&self, key: NeighborKey) {
        self.send(Command::Revalidate(key));
    }

    /// As [`NeighborWatch::revalidate`], of all that are wanted: a link was down, and they were asked in vain.
    pub fn revalidate_all(&self) {
        self.send(Command::RevalidateAll);
    }

    /// What is known now.
    pub fn view(&self) -> Arc<NeighborView> {
        self.view.lock().expect("no holder of this lock panics").clone()
    }

    fn send(&self, command: Command) {
        // The task ends only with this struct, or with the runtime.
        let _ = self.commands.send(command);
    }
}

impl Drop for NeighborWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State<E> {
    netlink: Netlink,
    table: Table,
    view: Arc<Mutex<Arc<NeighborView>>>,
    events: UnboundedSender<E>,
}

impl<E: From<Event>> State<E> {
    async fn run(mut self, mut subscription: Subscription, mut inbox: UnboundedReceiver<Command>) {
        loop {
            let due = self.table.next_due().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                // In this order: what was announced before a failure is believed must be heard before.
                biased;
                command = inbox.recv() => match command {
                    Some(Command::Want(wanted)) => {
                        let new = self.table.want(&wanted, Instant::now());
                        self.publish([]);
                        if !new.is_empty() {
                            self.forget_unconfirmed(&new).await;
                            self.read_table().await;
                        }
                    }
                    Some(Command::Revalidate(key)) => self.revalidate(key).await,
                    Some(Command::RevalidateAll) => {
                        for key in self.table.wanted() {
                            self.revalidate(key).await;
                        }
                    }
                    None => return,
                },
                notice = subscription.next() => match notice {
                    Notice::Message(message) => {
                        if let Some((key, seen)) = observation(&message) {
                            let event = self.table.observe(key, seen, Instant::now());
                            self.publish(event);
                        }
                    }
                    Notice::Overrun => self.read_table().await,
                },
                () = tokio::time::sleep_until(due.into()) => {
                    let failed = self.table.believe(Instant::now());
                    self.publish(failed);
                    for key in self.table.take_due(Instant::now()) {
                        self.solicit(key).await;
                    }
                }
            }
        }
    }

    /// First the view, then the events: whoever reads the view on an event sees at least that event.
    fn publish(&mut self, events: impl IntoIterator<Item = Event>) {
        *self.view.lock().expect("no holder of this lock panics") = self.table.view();
        for event in events {
            // Nobody listens any more: the view is still kept.
            let _ = self.events.send(event.into());
        }
    }

    /// Deletes the kernel's entries for these that nobody has confirmed lately, so that they are asked for anew: a
    /// MAC address that was right some time ago may be another machine's by now, and the kernel would go on
    /// believing it for 5 s (`NUD_DELAY`) and 3 probes more.
    async fn forget_unconfirmed(&self, keys: &BTreeSet<NeighborKey>) {
        let netlink = self.netlink.clone();
        for entry in insist(|| entries(&netlink)).await {
            let RouteNetlinkMessage::NewNeighbour(entry) = entry else { continue };
            let unconfirmed = matches!(
                entry.header.state,
                NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe
            );
            let about = observation(&RouteNetlinkMessage::NewNeighbour(entry)).map(|(key, _)| key);
            if let Some(key) = about.filter(|key| unconfirmed && keys.contains(key)) {
                let call = || format!("RTM_DELNEIGH {} on interface {}", key.address, key.index);
                let request = RouteNetlinkMessage::DelNeighbour(message(key, NeighbourState::None));
                if let Err(error) = netlink.change(request, 0, call).await {
                    tracing::debug!(%error, "cannot forget a neighbour");
                }
            }
        }
    }

    async fn read_table(&mut self) {
        let netlink = self.netlink.clone();
        let seen = insist(|| dump(&netlink)).await;
        let events = self.table.replace(&seen, Instant::now());
        self.publish(events);
    }

    /// Uses the entry as a packet would, and makes it if there is none.
    async fn solicit(&mut self, key: NeighborKey) {
        // No state: an entry must age like any other. No lock against the garbage collector either.
        let mut message = message(key, NeighbourState::None);
        message.header.flags = NeighbourFlags::Use;
        let call = || format!("RTM_NEWNEIGH use {} on interface {}", key.address, key.index);
        let request = RouteNetlinkMessage::NewNeighbour(message);
        if let Err(error) = self.netlink.change(request, NLM_F_CREATE, call).await {
            // The interface is gone, or the table full: without an entry nobody will ever answer.
            tracing::debug!(%error, "cannot solicit a neighbour");
            if self.view().mac(key).is_none() {
                let event = self.table.observe(key, Observation::Failed, Instant::now());
                self.publish(event);
            }
        }
    }

    async fn revalidate(&mut self, key: NeighborKey) {
        match self.table.last(key) {
            None | Some(Observation::Fixed(_)) => {}
            Some(Observation::Valid(_)) => {
                let call = || format!("RTM_NEWNEIGH probe {} on interface {}", key.address, key.index);
                let request = RouteNetlinkMessage::NewNeighbour(message(key, NeighbourState::Probe));
                // Without NLM_F_CREATE: if it disappeared meanwhile the watch asks for it anyhow.
                if let Err(error) = self.netlink.change(request, NLM_F_REPLACE, call).await {
                    tracing::debug!(%error, "cannot probe a neighbour");
                }
            }
            Some(Observation::Incomplete | Observation::Failed | Observation::Missing) => {
                self.solicit(key).await;
            }
        }
    }

    fn view(&self) -> Arc<NeighborView> {
        self.table.view()
    }
}

async fn dump(netlink: &Netlink) -> Result<HashMap<NeighborKey, Observation>, Error> {
    Ok(entries(netlink).await?.iter().filter_map(observation).collect())
}

async fn entries(netlink: &Netlink) -> Result<Vec<RouteNetlinkMessage>, Error> {
    let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    netlink.dump(request, || "RTM_GETNEIGH (ip neighbour show)".into()).await
}

fn message(key: NeighborKey, state: NeighbourState) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match key.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = key.index;
    message.header.state = state;
    message.attributes.push(NeighbourAttribute::Destination(key.address.into()));
    message
}

/// What a message says about which neighbour; `None` if it is about something else.
fn observation(message: &RouteNetlinkMessage) -> Option<(NeighborKey, Observation)> {
    let (message, deleted) = match message {
        RouteNetlinkMessage::NewNeighbour(message) => (message, false),
        RouteNetlinkMessage::DelNeighbour(message) => (message, true),
        _ => return None,
    };
    // Entries of a bridge's forwarding database and proxy entries come the same way.
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => address = Some(IpAddr::V6(*a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    let key = NeighborKey { index: message.header.ifindex, address: address? };
    let seen = match (message.header.state, mac) {
        _ if deleted => Observation::Missing,
        (NeighbourState::Failed, _) => Observation::Failed,
        (NeighbourState::Permanent | NeighbourState::Noarp, Some(mac)) => Observation::Fixed(mac),
        (
            NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe,
            Some(mac),
        ) => Observation::Valid(mac),
        (NeighbourState::None, _) => Observation::Missing,
        _ => Observation::Incomplete,
    };
    Some((key, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn seen(state: NeighbourState, mac: &[u8]) -> Option<Observation> {
        let key = NeighborKey { index: 2, address: [192, 0, 2, 21].into() };
        let mut message = message(key, state);
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        let (about, seen) = observation(&RouteNetlinkMessage::NewNeighbour(message))?;
        assert_eq!(about, key);
        Some(seen)
    }

    #[test]
    fn every_state_with_a_usable_mac_counts_as_valid() {
        for state in
            [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay, NeighbourState::Probe]
        {
            assert_eq!(seen(state, &MAC), Some(Observation::Valid(MAC)));
        }
        assert_eq!(seen(NeighbourState::Permanent, &MAC), Some(Observation::Fixed(MAC)));
    }

    #[test]
    fn a_failed_entry_is_failed_though_the_kernel_still_shows_the_old_mac() {
        assert_eq!(seen(NeighbourState::Failed, &MAC), Some(Observation::Failed));
        assert_eq!(seen(NeighbourState::Incomplete, &MAC), Some(Observation::Incomplete));
    }

    #[test]
    fn an_address_that_is_no_mac_resolves_nothing() {
        assert_eq!(seen(NeighbourState::Reachable, &[1, 2, 3, 4]), Some(Observation::Incomplete));
    }

    #[test]
    fn an_entry_of_a_forwarding_database_is_not_a_neighbour() {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(MAC.to_vec()));
        assert_eq!(observation(&RouteNetlinkMessage::NewNeighbour(message)), None);
    }
}
