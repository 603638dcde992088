//! A client: curl, in a namespace behind the router.

use std::net::IpAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::host::Host;
use crate::process::Process;

/// How long a client waits for a connection, and for a small answer as a whole.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What curl writes behind every answer, and what tells it from the answer itself.
const REPORT: &str = "#%{http_code} %{local_port} %{exitcode} %{errormsg}\\n";

/// What came of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The name of the real server, which is what its pages say.
    pub server: Option<String>,
    /// The status of HTTP, 0 if there was no answer.
    pub status: u16,
    /// The port the client asked from.
    pub source_port: u16,
    /// curl's complaint, if it has one.
    pub complaint: Option<String>,
}

/// A client. Everything a [`Host`] can, a client can.
pub struct Client(pub(crate) Host);

impl Deref for Client {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Client {
    /// Asks `address` on port 80 who it is, waiting [`PATIENCE`] at most.
    #[track_caller]
    pub fn get(&self, address: IpAddr) -> Answer {
        self.ask(address, 80, 1, PATIENCE).remove(0)
    }

    /// Asks `count` times, one after the other, each time over a new connection from a new port.
    #[track_caller]
    pub fn get_many(&self, address: IpAddr, count: usize) -> Vec<Answer> {
        self.ask(address, 80, count, PATIENCE)
    }

    /// As [`Client::get_many`], on another port or with other patience for each request.
    #[track_caller]
    pub fn ask(&self, address: IpAddr, port: u16, count: usize, patience: Duration) -> Vec<Answer> {
        let url = format!("http://{}:{port}/?[1-{count}]", bracketed(address));
        let mut curl = self.curl();
        curl.args(["--header", "Connection: close", "--write-out", REPORT]);
        curl.args(["--max-time", &format!("{:.3}", patience.as_secs_f64()), &url]);
        let output = curl.output().unwrap_or_else(|fault| panic!("curl does not start: {fault}"));
        let answers = parse(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(answers.len(), count, "curl must say something about each request: {output:?}");
        answers
    }

    /// Starts to download `path` (`/big` for example) to `file`; [`Process::wait`] says when it is there.
    #[track_caller]
    pub fn download(&self, address: IpAddr, path: &str, file: &Path, rate: Option<&str>) -> Process {
        let mut curl = self.curl();
        curl.arg("--output").arg(file).arg("--fail");
        limit(&mut curl, rate);
        curl.arg(format!("http://{}{path}", bracketed(address)));
        self.spawn(curl)
    }

    /// Starts to upload `file` as `/upload/NAME`; the web server that gets it keeps it under that name. `rate` is in
    /// curl's words, `20M` is 20 MiB a second.
    #[track_caller]
    pub fn upload(&self, address: IpAddr, file: &Path, name: &str, rate: Option<&str>) -> Process {
        let mut curl = self.curl();
        // Without the header curl asks first and waits for the answer.
        curl.args(["--header", "Expect:", "--fail", "--upload-file"]).arg(file);
        limit(&mut curl, rate);
        curl.arg(format!("http://{}/upload/{name}", bracketed(address)));
        self.spawn(curl)
    }

    /// curl with what every call needs.
    pub fn curl(&self) -> Command {
        let mut curl = self.command("curl");
        // No settings of the user, no proxy of the environment, no bar but the complaints.
        curl.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]);
        curl.args(["--connect-timeout", &PATIENCE.as_secs().to_string()]);
        curl
    }
}

fn limit(curl: &mut Command, rate: Option<&str>) {
    if let Some(rate) = rate {
        curl.args(["--limit-rate", rate]);
    }
}

/// An address as a URL wants it.
fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Reads pages, each (if there is one) followed by its report.
fn parse(text: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut page = None;
    for line in text.lines() {
        let Some(report) = line.strip_prefix('#') else {
            page = Some(line.to_owned());
            continue;
        };
        let mut words = report.splitn(4, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u16>().ok()).unwrap_or(0);
        let (status, source_port, exit) = (number(), number(), number());
        let complaint = (exit != 0).then(|| format!("curl {exit}: {}", words.next().unwrap_or_default()));
        answers.push(Answer { server: page.take(), status, source_port, complaint });
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_failures_are_told_apart() {
        let answers =
            parse("rs1\n#200 40000 0 \n#000 40001 28 Connection timed out after 5 ms\nrs2\n#200 40002 0 \n");
        let servers: Vec<_> = answers.iter().map(|answer| answer.server.as_deref()).collect();
        assert_eq!(servers, [Some("rs1"), None, Some("rs2")]);
        assert_eq!(answers[1].status, 0);
        assert_eq!(answers[1].complaint.as_deref(), Some("curl 28: Connection timed out after 5 ms"));
        assert_eq!((answers[2].source_port, &answers[2].complaint), (40002, &None));
    }
}
