//! The production port: an AF_XDP socket.

use crate::port::{Burst, Census, Pool, Port};
use crate::xsk::socket::Socket;
use crate::xsk::umem::Frame;

impl Port for Socket {
    type Frame = Frame;

    #[inline]
    fn receive(&mut self, burst: &mut Burst<Frame>) {
        Socket::receive(self, burst);
    }

    #[inline]
    fn transmit(&mut self, frame: Frame) {
        Socket::transmit(self, frame);
    }

    #[inline]
    fn turn(&mut self, pool: &mut Pool<Frame>) {
        self.flush();
        self.reclaim(pool);
        self.refill(pool);
    }

    fn census(&self) -> Census {
        Socket::census(self)
    }

    fn is_busy(&self) -> bool {
        Socket::census(self).sending > 0
    }
}
