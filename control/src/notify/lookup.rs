//! The address of a mail server by its name, asked for on another thread.
//!
//! *Invariants*
//! - one thread at most waits for the answer to one name: whoever gives up and asks again waits for the same answer. A
//!   resolver that hangs for good costs one thread, not one for each mail.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use tokio::task::JoinHandle;

/// Asks the system's resolver.
pub(super) struct Lookup {
    resolve: Resolve,
    /// The question that is not answered yet.
    pending: Option<(String, JoinHandle<io::Result<Vec<IpAddr>>>)>,
}

type Resolve = fn(&str) -> io::Result<Vec<IpAddr>>;

impl Lookup {
    pub(super) fn new() -> Lookup {
        Lookup { resolve: system, pending: None }
    }

    /// The addresses of a name, at least one. Can be dropped at any time.
    pub(super) async fn addresses(&mut self, name: &str) -> io::Result<Vec<IpAddr>> {
        let same = self.pending.take().filter(|(asked, _)| asked == name);
        let (_, answer) = self.pending.insert(same.unwrap_or_else(|| {
            let (resolve, name) = (self.resolve, name.to_owned());
            (name.clone(), tokio::task::spawn_blocking(move || resolve(&name)))
        }));
        let addresses = answer.await;
        self.pending = None;
        match addresses?? {
            none if none.is_empty() => Err(io::Error::other("it has no address")),
            addresses => Ok(addresses),
        }
    }
}

fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_resolver_that_hangs_is_asked_once() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static OPEN: AtomicBool = AtomicBool::new(false);
        let resolve: Resolve = |_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            while !OPEN.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(vec![IpAddr::from([192, 0, 2, 25])])
        };
        let mut lookup = Lookup { resolve, pending: None };
        for _ in 0..20 {
            let answer = tokio::time::timeout(Duration::from_millis(1), lookup.addresses("mail")).await;
            assert!(answer.is_err(), "it hangs");
        }
        OPEN.store(true, Ordering::SeqCst);
        assert_eq!(lookup.addresses("mail").await.expect("an answer"), [IpAddr::from([192, 0, 2, 25])]);
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        lookup.addresses("other").await.expect("an answer");
        assert_eq!(ASKED.load(Ordering::SeqCst), 2, "an answer is not kept");
    }

    #[tokio::test]
    async fn the_system_knows_localhost_and_not_what_cannot_be() {
        let mut lookup = Lookup::new();
        assert!(lookup.addresses("localhost").await.expect("an answer").iter().all(IpAddr::is_loopback));
        assert!(lookup.addresses("mail.invalid").await.is_err());
    }
}
