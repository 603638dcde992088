//! Names of hosts and ports, for people who leave `-n` out.
//!
//! *Invariants*: a resolver that is slow or silent delays a listing by [`PATIENCE`] at most, whatever its length: all names are
//! asked for at once, and the number is shown of what has no answer by then.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::option::Protocol;

/// How long all names of a listing together are waited for, and a name in a command.
const PATIENCE: Duration = Duration::from_secs(2);
/// Threads that ask; a thread has one question at a time.
const ASKERS: usize = 32;

/// What is known of names.
pub struct Names {
    /// Of ports, in the order of the file.
    ports: Vec<(String, u16, Protocol)>,
    /// Of addresses that were looked up.
    hosts: HashMap<IpAddr, String>,
    /// Who is asked for the addresses of a name.
    resolver: fn(&str) -> Vec<IpAddr>,
}

impl Names {
    /// What this machine knows of ports (`/etc/services`); of hosts nothing yet.
    pub fn of_machine() -> Names {
        // Without the file there are numbers.
        let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
        Names { ports: ports(&services), hosts: HashMap::new(), resolver: system }
    }

    /// Asks for the names of these addresses.
    pub fn look_up(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.look_up_with(addresses, PATIENCE, |address| dns_lookup::lookup_addr(&address).ok());
    }

    fn look_up_with(
        &mut self,
        addresses: impl IntoIterator<Item = IpAddr>,
        patience: Duration,
        ask: fn(IpAddr) -> Option<String>,
    ) {
        let until = Instant::now() + patience;
        let wanted: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let mut missing = wanted.len();
        let answers = ask_all(wanted, ask);
        while missing > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let Ok((address, name)) = answers.recv_timeout(left) else { return };
            self.hosts.extend(name.map(|name| (address, name)));
            missing -= 1;
        }
    }

    /// The name of an address that was looked up, or the address.
    pub fn host(&self, address: IpAddr) -> String {
        self.hosts.get(&address).cloned().unwrap_or_else(|| address.to_string())
    }

    /// The name of a port, or its number.
    pub fn port(&self, port: u16, protocol: Protocol) -> String {
        let found = self.ports.iter().find(|(_, number, of)| (*number, *of) == (port, protocol));
        found.map_or_else(|| port.to_string(), |(name, ..)| name.clone())
    }

    /// The first IPv4 address of a name, if it is known in time.
    pub fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let (sender, answer) = channel();
        let (name, resolver) = (name.to_owned(), self.resolver);
        // Whoever asked may have gone.
        std::thread::spawn(move || drop(sender.send(resolver(&name))));
        let addresses = answer.recv_timeout(PATIENCE).unwrap_or_default();
        addresses.into_iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// The port of this name.
    pub fn number(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let found = self.ports.iter().find(|(known, _, of)| known == name && *of == protocol);
        found.map(|(_, port, _)| *port)
    }
}

fn system(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().into_iter().flatten().map(|at| at.ip()).collect()
}

/// Answers as they come. A thread whose resolver hangs is left to itself: the program is over before it is.
fn ask_all(
    wanted: BTreeSet<IpAddr>,
    ask: fn(IpAddr) -> Option<String>,
) -> Receiver<(IpAddr, Option<String>)> {
    let (sender, answers) = channel();
    let askers = wanted.len().min(ASKERS);
    let wanted = Arc::new(Mutex::new(wanted));
    for _ in 0..askers {
        let (wanted, sender) = (wanted.clone(), sender.clone());
        std::thread::spawn(move || {
            let next = || wanted.lock().ok().and_then(|mut wanted| wanted.pop_first());
            while let Some(address) = next() {
                if sender.send((address, ask(address))).is_err() {
                    return;
                }
            }
        });
    }
    answers
}

/// `name port/protocol aliases... # comment`, a line each: `services(5)`.
fn ports(text: &str) -> Vec<(String, u16, Protocol)> {
    let mut known = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some((port, protocol))) =
            (words.next(), words.next().and_then(|word| word.split_once('/')))
        else {
            continue;
        };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => continue,
        };
        let Ok(port) = port.parse() else { continue };
        known.extend(std::iter::once(name).chain(words).map(|name| (name.to_owned(), port, protocol)));
    }
    known
}

#[cfg(test)]
impl Names {
    /// What these say, and nothing of the machine.
    pub(super) fn of(services: &str, hosts: &[(IpAddr, &str)]) -> Names {
        let hosts = hosts.iter().map(|(address, name)| (*address, (*name).to_owned()));
        let resolver = |name: &str| match name {
            "localhost" => vec![IpAddr::from(std::net::Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()],
            _ => Vec::new(),
        };
        Names { ports: ports(services), hosts: hosts.collect(), resolver }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = "# names\nssh\t22/tcp\ndomain 53/tcp\ndomain 53/udp # both\n\
                            http\t\t80/tcp\t\twww\t# WorldWideWeb HTTP\nodd\nodd 7/dccp\nhttp-alt 80/tcp\n";

    #[test]
    fn ports_have_the_first_name_of_their_protocol_and_are_found_by_any() {
        let names = Names::of(SERVICES, &[]);
        assert_eq!(names.port(80, Protocol::Tcp), "http");
        assert_eq!((names.port(80, Protocol::Udp), names.port(7, Protocol::Tcp)), ("80".into(), "7".into()));
        assert_eq!(names.number("www", Protocol::Tcp), Some(80));
        assert_eq!((names.number("ssh", Protocol::Udp), names.number("both", Protocol::Udp)), (None, None));
    }

    #[test]
    fn a_resolver_that_hangs_costs_the_patience_once_and_what_it_knows_is_shown() {
        let mut names = Names::of("", &[]);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let ask = |address: IpAddr| match address {
            IpAddr::V4(v4) if v4.octets()[3] == 1 => Some("one.example".to_owned()),
            IpAddr::V4(v4) if v4.octets()[3] == 2 => None,
            _ => {
                std::thread::park();
                None
            }
        };
        let begin = Instant::now();
        names.look_up_with((1..100).map(address), Duration::from_millis(200), ask);
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        assert_eq!(names.host(address(1)), "one.example");
        assert_eq!(
            (names.host(address(2)), names.host(address(3))),
            ("192.0.2.2".into(), "192.0.2.3".into())
        );
    }
}
