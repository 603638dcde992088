//! Our half of an SMTP conversation, without a socket: greeting, `HELO`, `QUIT`.
//!
//! *Invariant*: no input panics, or makes it keep more than [`LONGEST_LINE`]; a reply of more than [`MOST_LINES`] is an
//! error.
//!
//! RFC 5321, sections 3.1, 3.8 and 4.2.

/// Longest line of a reply, bytes. (RFC 5321: 512.)
pub const LONGEST_LINE: usize = 2048;
/// Most lines of one reply.
pub const MOST_LINES: usize = 100;

/// A conversation as far as it has come.
#[derive(Debug)]
pub struct Conversation {
    helo: String,
    awaits: Reply,
    line: Vec<u8>,
    lines: usize,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// More of the reply must come.
    Listen,
    /// This is to be sent.
    Say(String),
    /// It is over, and went well.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Greeting,
    Helo,
    Quit,
}

impl Conversation {
    /// Begins with the greeting of the server; `helo` is the name given.
    pub fn new(helo: &str) -> Conversation {
        Conversation { helo: helo.to_owned(), awaits: Reply::Greeting, line: Vec::new(), lines: 0 }
    }

    /// Takes in what the server says. What comes after the end of a reply, before it was asked for, is not heard.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Turn, String> {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() >= LONGEST_LINE {
                    return Err(format!("{}: a line of more than {LONGEST_LINE} bytes", self.awaits.words()));
                }
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match (parse(&line), self.awaits.code()) {
                (Some((_, true)), _) if self.lines + 1 >= MOST_LINES => {
                    return Err(format!("{}: more than {MOST_LINES} lines", self.awaits.words()));
                }
                (Some((_, true)), _) => self.lines += 1,
                (Some((code, false)), expected) if expected.is_none_or(|expected| code == expected) => {
                    self.lines = 0;
                    return Ok(self.next());
                }
                (_, Some(expected)) => {
                    let shown = &line[..line.len().min(80)].trim_ascii_end();
                    let words = self.awaits.words();
                    return Err(format!("{words}: \"{}\", expected {expected}", shown.escape_ascii()));
                }
                // Whatever it says to QUIT, it has done its duty.
                (_, None) => return Ok(Turn::Done),
            }
        }
        Ok(Turn::Listen)
    }

    /// What it means that the server has closed the connection.
    ///
    /// # Errors
    /// It has not said what it must.
    pub fn end(&self) -> Result<(), String> {
        match self.awaits {
            Reply::Quit => Ok(()),
            awaits => Err(format!("{}: the connection was closed", awaits.words())),
        }
    }

    /// What is waited for, in words.
    pub fn awaits(&self) -> &'static str {
        self.awaits.words()
    }

    fn next(&mut self) -> Turn {
        let (awaits, turn) = match self.awaits {
            Reply::Greeting => (Reply::Helo, Turn::Say(format!("HELO {}\r\n", self.helo))),
            Reply::Helo => (Reply::Quit, Turn::Say("QUIT\r\n".into())),
            Reply::Quit => (Reply::Quit, Turn::Done),
        };
        self.awaits = awaits;
        turn
    }
}

impl Reply {
    /// The code that is good; none: any.
    fn code(self) -> Option<u16> {
        match self {
            Reply::Greeting => Some(220),
            Reply::Helo => Some(250),
            Reply::Quit => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Reply::Greeting => "greeting",
            Reply::Helo => "answer to HELO",
            Reply::Quit => "answer to QUIT",
        }
    }
}

/// The code of a line, and whether another one follows: `220-hello`, `220 hello`, `220`.
fn parse(line: &[u8]) -> Option<(u16, bool)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = code.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is said to these replies.
    fn talk(replies: &[&[u8]]) -> Result<Vec<Turn>, String> {
        let mut conversation = Conversation::new("director.example");
        replies.iter().map(|reply| conversation.hear(reply)).collect()
    }

    fn say(text: &str) -> Turn {
        Turn::Say(text.into())
    }

    #[test]
    fn a_mail_server_is_greeted_by_name_and_left() {
        let turns = talk(&[b"220 mx ESMTP\r\n", b"250 mx\r\n", b"221 Bye\r\n"]).unwrap();
        assert_eq!(turns, [say("HELO director.example\r\n"), say("QUIT\r\n"), Turn::Done]);
    }

    #[test]
    fn replies_of_many_lines_and_in_pieces_are_waited_for() {
        let turns =
            talk(&[b"220-wa", b"it\r\n220-a little\r\n22", b"0 mx\r", b"\n", b"250-a\n250\n"]).unwrap();
        let listen = Turn::Listen;
        assert_eq!(
            turns,
            [listen.clone(), listen.clone(), listen, say("HELO director.example\r\n"), say("QUIT\r\n")]
        );
    }

    #[test]
    fn another_code_is_an_error_but_for_the_last() {
        let error = |replies: &[&[u8]]| talk(replies).unwrap_err();
        assert_eq!(error(&[b"554 go away\r\n"]), "greeting: \"554 go away\", expected 220");
        assert_eq!(error(&[b"220-a\r\n421 busy\r\n"]), "greeting: \"421 busy\", expected 220");
        assert_eq!(error(&[b"220 a\r\n", b"501 Syntax\r\n"]), "answer to HELO: \"501 Syntax\", expected 250");
        for garbage in [&b"\xff\xfb\n"[..], b"22\n", b"2200 a\n", b"220a\n", b"+OK\n", b"\n"] {
            assert!(error(&[garbage]).ends_with(", expected 220"));
        }
        assert_eq!(talk(&[b"220 a\n", b"250 a\n", b"whatever\n"]).unwrap()[2], Turn::Done);
    }

    #[test]
    fn a_server_may_close_after_quit_and_not_before() {
        let mut conversation = Conversation::new("a");
        assert_eq!(conversation.end().unwrap_err(), "greeting: the connection was closed");
        conversation.hear(b"220 a\r\n").unwrap();
        assert_eq!(conversation.end().unwrap_err(), "answer to HELO: the connection was closed");
        conversation.hear(b"250 a\r\n").unwrap();
        assert_eq!(conversation.end(), Ok(()));
    }

    #[test]
    fn lines_and_replies_have_an_end() {
        let mut conversation = Conversation::new("a");
        let error = (0..).find_map(|_| conversation.hear(&[b'a'; 100]).err()).unwrap();
        assert_eq!(error, "greeting: a line of more than 2048 bytes");
        let mut conversation = Conversation::new("a");
        let lines = (1..).find_map(|line| Some((line, conversation.hear(b"220-a\r\n").err()?))).unwrap();
        assert_eq!(lines, (100, "greeting: more than 100 lines".into()));
    }

    proptest! {
        #[test]
        fn replies_mean_the_same_however_they_are_cut(
            bytes in "(220|250|221|5)?[- ]?[a-z]{0,3}\r?\n(220[- ]x\r\n)?",
            piece in 1usize..5,
        ) {
            let hear = |piece: usize| {
                let mut conversation = Conversation::new("a");
                for bytes in bytes.as_bytes().chunks(piece) {
                    let turn = conversation.hear(bytes);
                    if turn != Ok(Turn::Listen) {
                        return turn;
                    }
                }
                Ok(Turn::Listen)
            };
            prop_assert_eq!(hear(piece), hear(1000));
        }
    }
}
