//! What shunt could leave changed on a host, as text: the same before and after means that it has left nothing.

use std::net::IpAddr;

use serde_json::Value;

use crate::host::Host;

/// Links with their XDP programs and settings, addresses, and routes; no counters, no neighbours.
#[track_caller]
pub fn of(host: &Host) -> String {
    [&["-d", "link"][..], &["address"], &["route", "show", "table", "all"], &["rule"]]
        .map(|arguments| host.run("ip", arguments))
        .concat()
}

/// The addresses of `interface`, as `ADDRESS/PREFIX`.
#[track_caller]
pub fn addresses(host: &Host, interface: &str) -> Vec<String> {
    let text = host.run("ip", &["-j", "address", "show", "dev", interface]);
    let view: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("ip: {fault}:\n{text}"));
    let rows = view[0]["addr_info"].as_array().into_iter().flatten();
    rows.map(|row| format!("{}/{}", row["local"].as_str().unwrap_or_default(), row["prefixlen"])).collect()
}

/// Whether `interface` has `address` as a host address.
#[track_caller]
pub fn has(host: &Host, interface: &str, address: IpAddr) -> bool {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    addresses(host, interface).contains(&format!("{address}/{prefix}"))
}

/// Whether an XDP program is attached to `interface`.
#[track_caller]
pub fn has_xdp(host: &Host, interface: &str) -> bool {
    let text = host.run("ip", &["-j", "link", "show", "dev", interface]);
    let view: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("ip: {fault}:\n{text}"));
    !view[0]["xdp"].is_null()
}
