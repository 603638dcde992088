//! The answers of servers that are checked: HTTP, SMTP, DNS and ICMP, by the first byte.
//!
//! Each comes twice, once in one piece and once in pieces of the length that the second byte says: it must mean the same,
//! and nothing may be kept beyond the bounds.

use shunt::health::answers::{Answer, Conversation, Echo, LONGEST_KEPT, Question, Turn, Verdict, Whole};

use crate::memory;

/// A pattern's body, a head and their growth; the input itself is shorter than any of them.
const MOST_MEMORY: usize = 200_000;

/// The target.
pub fn run(input: &[u8]) {
    let Some(([kind, piece], bytes)) = input.split_first_chunk() else { return };
    let piece = usize::from(*piece).max(1);
    let used = memory::peak(|| match kind % 4 {
        0 => http(bytes, piece),
        1 => smtp(bytes, piece),
        2 => dns(bytes),
        _ => icmp(bytes, piece),
    });
    assert!(used <= MOST_MEMORY + 8 * input.len(), "{used} bytes for an answer of {}", bytes.len());
}

fn http(bytes: &[u8], piece: usize) {
    let whole = read(bytes, bytes.len().max(1));
    let cut = read(bytes, piece);
    // A head that is too long may be told of as such sooner or later.
    assert_eq!(whole.is_ok(), cut.is_ok());
    if let (Ok((whole, received)), Ok(cut)) = (whole, cut) {
        assert_eq!((&whole, received), (&cut.0, cut.1));
        assert!(whole.status < 1000 && whole.body.len() <= LONGEST_KEPT);
        assert!(received <= bytes.len() as u64 && whole.body.len() as u64 == received);
        assert!(bytes.ends_with(&whole.body) || bytes.windows(whole.body.len()).any(|at| at == whole.body));
    }
}

fn read(bytes: &[u8], piece: usize) -> Result<(Whole, u64), String> {
    let mut answer = Answer::new(true, true);
    for bytes in bytes.chunks(piece) {
        if answer.take(bytes)? {
            break;
        }
    }
    let received = answer.received();
    Ok((answer.end()?, received))
}

/// A server that says everything at once is not heard after the first reply; so replies are heard line by line.
fn smtp(bytes: &[u8], piece: usize) {
    let replies = |piece: usize| {
        let mut conversation = Conversation::new("director.example");
        let mut turns = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in line.chunks(piece) {
                match conversation.hear(part) {
                    Ok(Turn::Listen) => {}
                    Ok(Turn::Done) => return (Ok(turns), conversation.end()),
                    Ok(Turn::Say(text)) => turns.push(text),
                    Err(error) => return (Err(error), Ok(())),
                }
            }
        }
        (Ok(turns), conversation.end())
    };
    let heard = replies(usize::MAX);
    assert_eq!(heard, replies(piece));
    let (Ok(said), _) = heard else { return };
    let all = ["HELO director.example\r\n", "QUIT\r\n"];
    assert!(said.len() <= all.len() && said.iter().eq(&all[..said.len()]));
}

fn dns(bytes: &[u8]) {
    let question = Question::new("SOA", "example.org").expect("the question makes sense");
    let id = 0x1234;
    let query = question.query(id);
    let verdict = question.judge(id, bytes);
    if verdict != Verdict::Stray {
        // Identifier, the bit of answers, and the question if it is there.
        assert_eq!(bytes[..2], query[..2]);
        assert_eq!(bytes[2] & 0x80, 0x80);
        assert_eq!(verdict == Verdict::Answered, bytes[3] & 0x0f == 0);
        assert!(verdict != Verdict::Answered || bytes.len() > 12);
    }
    // What the query becomes when the input is laid over it is an answer, or is not; it never panics.
    let mut answer = query;
    answer.iter_mut().zip(bytes).for_each(|(byte, other)| *byte ^= other);
    question.judge(id, &answer);
}

fn icmp(bytes: &[u8], how: usize) {
    let echo = Echo {
        is_ipv6: how & 1 == 1,
        identifier: (how & 2 == 0).then_some(0x0102),
        sequence: 0x0304,
        data: *b"0123456789abcdef",
    };
    for has_ip_header in [false, true] {
        let mut reply = echo.request();
        assert!(!echo.is_answered_by(&reply, has_ip_header));
        if echo.is_answered_by(bytes, has_ip_header) {
            assert!(bytes.ends_with(&echo.data));
        }
        reply[0] = if echo.is_ipv6 { 129 } else { 0 };
        let header = if has_ip_header { vec![0x45; 20] } else { Vec::new() };
        assert!(echo.is_answered_by(&[header, reply].concat(), has_ip_header));
    }
}
