//! Why a change is refused: what, why, and what to do.

use std::fmt;

/// Of which kind a refusal is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The service to add is there.
    ServiceExists,
    /// There is no such service.
    NoService,
    /// The real server to add is there.
    RealExists,
    /// There is no such real server.
    NoReal,
    /// There is no such scheduler.
    NoScheduler,
    /// It was not drained, so there is no weight to give back.
    NotDrained,
    /// A value that cannot be, or not together with others.
    Invalid,
}

/// A change that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditError {
    /// Of which kind it is.
    pub kind: Kind,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl EditError {
    pub(super) fn new(kind: Kind, message: impl Into<String>, help: impl Into<String>) -> EditError {
        EditError { kind, message: message.into(), help: help.into() }
    }

    pub(super) fn invalid(message: impl Into<String>, help: impl Into<String>) -> EditError {
        EditError::new(Kind::Invalid, message, help)
    }
}

impl Kind {
    /// As it is said over the admin socket.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ServiceExists => "service-exists",
            Kind::NoService => "no-service",
            Kind::RealExists => "real-exists",
            Kind::NoReal => "no-real",
            Kind::NoScheduler => "no-scheduler",
            Kind::NotDrained => "not-drained",
            Kind::Invalid => "invalid",
        }
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  help: {}", self.message, self.help)
    }
}

impl std::error::Error for EditError {}
