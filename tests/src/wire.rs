//! What directors say to each other and to everybody, as seen on the LAN: captured for judgement, and listened to live
//! where a test waits for it.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::Mac;
use crate::capture::Capture;
use crate::frame::Frame;
use crate::host::Host;
use crate::lab::Lab;
use crate::packet_socket::PacketSocket;
use crate::vrrp::{self, Advert, Heard};

/// A capture of adverts and announcements on the LAN.
pub struct Wire(Capture);

/// What it has seen.
pub struct Tapped {
    /// All frames.
    pub frames: Vec<Frame>,
    /// The adverts in them.
    pub adverts: Vec<Heard>,
}

impl Wire {
    /// Listens on the bridge itself, where unicast adverts pass too.
    #[track_caller]
    pub fn tap(lab: &Lab) -> Wire {
        Wire(lab.capture("br-lan", vrrp::FILTER))
    }

    /// Ends it. What has passed by now is in it.
    #[track_caller]
    pub fn stop(self) -> Tapped {
        let frames = self.0.stop();
        let adverts = vrrp::adverts(&frames);
        Tapped { frames, adverts }
    }
}

impl Tapped {
    /// The adverts of `host`, whatever their VRID.
    pub fn of<'a>(&'a self, host: &'a Host) -> impl DoubleEndedIterator<Item = &'a Heard> {
        self.adverts.iter().filter(|heard| is_of(host, &heard.advert))
    }

    /// When `vip` was announced, and as where; see [`vrrp::announcements`].
    pub fn announced(&self, vip: IpAddr) -> Vec<(Duration, Mac)> {
        vrrp::announcements(&self.frames, vip)
    }

    /// How long nobody was active: from the last advert of `from` before the first of `to` that follows one, to that. Of
    /// VRID `vrid`. Panics if there was no such change.
    #[track_caller]
    pub fn handover(&self, vrid: u8, from: &Host, to: &Host) -> Duration {
        let mut last = None;
        for heard in self.adverts.iter().filter(|heard| heard.advert.vrid == vrid) {
            if is_of(from, &heard.advert) {
                last = Some(heard.time);
            } else if is_of(to, &heard.advert)
                && let Some(last) = last
            {
                return heard.time - last;
            }
        }
        panic!("no advert of {} after one of {}:\n{}", to.role(), from.role(), self.story());
    }

    /// The adverts, one a line, for a person.
    pub fn story(&self) -> String {
        let begin = self.adverts.first().map_or(Duration::ZERO, |heard| heard.time);
        let line = |heard: &Heard| {
            let Advert { source, destination, version, vrid, priority, .. } = &heard.advert;
            let at = (heard.time - begin).as_secs_f64();
            format!("{at:9.4} {source} > {destination} v{version} VRID {vrid} priority {priority}\n")
        };
        self.adverts.iter().map(line).collect()
    }
}

/// Hears adverts as they come, at the router.
pub struct Listener(PacketSocket);

impl Listener {
    /// Listens from now on. It hears what is sent to a group, not what goes from one director to the other.
    #[track_caller]
    pub fn open(lab: &Lab) -> Listener {
        Listener(lab.router().packet_socket())
    }

    /// The next advert that `wanted` accepts, if it comes before `deadline`.
    pub fn next(&self, deadline: Duration, mut wanted: impl FnMut(&Advert) -> bool) -> Option<Advert> {
        let mut found = None;
        self.0.receive_where(deadline, |bytes| {
            found = Frame::parse(Duration::ZERO, bytes.to_vec(), bytes.len())
                .and_then(|frame| Advert::read(&frame))
                .filter(&mut wanted);
            found.is_some()
        });
        found
    }

    /// Waits for `count` adverts of `host`; panics if they do not come.
    #[track_caller]
    pub fn wait_for(&self, host: &Host, count: usize) {
        for n in 0..count {
            let next = self.next(Duration::from_secs(20), |advert| is_of(host, advert));
            assert!(
                next.is_some(),
                "{} has sent {n} adverts, not {count}; {:?}",
                host.role(),
                self.0.socket()
            );
        }
    }

    /// Waits until `host` says that it stops (priority 0).
    #[track_caller]
    pub fn wait_for_stop(&self, host: &Host) {
        let stop = self.next(Duration::from_secs(20), |advert| is_of(host, advert) && advert.priority == 0);
        assert!(stop.is_some(), "{} does not say that it stops", host.role());
    }
}

/// Whether `host` has sent it: its addresses, or one that follows from its MAC address.
fn is_of(host: &Host, advert: &Advert) -> bool {
    host.legs().iter().any(|leg| {
        leg.address == advert.source
            || leg.address6 == Some(advert.source)
            || leg.mac.link_local() == advert.source
    })
}

/// Where `host` believes `address` to be: its ARP or neighbour entry, if it has one.
#[track_caller]
pub fn neighbor(host: &Host, address: IpAddr) -> Option<Mac> {
    let text = host.run("ip", &["-j", "neigh", "show", &address.to_string()]);
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    rows[0]["lladdr"].as_str()?.parse().ok()
}

/// Drops all that comes out of `host` on the LAN, from the switch's port on: it hears and is not heard.
#[track_caller]
pub fn mute(lab: &Lab, host: &Host) {
    let port = host.port();
    let chain = format!("type filter hook ingress device \"{port}\" priority 0; policy drop;");
    let script = format!("table netdev mute_{port} {{\n  chain all_of_it {{\n    {chain}\n  }}\n}}\n");
    lab.switch().feed("nft", &["-f", "-"], &script);
}

/// Ends what [`mute`] began.
#[track_caller]
pub fn unmute(lab: &Lab, host: &Host) {
    lab.switch().run("nft", &["delete", "table", "netdev", &format!("mute_{}", host.port())]);
}
