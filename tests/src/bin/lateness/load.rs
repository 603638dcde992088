//! What a director does beside VRRP, to order.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shunt_tests::address::vip;
use shunt_tests::inject::Injector;
use shunt_tests::tally::{Tally, list};
use shunt_tests::{Director, Instance, Lab, craft, wait};

/// The frames that are forwarded, in the words of nft.
pub const FRAMES: &str = "udp dport 9";
const PORT: u16 = 9;
const REALS: u32 = 1000;
/// Flows of the frames.
const FLOWS: u16 = 1024;

/// What is asked of the director.
#[derive(Default)]
pub struct Load {
    pub what: &'static str,
    pub checks: bool,
    pub scripts: bool,
    pub mail: bool,
    pub reloads: bool,
    pub frames: bool,
}

impl Load {
    /// Addresses of the thousand real servers, which are one host.
    pub fn furnish(&self, lab: &Lab) {
        if !self.many() {
            return;
        }
        let host = lab.real_server(0);
        host.sysctl(&[("core.somaxconn", "4096")]);
        let mut script = String::from("addr add 172.18.0.2/16 dev eth0\n");
        for n in 0..REALS {
            let _ = writeln!(script, "addr add {}/32 dev eth0", address(n));
        }
        host.ip(&script);
        lab.director(0).ip("addr add 172.18.0.1/16 dev eth0\n");
    }

    /// The configuration; another one for each `edition`.
    pub fn config(&self, lab: &Lab, edition: usize) -> String {
        let mut text = String::from("global_defs {\nscript_user root\nenable_script_security\n");
        if self.mail {
            // An address of the link that nobody has: neither an answer nor a refusal comes.
            text += "notification_email {\nops@example.com\n}\nnotification_email_from shunt@example.com\n\
                     smtp_server 192.0.2.250\nsmtp_connect_timeout 30\n";
        }
        text += "}\nvrrp_script hangs {\nscript \"/bin/sleep 1000\"\ninterval 1\ntimeout 1\nweight -1\n}\n";
        for n in 1..=super::ROUTERS {
            let mut instance = Instance {
                name: format!("VI_{n}"),
                vrid: n,
                interval: if n % 2 == 0 { 0.1 } else { 0.01 },
                addresses: vec![format!("192.0.2.{}", 100 + n)],
                ..Instance::fast(150)
            };
            if self.scripts {
                instance = instance.with("track_script {\nhangs\n}\nnotify \"/bin/sleep 1000\"");
            }
            if self.mail {
                instance = instance.with("smtp_alert");
            }
            text += &instance.to_string();
        }
        let host = lab.real_server(0).address();
        let _ = writeln!(
            text,
            "virtual_server {} {PORT} {{\nlb_algo mh\nlb_kind DR\nprotocol UDP\nreal_server {host} {PORT} {{\n}}\n}}",
            vip(0)
        );
        if self.many() {
            let _ = writeln!(
                text,
                "virtual_server {} 80 {{\ndelay_loop 1\nlb_algo mh\nlb_kind DR\nprotocol TCP",
                vip(1)
            );
            for n in 0..REALS {
                let check = if self.checks { "TCP_CHECK {\nconnect_timeout 1\n}" } else { "" };
                let weight = if n == 0 { 1 + edition % 2 } else { 1 };
                let _ = writeln!(text, "real_server {} 80 {{\nweight {weight}\n{check}\n}}", address(n));
            }
            text += "}\n";
        }
        text
    }

    /// Waits until all that was asked for goes on.
    pub fn until_begun(&self, director: &Director) {
        if self.checks {
            wait::until(Duration::from_secs(120), "all real servers to be up", || {
                let view = director.show("reals");
                list(&view["reals"]).iter().all(|row| row["state"] == "up").then_some(())
            });
        }
        if self.scripts {
            wait::until(Duration::from_secs(30), "the script to be given up for the first time", || {
                let view = director.show("vrrp");
                list(&view["routers"]).iter().all(|row| row["priority"] == 149).then_some(())
            });
        }
    }

    /// Does it for so long. Says how much it was.
    pub fn carry(&self, lab: &Lab, director: &Director, so_long: Duration) -> String {
        let end = Instant::now() + so_long;
        let over = AtomicBool::new(false);
        let before = Tally::of(director).rx();
        let mut reloads = 0;
        std::thread::scope(|scope| {
            if self.frames {
                scope.spawn(|| send(lab, &over));
            }
            // Not a panic: the frames would never end.
            let mut carry = || {
                while Instant::now() < end {
                    if !self.reloads {
                        std::thread::sleep(end.saturating_duration_since(Instant::now()));
                        continue;
                    }
                    let config = self.config(lab, reloads + 1);
                    std::fs::write(director.config(), config).map_err(|e| e.to_string())?;
                    // One that gets no answer from the kernel in time, for want of a core, is refused.
                    reloads += usize::from(director.ask(&["reload"]).is_ok());
                }
                Ok::<_, String>(())
            };
            let carried = carry();
            over.store(true, Ordering::Relaxed);
            carried.unwrap_or_else(|why| panic!("{why}"));
        });
        let mut done = String::new();
        if self.reloads {
            let _ = write!(done, "; {reloads} reloads");
        }
        if self.frames {
            let rate = (Tally::of(director).rx() - before) as f64 / so_long.as_secs_f64();
            let _ = write!(done, "; {:.0} frames a second", rate);
        }
        done
    }

    fn many(&self) -> bool {
        self.checks || self.reloads
    }
}

fn address(n: u32) -> String {
    format!("172.18.{}.{}", 1 + n / 250, 1 + n % 250)
}

/// Frames to the director until it is over.
fn send(lab: &Lab, over: &AtomicBool) {
    let injector = Injector::open(lab, 0);
    let frame = |n: u16| craft::udp(&injector.segment(20_000 + n, (vip(0), PORT).into()), &[0; 18]);
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(frame).collect();
    while !over.load(Ordering::Relaxed) {
        injector.send_fast(&frames, frames.len());
    }
}
