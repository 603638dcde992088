//! The addresses of this host, those that routers hold apart from all others, and who removed one of them.
//!
//! *Invariant*: the kernel tells every removal, in order; so a removal that was not asked for is somebody else's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::MulticastGroup;

use super::MARK;
use super::batch::Placed;
use crate::address::Address;
use crate::netlink::{Error, Netlink, Notice, Subscription, insist};

/// What tells the addresses of an interface apart, as far as we care: its index, the address, the prefix length.
type Key = (u32, IpAddr, u8);

#[derive(Debug)]
pub(super) struct Table {
    subscription: Subscription,
    there: BTreeMap<Key, Entry>,
    held: HashSet<Key>,
    /// Removals that we asked for and the kernel has not told yet.
    removing: HashMap<Key, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: Address,
    marked: bool,
}

/// What a notification means.
#[derive(Debug)]
pub(super) enum Change {
    /// The host's own addresses are others now.
    Host(Arc<Vec<Address>>),
    /// Addresses that are held were removed by somebody else.
    Lost(Vec<(u32, IpAddr)>),
    /// Nothing to anybody.
    None,
}

impl Table {
    pub(super) async fn open(netlink: &Netlink) -> Result<Table, Error> {
        // Subscribed before the dump: a change in between is heard, and seen twice does no harm.
        let subscription = Subscription::open(&[MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr])
            .map_err(|source| Error { call: "subscribe to address changes".into(), source })?;
        let there = dump(netlink).await?;
        Ok(Table { subscription, there, held: HashSet::new(), removing: HashMap::new() })
    }

    /// The host's own addresses: without those that routers hold.
    pub(super) fn view(&self) -> Arc<Vec<Address>> {
        let own = |(key, entry): (&Key, &Entry)| (!self.is_virtual(key, entry)).then_some(entry.address);
        Arc::new(self.there.iter().filter_map(own).collect())
    }

    /// Those with the mark of virtual addresses, as they were when notifications were last read.
    pub(super) fn marked(&self) -> impl Iterator<Item = Placed> {
        self.there
            .values()
            .filter(|entry| entry.marked)
            .map(|entry| Placed::found(&entry.address, "its interface"))
    }

    /// These are held from now on, and no others. Told before they are added, or removed.
    pub(super) fn holding<'a>(&mut self, held: impl Iterator<Item = &'a Placed>) {
        self.held = held.map(key).collect();
    }

    /// We ask the kernel to remove these.
    pub(super) fn removing(&mut self, unwanted: &[Placed]) {
        for placed in unwanted {
            *self.removing.entry(key(placed)).or_default() += 1;
        }
    }

    /// The kernel did not remove this one.
    pub(super) fn kept(&mut self, placed: &Placed) {
        self.was_asked_for(&key(placed));
    }

    /// The next change. Cancel-safe.
    pub(super) async fn next(&mut self, netlink: &Netlink) -> Change {
        match self.subscription.next().await {
            Notice::Message(RouteNetlinkMessage::NewAddress(message)) => match parse(&message) {
                Some((key, entry)) => {
                    let before = self.there.insert(key, entry).map(|entry| entry.address);
                    self.host_changed(before != Some(entry.address) && !self.is_virtual(&key, &entry))
                }
                None => Change::None,
            },
            Notice::Message(RouteNetlinkMessage::DelAddress(message)) => match parse(&message) {
                Some((key, entry)) => {
                    self.there.remove(&key);
                    match (self.was_asked_for(&key), self.held.contains(&key)) {
                        (false, true) => Change::Lost(vec![(key.0, key.1)]),
                        (true, _) => Change::None,
                        (false, false) => self.host_changed(!entry.marked),
                    }
                }
                None => Change::None,
            },
            Notice::Message(_) => Change::None,
            Notice::Overrun => {
                self.there = insist(|| dump(netlink)).await;
                self.removing.clear();
                let lost: Vec<(u32, IpAddr)> = self
                    .held
                    .iter()
                    .filter(|key| !self.there.contains_key(key))
                    .map(|key| (key.0, key.1))
                    .collect();
                if lost.is_empty() { self.host_changed(true) } else { Change::Lost(lost) }
            }
        }
    }

    fn host_changed(&self, changed: bool) -> Change {
        if changed { Change::Host(self.view()) } else { Change::None }
    }

    fn is_virtual(&self, key: &Key, entry: &Entry) -> bool {
        entry.marked || self.held.contains(key)
    }

    fn was_asked_for(&mut self, key: &Key) -> bool {
        let Some(count) = self.removing.get_mut(key) else { return false };
        *count -= 1;
        if *count == 0 {
            self.removing.remove(key);
        }
        true
    }
}

async fn dump(netlink: &Netlink) -> Result<BTreeMap<Key, Entry>, Error> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answers = netlink.dump(request, || "RTM_GETADDR (ip address show)".into()).await?;
    Ok(answers
        .iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => parse(message),
            _ => None,
        })
        .collect())
}

fn parse(message: &AddressMessage) -> Option<(Key, Entry)> {
    let address = Address::parse(message)?;
    let mark = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Protocol(protocol) if u8::from(*protocol) == MARK);
    let marked = message.attributes.iter().any(mark);
    Some(((address.index, address.address, address.prefix_len), Entry { address, marked }))
}

fn key(placed: &Placed) -> Key {
    (placed.index, placed.place.address, placed.place.prefix_len)
}
