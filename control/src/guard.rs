//! What a crash leaves must not speak. A director that is killed leaves its virtual addresses on the interface, and its XDP
//! program goes with it: from then on, until another director has taken over or it runs again, the kernel would meet the frames
//! of services that it knows nothing of, and answer every connection with a RST. So a second process waits for the end of the first. It
//! holds the XDP program, which without its sockets drops what is of a service, until it has taken the addresses away.
//!
//! *Invariants*
//! - it does nothing at all as long as the director runs, nor when that ends in order;
//! - the program is let go after the addresses, never before: the kernel never sees a frame for a virtual address it has;
//! - an address that was there before the director stays.
//!
//! Follows `bpf_link_release` in kernel/bpf/syscall.c: a link lasts as long as anybody has it open.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use caps::Capability;

use crate::address;
use crate::netlink::{Error, Netlink};
use crate::rights;

/// The word that makes a shunt a guard.
pub const WORD: &str = "guard";

/// The other process, as the director sees it.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    /// It ends in order when it reads a line without addresses, and does its work when this is closed.
    orders: Option<ChildStdin>,
    told: Option<BTreeSet<IpAddr>>,
}

impl Guard {
    /// Starts it. To be called when all XDP programs are attached.
    ///
    /// # Errors
    /// The kernel starts no process.
    pub fn start() -> io::Result<Guard> {
        let links = links()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(WORD).stdin(Stdio::piped()).stdout(Stdio::null());
        let inherit = move || {
            // Not of the director's session: what ends that by the terminal must not end this first.
            nix::unistd::setsid()?;
            for link in &links {
                // SAFETY: sets a flag of a descriptor of the new process; no memory is involved.
                if unsafe { libc::fcntl(*link, libc::F_SETFD, 0) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec only system calls are made, on values prepared before; nothing is allocated.
        unsafe { command.pre_exec(inherit) };
        let lent = rights::lend(Capability::CAP_NET_ADMIN);
        let mut child = command.spawn()?;
        drop(lent);
        let orders = child.stdin.take();
        Ok(Guard { child, orders, told: None })
    }

    /// These addresses are taken away if the director is killed, and no others.
    ///
    /// # Errors
    /// It has ended.
    pub fn watch(&mut self, addresses: BTreeSet<IpAddr>) -> io::Result<()> {
        if self.told.as_ref() == Some(&addresses) {
            return Ok(());
        }
        let line: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        self.told = Some(addresses);
        // A dot, so that none is not the end.
        self.say(&format!(". {}\n", line.join(" ")))
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.orders.as_mut().map_or(Ok(()), |orders| orders.write_all(line.as_bytes()))
    }
}

impl Drop for Guard {
    /// The director ends in order, after its addresses are gone.
    fn drop(&mut self) {
        // If it has ended already there is nothing to be said to it.
        let _ = self.say("\n");
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// The whole life of the other process.
///
/// # Errors
/// The kernel refuses: addresses may be left.
pub async fn stand() -> Result<(), Error> {
    // What is meant for the director is not for its guard: that must outlive it.
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: no code of ours runs in a signal's context.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // This process has nothing else to do than to wait.
    let Some(addresses) = last_order(io::stdin().lock()) else { return Ok(()) };
    let netlink = Netlink::open().map_err(|source| Error { call: "open a netlink socket".into(), source })?;
    let loopback = loopback();
    for found in address::addresses(&netlink).await? {
        if addresses.contains(&found.address) && Some(found.index) != loopback {
            address::remove_found(&netlink, &found).await?;
        }
    }
    Ok(())
}

/// What is to be taken away after the director has gone without a word; none if it has said that it goes.
fn last_order(mut orders: impl BufRead) -> Option<BTreeSet<IpAddr>> {
    let mut addresses = BTreeSet::new();
    let mut line = String::new();
    // One that was cut off is of a director that was killed while it wrote: the one before counts.
    while orders.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
        let list = line.strip_prefix('.')?;
        addresses = list.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        line.clear();
    }
    Some(addresses)
}

/// The open links of BPF programs; all of this process are XDP programs on its interfaces.
fn links() -> io::Result<Vec<RawFd>> {
    let mut links = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let is_link = fs::read_link(entry.path()).is_ok_and(|what| what.as_os_str() == "anon_inode:bpf_link");
        links.extend(
            entry.file_name().to_str().filter(|_| is_link).and_then(|name| name.parse::<RawFd>().ok()),
        );
    }
    Ok(links)
}

fn loopback() -> Option<u32> {
    nix::net::if_::if_nametoindex("lo").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(orders: &str) -> Option<Vec<String>> {
        last_order(orders.as_bytes()).map(|left| left.iter().map(IpAddr::to_string).collect())
    }

    #[test]
    fn who_ends_in_order_leaves_nothing_to_do() {
        assert_eq!(left(". 192.0.2.10\n\n"), None);
    }

    #[test]
    fn the_last_whole_line_says_what_is_taken_away() {
        assert_eq!(left(""), Some(vec![]));
        assert_eq!(left(". 192.0.2.10 2001:db8::10\n. 192.0.2.11\n").unwrap(), ["192.0.2.11"]);
        assert_eq!(left(". 192.0.2.10\n. 192.0.2.1").unwrap(), ["192.0.2.10"]);
        assert_eq!(left(". 192.0.2.10\n.\n"), Some(vec![]));
    }
}
