//! What goes wrong: how it is made, and how much it may cost.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Noticed, QUEUES, Stage, outsider, text, until_up, use_queues};
use crate::address::{Mac, Segment};
use crate::tally::list;
use crate::{craft, shown, wait};

const SOON: Duration = Duration::from_secs(30);
/// What a busy machine makes of no time at all. A download that was sent nothing for a while begins with a pause of its own.
const SLACK: Duration = Duration::from_secs(3);
const NEW_MAC: Mac = Mac([0x02, 0, 0, 0, 0xe9, 0x21]);
const DAY: i64 = 86_400;
/// More than any director has files for.
const CLIENTS: usize = 200;

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The director's interface is switched off and on.
    LinkDown,
    /// Its cable is pulled out of the switch and plugged in again.
    CableOut,
    /// The MTU of its cable changes, and changes back.
    Mtu,
    /// A real server has another MAC address and says so; and its old one again.
    MacAnnounced,
    /// The same, and it does not say so.
    MacSilent,
    /// The director's neighbour table is flushed, ten times a second.
    Neighbors,
    /// Its interface gets more queues than there are workers for, and loses them again.
    Queues,
    /// The process is stopped (SIGSTOP) and goes on.
    Stopped,
    /// The clock jumps: a day ahead, a year back, to 1969.
    Clock,
    /// The disk that the log is on is full.
    LogFull,
    /// The configuration file is deleted, and it is to be read.
    ConfigDeleted,
    /// The configuration is read again and again, and is another one each time.
    Reloads,
    /// A client of the socket has as many connections as there are files, and says nothing.
    Descriptors,
    /// Clients of the socket say what nobody understands.
    Garbage,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 14] = [
        Fault::LinkDown,
        Fault::CableOut,
        Fault::Mtu,
        Fault::MacAnnounced,
        Fault::MacSilent,
        Fault::Neighbors,
        Fault::Queues,
        Fault::Stopped,
        Fault::Clock,
        Fault::LogFull,
        Fault::ConfigDeleted,
        Fault::Reloads,
        Fault::Descriptors,
        Fault::Garbage,
    ];

    /// How many requests and downloads it may break. Nothing, where the director can know that nothing is wrong with the
    /// real servers; else those that it has reset, and said so.
    pub(super) fn loses(self, noticed: &Noticed) -> u64 {
        match self {
            Fault::MacAnnounced | Fault::MacSilent => noticed.counted.get("answers_reset"),
            // What no ring had room for; the last attempt of a client may come too late for its patience.
            Fault::Stopped => noticed.counted.get("worker_slow"),
            // The kernel of a veth runs no XDP program on queues that are new.
            Fault::Queues => noticed.counted.get("kernel: resets sent"),
            _ => 0,
        }
    }

    /// The longest time that it may leave everybody without an answer.
    pub(super) fn gap(self, noticed: &Noticed) -> Duration {
        match self {
            Fault::LinkDown | Fault::CableOut | Fault::Stopped => noticed.lasted + SLACK,
            // One of several real servers, some of several queues, or nothing.
            _ => SLACK,
        }
    }

    /// Whether the log and the counters say what happened.
    pub(super) fn is_told(self, Noticed { said, .. }: &Noticed) -> bool {
        match self {
            Fault::LinkDown | Fault::CableOut => said.contains("eth0 is down") && said.contains("eth0 is up"),
            Fault::Mtu => said.contains("eth0 has MTU 1400 now, 1500 before"),
            Fault::MacAnnounced | Fault::MacSilent => said.contains("192.0.2.21 has another MAC address"),
            Fault::Queues => {
                said.contains("eth0 has 4 queues now, and 2 when shunt was started")
                    && said.contains("eth0 has 2 queues now")
            }
            Fault::LogFull => said.contains("lines of this log are lost"),
            Fault::ConfigDeleted => said.contains("the configuration is refused, the running one stays"),
            Fault::Reloads => said.contains("reloaded: generation"),
            Fault::Neighbors | Fault::Stopped | Fault::Clock | Fault::Descriptors | Fault::Garbage => {
                !said.contains("ERROR")
            }
        }
    }
}

