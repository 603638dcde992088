//! One machine of the lab: a namespace, and the legs it stands on.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::address::{Mac, Segment};
use crate::namespace::Namespace;
use crate::packet_socket::PacketSocket;

/// An interface of a host and where it is plugged in.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The interface's name inside the host, `eth0` mostly.
    pub interface: String,
    /// The network it is on.
    pub segment: Segment,
    /// The host's own address there.
    pub address: IpAddr,
    /// Its IPv6 address, in a lab that has IPv6.
    pub address6: Option<IpAddr>,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The name of the other end, a port of a bridge. Captures are taken there: tcpdump sees neither what XDP takes
    /// from an interface nor what AF_XDP sends on it, but the peer sees all.
    pub port: String,
}

/// A host. Everything a [`Namespace`] can, a host can.
#[derive(Clone)]
pub struct Host {
    pub(crate) role: String,
    pub(crate) namespace: Namespace,
    pub(crate) legs: Vec<Leg>,
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Host {
    /// What it is in the lab, `rs1` for example; also the name that its web server answers with.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Its namespace, for those who want to keep it.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its legs; `eth0` comes first.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Its leg on `segment`; panics if it has none.
    #[track_caller]
    pub fn leg(&self, segment: Segment) -> &Leg {
        match self.legs.iter().find(|leg| leg.segment == segment) {
            Some(leg) => leg,
            None => panic!("{} has no leg on {segment:?}", self.role),
        }
    }

    /// The address of its first leg.
    pub fn address(&self) -> IpAddr {
        self.first().address
    }

    /// The IPv6 address of its first leg; panics if the lab has no IPv6.
    #[track_caller]
    pub fn address6(&self) -> IpAddr {
        match self.first().address6 {
            Some(address) => address,
            None => panic!("{} has no IPv6 address: the lab was not built with `ipv6()`", self.role),
        }
    }

    /// Whether it has IPv6 addresses.
    pub fn has_ipv6(&self) -> bool {
        self.legs.iter().any(|leg| leg.address6.is_some())
    }

    /// The Ethernet address of its first leg.
    pub fn mac(&self) -> Mac {
        self.first().mac
    }

    /// The bridge port of its first leg.
    pub fn port(&self) -> &str {
        &self.first().port
    }

    fn first(&self) -> &Leg {
        self.legs.first().expect("every host but the switch has a leg")
    }

    /// A raw socket on its first leg.
    #[track_caller]
    pub fn packet_socket(&self) -> PacketSocket {
        PacketSocket::open(&self.namespace, &self.first().interface)
    }

    /// A command that will run here and sees other files in place of some of the machine's: `mounts` are pairs of what it
    /// shall see and where. Nobody else sees it. Its pid is the program's own.
    pub fn command_with_mounts(&self, program: &str, mounts: &[(PathBuf, PathBuf)]) -> Command {
        let quoted = |path: &Path| format!("'{}'", path.display());
        let lines = mounts.iter().map(|(what, at)| format!("mount --bind {} {}\n", quoted(what), quoted(at)));
        self.command_after(&lines.collect::<String>(), program)
    }

    /// A command that will run here after the lines of `script`, in a shell that becomes the program: what they mount is seen by
    /// it alone, what they limit, export or redirect is its own. Its pid is the program's own.
    pub fn command_after(&self, script: &str, program: &str) -> Command {
        if script.is_empty() {
            return self.command_with_sysfs(program);
        }
        // The shell is in a mount namespace of its own, from which nothing travels back.
        let mut command = self.command_with_sysfs("sh");
        command.args(["-ec", &format!("{script}exec \"$0\" \"$@\""), program]);
        command
    }

    /// Puts `address` on `interface` as a host address, as shunt does with a VIP. For tests of the lab itself and for
    /// stand-ins: in a test of shunt, shunt does it.
    #[track_caller]
    pub fn add_address(&self, address: IpAddr, interface: &str) {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        self.ip(&format!("addr add {address}/{prefix} dev {interface}\n"));
    }

    /// Removes what [`Host::add_address`] put there.
    #[track_caller]
    pub fn remove_address(&self, address: IpAddr, interface: &str) {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        self.ip(&format!("addr del {address}/{prefix} dev {interface}\n"));
    }

    /// Opens a TCP connection from this host.
    pub fn connect(&self, to: SocketAddr, deadline: Duration) -> io::Result<TcpStream> {
        self.enter(|| TcpStream::connect_timeout(&to, deadline))
    }

    /// Opens a TCP connection from the port `source_port` of this host: the flow can then be foretold.
    pub fn connect_from(
        &self,
        source_port: u16,
        to: SocketAddr,
        deadline: Duration,
    ) -> io::Result<TcpStream> {
        self.enter(|| {
            let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            // A port may be used again at once, while its last flow is in TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(any, source_port).into())?;
            socket.connect_timeout(&to.into(), deadline)?;
            Ok(socket.into())
        })
    }
}
