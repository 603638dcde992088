//! Passwords of version 2: they keep neighbours' routers apart, and a wrong one must be found by who looks for it.

use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::peer::{Peer, XX, each_way, until_only};
use shunt_tests::tally::list;
use shunt_tests::wire::{Listener, Wire};
use shunt_tests::{Instance, Kind, Lab, wait};

const SOON: Duration = Duration::from_secs(20);

fn lab() -> Lab {
    Lab::builder().directors(2).real_servers(0).build()
}

#[test]
fn of_a_long_password_eight_bytes_count() {
    each_way(|pair| {
        let lab = lab();
        let first = Instance::slow(150).password("isi_passwd_bebas").to_string();
        let second = Instance::slow(100).password("isi_pass").to_string();
        let wire = Wire::tap(&lab);
        let peers = Peer::both(pair, &lab, [&first, &second]);
        until_only(&peers, 0);
        // Longer than the second would wait.
        Listener::open(&lab).wait_for(lab.director(0), 4);
        until_only(&peers, 0);
        let seen = wire.stop();
        assert!(seen.of(lab.director(0)).all(|heard| &heard.advert.password == b"isi_pass"));
        assert_eq!(seen.of(lab.director(1)).count(), 0, "{}", seen.story());
        assert!(peers[0].says("8 characters") + peers[0].says("eight") >= 1, "{}", peers[0].log().text());
    });
}

#[test]
fn directors_that_do_not_agree_are_both_active_and_say_why() {
    each_way(|pair| {
        let lab = lab();
        // Three virtual routers of one pair: another password, none on one side, none on the other.
        let router = |n: u8, priority| Instance {
            name: format!("VI_{n}"),
            vrid: 50 + n,
            addresses: vec![format!("192.0.2.{}", 9 + n)],
            ..Instance::slow(priority)
        };
        let first =
            format!("{}{}{}", router(1, 150).password("one"), router(2, 150).password("one"), router(3, 150));
        let second =
            format!("{}{}{}", router(1, 100).password("two"), router(2, 100), router(3, 100).password("two"));
        let peers = Peer::both(pair, &lab, [&first, &second]);
        for peer in &peers {
            for vip in ["192.0.2.10", "192.0.2.11", "192.0.2.12"] {
                peer.until_holding(vip.parse().unwrap(), true);
            }
        }
        // keepalived puts its own advert off with each spoilt one that it hears; shunt does not.
        for n in (0..2).filter(|n| pair[*n] == Kind::Shunt) {
            Listener::open(&lab).wait_for(lab.director(n), 6);
        }
        assert!(peers.iter().all(|peer| peer.holds(VIP)));
        for peer in &peers {
            peer.wait_for(0, "(VI_1) received an invalid passwd!");
        }
        peers[0].wait_for(0, "(VI_2) received a 0 auth, expecting 1!");
        peers[1].wait_for(0, "(VI_2) received a 1 auth, expecting 0!");
        peers[0].wait_for(0, "(VI_3) received a 1 auth, expecting 0!");
        peers[1].wait_for(0, "(VI_3) received a 0 auth, expecting 1!");
        // Neither puts its adverts off.
        for peer in peers.iter().filter(|_| pair == XX) {
            let Peer::Shunt(director) = peer else { continue };
            wait::until(SOON, "both to be seen as active", || {
                let view = director.show("vrrp");
                let rivals = list(&view["routers"]).iter().filter(|row| row["rival"]["source"].is_string());
                (rivals.count() == 3).then_some(())
            });
        }
    });
}
