//! Frames put straight on the cable of a director, as if the router had sent them: as many flows as a test wants, each
//! known to the byte. No capture at that port sees them on their way in (the socket bypasses what captures hook into);
//! what the director makes of them is seen as ever.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::address::Mac;
use crate::address::Segment as Lan;
use crate::craft::Segment;
use crate::director::Director;
use crate::lab::Lab;
use crate::packet_socket::PacketSocket;
use crate::tally::Tally;

/// At most this many frames are under way at a time where none may be lost; a queue holds 4096.
const WINDOW: usize = 1024;

/// The switch's end of a director's cable.
pub struct Injector {
    socket: PacketSocket,
    router: Mac,
    director: Mac,
    client: IpAddr,
    client6: Option<IpAddr>,
}

impl Injector {
    /// At the first port of director number `n`.
    #[track_caller]
    pub fn open(lab: &Lab, n: usize) -> Injector {
        let director = lab.director(n);
        Injector {
            socket: PacketSocket::open(lab.switch(), director.port()),
            router: lab.router().leg(Lan::Lan).mac,
            director: director.mac(),
            client: lab.client(0).address(),
            client6: lab.client(0).legs()[0].address6,
        }
    }

    /// The headers of a packet from the client's port `source_port`; from its IPv6 address if it goes to one.
    #[track_caller]
    pub fn segment(&self, source_port: u16, destination: SocketAddr) -> Segment {
        let client = if destination.is_ipv4() { Some(self.client) } else { self.client6 };
        let client = client.expect("the lab was built with `ipv6()`");
        Segment {
            source_mac: self.router,
            destination_mac: self.director,
            source: (client, source_port).into(),
            destination,
            ..Segment::default()
        }
    }

    /// Sends each frame once, not faster than `director` takes them: none is lost on its way to a worker.
    #[track_caller]
    pub fn send(&self, director: &Director, frames: &[Vec<u8>]) {
        let before = Tally::of(director);
        let mut sent = 0;
        for window in frames.chunks(WINDOW) {
            sent += self.send_fast(window, window.len()) as u64;
            Tally::when(director, "the frames sent to arrive", |tally| {
                tally.redirected + tally.passed >= before.redirected + before.passed + sent
            });
        }
    }

    /// Sends `total` frames, going round in `frames`, as fast as one core can. Says how many are on the cable: the
    /// kernel refuses what the cable's ring has no room for, and it is sent again.
    #[track_caller]
    pub fn send_fast(&self, frames: &[Vec<u8>], total: usize) -> usize {
        let sent = self.socket.send_many(frames, total);
        sent.unwrap_or_else(|fault| panic!("sending {total} frames to the director: {fault}"))
    }

    /// Waits for the next frame that comes *out* of the director and that `wanted` accepts.
    pub fn receive_where(&self, deadline: Duration, wanted: impl FnMut(&[u8]) -> bool) -> Option<Vec<u8>> {
        self.socket.receive_where(deadline, wanted)
    }
}
