//! A request as it comes in. Most are a line of some hundred bytes; a configuration, or what `ipvsadm -R` reads, may have
//! megabytes, and there is room for one of those at a time, however many clients there are.
//!
//! *Invariant*: all clients together make the daemon remember [`SMALL`] bytes each, and [`MAX_REQUEST`] once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::protocol::MAX_REQUEST;

/// Longest request that needs no room of its own, bytes.
const SMALL: usize = 64 * 1024;
/// A client that says nothing for this long is shown the door.
const PATIENCE: Duration = Duration::from_secs(5);
/// A large request is complete after this time, or never.
const PATIENCE_WITH_LARGE: Duration = Duration::from_secs(20);

/// Where there is room for large requests.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// A line as it was received.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    /// Kept until the request is answered.
    place: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new() -> Room {
        Room(Arc::new(Semaphore::new(1)))
    }

    /// The next line, empty at the end; one that is too long is cut off behind [`MAX_REQUEST`].
    ///
    /// # Errors
    /// The client went, was silent for too long, or had to wait too long for its turn.
    pub(super) async fn receive(&self, from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Line> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, part(from, SMALL, &mut bytes)).await??;
        if bytes.len() < SMALL || bytes.ends_with(b"\n") {
            return Ok(Line { bytes, place: None });
        }
        let place = timeout(PATIENCE_WITH_LARGE, self.0.clone().acquire_owned()).await?;
        timeout(PATIENCE_WITH_LARGE, part(from, MAX_REQUEST + 1 - SMALL, &mut bytes)).await??;
        Ok(Line { bytes, place: place.ok() })
    }
}

impl Line {
    /// Whether it is so long that to understand it takes a while.
    pub(super) fn is_large(&self) -> bool {
        self.place.is_some()
    }
}

async fn part(from: &mut (impl AsyncBufRead + Unpin), most: usize, to: &mut Vec<u8>) -> io::Result<usize> {
    from.take(most as u64).read_until(b'\n', to).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn receive(bytes: &[u8]) -> Line {
        Room::new().receive(&mut &*bytes).await.unwrap()
    }

    #[tokio::test]
    async fn lines_come_in_whole_whatever_their_length() {
        for length in [0, 1, SMALL - 2, SMALL - 1, SMALL, SMALL + 1, MAX_REQUEST - 1] {
            let mut sent = vec![b'x'; length];
            sent.extend(b"\nnext\n");
            let line = receive(&sent).await;
            assert_eq!(line.bytes.len(), length + 1);
            assert_eq!(line.is_large(), length >= SMALL, "{length}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_cut_off() {
        assert_eq!(receive(&vec![b'x'; MAX_REQUEST * 2]).await.bytes.len(), MAX_REQUEST + 1);
    }

    #[tokio::test]
    async fn there_is_room_for_one_large_request_at_a_time() {
        let room = Room::new();
        let large = vec![b'x'; SMALL * 2];
        let first = room.receive(&mut &*large).await.unwrap();
        let second = timeout(Duration::from_millis(50), room.receive(&mut &*large)).await;
        assert!(second.is_err(), "its turn does not come");
        assert_eq!(room.receive(&mut &b"small\n"[..]).await.unwrap().bytes, b"small\n");
        drop(first);
        assert!(room.receive(&mut &*large).await.is_ok());
    }
}