impl Stage {
    /// `mark`: where the log was when it began.
    #[track_caller]
    pub(super) fn inflict(&mut self, fault: Fault, mark: u64) {
        let (host, hold) = (self.lab.director(0).clone(), self.load.hold);
        match fault {
            Fault::LinkDown => {
                host.ip("link set eth0 down\n");
                self.disk.until_said(mark, "eth0 is down");
                std::thread::sleep(hold);
                // As whatever configures the interface does: its routes went with it.
                host.ip(&format!("link set eth0 up\nroute replace default via {}\n", Segment::Lan.router()));
                self.disk.until_said(mark, "eth0 is up");
            }
            Fault::CableOut => {
                self.lab.unplug(&host, Segment::Lan);
                self.disk.until_said(mark, "eth0 is down");
                std::thread::sleep(hold);
                self.lab.plug(&host, Segment::Lan);
                self.disk.until_said(mark, "eth0 is up");
            }
            Fault::Mtu => {
                self.lab.set_mtu(&host, Segment::Lan, 1400);
                self.disk.until_said(mark, "eth0 has MTU 1400 now");
                std::thread::sleep(hold);
                self.lab.set_mtu(&host, Segment::Lan, 1500);
                self.disk.until_said(mark, "eth0 has MTU 1500 now");
            }
            Fault::MacAnnounced => {
                self.move_real(NEW_MAC, true);
                self.move_real(self.lab.real_server(0).mac(), true);
            }
            Fault::MacSilent => {
                self.move_real(NEW_MAC, false);
                self.move_real(self.lab.real_server(0).mac(), false);
            }
            Fault::Neighbors => {
                let end = Instant::now() + hold;
                while Instant::now() < end {
                    host.run("ip", &["neighbour", "flush", "all"]);
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            Fault::Queues => self.change_queues(mark),
            Fault::Stopped => {
                self.director.process().signal(Signal::SIGSTOP);
                std::thread::sleep(self.load.stop);
                self.director.process().signal(Signal::SIGCONT);
            }
            Fault::Clock => {
                // The machine's clock is well after 1971.
                for ahead in [DAY, -365 * DAY, -20_000 * DAY, 0] {
                    self.clock.jump(ahead);
                    self.reload();
                    std::thread::sleep(hold / 4);
                }
            }
            Fault::LogFull => {
                self.disk.fill();
                // The last page of the log may have room for some lines.
                for _ in 0..80 {
                    self.reload();
                }
                std::thread::sleep(hold);
                self.disk.clear();
                self.reload();
                self.disk.until_said(mark, "lines of this log are lost");
            }
            Fault::ConfigDeleted => {
                let file = self.director.config().to_owned();
                std::fs::remove_file(&file).expect("it is there");
                let refused = self.director.ask(&["reload"]).expect_err("there is no file");
                assert!(refused.contains("No such file"), "{refused}");
                std::fs::write(&file, text(&self.lab, 1)).expect("the lab's folder is ours");
                self.reload();
            }
            Fault::Reloads => self.reload_often(),
            Fault::Descriptors => self.use_up_descriptors(),
            Fault::Garbage => self.talk_nonsense(),
        }
    }

    /// The first real server has another MAC address; on return the director knows.
    #[track_caller]
    fn move_real(&self, mac: Mac, says_so: bool) {
        let server = self.lab.real_server(0);
        server.ip(&format!("link set eth0 address {mac}\n"));
        let IpAddr::V4(address) = server.address() else { unreachable!("the lab speaks IPv4") };
        let socket = server.packet_socket();
        wait::until(SOON, "its new MAC address to be known", || {
            if says_so {
                // Again and again: within a second of the last change the kernel ignores it (`locktime` in arp(7)).
                socket.send(&craft::arp_announcement(mac, address));
            }
            let real = shown::real(&self.director, server.address());
            (real["mac"] == mac.to_string().as_str() && real["state"] == "up").then_some(())
        });
    }

    #[track_caller]
    fn change_queues(&self, mark: u64) {
        let host = self.lab.director(0);
        // Fewer than have sockets: the kernel says no.
        host.try_run("ethtool", &["-L", "eth0", "rx", "1", "tx", "1"]).expect_err("the queue is in use");
        use_queues(&self.lab, QUEUES[1]);
        self.disk.until_said(mark, "eth0 has 4 queues now");
        std::thread::sleep(self.load.hold);
        // First the sender: a queue that somebody still sends to is not given up.
        let used = QUEUES[0].to_string();
        for (host, interface) in [(self.lab.switch(), host.port()), (host, "eth0")] {
            host.run("ethtool", &["-L", interface, "rx", &used, "tx", &used]);
        }
        self.disk.until_said(mark, "eth0 has 2 queues now");
    }

    #[track_caller]
    fn reload(&self) {
        self.director.ask(&["reload"]).unwrap_or_else(|complaint| panic!("{complaint}"));
    }

    #[track_caller]
    fn reload_often(&self) {
        let count = || self.director.show("services")["generation"].as_u64().expect("a number");
        let before = count();
        let request = b"{\"version\":1,\"command\":\"reload\"}\n";
        let file = self.director.config();
        for n in 1..=self.load.reloads {
            // A rename: nobody reads half a file.
            let next = file.with_extension("next");
            std::fs::write(&next, text(&self.lab, 1 + (n % 2) as u32)).expect("the lab's folder is ours");
            std::fs::rename(&next, file).expect("the lab's folder is ours");
            let answer = outsider::say(self.director.socket(), request).expect("an answer");
            assert!(answer.contains("in force"), "{answer}");
        }
        assert!(count() >= before + self.load.reloads, "each made a generation of its own");
        std::fs::write(file, text(&self.lab, 1)).expect("the lab's folder is ours");
        self.reload();
    }

    #[track_caller]
    fn use_up_descriptors(&self) {
        let probes = || shown::sum(&self.director.show("health"), &["probes"]);
        let held = outsider::silent(self.director.socket(), CLIENTS);
        assert!(held.len() >= CLIENTS / 2, "{} connections", held.len());
        let begin = Instant::now();
        // The checks go on, and whoever has something to say is heard.
        let before = probes();
        while begin.elapsed() < self.load.hold {
            until_up(&self.director);
        }
        wait::until(SOON, "checks to be made", || (probes() > before).then_some(()));
        let health = self.director.show("health");
        let errors: Vec<_> = list(&health["health"]).iter().filter(|row| row["status"] != "up").collect();
        assert!(errors.is_empty(), "{errors:#?}");
        drop(held);
    }

    #[track_caller]
    fn talk_nonsense(&self) {
        for (what, bytes) in outsider::garbage() {
            let answer =
                outsider::say(self.director.socket(), &bytes).unwrap_or_else(|why| panic!("{what}: {why}"));
            assert!(answer.is_empty() || answer.contains("\"ok\":false"), "{what}: {answer}");
            assert!(answer.len() < 4096, "{what}: {answer}");
        }
    }
}
