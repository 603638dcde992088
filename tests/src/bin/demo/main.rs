//! `make demo`: the main job of shunt, told on a terminal. Everything is real (nginx, curl, AF_XDP) and every claim is
//! checked; if one does not hold, the exit code is 1.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use shunt_tests::address::vip;
use shunt_tests::expect::{self, Cast, Shares};
use shunt_tests::link::{self, Counters};
use shunt_tests::{Client, Director, Lab, Process, WebServer, payload, privilege, wait};

const REQUESTS: usize = 300;
const BIG: u64 = 100 << 20;
const LONG: u64 = 36 << 20;
/// curl's words for 2 MiB a second: the long download takes 18 s.
const LONG_RATE: &str = "2M";

fn main() -> ExitCode {
    privilege::require_root();
    let mut demo = Demo::set_up();
    demo.requests();
    demo.directions();
    demo.failure();
    demo.end()
}

struct Demo {
    // Before the lab: dropped, so ended, while the namespaces still stand.
    director: Director,
    servers: Vec<WebServer>,
    lab: Lab,
    started: Instant,
    failed: usize,
}

impl Demo {
    fn set_up() -> Demo {
        let started = Instant::now();
        println!("{}", include_str!("topology.txt"));
        step("Setting up the network namespaces, three nginx, and the director");
        let lab = Lab::builder().real_servers(3).build();
        let servers = WebServer::on_all(&lab);
        let config = config();
        println!("  $ shunt run --config configs/demo.toml");
        let text =
            std::fs::read_to_string(&config).unwrap_or_else(|error| panic!("{}: {error}", config.display()));
        let director = Director::start(&lab, 0, &text);
        for line in director.log().text().lines() {
            // Without the time: it is the same second.
            println!("    {}", line.split_once("Z ").map_or(line, |(_, rest)| rest.trim_start()));
        }
        Demo { director, servers, lab, started, failed: 0 }
    }

    /// Many requests: who answers.
    fn requests(&mut self) {
        step(&format!(
            "{REQUESTS} requests from the client to http://192.0.2.10/, each over a new connection"
        ));
        let answers = self.client().get_many(vip(0), REQUESTS);
        match expect::answered(&answers) {
            Ok(shares) => {
                print_shares(&shares);
                self.claim(true, &format!("all {REQUESTS} requests were answered"));
                let least = shares.values().min().copied().unwrap_or(0);
                self.claim(
                    shares.len() == 3 && least * 3 >= REQUESTS * 7 / 10,
                    "each real server answered about a third",
                );
            }
            Err(violation) => self.claim(false, &violation.to_string()),
        }
    }

    /// A download: what passes the director, and what does not.
    fn directions(&mut self) {
        step(&format!("A download of {} MB: which bytes pass the director?", BIG >> 20));
        for server in &self.servers {
            server.file("big", BIG, 1);
        }
        let expected = payload::digest(&self.servers[0].folder().join("files/big"));
        let file = self.lab.file("big");
        // Only headers are kept, and only of what an answer through the director would look like.
        let capture =
            self.lab.capture(self.lab.director(0).port(), "tcp src port 80 and src host 192.0.2.10");
        let before = self.director_port();
        let took = Instant::now();
        let status = self.client().download(vip(0), "/big", &file, None).wait(Duration::from_secs(30));
        let took = took.elapsed();
        let after = self.director_port();
        let crossed = expect::replies_bypass(&capture.stop(), &Cast::of(&self.lab, 0));
        // The switch sends what the director receives, and receives what it sends.
        let (received, sent) = (after.tx_bytes - before.tx_bytes, after.rx_bytes - before.rx_bytes);
        println!("    client -> director -> real server   {:>12}   (requests and ACKs)", bytes(received));
        println!(
            "                                        {:>12}   (forwarded, and health checks)",
            bytes(sent)
        );
        println!(
            "    real server -> client, directly     {:>12}   in {:.1} s",
            bytes(BIG),
            took.as_secs_f64()
        );
        self.claim(status.success() && payload::digest(&file) == expected, "the download is whole (SHA-256)");
        self.claim(
            crossed.is_ok() && received < BIG / 20,
            "no byte of the answer passed the director: direct server return",
        );
    }

