//! The TCP probe: a connection that is closed as soon as it stands.

use std::time::Duration;

use super::Failure;
use super::socket::Way;

/// Connects within `timeout`, or says why not.
pub(super) async fn probe(way: &Way, timeout: Duration) -> Result<(), Failure> {
    way.connect(timeout).await.map(|_closed_here| ())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::health::{block_on, way_to};

    const LONG: Duration = Duration::from_secs(10);

    fn probe_at(to: SocketAddr) -> Result<(), Failure> {
        block_on(probe(&way_to(to), LONG))
    }

    #[test]
    fn a_listening_server_is_up_and_sees_a_reset() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        probe_at(server.local_addr().unwrap()).unwrap();
        let (mut connection, _) = server.accept().unwrap();
        let error = connection.read(&mut [0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    }

    #[test]
    fn a_server_of_ipv6_is_reached_too() {
        let server = TcpListener::bind("[::1]:0").unwrap();
        probe_at(server.local_addr().unwrap()).unwrap();
        server.accept().unwrap();
    }

    #[test]
    fn a_closed_port_is_refused() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(probe_at(closed).unwrap_err().to_string(), "connection refused");
    }
}
