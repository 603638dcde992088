//! The command line of `shunt explain`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;

use super::question::{Bytes, MOST_FRAMES, Question, Subject};
use super::{capture, hex, tuple, words};
use crate::admin::protocol::MAX_REQUEST;
use crate::usage::Usage;

/// What of a request is not frames.
const AROUND: usize = 1024;

/// What is asked.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Source address and port: `198.51.100.7:40000`, `[2001:db8::7]:40000`
    #[arg(value_name = "CLIENT", requires = "service", required_unless_present_any = ["hex", "pcap"])]
    client: Option<String>,
    /// Destination address, port and protocol: 192.0.2.10:80/tcp
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// TCP flags: SYN, SYN|ACK, none [default: ACK if the flow is known, else SYN]
    #[arg(long, value_name = "FLAGS", requires = "client")]
    flags: Option<String>,
    /// A frame in hex, plain or as `tcpdump -XX` prints it; - reads it from standard input
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["client", "pcap"])]
    hex: Option<String>,
    /// Frames of a capture, pcap or pcapng, taken one after the other
    #[arg(long, value_name = "FILE", conflicts_with = "client")]
    pcap: Option<PathBuf>,
    /// Most frames of the capture
    #[arg(long, value_name = "N", default_value_t = 16, requires = "pcap",
          value_parser = clap::value_parser!(u16).range(1..=MOST_FRAMES as i64))]
    limit: u16,
    /// The interface that it comes in on [default: the one that it is for]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// What the daemon is to be asked.
    ///
    /// # Errors
    /// What is wrong with the arguments, and what is expected.
    pub fn question(&self) -> anyhow::Result<Question> {
        let subject = match (&self.client, &self.service, &self.hex, &self.pcap) {
            (.., Some(text), _) if text == "-" => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.context("standard input")?;
                pasted(&text).map_err(Usage)?
            }
            (.., Some(text), _) => pasted(text).map_err(Usage)?,
            (.., Some(file)) => {
                let frames = capture::frames(file, usize::from(self.limit)).map_err(anyhow::Error::msg)?;
                if frames.is_empty() {
                    anyhow::bail!("{}: there is no frame in it", file.display());
                }
                Subject::Frames(frames)
            }
            (Some(client), Some(service), ..) => {
                let packet = tuple::parse(client, service, self.flags.as_deref());
                Subject::Packet(packet.map_err(Usage)?)
            }
            _ => return Err(Usage("a packet is expected, or --hex, or --pcap".into()).into()),
        };
        if let Subject::Frames(frames) = &subject {
            fits(frames).map_err(Usage)?;
        }
        Ok(Question { interface: self.interface.clone(), subject })
    }

    /// The answer, for whoever asked.
    pub fn render(&self, answer: &Value) -> String {
        if self.json { format!("{answer:#}\n") } else { words::render(answer) }
    }
}

fn pasted(text: &str) -> Result<Subject, String> {
    Ok(Subject::Frames(vec![Bytes { hex: hex::digits(text)?, length: None }]))
}

/// Whether so many frames fit one request.
fn fits(frames: &[Bytes]) -> Result<(), String> {
    let (mut room, mut fit) = (MAX_REQUEST - AROUND, 0);
    for frame in frames {
        // Quotes, keys and a number beside the digits.
        let Some(left) = room.checked_sub(frame.hex.len() + 40) else { break };
        (room, fit) = (left, fit + 1);
    }
    match fit == frames.len() {
        true => Ok(()),
        false => Err(format!("so many long frames do not fit one request: --limit {} does", fit.max(1))),
    }
}
