//! What the director said at one moment, of all that `top` shows. An older or a newer director may say less or more:
//! what is missing is nothing, not an error.

use std::time::Instant;

use serde_json::Value;

/// One look.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Of the forwarding state; a smaller one is another run of the director.
    pub generation: u64,
    /// The start is over.
    pub ready: bool,
    /// Virtual services, in the order of the configuration.
    pub services: Vec<Load>,
    /// Real servers.
    pub reals: Vec<Load>,
    /// Workers.
    pub workers: Vec<Worker>,
    /// Checks: what is checked, its status, its last error.
    pub checks: Vec<Standing>,
    /// Virtual routers: name, state, why.
    pub routers: Vec<Standing>,
    /// Frames refused, by reason.
    pub drops: Vec<(String, u64)>,
}

/// A virtual service or a real server of one.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// `192.0.2.10:80/tcp`.
    pub service: String,
    /// Address of the real server; none: this is the service.
    pub real: Option<String>,
    /// `up`, `draining`, `down`; of a service `2/3 up`.
    pub state: String,
    /// Why it is down.
    pub reason: String,
    /// Weight in force.
    pub weight: Option<u64>,
    /// Frames so far.
    pub frames: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// New flows so far.
    pub flows: u64,
    /// Flows now.
    pub active: u64,
}

/// A worker.
#[derive(Debug, Clone, Default)]
pub struct Worker {
    /// Its number.
    pub worker: u64,
    /// Its core.
    pub core: Option<u64>,
    /// Frames received so far.
    pub frames: u64,
    /// Bytes received so far.
    pub bytes: u64,
    /// Frames refused so far.
    pub drops: u64,
    /// Time in which it dealt with frames so far.
    pub busy_seconds: f64,
    /// Times it slept.
    pub sleeps: u64,
    /// Flows it remembers.
    pub flows: u64,
    /// Flows it has room for.
    pub capacity: u64,
}

/// Something that is in a state, for a reason.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// What.
    pub name: String,
    /// In which state.
    pub state: String,
    /// Why.
    pub reason: String,
    /// A virtual router: its priority in force.
    pub priority: u64,
    /// A virtual router: who else is active, or nothing.
    pub rival: String,
}

impl Sample {
    /// Reads the views of services, real servers, workers, health, VRRP and drops, in this order.
    pub fn of(at: Instant, [services, reals, workers, health, vrrp, drops]: &[Value; 6]) -> Sample {
        Sample {
            at,
            generation: number(&services["generation"]),
            ready: services["ready"] == true,
            services: rows(&services["services"]).iter().map(service).collect(),
            reals: rows(&reals["reals"]).iter().map(real).collect(),
            workers: rows(&workers["workers"]).iter().map(worker).collect(),
            checks: rows(&health["health"]).iter().map(check).collect(),
            routers: rows(&vrrp["routers"]).iter().map(router).collect(),
            drops: rows(&drops["drops"])
                .iter()
                .map(|row| (text(&row["reason"]), number(&row["frames"])))
                .collect(),
        }
    }
}

fn service(row: &Value) -> Load {
    let (vip, port) = (text(&row["vip"]), text(&row["port"]));
    let vip = if vip.contains(':') { format!("[{vip}]") } else { vip };
    let load = Load {
        service: format!("{vip}:{port}/{}", text(&row["protocol"])),
        state: format!("{}/{} up", number(&row["up"]), number(&row["reals"])),
        ..counted(row)
    };
    match row["quorum"]["lost"] == true {
        true => Load { reason: "the quorum is lost".into(), ..load },
        false => load,
    }
}

fn real(row: &Value) -> Load {
    Load {
        service: text(&row["service"]),
        real: Some(text(&row["address"])),
        state: text(&row["state"]),
        reason: text(&row["reason"]),
        weight: row["effective_weight"].as_u64(),
        ..counted(row)
    }
}

fn counted(row: &Value) -> Load {
    Load {
        frames: number(&row["frames"]),
        bytes: number(&row["bytes"]),
        flows: number(&row["flows"]),
        active: number(&row["active"]),
        ..Load::default()
    }
}

fn worker(row: &Value) -> Worker {
    Worker {
        worker: number(&row["worker"]),
        core: row["core"].as_u64(),
        frames: number(&row["rx_frames"]),
        bytes: number(&row["rx_bytes"]),
        drops: number(&row["drops"]),
        busy_seconds: row["busy_seconds"].as_f64().unwrap_or_default(),
        sleeps: number(&row["sleeps"]),
        flows: number(&row["flows"]["remembered"]),
        capacity: number(&row["flows"]["capacity"]),
    }
}

fn check(row: &Value) -> Standing {
    let port = row["port"].as_u64().map(|port| format!(" port {port}")).unwrap_or_default();
    let service =
        row["service"].as_str().map(|_| format!(" of {}", text(&row["service"]))).unwrap_or_default();
    Standing {
        name: format!("{} {}{port}{service}", text(&row["type"]), text(&row["address"])),
        state: text(&row["status"]),
        reason: text(&row["last_error"]),
        ..Standing::default()
    }
}

fn router(row: &Value) -> Standing {
    let reason = if row["fault"].is_string() { &row["fault"] } else { &row["last_change"]["cause"] };
    Standing {
        name: text(&row["name"]),
        state: text(&row["state"]),
        reason: text(reason),
        priority: number(&row["priority"]),
        rival: text(&row["rival"]["source"]),
    }
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// In words of a peer or of a script there may be what a terminal takes for a command.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_that_is_missing_is_an_error_and_no_control_character_gets_through() {
        let nothing: [Value; 6] = std::array::from_fn(|_| Value::Null);
        assert!(Sample::of(Instant::now(), &nothing).services.is_empty());
        let mut views = nothing;
        views[0] = json!({ "services": [{ "vip": "2001:db8::1", "port": "any", "protocol": "udp" }] });
        views[1] = json!({ "reals": [{ "address": "192.0.2.21", "reason": "\u{1b}[2Jno" }] });
        let sample = Sample::of(Instant::now(), &views);
        assert_eq!(sample.services[0].service, "[2001:db8::1]:any/udp");
        assert_eq!(sample.reals[0].reason, " [2Jno");
    }
}
