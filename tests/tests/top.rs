//! `shunt top` beside a director that works: on a terminal, and as one frame of text.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shunt_tests::address::VIP;
use shunt_tests::{Director, Lab, Requests, Service, WebServer, config, director, wait};

const SOON: Duration = Duration::from_secs(30);
/// The other screen, and back (xterm's control sequences).
const BEGIN: &str = "\x1b[?1049h";
const END: &str = "\x1b[?1049l";

#[test]
fn one_frame_says_the_rates_of_a_service_and_of_its_real_servers() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let requests = Requests::start(lab.client(0), (VIP, 80).into(), 200);
    // New flows a second, the last column but one; a busy machine may be behind for a while.
    let frame = wait::until(SOON, "about 200 new flows a second", || {
        let frame = director.ask(&["top", "--once", "--interval", "2s"]).unwrap();
        let line =
            frame.lines().find(|line| line.starts_with("192.0.2.10:80/tcp")).expect("the service").to_owned();
        let new: f64 = line.split_whitespace().nth_back(1).and_then(|rate| rate.parse().ok()).unwrap_or(0.0);
        (150.0..250.0).contains(&new).then_some(frame)
    });
    drop(requests);
    assert!(frame.lines().all(|line| line.chars().count() <= 80), "{frame}");
    for server in lab.real_servers() {
        assert!(frame.contains(&format!("  {} ", server.address())), "{frame}");
    }
}

#[test]
fn a_terminal_is_as_it_was_after_q_and_after_sigterm() {
    let lab = Lab::builder().build();
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    for ends in ["q", "SIGTERM"] {
        let (mut on_screen, shown) = watch(&director);
        let seen = |what: &str| shown.lock().expect("nobody panics with it").contains(what);
        wait::until(SOON, "a service on the screen", || seen("192.0.2.10:80/tcp").then_some(()));
        assert!(seen(BEGIN) && !seen(END));
        if ends == "q" {
            // By another column, the other way round, and only what has 80 in its name.
            on_screen.stdin.as_mut().expect("piped").write_all(b"sr/80\rq").expect("it reads");
        } else {
            let top = child_of(on_screen.id());
            kill(top, Signal::SIGTERM).expect("it runs");
        }
        let status = on_screen.wait().expect("started here");
        assert!(status.success(), "{ends}: {status}");
        wait::until(SOON, "the end of the screen", || seen(END).then_some(()));
    }
}

/// `shunt top` on a terminal of 80 columns, and what it has written there.
fn watch(director: &Director) -> (Child, Arc<Mutex<String>>) {
    let words = format!(
        "stty rows 24 cols 80; exec {} --socket {} top --interval 200ms",
        director::binary().display(),
        director.socket().display()
    );
    // script(1) makes the terminal, and ends as its command does.
    let mut command = Command::new("script");
    command.args(["-qefc", &words, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("script(1) is there");
    let shown = Arc::new(Mutex::new(String::new()));
    let (mut output, kept) = (child.stdout.take().expect("piped"), Arc::clone(&shown));
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            kept.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    });
    (child, shown)
}

/// The process that this one has started.
fn child_of(parent: u32) -> Pid {
    let path = format!("/proc/{parent}/task/{parent}/children");
    wait::until(SOON, "a child", || {
        let children = std::fs::read_to_string(&path).unwrap_or_default();
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).map(Pid::from_raw)
    })
}