    /// A server stops and comes back while a long download runs.
    fn failure(&mut self) {
        step("A long download starts; then another real server is stopped");
        for server in &self.servers {
            server.file("long", LONG, 2);
        }
        let expected = payload::digest(&self.servers[0].folder().join("files/long"));
        let file = self.lab.file("long");
        let mut download = self.client().download(vip(0), "/long", &file, Some(LONG_RATE));
        let (holder, victim) = self.pick_victim();
        println!("    the download is served by {}; {} is stopped", role(holder), role(victim));
        self.servers[victim].stop();
        let outage = self.outage();
        println!(
            "    {} of {} requests failed in the first {} ms, none after that",
            outage.failed,
            outage.asked,
            outage.lasted.as_millis()
        );
        self.claim(outage.lasted < Duration::from_secs(2), "after less than 2 s no request fails");
        self.show("reals");

        step(&format!("{} comes back", role(victim)));
        self.servers[victim].start_again();
        let back = Instant::now();
        let answers = wait::try_until(Duration::from_secs(5), || {
            (self.client().get(vip(0)).server.as_deref() == Some(role(victim).as_str()))
                .then(|| back.elapsed())
        });
        if let Some(after) = answers {
            println!("    it answers again after {} ms", after.as_millis());
        }
        self.claim(answers.is_some(), "the real server that came back gets connections again");
        self.finish(&mut download, &file, &expected);
    }

    fn finish(&mut self, download: &mut Process, file: &Path, expected: &str) {
        if download.ended().is_none() {
            println!("    waiting for the long download ...");
        }
        let status = download.wait(Duration::from_secs(60));
        self.claim(
            status.success() && payload::digest(file) == expected,
            "the long download survived both changes and is whole (SHA-256)",
        );
    }

    /// Who serves the download, by the director's own word, and somebody else.
    fn pick_victim(&self) -> (usize, usize) {
        let holder = wait::until(Duration::from_secs(5), "the download to show among the flows", || {
            let view = self.director.show("flows");
            let flow = view["flows"].as_array()?.iter().find(|flow| flow["state"] == "established")?.clone();
            let real = flow["real"].as_str()?.to_owned();
            self.lab.real_servers().position(|host| host.address().to_string() == real)
        });
        (holder, (holder + 1) % 3)
    }

    /// Asks until the answers are steady again.
    fn outage(&self) -> Outage {
        const STEADY: usize = 60;
        let start = Instant::now();
        let mut outage = Outage { asked: 0, failed: 0, lasted: Duration::ZERO };
        let mut steady = 0;
        while steady < STEADY && start.elapsed() < Duration::from_secs(10) {
            outage.asked += 1;
            steady += 1;
            let answer = &self.client().ask(vip(0), 80, 1, Duration::from_millis(500))[0];
            if answer.status != 200 {
                outage.failed += 1;
                outage.lasted = start.elapsed();
                steady = 0;
            }
        }
        outage
    }

    fn end(mut self) -> ExitCode {
        step("What shunt says about it");
        for what in ["services", "workers"] {
            self.show(what);
        }
        let workers = self.director.show("workers");
        let sum = |key: &str| workers["workers"][0][key].as_u64().unwrap_or(u64::MAX);
        self.claim(
            sum("rx_frames") == sum("tx_frames") + sum("drops"),
            "frames in = frames out + frames dropped",
        );

        step("The director stops");
        let status = self.director.stop();
        let left = self.lab.director(0).run("ip", &["address", "show", "eth0"]);
        self.claim(
            status.success() && !left.contains("192.0.2.10/") && !left.contains("xdp"),
            "no address and no XDP program is left on its interface",
        );
        println!("\n  {:.0} s in all.", self.started.elapsed().as_secs_f64());
        match self.failed {
            0 => {
                println!("{}", include_str!("next.txt"));
                ExitCode::SUCCESS
            }
            failed => {
                println!("  {failed} claims did not hold.");
                ExitCode::FAILURE
            }
        }
    }

    fn show(&self, what: &str) {
        println!("  $ shunt show {what}");
        let text = self.director.ask(&["show", what]).unwrap_or_else(|complaint| complaint);
        text.lines().for_each(|line| println!("   {line}"));
    }

    fn claim(&mut self, holds: bool, what: &str) {
        println!("  {} {what}", if holds { "[ok]  " } else { "[FAIL]" });
        self.failed += usize::from(!holds);
    }

    fn client(&self) -> &Client {
        self.lab.client(0)
    }

    fn director_port(&self) -> Counters {
        link::counters(self.lab.switch().namespace(), self.lab.director(0).port())
    }
}

struct Outage {
    asked: usize,
    failed: usize,
    lasted: Duration,
}

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo.toml")
}

fn role(n: usize) -> String {
    format!("rs{}", n + 1)
}

fn step(what: &str) {
    println!("\n== {what}");
}

fn print_shares(shares: &Shares) {
    for (server, &count) in shares {
        println!("    {server}  {count:>4}  {}", "#".repeat(count * 60 / REQUESTS));
    }
}

fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}
