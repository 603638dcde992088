//! The way to a server: its VLAN, MAC address, interface and MTU; the same for real servers and sorry servers.

use std::net::IpAddr;

use toml::Spanned;

use super::report::Report;
use super::value;
use crate::config::error::quote;
use crate::config::file::{self, IntegerOrText, Typed};
use crate::config::keys::join;
use crate::config::shape::closest;
use crate::model::{Director, Vlan};

/// IEEE 802.1Q: 0 is no VLAN and 4095 is reserved.
const LAST_VLAN: u16 = 4094;
const LARGEST_MTU: u16 = 9000;
/// RFC 791: what every host must be able to receive.
const SMALLEST_MTU_IPV4: u16 = 576;
/// RFC 8200, section 5.
const SMALLEST_MTU_IPV6: u16 = 1280;

/// What was typed of it.
pub(super) struct Keys<'a> {
    vlan: &'a Typed<IntegerOrText>,
    mac: &'a Typed<String>,
    interface: &'a Typed<String>,
    mtu: &'a Typed<i64>,
}

/// What it means.
pub(super) struct Way {
    pub(super) vlan: Vlan,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) interface: Option<String>,
    pub(super) mtu: Option<u16>,
}

impl<'a> From<&'a file::Real> for Keys<'a> {
    fn from(real: &'a file::Real) -> Keys<'a> {
        Keys { vlan: &real.vlan, mac: &real.mac, interface: &real.interface, mtu: &real.mtu }
    }
}

impl<'a> From<&'a file::Sorry> for Keys<'a> {
    fn from(sorry: &'a file::Sorry) -> Keys<'a> {
        Keys { vlan: &sorry.vlan, mac: &sorry.mac, interface: &sorry.interface, mtu: &sorry.mtu }
    }
}

/// The way to the server whose table is at `path`; `None` after an error. `address`: one of its family, if one is known.
pub(super) fn resolve(
    report: &mut Report,
    keys: &Keys<'_>,
    path: &str,
    director: Option<&Director>,
    address: Option<IpAddr>,
) -> Option<Way> {
    let vlan = match keys.vlan {
        Some(vlan) => self::vlan(report, vlan, &join(path, "vlan")),
        None => Some(Vlan::Keep),
    };
    let mac = match keys.mac {
        Some(mac) => value::mac(report, mac, &join(path, "mac")).map(Some),
        None => Some(None),
    };
    let interface = interface(report, keys, path, director);
    let mtu = match keys.mtu {
        Some(mtu) => self::mtu(report, mtu, &join(path, "mtu"), address).map(Some),
        None => Some(None),
    };
    Some(Way { vlan: vlan?, mac: mac?, interface: interface?, mtu: mtu? })
}

fn vlan(report: &mut Report, typed: &Spanned<IntegerOrText>, path: &str) -> Option<Vlan> {
    let help = format!("give a number from 1 to {LAST_VLAN}, \"none\" to take tags off, or \"keep\"");
    let message = match typed.get_ref() {
        IntegerOrText::Integer(number) => match u16::try_from(*number) {
            Ok(vlan @ 1..=LAST_VLAN) => return Some(Vlan::Tagged(vlan)),
            _ => format!("{number} is out of range"),
        },
        IntegerOrText::Text(text) => match text.as_str() {
            "none" => return Some(Vlan::Untagged),
            "keep" => return Some(Vlan::Keep),
            _ => format!("{} is not a VLAN", quote(text)),
        },
    };
    report.error(typed.span(), path, message, help);
    None
}

fn interface(
    report: &mut Report,
    keys: &Keys<'_>,
    path: &str,
    director: Option<&Director>,
) -> Option<Option<String>> {
    let Some(director) = director else {
        return Some(keys.interface.as_ref().map(|name| name.get_ref().clone()));
    };
    let names = || director.interfaces.iter().map(String::as_str);
    if let Some(name) = keys.interface {
        if names().any(|known| known == name.get_ref()) {
            return Some(Some(name.get_ref().clone()));
        }
        let help = match closest(name.get_ref(), names()) {
            Some(close) => format!("did you mean \"{close}\"?"),
            None if director.interfaces.is_empty() => "name it there, too".to_owned(),
            None => format!("add it there, or name one of: {}", names().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{} is not one of director.interfaces", quote(name.get_ref()));
        report.error(name.span(), &join(path, "interface"), message, help);
        return None;
    }
    let Some(mac) = keys.mac else { return Some(None) };
    let (message, help) = match (director.interfaces.as_slice(), director.auto_interfaces) {
        ([only], false) => return Some(Some(only.clone())),
        ([first, ..], false) => (
            "a fixed MAC address says nothing about the way, and the director has several interfaces",
            format!("say by which one it is reached: interface = \"{first}\""),
        ),
        (named, true) => (
            "a fixed MAC address says nothing about the way, and the director's interfaces are found by routes",
            format!(
                "name the one by which it is reached in director.interfaces and here: interface = \"{}\"",
                named.first().map_or("eth0", String::as_str)
            ),
        ),
        ([], false) => unreachable!("without auto there is an interface, or there is no director"),
    };
    report.error(mac.span(), &join(path, "mac"), message, help);
    None
}

fn mtu(report: &mut Report, typed: &Spanned<i64>, path: &str, address: Option<IpAddr>) -> Option<u16> {
    let smallest = match address {
        Some(IpAddr::V6(_)) => SMALLEST_MTU_IPV6,
        _ => SMALLEST_MTU_IPV4,
    };
    value::number(report, typed, path, smallest..=LARGEST_MTU)
}
