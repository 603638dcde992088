//! A DNS query and the datagrams that come back, without a socket.
//!
//! Of an answer only header and question are read. Whether the records in it make sense is the affair of whoever asks
//! for them; a server that answers has answered.
//!
//! *Invariant*: no input panics; a datagram that does not answer this very query says nothing.
//!
//! RFC 1035, section 4.1; RFC 5452 (why identifier and question are compared).

use std::str::FromStr;

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question(Query);

/// What a datagram says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the answer: another may come.
    Stray,
    /// The server has answered without an error.
    Answered,
    /// It has answered with this error.
    Error(String),
}

impl Question {
    /// The question for records of the type `record` of `name`.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn new(record: &str, name: &str) -> Result<Question, String> {
        let record = RecordType::from_str(&record.to_ascii_uppercase())
            .map_err(|_| format!("\"{record}\" is no type of DNS record"))?;
        let mut name =
            Name::from_ascii(name).map_err(|error| format!("\"{name}\" is no name in DNS: {error}"))?;
        name.set_fqdn(true);
        Ok(Question(Query::query(name, record)))
    }

    /// The query with this identifier.
    pub fn query(&self, id: u16) -> Vec<u8> {
        let mut message = Message::new();
        message.set_id(id).set_message_type(MessageType::Query).set_op_code(OpCode::Query);
        message.set_recursion_desired(true).add_query(self.0.clone());
        match message.to_vec() {
            Ok(bytes) => bytes,
            Err(error) => unreachable!("a name that was read can be written: {error}"),
        }
    }

    /// What a datagram says to the query with this identifier.
    pub fn judge(&self, id: u16, datagram: &[u8]) -> Verdict {
        let mut decoder = BinDecoder::new(datagram);
        let Ok(header) = Header::read(&mut decoder) else { return Verdict::Stray };
        if header.id() != id || header.message_type() != MessageType::Response {
            return Verdict::Stray;
        }
        let code = header.response_code();
        // Some servers do not repeat a question that they refuse to look at.
        if header.query_count() == 0 && code != ResponseCode::NoError {
            return Verdict::Error(words(code));
        }
        match Query::read(&mut decoder) {
            Ok(query) if self.is(&query) => {}
            _ => return Verdict::Stray,
        }
        if code == ResponseCode::NoError { Verdict::Answered } else { Verdict::Error(words(code)) }
    }

    fn is(&self, query: &Query) -> bool {
        // Names are compared without regard to case.
        self.0.name() == query.name()
            && self.0.query_type() == query.query_type()
            && self.0.query_class() == query.query_class()
    }
}

/// "SERVFAIL", as tools for DNS have it.
fn words(code: ResponseCode) -> String {
    let name = match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotAuth => "NOTAUTH",
        code => return format!("error {} ({code})", u16::from(code)),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question::new("soa", "example.org").unwrap()
    }

    /// The answer with this code, for a query.
    fn answer(query: &[u8], code: u8) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer[3] |= code;
        answer
    }

    #[test]
    fn a_query_is_written_as_rfc_1035_has_it() {
        let expected =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x06\x00\x01";
        assert_eq!(question().query(0x1234), expected);
        let root = Question::new("NS", ".").unwrap();
        assert_eq!(root.query(1), b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01");
    }

    #[test]
    fn a_question_that_makes_no_sense_is_refused() {
        assert_eq!(Question::new("SOAP", ".").unwrap_err(), "\"SOAP\" is no type of DNS record");
        let long = "a".repeat(64);
        assert!(
            Question::new("A", &long)
                .unwrap_err()
                .ends_with("a\" is no name in DNS: label bytes exceed 63: 64")
        );
        assert!(Question::new("AAAA", "_service._tcp.example").is_ok());
    }

    #[test]
    fn only_the_answer_to_the_query_counts() {
        let (question, id) = (question(), 0x1234);
        let query = question.query(id);
        let good = answer(&query, 0);
        assert_eq!(question.judge(id, &good), Verdict::Answered);
        // Records that nobody reads.
        assert_eq!(question.judge(id, &[&good[..], b"\xc0\x0c\xff"].concat()), Verdict::Answered);
        let other = Question::new("SOA", "example.com").unwrap().query(id);
        let other_type = Question::new("A", "example.org").unwrap().query(id);
        for stray in
            [&query, &answer(&other, 0), &answer(&other_type, 0), &answer(&question.query(id + 1), 0)]
        {
            assert_eq!(question.judge(id, stray), Verdict::Stray);
        }
        for length in 0..good.len() {
            assert_eq!(question.judge(id, &good[..length]), Verdict::Stray, "{length}");
        }
        let loud = answer(&Question::new("SOA", "EXAMPLE.org").unwrap().query(id), 0);
        assert_eq!(question.judge(id, &loud), Verdict::Answered);
    }

    #[test]
    fn errors_have_the_names_that_tools_give_them() {
        let (question, id) = (question(), 7);
        let query = question.query(id);
        for (code, words) in [(1, "FORMERR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED")] {
            assert_eq!(question.judge(id, &answer(&query, code)), Verdict::Error(words.into()));
        }
        assert_eq!(
            question.judge(id, &answer(&query, 7)),
            Verdict::Error("error 7 (RR Set should not exist)".into())
        );
        // Without the question.
        let mut bare = answer(&query[..12], 1);
        bare[5] = 0;
        assert_eq!(question.judge(id, &bare), Verdict::Error("FORMERR".into()));
        bare[3] = 0;
        assert_eq!(question.judge(id, &bare), Verdict::Stray);
    }
}
