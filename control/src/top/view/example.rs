//! A director to look at.

use std::time::Instant;

use serde_json::json;

use crate::top::sample::Sample;

/// Two services, with `frames` frames so far of the first.
pub fn sample(at: Instant, frames: u64) -> Sample {
    let real = |service: &str, address: &str, state: &str, reason: &str, frames: u64| {
        json!({ "service": service, "address": address, "state": state, "reason": reason, "effective_weight": 10,
                "frames": frames, "bytes": frames * 100, "flows": frames / 10, "active": 7 })
    };
    let (web, dns) = ("192.0.2.10:80/tcp", "[2001:db8:1:2:3:4:5:6]:53/udp");
    let worker = |n: u64, frames: u64| {
        json!({ "worker": n, "core": n, "rx_frames": frames, "busy_seconds": frames as f64 / 400_000.0,
                "sleeps": 3, "flows": { "remembered": 250, "capacity": 1000 } })
    };
    Sample::of(
        at,
        &[
            json!({ "generation": 3, "ready": true, "services": [
                { "vip": "192.0.2.10", "port": 80, "protocol": "tcp", "up": 2, "reals": 2,
                  "frames": frames, "bytes": frames * 100, "flows": frames / 10, "active": 14 },
                { "vip": "2001:db8:1:2:3:4:5:6", "port": 53, "protocol": "udp", "up": 0, "reals": 1,
                  "frames": 0, "bytes": 0, "flows": 0, "active": 0 },
            ]}),
            json!({ "reals": [
                real(web, "192.0.2.21", "up", "", frames / 4),
                real(web, "192.0.2.22", "up", "", frames - frames / 4),
                real(dns, "2001:db8:1:2:3:4:5:1234", "down", "check dns: no answer within 5 s", 0),
            ]}),
            json!({ "workers": [worker(0, frames / 2), worker(1, frames * 3 / 2)] }),
            json!({ "health": [{ "type": "tcp", "address": "192.0.2.21", "port": 80, "status": "up" }] }),
            json!({ "routers": [{ "name": "VI_1", "state": "MASTER", "priority": 150 }] }),
            json!({ "drops": [{ "reason": "ttl_expired", "frames": frames / 100 }] }),
        ],
    )
}
