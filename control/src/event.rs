//! What the supervisor's loop hears from the tasks that watch the world.

use crate::{address, health, link, neighbor, vrrp};

/// Something that may change what is forwarded where.
#[derive(Debug)]
pub enum Event {
    /// An interface changed.
    Link(link::Event),
    /// A VIP was meddled with.
    Address(address::Event),
    /// A real server's MAC address changed.
    Neighbor(neighbor::Event),
    /// A check's result matters.
    Health(health::Event),
    /// What a check through the VIP finds is different. (In a box, being three times as large as the others.)
    Vip(Box<health::vip::Event>),
    /// A virtual router changed.
    Vrrp(vrrp::thread::Event),
    /// Something that virtual routers track changed.
    Track(vrrp::track::Event),
}

impl From<link::Event> for Event {
    fn from(event: link::Event) -> Self {
        Event::Link(event)
    }
}

impl From<address::Event> for Event {
    fn from(event: address::Event) -> Self {
        Event::Address(event)
    }
}

impl From<neighbor::Event> for Event {
    fn from(event: neighbor::Event) -> Self {
        Event::Neighbor(event)
    }
}

impl From<health::Event> for Event {
    fn from(event: health::Event) -> Self {
        Event::Health(event)
    }
}

impl From<health::vip::Event> for Event {
    fn from(event: health::vip::Event) -> Self {
        Event::Vip(Box::new(event))
    }
}

impl From<vrrp::thread::Event> for Event {
    fn from(event: vrrp::thread::Event) -> Self {
        Event::Vrrp(event)
    }
}

impl From<vrrp::track::Event> for Event {
    fn from(event: vrrp::track::Event) -> Self {
        Event::Track(event)
    }
}
