//! What systemd is told: that the director is ready, that it reads its configuration again, that it ends, how it does in
//! a line, and that it is alive. Nothing is told where nobody asked (`NOTIFY_SOCKET`).
//!
//! *Invariants*
//! - saying something never waits: what systemd does not take is lost, and the next is taken;
//! - `WATCHDOG=1` is said by who has just seen that all work, and by nobody else.
//!
//! Follows sd_notify(3), sd_watchdog_enabled(3).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::time::{ClockId, clock_gettime};

/// The service manager's socket, if it listens.
#[derive(Debug, Default)]
pub struct Systemd {
    socket: Option<UnixDatagram>,
    /// It ends what says nothing for a while.
    watches: bool,
    status: String,
}

impl Systemd {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. A socket that cannot be reached is a warning: systemd
    /// will say that the director is not ready in time.
    pub fn from_environment() -> Systemd {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Systemd::default();
        };
        let is_ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        match connect(&name) {
            Ok(socket) => Systemd {
                socket: Some(socket),
                watches: is_ours && env::var_os("WATCHDOG_USEC").is_some(),
                status: String::new(),
            },
            Err(error) => {
                tracing::warn!("systemd is told nothing: {} (NOTIFY_SOCKET): {error}", name.display());
                Systemd::default()
            }
        }
    }

    /// The director forwards what it is to forward.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The configuration is read again; [`Systemd::ready`] follows in any case.
    pub fn reloading(&self) {
        // The order of reloads and answers, for a unit with Type=notify-reload.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
            .map_or(0, |now| i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// The director ends, in order.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// The control loop takes its turns, and so do all workers.
    pub fn alive(&self) {
        if self.watches {
            self.say("WATCHDOG=1");
        }
    }

    /// How it does, in a line; said when it is another one than before.
    pub fn status(&mut self, line: String) {
        if line != self.status {
            self.say(&format!("STATUS={line}"));
            self.status = line;
        }
    }

    fn say(&self, message: &str) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(message.as_bytes())) {
            tracing::debug!(%error, "systemd is not told {message}");
        }
    }
}

/// A name that begins with `@` is of the abstract namespace (unix(7)).
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 200];
        let next =
            || by.recv(&mut buffer).ok().map(|size| String::from_utf8_lossy(&buffer[..size]).into_owned());
        std::iter::from_fn(next).collect()
    }

    fn pair(watches: bool) -> (UnixDatagram, Systemd) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let ear = UnixDatagram::bind(&path).unwrap();
        ear.set_nonblocking(true).unwrap();
        let socket = Some(connect(path.as_os_str()).unwrap());
        (ear, Systemd { socket, watches, status: String::new() })
    }

    #[test]
    fn all_is_said_in_order_and_a_status_once() {
        let (ear, mut systemd) = pair(true);
        systemd.status("1 service".into());
        systemd.ready();
        systemd.status("1 service".into());
        systemd.alive();
        systemd.status("2 services".into());
        systemd.stopping();
        let said = ["STATUS=1 service", "READY=1", "WATCHDOG=1", "STATUS=2 services", "STOPPING=1"];
        assert_eq!(heard(&ear), said);
    }

    #[test]
    fn a_reload_is_told_with_its_time() {
        let (ear, systemd) = pair(false);
        systemd.reloading();
        systemd.alive();
        let [said] = heard(&ear).try_into().expect("no sign of life, for nobody asked");
        let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both lines");
        assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{said}");
    }

    #[test]
    fn a_systemd_that_does_not_listen_holds_nobody_up() {
        let (ear, systemd) = pair(true);
        (0..10_000).for_each(|_| systemd.alive());
        assert!(heard(&ear).len() < 10_000);
        drop(ear);
        systemd.ready();
    }

    #[test]
    fn a_name_with_an_at_sign_is_abstract() {
        let name = format!("@shunt-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let ear = UnixDatagram::bind_addr(&address).unwrap();
        connect(OsStr::new(&name)).unwrap().send(b"READY=1").unwrap();
        ear.set_nonblocking(true).unwrap();
        assert_eq!(heard(&ear), ["READY=1"]);
    }
}
