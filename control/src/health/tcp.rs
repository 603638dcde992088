//! The TCP probe: a connection to the real server's own address that is closed as soon as it stands.
//!
//! It is closed with a reset (`SO_LINGER` 0): a close with FIN leaves each probe a minute in TIME_WAIT on the director,
//! and 500 checks a second would use up its ports.
//!
//! The socket is bound to no address. The kernel takes the one of the route to the real server, which is the
//! interface's own and never a VIP: a VIP is a host address, and no connected route prefers it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::Failure;

/// Connects within `timeout`, or says why not.
pub(super) async fn probe(to: SocketAddr, timeout: Duration) -> Result<(), Failure> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_zero_linger()?;
    match tokio::time::timeout(timeout, socket.connect(to)).await {
        Ok(Ok(_closed_here)) => Ok(()),
        // The kernel gave up before we did (tcp_syn_retries).
        Ok(Err(error)) if error.raw_os_error() == Some(libc::ETIMEDOUT) => Err(Failure::TimedOut(timeout)),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Failure::TimedOut(timeout)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_listening_server_is_up_and_sees_a_reset() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        block_on(probe(server.local_addr().unwrap(), LONG)).unwrap();
        let (mut connection, _) = server.accept().unwrap();
        let error = connection.read(&mut [0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    }

    #[test]
    fn a_server_of_ipv6_is_reached_too() {
        let server = TcpListener::bind("[::1]:0").unwrap();
        block_on(probe(server.local_addr().unwrap(), LONG)).unwrap();
        server.accept().unwrap();
    }

    #[test]
    fn a_closed_port_is_refused() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(block_on(probe(closed, LONG)).unwrap_err().to_string(), "connection refused");
    }
}
