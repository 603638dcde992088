//! A keepalived.conf is edited a hundred times while 200 connections a second are opened: what is not changed goes on as if
//! nothing had happened, and what fails is explained by what was taken away at that moment.

use std::fmt::Write;
use std::io::{Read, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shunt_tests::address::{VIP, vip};
use shunt_tests::tally::list;
use shunt_tests::{Director, Lab, Tally, WebServer, wait};

const EDITS: u64 = 100;
/// Between two connections of one client.
const PACE: Duration = Duration::from_millis(20);
const CLIENTS: usize = 4;
/// Between two edits.
const REQUESTS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection lives for milliseconds: one that fails this long after its server was taken away is not explained by it.
const EXPLAINED: Duration = Duration::from_secs(1);

/// Weights of the real servers of each service; none: it is not there. A service without real servers is not there.
type Wanted = [[Option<u16>; 4]; 2];

/// Half of a SplitMix64: the same edits in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % sides
    }
}

fn text(lab: &Lab, wanted: &Wanted) -> String {
    // Without mh-fallback IPVS refuses the clients of a server whose weight is 0.
    let mut text = String::new();
    for (n, reals) in wanted.iter().enumerate().filter(|(_, reals)| reals.iter().any(Option::is_some)) {
        let _ = writeln!(
            text,
            "virtual_server {} 80 {{\ndelay_loop 1\nlb_algo mh\nmh-port\nmh-fallback\nlb_kind DR\nprotocol TCP",
            vip(n)
        );
        for (host, weight) in lab.real_servers().zip(reals) {
            let Some(weight) = weight else { continue };
            let _ = writeln!(
                text,
                "real_server {} 80 {{\nweight {weight}\nTCP_CHECK {{\nconnect_timeout 1\nwarmup 0\n}}\n}}",
                host.address()
            );
        }
        text.push_str("}\n");
    }
    text
}

/// One request: whether it was answered as it should be.
fn request(to: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200") {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("an answer of {} bytes", answer.len()))),
    }
}

#[test]
fn a_hundred_edits_disturb_only_what_they_take_away() {
    let lab = Lab::builder().real_servers(4).vips(2).build();
    let _servers = WebServer::on_all(&lab);
    // The first real server of the first service is never touched, nor is the first service.
    let mut wanted: Wanted = [[Some(1); 4]; 2];
    let mut director = Director::start(&lab, 0, &text(&lab, &wanted));
    let untouched: IpAddr = lab.real_server(0).address();
    let probes = |director: &Director| {
        let view = director.show("health");
        let is_it = |row: &&serde_json::Value| {
            row["address"] == untouched.to_string().as_str() && row["type"] == "tcp"
        };
        list(&view["health"]).iter().find(is_it).expect("its check")["probes"].as_u64()
    };

    let begin = Instant::now();
    let stop = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    let requests = Mutex::new(0usize);
    let taken_away: Mutex<Vec<(Instant, Instant)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                lab.client(0).enter(|| {
                    let mut due = Instant::now();
                    // Relaxed: a flag that orders nothing.
                    while !stop.load(Ordering::Relaxed) {
                        due += PACE;
                        let begin = Instant::now();
                        if let Err(error) = request((VIP, 80).into()) {
                            failures.lock().unwrap().push((begin, Instant::now(), error.to_string()));
                        }
                        *requests.lock().unwrap() += 1;
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                })
            });
        }
        let mut dice = Dice(4);
        for edit in 0..EDITS {
            let before = wanted;
            let (service, real) = (dice.roll(2) as usize, 1 + dice.roll(3) as usize);
            wanted[service][real] = match (wanted[service][real], dice.roll(3)) {
                (None, _) => Some(1 + dice.roll(9) as u16),
                (Some(_), 0) => None,
                (Some(_), _) => Some(dice.roll(10) as u16),
            };
            // Now and then the second service goes, or comes back.
            if dice.roll(10) == 0 {
                wanted[1] = if wanted[1].iter().any(Option::is_some) { [None; 4] } else { [Some(1); 4] };
            }
            // Spread over the load, however fast a reload is.
            let reached = *requests.lock().unwrap() + REQUESTS;
            wait::until(PATIENCE, "more requests", || (*requests.lock().unwrap() >= reached).then_some(()));
            let begin = Instant::now();
            if edit % 10 == 9 {
                // A broken file changes nothing.
                let generation = director.show("services")["generation"].as_u64();
                let broken = text(&lab, &wanted).replacen("lb_kind DR", "lb_kind NAT", 1);
                director.reload(&broken).expect_err("NAT is not what a director does");
                assert!(director.show("services")["generation"].as_u64() >= generation);
            }
            director.reload(&text(&lab, &wanted)).unwrap();
            let is_taken =
                before[0].iter().zip(&wanted[0]).any(|(before, after)| before.is_some() && after.is_none());
            if is_taken {
                taken_away.lock().unwrap().push((begin, Instant::now() + EXPLAINED));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });

    let (failures, requests) = (failures.into_inner().unwrap(), requests.into_inner().unwrap());
    let taken_away = taken_away.into_inner().unwrap();
    let explained =
        |begin: Instant, end: Instant| taken_away.iter().any(|(from, until)| begin <= *until && end >= *from);
    let unexplained: Vec<_> = failures.iter().filter(|(begin, end, _)| !explained(*begin, *end)).collect();
    println!("{requests} requests, {} failed", failures.len());
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    // A removal meets the few connections that are open at that moment, if any.
    assert!(failures.len() <= taken_away.len() * CLIENTS, "{failures:#?}");
    // Its check was never begun anew: all of its probes are counted.
    let lasted = begin.elapsed().as_secs();
    assert!(probes(&director) >= Some(lasted.saturating_sub(2)), "{:?} in {lasted} s", probes(&director));
    Tally::settled(&director).check();
}
