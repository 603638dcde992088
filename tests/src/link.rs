//! The state and the counters of an interface, as `ip` tells them.

use serde_json::Value;

use crate::namespace::Namespace;

/// What an interface has carried. On a bridge port, "received" is what came out of the host that is plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Frames that were to be sent and were not: a veth's peer had no room.
    pub tx_dropped: u64,
}

/// The counters of `interface`.
#[track_caller]
pub fn counters(namespace: &Namespace, interface: &str) -> Counters {
    let links = links(namespace, &["-s", "link", "show", "dev", interface]);
    let count = |direction: &str, what: &str| {
        links[0]["stats64"][direction][what]
            .as_u64()
            .unwrap_or_else(|| panic!("ip shows no {direction} {what}"))
    };
    Counters {
        rx_bytes: count("rx", "bytes"),
        rx_frames: count("rx", "packets"),
        tx_bytes: count("tx", "bytes"),
        tx_frames: count("tx", "packets"),
        tx_dropped: count("tx", "dropped"),
    }
}

/// Whether every interface carries, and every bridge port forwards. The kernel says so a moment after "up", at times a
/// second after.
pub(crate) fn all_up(namespace: &Namespace) -> bool {
    links(namespace, &["-d", "link", "show"]).iter().all(|link| {
        let port = &link["linkinfo"]["info_slave_data"]["state"];
        is_up(link) && (port.is_null() || port == "forwarding")
    })
}

/// `lo` never says more than "unknown".
fn is_up(link: &Value) -> bool {
    link["operstate"] == "UP" || link["ifname"] == "lo"
}

#[track_caller]
fn links(namespace: &Namespace, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = [&["-j"], arguments].concat();
    let text = namespace.run("ip", &arguments);
    match serde_json::from_str(&text) {
        Ok(Value::Array(links)) => links,
        other => panic!("ip {} shows no list of links but {other:?}", arguments.join(" ")),
    }
}
