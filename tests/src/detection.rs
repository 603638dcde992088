//! How long each of keepalived's checkers takes to notice that its real server is gone, and that it is back, beside what
//! keepalived's timing promises: one lab, one virtual server, and a real server with a program of its own for each
//! checker. `src/bin/detection` prints it as a table; `tests/checkers.rs` holds it to the promise.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::address::VIP;
use crate::echo::Echo;
use crate::host::Host;
use crate::tally::list;
use crate::{Daemon, Director, Lab, WebServer, wait};

/// `delay_loop`, `connect_timeout` and `delay_before_retry` of every check; there is one retry.
const SECOND: Duration = Duration::from_secs(1);
/// Far beyond any promise: then something is broken.
const GIVE_UP: Duration = Duration::from_secs(60);

/// What becomes of a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its program ends: the host refuses.
    Stopped,
    /// Its packets are dropped.
    Silent,
    /// It answers, but not what it should.
    Wrong,
}

/// One checker, one fault.
#[derive(Debug)]
pub struct Row {
    /// keepalived's name of the checker, and what stands behind it.
    pub checker: &'static str,
    /// What was done.
    pub fault: Fault,
    /// What keepalived's timing promises at worst, and what it took, to be down.
    pub down: (Duration, Duration),
    /// The same to be up again.
    pub up: (Duration, Duration),
}

/// A real server, its checker, and its faults.
struct Case {
    checker: &'static str,
    text: String,
    /// A block at the top of the file that the checker refers to.
    root: String,
    stop: Option<Box<dyn FnMut(bool)>>,
    wrong: Option<Box<dyn FnMut(bool)>>,
    is_remote: bool,
}

impl Case {
    fn new(checker: &'static str, block: &str, lines: &str) -> Case {
        // Every block of keepalived has a line a statement.
        let text =
            format!("{block} {{\n{lines}\nconnect_timeout 1\nretry 1\ndelay_before_retry 1\nwarmup 0\n}}\n");
        Case { checker, text, root: String::new(), stop: None, wrong: None, is_remote: true }
    }

    fn stopped_by(mut self, stop: impl FnMut(bool) + 'static) -> Case {
        self.stop = Some(Box::new(stop));
        self
    }

    fn wrong_by(mut self, wrong: impl FnMut(bool) + 'static) -> Case {
        self.wrong = Some(Box::new(wrong));
        self
    }
}

/// Makes every fault of every checker once, and repairs it.
pub fn measure() -> Vec<Row> {
    let lab = Lab::builder().real_servers(11).build();
    let hosts: Vec<Host> = lab.real_servers().cloned().collect();
    let _echo = Echo::start(&hosts[7], 9);
    let mut cases = cases(&lab, &hosts);
    let director = Director::start(&lab, 0, &configuration(&cases, &hosts));
    let mut rows = Vec::new();
    let all_up: Vec<bool> = vec![true; hosts.len()];
    follow(&director, &hosts, &all_up);
    // The very first failure decides alone.
    crate::shown::until_probed(&director, 1);
    for fault in [Fault::Stopped, Fault::Silent, Fault::Wrong] {
        let hit: Vec<bool> = cases.iter().map(|case| case.has(fault)).collect();
        let begin = Instant::now();
        for (case, host) in cases.iter_mut().zip(&hosts) {
            case.make(fault, host, true);
        }
        let spent = begin.elapsed();
        let expected: Vec<bool> = hit.iter().map(|hit| !hit).collect();
        let down = follow(&director, &hosts, &expected);
        let begin = Instant::now();
        for (case, host) in cases.iter_mut().zip(&hosts) {
            case.make(fault, host, false);
        }
        let spent_again = begin.elapsed();
        let up = follow(&director, &hosts, &all_up);
        for (n, case) in cases.iter().enumerate().filter(|(n, _)| hit[*n]) {
            rows.push(Row {
                checker: case.checker,
                fault,
                // Faults are made one after another: the first are older than the clock says.
                down: (fault.worst_down(), down[n] + spent),
                up: (fault.worst_up(), up[n] + spent_again),
            });
        }
    }
    rows
}

