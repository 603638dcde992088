//! What is said over the admin socket: one JSON object a line, a request and then its answer.
//!
//! ```text
//! -> {"version":1,"command":"show","what":"services"}
//! <- {"ok":true,"data":{...}}
//! -> {"version":1,"command":"reload"}
//! <- {"ok":false,"error":"director.toml:3:8: error: ..."}
//! ```

use crate::capture::protocol::Ask;
use crate::config::Bundle;
use crate::edit::Edit;
use crate::explain::question::Question;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the protocol; a daemon refuses others.
pub const VERSION: u32 = 1;
/// Longest request, bytes.
pub const MAX_REQUEST: usize = 16 << 20;
/// Flows shown unless asked for more.
pub const DEFAULT_LIMIT: usize = 1000;

/// A request with its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`VERSION`] of whoever asks.
    pub version: u32,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// A view of the running director.
    Show {
        /// Which.
        what: What,
        /// Most rows of a listing that may be long (flows).
        #[serde(default = "default_limit")]
        limit: usize,
    },
    /// Read the configuration again.
    Reload,
    /// Change what runs: all of these, or, if one is refused, none.
    Edit {
        /// In this order.
        edits: Vec<Edit>,
    },
    /// Count the traffic of services anew, as ipvsadm shows it: `ipvsadm -Z`.
    Zero {
        /// Its name; none: all.
        #[serde(default)]
        service: Option<String>,
    },
    /// What would become of a packet, and why.
    Explain(Question),
    /// What a configuration would change, and what would become of flows. Nothing is changed.
    Plan {
        /// What was read of it.
        configuration: Bundle,
    },
    /// Bring a configuration into force, as a reload does.
    Apply {
        /// What was read of it.
        configuration: Bundle,
        /// Back to what was in force unless it is confirmed within so many seconds, 1-86400; none: it stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_seconds: Option<u64>,
    },
    /// What was applied stays.
    Confirm,
    /// What was applied goes, before its time is over.
    Rollback,
    /// Frames as received and as sent, with their verdicts.
    Capture(Ask),
    /// Announce the addresses of virtual routers that are active.
    Announce {
        /// Its name; none: all.
        #[serde(default)]
        router: Option<String>,
    },
}

fn default_limit() -> usize {
    DEFAULT_LIMIT
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Virtual services: how many real servers are up, traffic, flows.
    Services,
    /// Real servers: state and why, MAC address, traffic, flows.
    Reals,
    /// Flows that workers remember.
    Flows,
    /// Health checks and their last results.
    Health,
    /// Workers: queues, mode, traffic, where their frames are.
    Workers,
    /// Frames refused, by reason.
    Drops,
    /// Virtual routers: who is active and why, what was refused, whether two are active.
    Vrrp,
    /// What is in force as a native configuration, and what of it was changed while running.
    Config,
    /// All of it as metrics, in the text that Prometheus reads.
    Metrics,
}

impl What {
    /// The key of its rows.
    pub fn rows(self) -> &'static str {
        match self {
            What::Services => "services",
            What::Reals => "reals",
            What::Flows => "flows",
            What::Health => "health",
            What::Workers => "workers",
            What::Drops => "drops",
            What::Vrrp => "routers",
            What::Config => "config",
            What::Metrics => "metrics",
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of which kind that is, where programs go by it: a name of [`crate::edit::Kind`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Answer {
    /// Done; here is what was asked for.
    pub fn data(data: Value) -> Self {
        Answer { ok: true, data, error: None, code: None }
    }

    /// Done; in words.
    pub fn text(text: String) -> Self {
        Answer::data(Value::String(text))
    }

    /// Not done, and why.
    pub fn error(why: String) -> Self {
        Answer::refused(None, why)
    }

    /// Not done: of which kind that is, and why.
    pub fn refused(code: Option<&str>, why: String) -> Self {
        Answer { ok: false, data: Value::Null, error: Some(why), code: code.map(str::to_owned) }
    }
}

impl From<Result<String, String>> for Answer {
    /// Done or not, in words.
    fn from(done: Result<String, String>) -> Self {
        done.map_or_else(Answer::error, Answer::text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_json_of_the_docs() {
        let show: Envelope =
            serde_json::from_str(r#"{"version":1,"command":"show","what":"services"}"#).unwrap();
        assert_eq!(show.request, Request::Show { what: What::Services, limit: DEFAULT_LIMIT });
        let reload = serde_json::to_string(&Envelope { version: VERSION, request: Request::Reload }).unwrap();
        assert_eq!(reload, r#"{"version":1,"command":"reload"}"#);
    }

    /// The names that `T` knows: serde tells them to whoever gives another.
    fn names<T: serde::de::DeserializeOwned>(key: &str) -> Vec<String> {
        let fault =
            serde_json::from_value::<T>(serde_json::json!({ key: "?" })).map(drop).unwrap_err().to_string();
        let names: Vec<String> = fault.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        assert!(names.len() > 1, "{fault}");
        names
    }

    #[test]
    fn the_document_has_every_request_and_every_code() {
        const DOCUMENT: &str = include_str!("../../../configs/PROTOCOL.md");
        let views = <What as clap::ValueEnum>::value_variants()
            .iter()
            .map(|what| format!("\"what\":{}", serde_json::to_string(what).unwrap()));
        let commands = names::<Request>("command");
        let rows = commands.iter().map(|name| format!("| `{name}` | "));
        let commands = commands.iter().map(|name| format!("\"command\":\"{name}\""));
        let edits = names::<Edit>("edit").into_iter().map(|name| format!("\"edit\":\"{name}\""));
        let codes = [
            "service-exists",
            "no-service",
            "real-exists",
            "no-real",
            "no-scheduler",
            "not-drained",
            "invalid",
        ];
        let codes = codes.into_iter().chain([super::super::access::CODE]).map(|code| format!("`{code}`"));
        for part in views.chain(commands).chain(rows).chain(edits).chain(codes) {
            assert!(DOCUMENT.contains(&part), "configs/PROTOCOL.md lacks {part}");
        }
    }
}
