//! Changes of a running director that are not in its file: what an operator says to it (`shunt weight`, `shunt drain`, `shunt
//! ipvsadm`). A change is a value: it is applied to a model and gives another one, or is refused and changes nothing.
//!
//! *Invariants*: what is applied leaves a model as valid as one that `config` has made; changes are remembered in the order
//! in which they came, so that a reload can apply them again to what the file says then.

mod apply;
mod changes;
pub mod command;
mod difference;
mod error;
mod name;
mod real;
mod service;
#[cfg(test)]
mod tests;
mod words;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use apply::apply;
pub use changes::{Changes, Marks};
pub use error::{EditError, Kind};
pub use name::service_key;

/// One change. Services are named as they are shown: `192.0.2.10:80/tcp`, `192.0.2.10:8000-8009/udp`,
/// `[2001:db8::10]:any/sctp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    /// A service that is not there.
    AddService {
        /// Its name.
        service: String,
        /// What it is to be like; the rest is as the defaults say.
        change: ServiceChange,
    },
    /// A service that is there.
    ChangeService {
        /// Its name.
        service: String,
        /// What is to be otherwise.
        change: ServiceChange,
    },
    /// A service goes, with its real servers.
    RemoveService {
        /// Its name.
        service: String,
    },
    /// A real server that the service has not.
    AddReal {
        /// Name of the service.
        service: String,
        /// Its address.
        real: IpAddr,
        /// What it is to be like; the rest is as the defaults say.
        change: RealChange,
    },
    /// A real server that the service has.
    ChangeReal {
        /// Name of the service.
        service: String,
        /// Its address.
        real: IpAddr,
        /// What is to be otherwise.
        change: RealChange,
    },
    /// A real server goes.
    RemoveReal {
        /// Name of the service.
        service: String,
        /// Its address.
        real: IpAddr,
    },
    /// A real server gets this weight wherever it is one: `shunt weight`; 0 drains it.
    Weight {
        /// Its address.
        real: IpAddr,
        /// Of this service only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// 0-65535.
        weight: u16,
    },
    /// A real server takes no new flows and keeps the ones it has: `shunt drain`. Its weight comes back with `undrain`.
    Drain {
        /// Its address.
        real: IpAddr,
    },
    /// A real server that was drained gets the weight that it had.
    Undrain {
        /// Its address.
        real: IpAddr,
    },
    /// All services go: `ipvsadm -C`.
    Clear,
    /// How long silent flows are remembered, of all services, in seconds; 0: as it is. `ipvsadm --set`.
    Timeouts {
        /// TCP, established.
        tcp: u32,
        /// TCP, after a FIN.
        tcp_fin: u32,
        /// UDP.
        udp: u32,
    },
}

/// Of a service: what is not said stays as it is, or is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceChange {
    /// Name of the scheduler, as in a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// A client is forgotten after so many seconds; 0: each flow goes for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<u32>,
    /// Leading bits of a client's address that tell it from others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u8>,
    /// Each datagram is a flow of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// Flags of the schedulers that hash: `sh-port`, `sh-fallback`, `mh-port`, `mh-fallback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
}

/// Of a real server: what is not said stays as it is, or is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RealChange {
    /// 0-65535; 0: it takes no new flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Most flows; 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper: Option<u32>,
    /// Above the most, it takes none until it has fewer than this; 0: three quarters of the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<u32>,
}
