//! The virtual MAC address: what neighbours know of the VIP does not change when the director does.

use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::peer::{Peer, each_way, until_only};
use shunt_tests::vrrp::virtual_mac;
use shunt_tests::wire::{self, Listener, Wire};
use shunt_tests::{Instance, Lab, wait};

#[test]
fn the_router_knows_one_address_whoever_is_active() {
    each_way(|pair| {
        let lab = Lab::builder().directors(2).real_servers(0).build();
        let configs = [150, 100].map(|priority| Instance::fast(priority).with("use_vmac").to_string());
        let mac = virtual_mac(51, false);
        let wire = Wire::tap(&lab);
        let mut peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        until_only(&peers, 0);
        let reached = || {
            let ping = lab.client(0).try_run("ping", &["-c", "1", "-W", "1", &VIP.to_string()]);
            (ping.is_ok() && wire::neighbor(lab.router(), VIP) == Some(mac)).then_some(())
        };
        wait::until(Duration::from_secs(10), "an answer from the virtual MAC address", reached);
        Listener::open(&lab).wait_for(lab.director(0), 3);
        peers[0].stop();
        until_only(&peers, 1);
        wait::until(Duration::from_secs(10), "an answer from the virtual MAC address", reached);
        peers[0].start_again(&configs[0]);
        until_only(&peers, 0);
        peers[0].kill9();
        peers[1].until_active();
        Listener::open(&lab).wait_for(lab.director(1), 2);
        peers[1].stop();
        let seen = wire.stop();
        assert!(seen.adverts.iter().all(|heard| heard.advert.source_mac == mac), "{}", seen.story());
        assert!(!seen.announced(VIP).is_empty());
        assert!(seen.announced(VIP).iter().all(|(_, at)| *at == mac), "{:?}", seen.announced(VIP));
        // Its interface goes with it.
        assert!(lab.director(1).try_run("ip", &["link", "show", "vrrp.51"]).is_err());
    });
}
