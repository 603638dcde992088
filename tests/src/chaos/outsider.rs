//! Programs that use the control socket as nobody should.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// As many connections as are to be had, up to `most`, on which nothing is ever said.
pub(super) fn silent(socket: &Path, most: usize) -> Vec<UnixStream> {
    (0..most).map_while(|_| UnixStream::connect(socket).ok()).collect()
}

/// What is no request, one each.
pub(super) fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        ("nothing", Vec::new()),
        ("noise", [&noise[..], b"\n"].concat()),
        ("zeros", vec![0; 1 << 20]),
        ("a line without an end", vec![b'a'; 4 << 20]),
        ("half a request", br#"{"version":1,"comm"#.to_vec()),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: shunt\r\n\r\n".to_vec()),
        ("a version of the future", b"{\"version\":4294967296,\"command\":\"reload\"}\n".to_vec()),
        ("an unknown command", b"{\"version\":1,\"command\":\"dance\"}\n".to_vec()),
        ("a command of another type", b"{\"version\":1,\"command\":[1,2]}\n".to_vec()),
        (
            "a number that is none",
            b"{\"version\":1,\"command\":\"show\",\"what\":\"flows\",\"limit\":1e999}\n".to_vec(),
        ),
        ("deep brackets", [vec![b'['; 60_000], b"\n".to_vec()].concat()),
        ("bad text", b"{\"version\":1,\"command\":\"\xff\xfe\"}\n".to_vec()),
        ("ten thousand lines", b"\n".repeat(10_000)),
    ]
}

/// Says `bytes`, and nothing more; what is answered before the connection is closed.
pub(super) fn say(socket: &Path, bytes: &[u8]) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // It may have been told enough before the end.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
