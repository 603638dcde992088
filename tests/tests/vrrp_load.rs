//! The director's other work is nothing to VRRP: whoever is active stays so, in its own count and in the other's.

use std::fmt::Write;

use shunt_tests::address::{VIP, vip};
use shunt_tests::peer::{Peer, XX, until_only};
use shunt_tests::wire::{Listener, Wire};
use shunt_tests::{Instance, Lab};

/// Services, with as many real servers each, which are checked once a second. Nobody answers for any of them, which is
/// more work than an answer; and few addresses, for the kernel keeps no more than a thousand neighbours.
const SERVICES: u16 = 20;
const REALS: u8 = 40;
const RELOADS: usize = 5;

fn config(edition: usize) -> String {
    let mut text =
        Instance::fast(150).with("track_script {\nhangs\n}\nnotify \"/bin/sleep 1000\"").to_string();
    text += "global_defs {\nscript_user root\n}\n\
             vrrp_script hangs {\nscript \"/bin/sleep 1000\"\ninterval 1\ntimeout 1\nweight -1\n}\n";
    for port in 1000..1000 + SERVICES {
        let _ = writeln!(text, "virtual_server {} {port} {{\ndelay_loop 1\nlb_kind DR\nprotocol TCP", vip(1));
        for n in 0..REALS {
            let weight = 1 + (usize::from(n) + edition) % 2;
            let check = "TCP_CHECK {\nconnect_timeout 1\n}";
            let _ = writeln!(text, "real_server 192.0.2.{} {port} {{\nweight {weight}\n{check}\n}}", 30 + n);
        }
        text += "}\n";
    }
    text
}

#[test]
fn checks_hanging_scripts_and_reloads_move_no_address() {
    let lab = Lab::builder().directors(2).real_servers(0).vips(2).build();
    let mut peers = Peer::both(XX, &lab, [&config(0), &Instance::fast(100).to_string()]);
    until_only(&peers, 0);
    let wire = Wire::tap(&lab);
    for edition in 1..=RELOADS {
        peers[0].reload(&config(edition));
        Listener::open(&lab).wait_for(lab.director(0), 5);
    }
    assert!(peers[0].holds(VIP));
    let seen = wire.stop();
    let of_other: Vec<_> = seen.of(lab.director(1)).collect();
    assert!(of_other.is_empty(), "the other one has taken over:\n{}", seen.story());
    assert!(seen.of(lab.director(0)).all(|heard| heard.advert.priority > 0), "{}", seen.story());
}
