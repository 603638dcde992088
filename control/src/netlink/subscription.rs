//! Notifications of rtnetlink multicast groups, with the one thing a subscriber must not forget made
//! impossible to forget: the kernel drops notifications when the socket is full (`ENOBUFS`), and then the only
//! way back to the truth is a dump.

use std::io;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup};

/// Room for about a thousand notifications (the kernel charges some 800 bytes for each).
const RECEIVE_BUFFER: usize = 1 << 20;
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// What a [`Subscription`] yields.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Something changed.
    Message(RouteNetlinkMessage),
    /// Notifications were lost: dump the table again.
    Overrun,
}

/// A socket that hears the notifications of some groups.
#[derive(Debug)]
pub(crate) struct Subscription {
    groups: &'static [MulticastGroup],
    socket: Option<Open>,
}

#[derive(Debug)]
struct Open {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    // The driving task ends when both halves are gone; this one is never used to send.
    _handle: Handle,
}

impl Subscription {
    /// Joins `groups`; what happens from here on is heard.
    pub(crate) fn open(groups: &'static [MulticastGroup]) -> io::Result<Subscription> {
        Ok(Subscription { groups, socket: Some(Open::new(groups)?) })
    }

    /// The next notice. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Notice {
        loop {
            let Some(socket) = &mut self.socket else {
                match Open::new(self.groups) {
                    Ok(open) => {
                        self.socket = Some(open);
                        return Notice::Overrun;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot reopen the netlink socket; trying again");
                        tokio::time::sleep(REOPEN_DELAY).await;
                        continue;
                    }
                }
            };
            match socket.messages.next().await {
                Some((message, _)) => match message.payload {
                    NetlinkPayload::InnerMessage(message) => return Notice::Message(message),
                    NetlinkPayload::Overrun(_) => return Notice::Overrun,
                    _ => {}
                },
                None => {
                    tracing::warn!("the netlink socket closed; opening it again");
                    self.socket = None;
                }
            }
        }
    }
}

impl Open {
    fn new(groups: &[MulticastGroup]) -> io::Result<Open> {
        let (mut connection, handle, messages) = rtnetlink::new_multicast_connection(groups)?;
        // Beyond rmem_max needs CAP_NET_ADMIN; with the default size a storm only means more dumps.
        if let Err(errno) =
            setsockopt(connection.socket_mut().socket_ref(), sockopt::RcvBufForce, &RECEIVE_BUFFER)
        {
            tracing::debug!(%errno, "netlink receive buffer keeps its default size");
        }
        tokio::spawn(connection);
        Ok(Open { messages, _handle: handle })
    }
}
