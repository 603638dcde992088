//! The DNS probe: a query over UDP, and any answer without an error code.
//!
//! The query is sent once; a lost datagram is what `fall` and `retry` are for.

pub mod message;

use std::io;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::socket::Way;
use super::{Failure, random, seconds};
use crate::model::Dns;
use message::{Question, Verdict};

/// Longest datagram that is looked at; of an answer the beginning is enough.
const LONGEST: usize = 1024;

/// Asks what the check asks for.
pub(super) struct Asker {
    question: Result<Question, String>,
}

impl Asker {
    pub(super) fn new(dns: &Dns) -> Asker {
        Asker { question: Question::new(&dns.record, &dns.name) }
    }

    /// Asks, and waits for at most `timeout`.
    pub(super) async fn probe(&self, way: &Way, timeout: Duration) -> Result<(), Failure> {
        let question =
            self.question.as_ref().map_err(|why| Failure::Inconclusive(io::Error::other(why.clone())))?;
        let socket = way.datagrams().await?;
        let id = random() as u16;
        socket.send(&question.query(id)).await?;
        match tokio::time::timeout(timeout, answer(&socket, question, id)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Wrong(format!("no answer within {}", seconds(timeout)))),
        }
    }
}

async fn answer(socket: &UdpSocket, question: &Question, id: u16) -> Result<(), Failure> {
    let mut datagram = [0; LONGEST];
    loop {
        let length = socket.recv(&mut datagram).await?;
        match question.judge(id, &datagram[..length]) {
            Verdict::Stray => {}
            Verdict::Answered => return Ok(()),
            Verdict::Error(code) => return Err(Failure::Wrong(format!("the answer is {code}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::health::{block_on, way_to};

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);

    /// What a probe says of a server that answers a query with these.
    fn result(timeout: Duration, answers: impl Fn(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> String {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let way = way_to(server.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let mut query = [0; 512];
            let (length, from) = server.recv_from(&mut query).unwrap();
            for answer in answers(query[..length].to_vec()) {
                server.send_to(&answer, from).unwrap();
            }
            server
        });
        let asker = Asker::new(&Dns { record: "A".into(), name: "www.example.org".into() });
        let result = block_on(asker.probe(&way, timeout));
        served.join().unwrap();
        result.map_or_else(|failure| failure.to_string(), |()| "up".into())
    }

    fn coded(mut query: Vec<u8>, code: u8) -> Vec<u8> {
        query[2] |= 0x80;
        query[3] |= code;
        query
    }

    #[test]
    fn an_answer_counts_by_its_code() {
        assert_eq!(result(LONG, |query| vec![coded(query, 0)]), "up");
        assert_eq!(result(LONG, |query| vec![coded(query, 2)]), "the answer is SERVFAIL");
    }

    #[test]
    fn what_is_not_the_answer_is_passed_over() {
        let strays = |query: Vec<u8>| {
            let mut other = coded(query.clone(), 2);
            other[0] ^= 1;
            vec![Vec::new(), vec![0xff; 2000], query.clone(), other]
        };
        assert_eq!(result(SHORT, strays), "no answer within 50 ms");
        assert_eq!(result(LONG, move |query| [strays(query.clone()), vec![coded(query, 0)]].concat()), "up");
    }

    #[test]
    fn a_closed_port_is_refused_and_a_wrong_question_is_our_fault() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ask = |record: &str| {
            let asker = Asker::new(&Dns { record: record.into(), name: ".".into() });
            block_on(asker.probe(&way_to(closed), LONG)).unwrap_err()
        };
        assert_eq!(ask("SOA").to_string(), "connection refused");
        assert!(!ask("NONE").counts());
    }
}