/// The rows as a table of Markdown.
pub fn table(rows: &[Row]) -> String {
    let seconds = |duration: Duration| format!("{:.1} s", duration.as_secs_f64());
    let mut text = "| checker | fault | down: at worst | down: measured | up: at worst | up: measured |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for Row { checker, fault, down, up } in rows {
        let _ = writeln!(
            text,
            "| {checker} | {} | {} | {} | {} | {} |",
            fault.name(),
            seconds(down.0),
            seconds(down.1),
            seconds(up.0),
            seconds(up.1)
        );
    }
    text
}

impl Fault {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Stopped => "stopped",
            Fault::Silent => "packets dropped",
            Fault::Wrong => "wrong answer",
        }
    }

    fn worst_down(self) -> Duration {
        match self {
            // delay_loop + retry * delay_before_retry
            Fault::Stopped | Fault::Wrong => 2 * SECOND,
            // + (retry + 1) * connect_timeout
            Fault::Silent => 4 * SECOND,
        }
    }

    fn worst_up(self) -> Duration {
        match self {
            Fault::Stopped | Fault::Wrong => SECOND,
            // A probe that was under way fails first.
            Fault::Silent => 2 * SECOND,
        }
    }
}

impl Case {
    fn has(&self, fault: Fault) -> bool {
        match fault {
            Fault::Stopped => self.stop.is_some(),
            Fault::Silent => self.is_remote,
            Fault::Wrong => self.wrong.is_some(),
        }
    }

    fn make(&mut self, fault: Fault, host: &Host, is_made: bool) {
        match fault {
            Fault::Stopped => self.stop.iter_mut().for_each(|stop| stop(is_made)),
            Fault::Wrong => self.wrong.iter_mut().for_each(|wrong| wrong(is_made)),
            Fault::Silent if !self.is_remote => {}
            Fault::Silent if is_made => drop(host.feed(
                "nft",
                &["-f", "-"],
                "add table inet silent\n\
                 add chain inet silent input { type filter hook input priority 0; }\n\
                 add rule inet silent input ip protocol { tcp, udp, icmp } drop\n",
            )),
            Fault::Silent => drop(host.run("nft", &["delete", "table", "inet", "silent"])),
        }
    }
}

/// Waits until each real server is up or not, as expected; how long each took.
fn follow(director: &Director, hosts: &[Host], is_up: &[bool]) -> Vec<Duration> {
    let begin = Instant::now();
    let mut took = vec![None; hosts.len()];
    wait::until(GIVE_UP, "every checker to notice", || {
        let view = director.show("reals");
        for (n, host) in hosts.iter().enumerate() {
            let address = host.address().to_string();
            let of = |row: &&Value| row["address"] == address.as_str();
            let state = list(&view["reals"]).iter().find(of).map(|row| row["state"] == "up");
            if state == Some(is_up[n]) {
                took[n].get_or_insert(begin.elapsed());
            }
        }
        took.iter().all(Option::is_some).then_some(())
    });
    took.into_iter().flatten().collect()
}

fn configuration(cases: &[Case], hosts: &[Host]) -> String {
    let mut text =
        format!("virtual_server {VIP} 80 {{\ndelay_loop 1\nlb_algo rr\nlb_kind DR\nprotocol TCP\n");
    for (case, host) in cases.iter().zip(hosts) {
        let _ = write!(text, "real_server {} 80 {{\n{}}}\n", host.address(), case.text);
    }
    text.push_str("}\n");
    let roots: String = cases.iter().map(|case| case.root.as_str()).collect();
    roots + &text
}

