//! Where the things of the model were typed. Some faults show only when the configuration meets the machine (an
//! interface that does not exist, a real server that is off-link): whoever finds one names the thing, and gets a
//! [`Fault`] that points at the file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use super::error::{Fault, Severity};
use super::source::Source;
use crate::model::ServiceKey;

/// A thing of the model that a fault can be about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// The director's settings: the `[director]` header.
    Director,
    /// An interface of `director.interfaces`, by name.
    Interface(String),
    /// `director.cores`, or the header where it was left out.
    Cores,
    /// `director.metrics`.
    Metrics,
    /// `director.socket_group`.
    SocketGroup,
    /// A virtual service: its VIP.
    Service(ServiceKey),
    /// The health check of a service: its header.
    Check(ServiceKey),
    /// A real server of a service: its address.
    Real(ServiceKey, IpAddr),
    /// The MTU of a real server of a service.
    Mtu(ServiceKey, IpAddr),
    /// A part of VRRP.
    Vrrp {
        /// What it is.
        kind: VrrpPart,
        /// The name of the router, group, script, file or process.
        name: String,
    },
}

/// A part of VRRP that a fault can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VrrpPart {
    /// A virtual router.
    Router,
    /// Virtual routers that fail together.
    Group,
    /// A script that is tracked.
    Script,
    /// A file that is tracked.
    File,
    /// Processes that are tracked.
    Process,
    /// A program that is told of a router.
    RouterHook(VrrpHook),
    /// A program that is told of a group.
    GroupHook(VrrpHook),
    /// The directors telling each other of flows; it has no name.
    Sync,
}

/// A program of [`crate::model::VrrpHooks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VrrpHook {
    /// `active`
    Active,
    /// `backup`
    Backup,
    /// `fault`
    Fault,
    /// `stop`
    Stop,
    /// `any`
    Any,
    /// `lower_heard`
    LowerHeard,
}

/// From each thing of a model to where it was typed.
#[derive(Debug, Clone)]
pub struct Locations {
    /// The file that was named, for what no line speaks of.
    source: Arc<Source>,
    /// Which file, and which bytes of it: a keepalived.conf may include others.
    spans: HashMap<Place, (Arc<Source>, Range<usize>)>,
}

impl Locations {
    /// An error at `place`, with what is wrong and what to do.
    pub fn error(&self, place: &Place, message: impl Into<String>, help: impl Into<String>) -> Fault {
        self.fault(Severity::Error, place, message.into(), help.into())
    }

    /// A warning at `place`, with what is wrong and what to do.
    pub fn warning(&self, place: &Place, message: impl Into<String>, help: impl Into<String>) -> Fault {
        self.fault(Severity::Warning, place, message.into(), help.into())
    }

    /// `FILE:LINE` of a place, for logs.
    pub fn describe(&self, place: &Place) -> Option<String> {
        let (source, span) = self.spans.get(place)?;
        Some(format!("{}:{}", source.name(), source.line(span.start)))
    }

    /// Locations in `source`, none yet.
    pub(super) fn new(source: Arc<Source>) -> Locations {
        Locations { source, spans: HashMap::new() }
    }

    /// Remembers where `place` was typed.
    pub(super) fn insert(&mut self, place: Place, span: Range<usize>) {
        self.insert_in(place, &self.source.clone(), span);
    }

    /// Remembers where `place` was typed, in a file that was included.
    pub(super) fn insert_in(&mut self, place: Place, source: &Arc<Source>, span: Range<usize>) {
        self.spans.insert(place, (source.clone(), span));
    }

    fn fault(&self, severity: Severity, place: &Place, message: String, help: String) -> Fault {
        let key = place.key();
        match self.spans.get(place) {
            Some((source, span)) => {
                let fault = source.fault(severity, span.clone(), key, message);
                Fault { help: Some(help), ..fault }
            }
            // A thing that no line of the file speaks of is still named by its key.
            None => {
                Fault { severity, key: key.to_owned(), ..Fault::of_file(self.source.name(), message, help) }
            }
        }
    }
}

impl Place {
    /// The key that the thing was typed at.
    pub fn key(&self) -> &'static str {
        match self {
            Place::Director => "director",
            Place::Interface(_) => "director.interfaces",
            Place::Cores => "director.cores",
            Place::Metrics => "director.metrics",
            Place::SocketGroup => "director.socket_group",
            Place::Service(_) => "service.vip",
            Place::Check(_) => "service.check",
            Place::Real(..) => "service.real.address",
            Place::Mtu(..) => "service.real.mtu",
            Place::Vrrp { kind, .. } => kind.key(),
        }
    }
}

impl VrrpPart {
    fn key(self) -> &'static str {
        match self {
            VrrpPart::Router => "vrrp.router",
            VrrpPart::Group => "vrrp.group",
            VrrpPart::Script => "vrrp.script",
            VrrpPart::File => "vrrp.file",
            VrrpPart::Process => "vrrp.process",
            VrrpPart::RouterHook(hook) => hook.keys()[0],
            VrrpPart::GroupHook(hook) => hook.keys()[1],
            VrrpPart::Sync => "sync",
        }
    }
}

impl VrrpHook {
    /// The keys of routers and of groups.
    fn keys(self) -> [&'static str; 2] {
        match self {
            VrrpHook::Active => ["vrrp.router.notify_active", "vrrp.group.notify_active"],
            VrrpHook::Backup => ["vrrp.router.notify_backup", "vrrp.group.notify_backup"],
            VrrpHook::Fault => ["vrrp.router.notify_fault", "vrrp.group.notify_fault"],
            VrrpHook::Stop => ["vrrp.router.notify_stop", "vrrp.group.notify_stop"],
            VrrpHook::Any => ["vrrp.router.notify", "vrrp.group.notify"],
            VrrpHook::LowerHeard => ["vrrp.router.notify_lower_heard", "vrrp.group.notify_lower_heard"],
        }
    }
}
