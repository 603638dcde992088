//! The ping probe: an ICMP or ICMPv6 echo request, and its reply.
//!
//! The director needs no setting of the kernel for it: where `net.ipv4.ping_group_range` does not allow it the socket
//! that pings without rights, it takes a raw one. (keepalived widens the range.)

pub mod echo;

use std::time::Duration;

use tokio::net::UdpSocket;

use super::socket::Way;
use super::{Failure, random, seconds};
use echo::Echo;

/// Longest message that is looked at: a reply after the longest IP header is shorter.
const LONGEST: usize = 256;

/// Sends a request, and waits for the reply for at most `timeout`.
pub(super) async fn probe(way: &Way, timeout: Duration) -> Result<(), Failure> {
    let echo_socket = way.echo()?;
    let draw = random();
    let mut data = [0; 16];
    data[..8].copy_from_slice(&random().to_be_bytes());
    data[8..].copy_from_slice(&random().to_be_bytes());
    let echo = Echo {
        is_ipv6: way.to.is_ipv6(),
        identifier: (!echo_socket.is_datagram).then_some(draw as u16),
        sequence: (draw >> 16) as u16,
        data,
    };
    let has_ip_header = !echo_socket.is_datagram && !echo.is_ipv6;
    echo_socket.socket.send(&echo.request()).await?;
    match tokio::time::timeout(timeout, reply(&echo_socket.socket, &echo, has_ip_header)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Wrong(format!("no answer within {}", seconds(timeout)))),
    }
}

async fn reply(socket: &UdpSocket, echo: &Echo, has_ip_header: bool) -> Result<(), Failure> {
    let mut message = [0; LONGEST];
    loop {
        let length = socket.recv(&mut message).await?;
        if echo.is_answered_by(&message[..length], has_ip_header) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{block_on, way_to};

    /// Needs CAP_NET_RAW, or a wide `ping_group_range`; the kernel answers.
    #[test]
    fn this_machine_answers() {
        for to in ["127.0.0.1:0", "[::1]:0"] {
            block_on(probe(&way_to(to.parse().unwrap()), Duration::from_secs(10))).unwrap();
        }
    }
}
