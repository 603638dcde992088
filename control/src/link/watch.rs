//! Keeps the list of links current and tells what changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::{Change, Event, Link, dump, parse};
use crate::netlink::{Error, Netlink, Notice, Subscription, insist};

type Links = BTreeMap<u32, Link>;

/// The links of this network namespace, kept current by a task until it is dropped.
#[derive(Debug)]
pub struct LinkWatch {
    view: Arc<Mutex<Arc<Links>>>,
    task: JoinHandle<()>,
}

impl LinkWatch {
    /// Reads all links (no event for these), then watches; events go to `events` as long as someone listens.
    pub async fn start<E>(netlink: &Netlink, events: UnboundedSender<E>) -> Result<LinkWatch, Error>
    where
        E: From<Event> + Send + 'static,
    {
        // Subscribed before the dump: a change in between is heard, and seen twice does no harm.
        let subscription = Subscription::open(&[MulticastGroup::Link])
            .map_err(|source| Error { call: "subscribe to link changes".into(), source })?;
        let mut links = Links::new();
        replace(&mut links, &dump(netlink).await?);
        let view = Arc::new(Mutex::new(Arc::new(links)));
        let task = tokio::spawn(watch(netlink.clone(), subscription, view.clone(), events));
        Ok(LinkWatch { view, task })
    }

    /// All links as of now, by index.
    pub fn view(&self) -> Arc<BTreeMap<u32, Link>> {
        self.view.lock().expect("no holder of this lock panics").clone()
    }

    /// The link of this name.
    pub fn named(&self, name: &str) -> Option<Link> {
        self.view().values().find(|link| link.name == name).cloned()
    }
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch<E: From<Event>>(
    netlink: Netlink,
    mut subscription: Subscription,
    view: Arc<Mutex<Arc<Links>>>,
    events: UnboundedSender<E>,
) {
    loop {
        let notice = subscription.next().await;
        let table = match notice {
            Notice::Overrun => Some(insist(|| dump(&netlink)).await),
            Notice::Message(_) => None,
        };
        let changes = {
            let mut view = view.lock().expect("no holder of this lock panics");
            let links = Arc::make_mut(&mut view);
            match (&notice, table) {
                (_, Some(table)) => replace(links, &table),
                (Notice::Message(RouteNetlinkMessage::NewLink(message)), _) => {
                    match parse(message, links.get(&message.header.index)) {
                        Some(link) => update(links, link),
                        None => Vec::new(),
                    }
                }
                (Notice::Message(RouteNetlinkMessage::DelLink(message)), _) => {
                    match parse(message, links.get(&message.header.index)) {
                        Some(link) => remove(links, link.index),
                        None => Vec::new(),
                    }
                }
                _ => Vec::new(),
            }
        };
        for event in changes {
            // Nobody listens any more: the view is still kept.
            let _ = events.send(event.into());
        }
    }
}

fn update(links: &mut Links, link: Link) -> Vec<Event> {
    let changes = match links.get(&link.index) {
        Some(before) => link.changes_since(before),
        None => vec![Change::Appeared],
    };
    links.insert(link.index, link.clone());
    changes.into_iter().map(|change| Event { link: link.clone(), change }).collect()
}

fn remove(links: &mut Links, index: u32) -> Vec<Event> {
    links.remove(&index).map(|link| Event { link, change: Change::Gone }).into_iter().collect()
}

fn replace(links: &mut Links, table: &[netlink_packet_route::link::LinkMessage]) -> Vec<Event> {
    let fresh: Vec<Link> =
        table.iter().filter_map(|message| parse(message, links.get(&message.header.index))).collect();
    let gone: Vec<u32> =
        links.keys().copied().filter(|index| !fresh.iter().any(|link| link.index == *index)).collect();
    let mut events: Vec<Event> = gone.into_iter().flat_map(|index| remove(links, index)).collect();
    for link in fresh {
        events.extend(update(links, link));
    }
    events
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

    use super::*;

    fn message(index: u32, name: &str) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Mtu(1500)];
        message
    }

    #[test]
    fn a_table_read_after_lost_notifications_tells_what_was_missed() {
        let mut links = Links::new();
        replace(&mut links, &[message(1, "none-a"), message(2, "none-b")]);
        let changes: Vec<(u32, Change)> = replace(&mut links, &[message(2, "none-c"), message(3, "none-d")])
            .into_iter()
            .map(|event| (event.link.index, event.change))
            .collect();
        assert_eq!(
            changes,
            [(1, Change::Gone), (2, Change::Renamed { before: "none-b".into() }), (3, Change::Appeared)]
        );
        assert_eq!(replace(&mut links, &[message(2, "none-c"), message(3, "none-d")]), []);
    }
}
