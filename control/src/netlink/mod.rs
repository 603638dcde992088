//! One place that speaks rtnetlink, because three rules of the protocol are easy to break when every module
//! talks to the kernel by itself: answers and notifications must not share a socket (a burst of notifications
//! overruns the socket and takes an answer with it, and then a request waits for ever), a lost notification
//! must become a new dump, and an error must say which call failed and what the kernel answered.
//!
//! *Invariants*
//! - a request ends: with the kernel's answer, or with `ETIMEDOUT` after 5 s;
//! - one dump at a time: a second one on the same socket is refused with `EBUSY` (`__netlink_dump_start` in
//!   net/netlink/af_netlink.c);
//! - a subscription never ends: a broken socket is opened anew and reported as an overrun.
//!
//! Follows `Documentation/userspace-api/netlink/intro.rst` and rtnetlink(7).

mod subscription;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use tokio::sync::Mutex;

pub(crate) use subscription::{Notice, Subscription};

/// The kernel answers within the system call; only a kernel bug or a lost answer takes this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A socket for requests to rtnetlink. Clones share it; it closes when the last clone is dropped.
///
/// It belongs to the network namespace of the thread that opened it.
#[derive(Debug, Clone)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    dumping: Arc<Mutex<()>>,
}

/// A request the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {source}")]
pub struct Error {
    /// What was asked, in words: "RTM_NEWADDR 192.0.2.10/32 on interface 2".
    pub call: String,
    /// What the kernel answered.
    pub source: io::Error,
}

impl Netlink {
    /// Opens the socket and starts the task that drives it. Must be called on a tokio runtime.
    pub fn open() -> io::Result<Netlink> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Netlink { handle, dumping: Arc::default() })
    }

    /// Asks for a whole table.
    pub(crate) async fn dump(
        &self,
        request: RouteNetlinkMessage,
        call: impl Fn() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let _turn = self.dumping.lock().await;
        self.exchange(request, NLM_F_DUMP, call).await
    }

    /// Asks for one object; `None` if the kernel answers with none.
    pub(crate) async fn get(
        &self,
        request: RouteNetlinkMessage,
        call: impl Fn() -> String,
    ) -> Result<Option<RouteNetlinkMessage>, Error> {
        Ok(self.exchange(request, 0, call).await?.pop())
    }

    /// Changes something; `flags` are added to `NLM_F_REQUEST | NLM_F_ACK`.
    pub(crate) async fn change(
        &self,
        request: RouteNetlinkMessage,
        flags: u16,
        call: impl Fn() -> String,
    ) -> Result<(), Error> {
        self.exchange(request, NLM_F_ACK | flags, call).await.map(drop)
    }

    async fn exchange(
        &self,
        request: RouteNetlinkMessage,
        flags: u16,
        call: impl Fn() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let fail = |source| Error { call: call(), source };
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        let mut answers =
            self.handle.clone().request(message).map_err(|_| {
                fail(io::Error::new(io::ErrorKind::BrokenPipe, "the netlink socket is closed"))
            })?;
        let collect = async {
            let mut objects = Vec::new();
            while let Some(answer) = answers.next().await {
                match answer.payload {
                    NetlinkPayload::InnerMessage(object) => objects.push(object),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    _ => {}
                }
            }
            Ok(objects)
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, collect).await {
            Ok(result) => result.map_err(fail),
            Err(_) => Err(fail(io::Error::from_raw_os_error(libc::ETIMEDOUT))),
        }
    }
}

/// Reads a table that must be read: after an overrun nothing else leads back to the truth.
pub(crate) async fn insist<T, F: Future<Output = Result<T, Error>>>(read: impl Fn() -> F) -> T {
    loop {
        match read().await {
            Ok(table) => return table,
            Err(error) => {
                tracing::warn!(%error, "notifications were lost and the table cannot be read; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl Error {
    /// The kernel's error number, if it gave one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::LinkMessage;

    #[tokio::test]
    async fn dumps_that_are_asked_for_at_once_are_all_answered() {
        let netlink = Netlink::open().unwrap();
        let dump =
            || netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), || "RTM_GETLINK".into());
        for links in futures::future::join_all((0..16).map(|_| dump())).await {
            assert!(!links.unwrap().is_empty(), "there is always lo");
        }
    }
}
