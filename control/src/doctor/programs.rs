//! The XDP program that is on an interface already, and whose it is: only one can be, and shunt wants to be that one.
//!
//! rtnetlink(7) `IFLA_XDP`, bpf(2) `BPF_LINK_GET_NEXT_ID`; `/proc/PID/fdinfo` names the links that a process holds.

use std::collections::BTreeMap;
use std::fs;

use aya::programs::loaded_links;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};

use crate::netlink::{Error, Netlink};

/// A program on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    /// Its id.
    pub(super) program: u32,
    /// It runs on skbs, not in the driver.
    pub(super) generic: bool,
    /// The BPF link that holds it there; none: it was attached by netlink, and stays until it is taken off.
    pub(super) link: Option<u32>,
    /// Processes that have the link open, with their names.
    pub(super) holders: Vec<(i32, String)>,
}

/// The programs on all interfaces, by index.
pub(super) async fn attached(netlink: &Netlink) -> Result<BTreeMap<u32, Attached>, Error> {
    let answers = netlink
        .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), || "RTM_GETLINK (ip link show)".into())
        .await?;
    let mut found = BTreeMap::new();
    for answer in &answers {
        let RouteNetlinkMessage::NewLink(message) = answer else { continue };
        if let Some((program, generic)) = program(message) {
            let link = link_of(program);
            let holders = link.map(holders).unwrap_or_default();
            found.insert(message.header.index, Attached { program, generic, link, holders });
        }
    }
    Ok(found)
}

/// The id of the program, and whether it is generic.
fn program(message: &LinkMessage) -> Option<(u32, bool)> {
    let facts = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(facts) => Some(facts),
        _ => None,
    })?;
    let generic = facts.iter().any(|fact| matches!(fact, LinkXdp::Attached(XdpAttached::SocketBuffer)));
    let id = facts.iter().find_map(|fact| match fact {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id).filter(|id| *id != 0)
        }
        _ => None,
    })?;
    Some((id, generic))
}

/// One that cannot be asked about, for want of rights, is none.
fn link_of(program: u32) -> Option<u32> {
    loaded_links().map_while(Result::ok).find(|link| link.program_id() == program).map(|link| link.id())
}

fn holders(link: u32) -> Vec<(i32, String)> {
    let line = format!("link_id:\t{link}");
    let holds = |pid: i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).ok()?;
        let mut texts = descriptors.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        texts.any(|text| text.lines().any(|other| other == line)).then_some(())
    };
    let of = |pid: i32| holds(pid).map(|()| (pid, name(pid)));
    pids().into_iter().filter_map(of).collect()
}

/// All processes that can be seen.
pub(super) fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// What a process is called, 15 bytes at most.
pub(super) fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
