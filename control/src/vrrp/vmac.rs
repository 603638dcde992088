//! Virtual MAC addresses: a macvlan on the router's interface has 00:00:5e:00:01:VRID (00:00:5e:00:02:VRID for IPv6), and the
//! addresses are put on it, so that a takeover changes no ARP cache. What it takes is kept where a killed shunt loses nothing:
//! the alias of the macvlan says that it is shunt's, and how the interface below was set before.
//!
//! *Invariants*
//! - an interface without our alias is never changed into ours, and never removed;
//! - only the macvlan answers for its addresses, and only for them: the interface below would answer with its own MAC
//!   address (`arp_ignore`), and name a virtual address as the sender of its own questions (`arp_announce`);
//! - how the interface below was set is written down before it is changed, and is restored with the last macvlan on it,
//!   unless somebody has changed it since;
//! - the macvlan makes up no address of its own: RFC 9568 section 8.2.2 forbids one from the virtual MAC address.
//!
//! RFC 9568 section 7.3; `Documentation/networking/ip-sysctl.rst`; rtnetlink(7), `IFLA_IFALIAS`. The kernel's
//! drivers/net/macvlan.c: an interface that cannot filter several MAC addresses is promiscuous as long as there is one.

use std::fs;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};

use crate::link::{self, Link};
use crate::model::VirtualRouter;
use crate::netlink::{Error, Netlink};

/// First word of the alias of interfaces that shunt made: `ip link show` shows it.
pub const ALIAS: &str = "shunt";

/// What the interface below must be set to, `/proc/sys/net/ipv4/conf/NAME/KEY`: answer for addresses of this interface only,
/// and ask in the name of those only. Greater values are as strict.
const BELOW: [(&str, u32); 2] = [("arp_ignore", 1), ("arp_announce", 2)];

/// The virtual MAC address.
pub fn mac(router: &VirtualRouter) -> [u8; 6] {
    [0, 0, 0x5e, 0, if router.ipv6 { 2 } else { 1 }, router.vrid]
}

/// Makes the macvlan of a router on `base`, or takes over the one that an earlier shunt left, and switches it on.
/// Doing it again changes nothing. Routers with one VRID and family on one interface share one.
///
/// # Errors
/// What the kernel refused, and what may be the cause.
pub async fn ensure(netlink: &Netlink, router: &VirtualRouter, base: &Link) -> Result<Link, Error> {
    let mac = mac(router);
    let all = macvlans(netlink).await?;
    let ours: Vec<&Macvlan> = all.iter().filter(|macvlan| macvlan.is_ours()).collect();
    let names = names(router, base);
    let fits = |macvlan: &&&Macvlan| {
        names.contains(&macvlan.name) && macvlan.base == base.index && macvlan.mac == mac && macvlan.private
    };
    let name = match ours.iter().find(fits) {
        Some(left) => left.name.clone(),
        None => make(netlink, router, base, &names, &ours).await?,
    };
    let made = by_name(netlink, &name).await?;

    if router.all_addresses().any(|address| address.address.is_ipv4()) {
        let recorded =
            ours.iter().filter(|macvlan| macvlan.base == base.index).find_map(|macvlan| macvlan.record());
        let record = match recorded {
            Some(record) => record,
            None => BELOW
                .map(|(key, _)| sysctl_v4(&base.name, key))
                .into_iter()
                .collect::<Result<Vec<u32>, Error>>()?,
        };
        set_alias(netlink, &made, &format!("{ALIAS} {}", write_record(&record))).await?;
        for (key, least) in BELOW {
            if sysctl_v4(&base.name, key)? < least {
                set_sysctl_v4(&base.name, key, least)?;
            }
        }
    }
    set_up_sysctls(router, &name)?;
    switch_on(netlink, &made, base).await?;
    by_name(netlink, &name).await
}

