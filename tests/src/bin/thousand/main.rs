//! What a thousand real servers with a check each second cost the director: CPU time of its control thread, and how late
//! a check has begun at most. One host has all their addresses; with and without checks through the VIP.
//!
//! `cargo build --release -p shunt && cargo run --release -p shunt-tests --bin thousand`

use std::fmt::Write;
use std::time::{Duration, Instant};

use shunt_tests::tally::list;
use shunt_tests::{Director, Lab, WebServer, wait};

const REALS: u32 = 1000;
const MEASURED: Duration = Duration::from_secs(20);
/// Every check has been made a few times by then.
const SETTLED: u64 = 3;

fn main() {
    println!("| checks a second | CPU of the control thread | latest start |\n|---|--:|--:|");
    for (what, check, vip_check) in [
        ("1000 TCP", "type = \"tcp\"", "false"),
        ("1000 HTTP", "type = \"http\"", "false"),
        ("1000 TCP, and 1000 through the VIP", "type = \"tcp\"", "true"),
        ("1000 HTTP, and 1000 through the VIP", "type = \"http\"", "true"),
    ] {
        let (share, lateness) = measure(check, vip_check);
        println!("| {what} | {:.1} % | {lateness:.1} ms |", share * 100.0);
    }
}

/// CPU seconds a second, and milliseconds.
fn measure(check: &str, vip_check: &str) -> (f64, f64) {
    let lab = Lab::builder().real_servers(1).build();
    let host = lab.real_server(0);
    let _server = WebServer::start(&lab, host);
    host.sysctl(&[("core.somaxconn", "4096")]);
    let address = |n: u32| format!("198.18.{}.{}", 1 + n / 250, 1 + n % 250);
    let mut script = String::from("addr add 198.18.0.2/16 dev eth0\n");
    for n in 0..REALS {
        let _ = writeln!(script, "addr add {}/32 dev eth0", address(n));
    }
    host.ip(&script);
    lab.director(0).ip("addr add 198.18.0.1/16 dev eth0\n");
    let mut text = format!(
        "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\n\
         vip_check = {vip_check}\n[service.check]\n{check}\ninterval = \"1s\"\n"
    );
    for n in 0..REALS {
        let _ = writeln!(text, "[[service.real]]\naddress = \"{}\"", address(n));
    }
    let director = Director::start(&lab, 0, &text);
    wait::until(Duration::from_secs(120), "all real servers to be up", || {
        let view = director.show("reals");
        list(&view["reals"]).iter().all(|row| row["state"] == "up").then_some(())
    });
    wait::until(Duration::from_secs(60), "the checks to go round", || {
        let view = director.show("health");
        let is_made = |row: &serde_json::Value| row["probes"].as_u64().is_none_or(|n| n >= SETTLED);
        list(&view["health"]).iter().all(is_made).then_some(())
    });
    let (begin, before) = (Instant::now(), cpu(director.pid()));
    std::thread::sleep(MEASURED);
    let share = (cpu(director.pid()) - before) / begin.elapsed().as_secs_f64();
    let view = director.show("reals");
    let down = list(&view["reals"]).iter().filter(|row| row["state"] != "up").count();
    assert_eq!(down, 0, "all are up all the time");
    (share, director.show("health")["worst_lateness_ms"].as_f64().expect("a number"))
}

/// CPU seconds of the main thread, which is the control thread (proc_pid_stat(5), utime and stime).
fn cpu(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("proc_pid_stat(5)");
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
    // Linux counts in USER_HZ, 100 on every architecture that shunt runs on.
    ticks as f64 / 100.0
}
