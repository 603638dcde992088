//! A UDP service on a real server: it answers every datagram with the name of its host and the datagram.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::sockopt::Ipv4PacketInfo;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;

use crate::host::Host;

/// How often the thread looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

/// A running echo service on one port of all IPv4 addresses of a host.
pub struct Echo {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts it. It answers from the address that was asked, as a service behind a VIP must.
    #[track_caller]
    pub fn start(host: &Host, port: u16) -> Echo {
        let socket = host.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let socket = socket.unwrap_or_else(|fault| panic!("UDP port {port} of {}: {fault}", host.role()));
        setsockopt(&socket, Ipv4PacketInfo, &true).expect("Linux tells the destination address");
        socket.set_read_timeout(Some(LOOK)).expect("a socket takes a timeout");
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, count, name) = (Arc::clone(&stop), Arc::clone(&answered), host.role().to_owned());
        let thread = std::thread::spawn(move || {
            // Relaxed, here and below: flag and counter order nothing else.
            while !stopped.load(Ordering::Relaxed) {
                // An error is a timeout, or a datagram to be ignored.
                let _ = answer(&socket, &name, &count);
            }
        });
        Echo { stop, answered, thread: Some(thread) }
    }

    /// How many datagrams it has answered.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Asks `to` from `host`: the answer is "NAME QUESTION".
pub fn ask(host: &Host, to: SocketAddr, question: &str, patience: Duration) -> io::Result<String> {
    let socket = host.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    // Connected: an answer from another address than the one that was asked does not count.
    socket.connect(to)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(question.as_bytes())?;
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Answers one datagram, if one comes before the socket's timeout.
fn answer(socket: &UdpSocket, name: &str, count: &AtomicUsize) -> io::Result<()> {
    let mut question = [0; 2048];
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let (length, asker, mut asked) = {
        let mut parts = [IoSliceMut::new(&mut question)];
        let message =
            recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
        let asked = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
            _ => None,
        });
        (message.bytes, message.address, asked.ok_or(io::ErrorKind::InvalidData)?)
    };
    // Only the address: the answer leaves by whatever interface leads to the asker, not by the one of the VIP.
    asked.ipi_ifindex = 0;
    asked.ipi_spec_dst = asked.ipi_addr;
    let text = [name.as_bytes(), b" ", &question[..length]].concat();
    let from = [ControlMessage::Ipv4PacketInfo(&asked)];
    // Before it is sent: whoever has the answer finds it counted.
    count.fetch_add(1, Ordering::Relaxed);
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(&text)], &from, MsgFlags::empty(), asker.as_ref())?;
    Ok(())
}
