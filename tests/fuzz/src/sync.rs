//! What directors tell each other of flows: any bytes, as if their proof were right.
//!
//! What is taken for a message is what would be written of it, and what is packed anew fits and loses nothing.

use shunt::sync::message::{Body, Told, decode, encode, pack};
use shunt_dataplane::forwarding::ServiceKey;

use crate::memory;

/// A datagram, before its proof.
const ROOM: usize = 1420;
/// Beside a small multiple of what came in.
const MOST_MEMORY: usize = 10_000;

/// The target.
pub fn run(input: &[u8]) {
    let used = memory::peak(|| {
        if let Ok((header, body)) = decode(input) {
            assert_eq!(encode(header, &body), input, "{body:?}");
        }
    });
    assert!(used <= MOST_MEMORY + 32 * input.len(), "{used} bytes for {}", input.len());
    let Ok((header, body)) = decode(input) else { return };
    let flows = flat(&body);
    let mut again = Vec::new();
    for body in pack(&flows, ROOM) {
        let bytes = encode(header, &body);
        assert!(bytes.len() <= ROOM);
        let (_, body) = decode(&bytes).expect("what is written is a message");
        again.extend(flat(&body));
    }
    assert_eq!(again, flows);
}

fn flat(body: &Body) -> Vec<(ServiceKey, Told)> {
    let Body::Flows(sections) = body else { return Vec::new() };
    sections.iter().flat_map(|section| section.flows.iter().map(|told| (section.service, *told))).collect()
}
