//! Why the director could not start, or had to stop: each says what to do.

use std::io;
use std::path::PathBuf;

use shunt_dataplane::forwarding::BuildError;
use shunt_dataplane::xsk::program::OpenError;

use crate::config::Faults;
use crate::netlink;

/// Ends a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong, or does not fit this machine.
    #[error("{0}")]
    Config(Faults),
    /// Rights are missing.
    #[error(
        "shunt run needs rights that this process does not have: {0}. Run it as root, or give it these capabilities"
    )]
    Rights(String),
    /// What is not needed stays.
    #[error(
        "rights cannot be given up: {0}. Boot a kernel with CONFIG_SECCOMP_FILTER=y; in a container, allow capset(2) and \
         seccomp(2)"
    )]
    GiveUp(io::Error),
    /// The interfaces could not be taken over.
    #[error("{0}")]
    Dataplane(#[from] OpenError),
    /// The kernel refused a request.
    #[error("{0}")]
    Kernel(#[from] netlink::Error),
    /// The configuration is larger than the dataplane's tables.
    #[error("the configuration cannot be compiled: {0}")]
    Compile(#[from] BuildError),
    /// The XDP program could not be told which services to steer.
    #[error("the services' frames cannot be steered: {0}")]
    Steer(String),
    /// No netlink socket.
    #[error("no netlink socket: {0}")]
    Netlink(io::Error),
    /// No signal handler.
    #[error("signals cannot be awaited: {0}")]
    Signal(io::Error),
    /// Another daemon answers on the socket.
    #[error(
        "another shunt answers on {0}: stop it first, or give this one its own socket with --socket PATH or SHUNT_SOCKET"
    )]
    SocketAnswers(PathBuf),
    /// The socket path is something else.
    #[error(
        "{0} exists and is not a socket: remove it, or choose another path with --socket PATH or SHUNT_SOCKET"
    )]
    SocketNotASocket(PathBuf),
    /// The socket cannot be made.
    #[error(
        "the admin socket {path} cannot be made: {error}. Choose another path with --socket PATH or SHUNT_SOCKET"
    )]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The dataplane has the interfaces of the start.
    #[error(
        "the interfaces are others than at the start: one was renamed or made anew, or a real server is reached by a new \
         one: restart shunt"
    )]
    OtherInterfaces,
    /// An interface of the configuration was deleted.
    #[error("{0} is gone: its sockets are dead. Bring it back and start shunt again")]
    InterfaceGone(String),
    /// The thread of VRRP ended.
    #[error("{0}")]
    Vrrp(String),
    /// A worker does not work any more.
    #[error(
        "worker {worker} {why}. Half a director is none: it has given its addresses up and ends; start it again"
    )]
    Worker {
        /// Its number.
        worker: usize,
        /// What is the matter with it.
        why: String,
    },
}
