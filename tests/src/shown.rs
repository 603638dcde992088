//! What `shunt show` says of real servers and flows, and waiting until it says what a test wants.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::address::VIP;
use crate::director::Director;
use crate::lab::Lab;
use crate::tally::list;
use crate::wait;

/// For checks that fail, rise again, and cores that compile something else.
const SOON: Duration = Duration::from_secs(30);

/// The row of the real server at `address`, of the first service that has one.
#[track_caller]
pub fn real(director: &Director, address: IpAddr) -> Value {
    let view = director.show("reals");
    let address = address.to_string();
    let found = list(&view["reals"]).iter().find(|real| real["address"] == address.as_str());
    found.unwrap_or_else(|| panic!("no {address} in {view:#}")).clone()
}

/// Waits until the real server at `address` is `up`, `down` or `draining`, in every service that has it.
#[track_caller]
pub fn until_state(director: &Director, address: IpAddr, state: &str) {
    wait::until(SOON, &format!("{address} to be {state}"), || {
        let view = director.show("reals");
        let address = address.to_string();
        let mut rows =
            list(&view["reals"]).iter().filter(|real| real["address"] == address.as_str()).peekable();
        (rows.peek().is_some() && rows.all(|real| real["state"] == state)).then_some(())
    });
}

/// Waits until every check has been made `times` times.
#[track_caller]
pub fn until_probed(director: &Director, times: u64) {
    wait::until(SOON, "the checks to be made", || {
        let view = director.show("health");
        let is_made = |row: &Value| row["probes"].as_u64().is_none_or(|probes| probes >= times);
        list(&view["health"]).iter().all(is_made).then_some(())
    });
}

/// All flows of `client`, those of other clients left out.
#[track_caller]
pub fn flows_of(director: &Director, client: IpAddr) -> Vec<Value> {
    let view = director.show("flows");
    let client = client.to_string();
    list(&view["flows"]).iter().filter(|flow| flow["client"] == client.as_str()).cloned().collect()
}

/// Waits until `client` has an established flow; which real server of `lab` has it.
#[track_caller]
pub fn holder(lab: &Lab, director: &Director, client: IpAddr) -> usize {
    wait::until(SOON, &format!("an established flow of {client}"), || {
        let flows = flows_of(director, client);
        let flow = flows.iter().find(|flow| flow["state"] == "established")?;
        lab.real_servers().position(|server| {
            let legs = server.legs().iter();
            let mut addresses = legs.flat_map(|leg| [Some(leg.address), leg.address6]).flatten();
            addresses.any(|address| flow["real"] == address.to_string().as_str())
        })
    })
}

/// Waits until there is a flow from `port` of some client; the real server that it has.
#[track_caller]
pub fn real_of_flow(director: &Director, port: u16) -> Value {
    wait::until(SOON, &format!("a flow from port {port}"), || {
        let view = director.show("flows");
        let flow = list(&view["flows"]).iter().find(|flow| flow["client_port"] == port)?;
        Some(flow["real"].clone())
    })
}

/// What `shunt explain` says of a flow to the service on port 80 of [`VIP`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// Of the client.
    pub port: u16,
    /// The real server that gets its next packet.
    pub real: Value,
    /// The one that would get it if nobody remembered the flow; null if the policy does not hash.
    pub hashed: Value,
}

/// What becomes of the next packet from `port` of `client`.
#[track_caller]
pub fn explained(director: &Director, client: IpAddr, port: u16) -> Explained {
    let (from, to) = (SocketAddr::new(client, port).to_string(), format!("{}/tcp", SocketAddr::new(VIP, 80)));
    let text =
        director.ask(&["explain", "--json", &from, &to]).unwrap_or_else(|complaint| panic!("{complaint}"));
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
    let row = &answer["frames"][0];
    Explained { port, real: row["real"].clone(), hashed: row["hash"]["real"].clone() }
}

/// The sum of all numbers in `view`, at whatever depth, whose key is one of `keys`.
pub fn sum(view: &Value, keys: &[&str]) -> u64 {
    match view {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| match value.as_u64() {
                Some(number) if keys.contains(&key.as_str()) => number,
                _ => sum(value, keys),
            })
            .sum(),
        Value::Array(rows) => rows.iter().map(|row| sum(row, keys)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_takes_the_named_numbers_wherever_they_are() {
        let view =
            serde_json::json!({ "a": 1, "rows": [{ "a": 2, "b": 40 }, { "c": { "a": 4, "d": "a" } }] });
        assert_eq!(sum(&view, &["a"]), 7);
        assert_eq!(sum(&view, &["a", "b"]), 47);
    }
}