fn cases(lab: &Lab, hosts: &[Host]) -> Vec<Case> {
    let web = |n: usize| WebServer::start(lab, &hosts[n]);
    let toggle = |mut server: WebServer| {
        move |stop: bool| {
            if stop {
                server.stop();
            } else {
                server.start_again();
            }
        }
    };
    let program = |mut daemon: Daemon| {
        move |stop: bool| {
            if stop {
                daemon.stop();
            } else {
                daemon.start_again();
            }
        }
    };
    let page = |server: &WebServer, seed: u64| server.file("page", 100, seed);
    let status = web(1);
    let status_page = page(&status, 1);
    let digest = web(2);
    let digest_page = page(&digest, 1);
    let md5 = md5(&digest_page);
    let flag = lab.file("flag");
    write_number(&flag, 0);
    let script = lab.file("script");
    std::fs::write(&script, format!("#!/bin/sh\nread n < {}\nexit $n\n", flag.display())).unwrap();
    std::process::Command::new("chmod").args(["755", &script.to_string_lossy()]).status().unwrap();
    let number = lab.file("number");
    write_number(&number, 0);
    vec![
        Case::new("TCP_CHECK (nginx)", "TCP_CHECK", "").stopped_by(toggle(web(0))),
        Case::new("HTTP_GET, status (nginx)", "HTTP_GET", "url {\npath /page\nstatus_code 200\n}")
            .wrong_by(move |wrong| exists(&status_page, !wrong))
            .stopped_by(toggle(status)),
        Case::new("HTTP_GET, digest (nginx)", "HTTP_GET", &format!("url {{\npath /page\ndigest {md5}\n}}"))
            .wrong_by(move |wrong| {
                crate::payload::write(&digest_page, 100, if wrong { 2 } else { 1 }).unwrap();
            })
            .stopped_by(toggle(digest)),
        Case::new(
            "SSL_GET (haproxy)",
            "SSL_GET",
            "connect_port 443\nenable_sni\nvirtualhost www.example.com\nurl {\npath /\nstatus_code 200\n}",
        )
        .stopped_by(program(Daemon::haproxy(lab, &hosts[3], 443, "www.example.com"))),
        Case::new("SMTP_CHECK (Exim)", "SMTP_CHECK", "connect_port 25\nhelo_name director.example.com")
            .stopped_by(program(Daemon::exim(lab, &hosts[4]))),
        Case::new("DNS_CHECK (dnsmasq)", "DNS_CHECK", "connect_port 53\ntype A\nname www.example.com")
            .stopped_by(program(Daemon::dnsmasq(lab, &hosts[5]))),
        Case::new("TCP_CHECK (OpenSSH)", "TCP_CHECK", "connect_port 22")
            .stopped_by(program(Daemon::sshd(lab, &hosts[6], 22))),
        // Echoes what it gets, with its name in front.
        Case::new(
            "UDP_CHECK (an echo)",
            "UDP_CHECK",
            "connect_port 9\npayload 6869\nrequire_reply\nmin_reply_length 2",
        ),
        Case::new("PING_CHECK (the host)", "PING_CHECK", ""),
        Case {
            text: format!(
                "MISC_CHECK {{\nmisc_path {}\nmisc_timeout 1\nretry 1\ndelay_before_retry 1\nwarmup 0\n}}\n",
                script.display()
            ),
            is_remote: false,
            ..Case::new("MISC_CHECK (a script)", "MISC_CHECK", "")
        }
        .wrong_by(move |wrong| write_number(&flag, wrong.into())),
        Case {
            text: "FILE_CHECK {\ntrack_file number\nweight 0\n}\n".to_owned(),
            root: format!("track_file number {{\nfile {}\nweight 0\n}}\n", number.display()),
            is_remote: false,
            ..Case::new("FILE_CHECK (a file)", "FILE_CHECK", "")
        }
        .wrong_by(move |wrong| write_number(&number, wrong.into())),
    ]
}

fn exists(path: &Path, is_there: bool) {
    match is_there {
        true => drop(crate::payload::write(path, 100, 1)),
        false => std::fs::remove_file(path).expect("it is there"),
    }
}

fn write_number(path: &PathBuf, number: u8) {
    std::fs::write(path, format!("{number}\n")).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
}

fn md5(path: &Path) -> String {
    let output = std::process::Command::new("md5sum").arg(path).output().expect("md5sum runs");
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().expect("a digest").to_owned()
}