/// Removes a macvlan that shunt made, and with the last one on its interface what it took there. That it is gone already is
/// fine; one that is not shunt's stays.
pub async fn remove(netlink: &Netlink, index: u32) -> Result<(), Error> {
    let all = macvlans(netlink).await?;
    let Some(gone) = all.iter().find(|macvlan| macvlan.index == index && macvlan.is_ours()) else {
        return Ok(());
    };
    let others =
        all.iter().filter(|other| other.index != index && other.base == gone.base && other.is_ours());
    if let Some(record) = gone.record()
        && !others.into_iter().any(|other| other.record().is_some())
    {
        restore(netlink, gone.base, &record).await?;
    }
    let mut message = LinkMessage::default();
    message.header.index = index;
    let call = || format!("RTM_DELLINK (ip link delete {})", gone.name);
    match netlink.change(RouteNetlinkMessage::DelLink(message), 0, call).await {
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// Removes every macvlan that shunt made, but those of these indices: what a killed shunt left, or a reload. All are tried;
/// the first failure is returned.
pub async fn remove_leftovers(netlink: &Netlink, keep: &[u32]) -> Result<(), Error> {
    let mut first = Ok(());
    for left in macvlans(netlink).await? {
        if left.is_ours() && !keep.contains(&left.index) {
            first = first.and(remove(netlink, left.index).await);
        }
    }
    first
}

/// What the kernel says of a macvlan.
#[derive(Debug)]
struct Macvlan {
    name: String,
    index: u32,
    base: u32,
    mac: [u8; 6],
    private: bool,
    alias: String,
}

impl Macvlan {
    fn is_ours(&self) -> bool {
        self.alias.split(' ').next() == Some(ALIAS)
    }

    /// How the interface below was set before, in the order of [`BELOW`].
    fn record(&self) -> Option<Vec<u32>> {
        read_record(self.alias.strip_prefix(ALIAS)?)
    }

    fn parse(message: &LinkMessage) -> Option<Macvlan> {
        let (mut name, mut base, mut mac, mut alias) = Default::default();
        let (mut is_macvlan, mut private) = (false, false);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => String::clone_from(&mut name, text),
                LinkAttribute::Link(index) => base = *index,
                LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().unwrap_or_default(),
                LinkAttribute::IfAlias(text) => String::clone_from(&mut alias, text),
                LinkAttribute::LinkInfo(infos) => {
                    is_macvlan = infos.contains(&LinkInfo::Kind(InfoKind::MacVlan));
                    private = infos.iter().any(|info| {
                        matches!(info, LinkInfo::Data(InfoData::MacVlan(data))
                            if data.contains(&InfoMacVlan::Mode(MacVlanMode::Private)))
                    });
                }
                _ => {}
            }
        }
        is_macvlan.then_some(Macvlan { name, index: message.header.index, base, mac, private, alias })
    }
}

async fn macvlans(netlink: &Netlink) -> Result<Vec<Macvlan>, Error> {
    let mut request = LinkMessage::default();
    // The kernel may take this as a filter; it is looked at again.
    request.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)]));
    let call = || "RTM_GETLINK (ip link show type macvlan)".into();
    let answers = netlink.dump(RouteNetlinkMessage::GetLink(request), call).await?;
    let parsed = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Macvlan::parse(message),
        _ => None,
    });
    Ok(parsed.collect())
}

/// The names that it may have: the first that is free. One VRID may be in use on several interfaces.
fn names(router: &VirtualRouter, base: &Link) -> Vec<String> {
    match router.vmac.as_ref().and_then(|vmac| vmac.interface.clone()) {
        Some(name) => vec![name],
        None => {
            let family = if router.ipv6 { "6" } else { "" };
            let name = format!("vrrp{family}.{}", router.vrid);
            vec![name.clone(), format!("{name}.{}", base.index)]
        }
    }
}

/// Makes a macvlan of one of these names, marked as ours, and not switched on yet.
async fn make(
    netlink: &Netlink,
    router: &VirtualRouter,
    base: &Link,
    names: &[String],
    ours: &[&Macvlan],
) -> Result<String, Error> {
    let mut taken = None;
    for name in names {
        if let Some(other) = ours.iter().find(|other| other.name == *name) {
            // On another interface it may be another router's, unless nobody else can have the name.
            if other.base == base.index || names.len() == 1 {
                remove(netlink, other.index).await?;
            } else {
                continue;
            }
        }
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.clone()),
            LinkAttribute::Link(base.index),
            LinkAttribute::Address(mac(router).to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
            ]),
        ];
        let call =
            || format!("RTM_NEWLINK (ip link add link {} name {name} type macvlan mode private)", base.name);
        match netlink.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, call).await {
            Ok(()) => {
                // A kernel takes no alias with the interface itself.
                set_alias(netlink, &by_name(netlink, name).await?, ALIAS).await?;
                return Ok(name.clone());
            }
            Err(error) if error.errno() == Some(libc::EEXIST) => taken = Some(error),
            Err(error) => {
                return Err(explain(error, libc::EOPNOTSUPP, "the kernel has no macvlan: modprobe macvlan"));
            }
        }
    }
    let error = taken.unwrap_or_else(|| unreachable!("the second name has the index of the interface in it"));
    let why = "an interface that shunt did not make has this name: delete it, or give use_vmac another name";
    Err(explain(error, libc::EEXIST, why))
}

async fn switch_on(netlink: &Netlink, macvlan: &Link, base: &Link) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    message.header.index = macvlan.index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let call = || format!("RTM_SETLINK (ip link set {} up)", macvlan.name);
    let result = netlink.change(RouteNetlinkMessage::SetLink(message), 0, call).await;
    let why = format!(
        "another interface on {} has its MAC address: does another VRRP daemon run with the same VRID? \
         (ip -d link show type macvlan)",
        base.name
    );
    result.map_err(|error| explain(error, libc::EADDRINUSE, &why))
}

async fn set_alias(netlink: &Netlink, link: &Link, alias: &str) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    message.attributes = vec![LinkAttribute::IfAlias(alias.into())];
    let call = || format!("RTM_SETLINK (ip link set {} alias \"{alias}\")", link.name);
    netlink.change(RouteNetlinkMessage::SetLink(message), 0, call).await
}

async fn by_name(netlink: &Netlink, name: &str) -> Result<Link, Error> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.into()));
    one(netlink, request, &format!("RTM_GETLINK (ip link show {name})")).await
}

