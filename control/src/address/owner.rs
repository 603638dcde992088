//! Holds the VIPs: puts those that are wanted and missing on their interfaces, takes over what an earlier shunt left,
//! and gives back what is not wanted any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::{Address, Vip, add, addresses, remove};
use crate::netlink::{Error, Netlink, Notice, Subscription, insist};

/// How a VIP came to be on its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Put there by this process; removed on release.
    Added,
    /// Left there by an earlier shunt; removed on release.
    Adopted,
    /// Put there by somebody else; never removed.
    Found,
}

/// What became of one wanted VIP.
#[derive(Debug)]
pub struct Claim {
    /// The VIP.
    pub vip: Vip,
    /// How it is owned, or why it is not there.
    pub outcome: Result<Ownership, Error>,
}

/// Something that happened to the VIPs behind our back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A VIP that was claimed is not on its interface any more; claim again to have it back.
    Removed(Vip),
}

/// The VIPs this process holds. Dropping it removes nothing: [`VipOwner::release_all`] does.
#[derive(Debug)]
pub struct VipOwner {
    netlink: Netlink,
    held: Held,
    /// Whether the kernel remembers our mark, as far as we know: it does since 5.18.
    marks: bool,
    watch: JoinHandle<()>,
}

type Held = Arc<Mutex<BTreeMap<Vip, Ownership>>>;

impl VipOwner {
    /// Holds nothing yet, and watches what it will hold.
    pub fn start<E>(netlink: &Netlink, events: UnboundedSender<E>) -> Result<VipOwner, Error>
    where
        E: From<Event> + Send + 'static,
    {
        let subscription = Subscription::open(&[MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr])
            .map_err(|source| Error { call: "subscribe to address changes".into(), source })?;
        let held = Held::default();
        let watch = tokio::spawn(watch(netlink.clone(), subscription, held.clone(), events));
        Ok(VipOwner { netlink: netlink.clone(), held, marks: true, watch })
    }

    /// Makes `wanted` the VIPs on `interfaces` (the director's): removes those of ours that are not wanted, adds
    /// those that are missing. One claim is returned for each wanted VIP, in order.
    pub async fn claim(&mut self, interfaces: &[u32], wanted: &[Vip]) -> Result<Vec<Claim>, Error> {
        let before = addresses(&self.netlink).await?;
        self.remove_unwanted(interfaces, wanted, &before).await;

        let mut claims = Vec::with_capacity(wanted.len());
        for &vip in wanted {
            let outcome = self.claim_one(vip, &before).await;
            claims.push(Claim { vip, outcome });
        }
        if let Some(added) = claims.iter().find(|claim| matches!(claim.outcome, Ok(Ownership::Added))) {
            // An old kernel takes the mark and forgets it.
            self.marks = is_marked(added.vip, &addresses(&self.netlink).await?);
        }
        Ok(claims)
    }

    /// Removes every VIP that shunt put there. The first failure is returned; the others are still removed.
    pub async fn release_all(&mut self) -> Result<(), Error> {
        let now = addresses(&self.netlink).await?;
        let held = std::mem::take(&mut *self.lock());
        let mut first = Ok(());
        for (vip, ownership) in held {
            if self.is_ours(vip, Some(ownership), &now) {
                first = first.and(remove(&self.netlink, vip).await);
            }
        }
        first
    }

    /// What is held, and how.
    pub fn held(&self) -> Vec<(Vip, Ownership)> {
        self.lock().iter().map(|(vip, ownership)| (*vip, *ownership)).collect()
    }

    async fn remove_unwanted(&self, interfaces: &[u32], wanted: &[Vip], before: &[Address]) {
        let dropped: Vec<(Vip, Ownership)> =
            self.lock().extract_if(.., |vip, _| !wanted.contains(vip)).collect();
        let held =
            dropped.into_iter().filter(|(vip, ownership)| self.is_ours(*vip, Some(*ownership), before));
        let left = before
            .iter()
            .filter(|address| address.marked && interfaces.contains(&address.index))
            .map(|address| Vip { index: address.index, address: address.address })
            .filter(|vip| !wanted.contains(vip));
        for vip in held.map(|(vip, _)| vip).chain(left) {
            // It stays until the next start then: worth a warning, not worth refusing a configuration.
            if let Err(error) = remove(&self.netlink, vip).await {
                tracing::warn!(%error, "an address that is not wanted any more stays");
            }
        }
    }

    async fn claim_one(&self, vip: Vip, before: &[Address]) -> Result<Ownership, Error> {
        let held = self.lock().get(&vip).copied();
        let there = before.iter().any(|address| address.is(vip));
        let ownership = match (there, held) {
            (true, Some(Ownership::Added)) if self.is_ours(vip, held, before) => Ownership::Added,
            (true, _) if is_marked(vip, before) => Ownership::Adopted,
            (true, _) => Ownership::Found,
            (false, _) => match add(&self.netlink, vip).await {
                Ok(()) => Ownership::Added,
                // Somebody was faster; whose it is the kernel's mark says.
                Err(error) if error.errno() == Some(libc::EEXIST) => {
                    match is_marked(vip, &addresses(&self.netlink).await?) {
                        true => Ownership::Adopted,
                        false => Ownership::Found,
                    }
                }
                Err(error) => {
                    self.lock().remove(&vip);
                    return Err(error);
                }
            },
        };
        self.lock().insert(vip, ownership);
        Ok(ownership)
    }

    /// Whether we may remove it. Where the kernel keeps marks the mark alone decides: somebody may have replaced
    /// our address by their own.
    fn is_ours(&self, vip: Vip, ownership: Option<Ownership>, now: &[Address]) -> bool {
        is_marked(vip, now) || (!self.marks && ownership == Some(Ownership::Added))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vip, Ownership>> {
        self.held.lock().expect("no holder of this lock panics")
    }
}

impl Drop for VipOwner {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Address {
    fn is(&self, vip: Vip) -> bool {
        (self.index, self.address) == (vip.index, vip.address)
    }
}

fn is_marked(vip: Vip, addresses: &[Address]) -> bool {
    addresses.iter().any(|address| address.is(vip) && address.marked)
}

async fn watch<E: From<Event>>(
    netlink: Netlink,
    mut subscription: Subscription,
    held: Held,
    events: UnboundedSender<E>,
) {
    loop {
        let suspects: Vec<Vip> = match subscription.next().await {
            Notice::Message(RouteNetlinkMessage::DelAddress(message)) => {
                let Some(gone) = Address::parse(&message) else { continue };
                let vip = Vip { index: gone.index, address: gone.address };
                let held = held.lock().expect("no holder of this lock panics");
                held.contains_key(&vip).then_some(vip).into_iter().collect()
            }
            Notice::Message(_) => continue,
            Notice::Overrun => held.lock().expect("no holder of this lock panics").keys().copied().collect(),
        };
        if suspects.is_empty() {
            continue;
        }
        // The notification may be older than our own claim: only what is missing now was taken from us.
        let now = insist(|| addresses(&netlink)).await;
        for vip in suspects {
            let held = held.lock().expect("no holder of this lock panics").contains_key(&vip);
            if held && !now.iter().any(|address| address.is(vip)) {
                // Nobody listens any more: nothing to do then.
                let _ = events.send(Event::Removed(vip).into());
            }
        }
    }
}
