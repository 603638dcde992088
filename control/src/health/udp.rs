//! The UDP probe: a datagram, and an answer if one is asked for.
//!
//! A server that need not answer is well as long as nobody says that it is not there: silence until the timeout is a
//! success, an ICMP error a failure. That is all that can be known without knowing the protocol.

use std::time::Duration;

use super::Failure;
use super::seconds;
use super::socket::Way;
use crate::model::Udp;

/// Sends the datagram and waits for at most `timeout`.
pub(super) async fn probe(way: &Way, udp: &Udp, timeout: Duration) -> Result<(), Failure> {
    let socket = way.datagrams().await?;
    socket.send(&udp.payload).await?;
    // One byte more than is good: what is longer is cut off, and seen to be.
    let longest = udp.reply.map_or(0, |(_, longest)| longest);
    let mut answer = vec![0; longest.saturating_add(1).min(MOST)];
    match (tokio::time::timeout(timeout, socket.recv(&mut answer)).await, udp.reply) {
        (Ok(Err(error)), _) => Err(error.into()),
        (Ok(Ok(_)) | Err(_), None) => Ok(()),
        (Err(_), Some(_)) => Err(Failure::Wrong(format!("no answer within {}", seconds(timeout)))),
        (Ok(Ok(length)), Some((shortest, longest))) => match length {
            length if (shortest..=longest).contains(&length) => Ok(()),
            length if length > longest => {
                Err(Failure::Wrong(format!("an answer of more than {longest} bytes")))
            }
            length => {
                Err(Failure::Wrong(format!("an answer of {length} bytes, expected {shortest}-{longest}")))
            }
        },
    }
}

/// No datagram is longer.
const MOST: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::health::{block_on, way_to};

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(10);

    /// What a probe says of a server that gives this answer to the payload "ping".
    fn result(answer: Option<&'static [u8]>, reply: Option<(usize, usize)>) -> String {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let way = way_to(server.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (length, from) = server.recv_from(&mut [0; 100]).unwrap();
            assert_eq!(length, 4);
            if let Some(answer) = answer {
                server.send_to(answer, from).unwrap();
            }
            server
        });
        let udp = Udp { payload: b"ping".into(), reply };
        let timeout = if answer.is_some() { LONG } else { SHORT };
        let result = block_on(probe(&way, &udp, timeout));
        served.join().unwrap();
        result.map_or_else(|failure| failure.to_string(), |()| "up".into())
    }

    #[test]
    fn an_answer_counts_if_its_length_is_right() {
        assert_eq!(result(Some(b"pong"), Some((4, 4))), "up");
        assert_eq!(result(Some(b""), Some((0, 255))), "up");
        assert_eq!(result(Some(b"po"), Some((3, 4))), "an answer of 2 bytes, expected 3-4");
        assert_eq!(result(Some(&[0; 90]), Some((0, 4))), "an answer of more than 4 bytes");
    }

    #[test]
    fn silence_is_well_unless_an_answer_is_asked_for() {
        assert_eq!(result(None, None), "up");
        assert_eq!(result(Some(b"whatever"), None), "up");
        assert_eq!(result(None, Some((0, 255))), "no answer within 50 ms");
    }

    #[test]
    fn a_closed_port_is_refused_though_no_answer_is_asked_for() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let closed = UdpSocket::bind(any).unwrap().local_addr().unwrap();
            let udp = Udp { payload: Vec::new(), reply: None };
            let failure = block_on(probe(&way_to(closed), &udp, LONG)).unwrap_err();
            assert_eq!(failure.to_string(), "connection refused");
        }
    }
}