async fn one(netlink: &Netlink, request: LinkMessage, call: &str) -> Result<Link, Error> {
    let answer = netlink.get(RouteNetlinkMessage::GetLink(request), || call.into()).await?;
    let link = match &answer {
        Some(RouteNetlinkMessage::NewLink(message)) => link::parse(message, None),
        _ => None,
    };
    let gone = || Error { call: call.into(), source: io::Error::from_raw_os_error(libc::ENODEV) };
    link.ok_or_else(gone)
}

async fn restore(netlink: &Netlink, base: u32, record: &[u32]) -> Result<(), Error> {
    let mut request = LinkMessage::default();
    request.header.index = base;
    let base = match one(netlink, request, &format!("RTM_GETLINK (interface {base})")).await {
        Ok(base) => base,
        Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(()),
        Err(error) => return Err(error),
    };
    for ((key, ours), before) in BELOW.into_iter().zip(record) {
        // Somebody else's value is somebody else's.
        if *before < ours && sysctl_v4(&base.name, key)? == ours {
            set_sysctl_v4(&base.name, key, *before)?;
        }
    }
    Ok(())
}

fn set_up_sysctls(router: &VirtualRouter, name: &str) -> Result<(), Error> {
    set_sysctl_v4(name, "arp_ignore", 1)?;
    // The way back leads through the interface below, which a strict filter takes for a forged source. The greater of this
    // and the value for all interfaces counts: 2, the loose filter, overrules 1, and is not needed without.
    let loose = if sysctl_v4("all", "rp_filter")? == 0 { 0 } else { 2 };
    set_sysctl_v4(name, "rp_filter", loose)?;
    // An address that goes takes the others of its subnet along otherwise.
    set_sysctl_v4(name, "promote_secondaries", 1)?;
    let conf = format!("/proc/sys/net/ipv6/conf/{name}");
    if !fs::exists(&conf).unwrap_or(false) {
        return Ok(());
    }
    let ipv6 = router.all_addresses().any(|address| matches!(address.address, IpAddr::V6(_)));
    if ipv6 {
        // 1: none.
        set_sysctl(&format!("{conf}/addr_gen_mode"), 1)?;
        set_sysctl(&format!("{conf}/accept_ra"), 0)?;
        set_sysctl(&format!("{conf}/autoconf"), 0)?;
    }
    set_sysctl(&format!("{conf}/disable_ipv6"), u32::from(!ipv6))
}

fn sysctl_v4(interface: &str, key: &str) -> Result<u32, Error> {
    sysctl(&format!("/proc/sys/net/ipv4/conf/{interface}/{key}"))
}

fn set_sysctl_v4(interface: &str, key: &str, value: u32) -> Result<(), Error> {
    set_sysctl(&format!("/proc/sys/net/ipv4/conf/{interface}/{key}"), value)
}

fn sysctl(path: &str) -> Result<u32, Error> {
    let fail = |source| Error { call: format!("read {path}"), source };
    let text = fs::read_to_string(path).map_err(fail)?;
    text.trim().parse().map_err(|_| fail(io::Error::new(io::ErrorKind::InvalidData, "it is no number")))
}

/// Writes only what is not so already: where `/proc/sys` is read-only an operator can set it beforehand.
fn set_sysctl(path: &str, value: u32) -> Result<(), Error> {
    if sysctl(path)? == value {
        return Ok(());
    }
    fs::write(path, value.to_string())
        .map_err(|source| Error { call: format!("write {value} to {path}"), source })
}

fn write_record(values: &[u32]) -> String {
    let words: Vec<String> =
        BELOW.iter().zip(values).map(|((key, _), value)| format!("{key}={value}")).collect();
    words.join(" ")
}

fn read_record(text: &str) -> Option<Vec<u32>> {
    let value = |key: &str| {
        let mut words = text.split_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
    };
    BELOW.iter().map(|(key, _)| value(key)).collect()
}

fn explain(error: Error, errno: i32, why: &str) -> Error {
    match error.errno() == Some(errno) {
        true => Error { call: format!("{}: {why}", error.call), source: error.source },
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_interface_below_was_set_is_read_as_it_was_written() {
        assert_eq!(write_record(&[0, 1]), "arp_ignore=0 arp_announce=1");
        assert_eq!(read_record(" arp_ignore=0 arp_announce=1"), Some(vec![0, 1]));
        assert_eq!(read_record(""), None);
        assert_eq!(read_record(" arp_ignore=x arp_announce=1"), None);
    }

    #[test]
    fn only_the_first_word_of_an_alias_makes_an_interface_ours() {
        let is_ours = |alias: &str| {
            let (name, mac) = ("vrrp.51".into(), [0; 6]);
            Macvlan { name, index: 3, base: 2, mac, private: true, alias: alias.into() }.is_ours()
        };
        assert!(is_ours("shunt") && is_ours("shunt arp_ignore=0 arp_announce=0"));
        assert!(!is_ours("") && !is_ours("shunts") && !is_ours("the shunt"));
    }
}
