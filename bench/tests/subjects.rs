//! The harness itself: every subject forwards for a moment, and what it forwards reaches a real server. How fast is
//! nobody's business here.

use std::time::Duration;

use shunt_bench::wire::measure;
use shunt_bench::wire::subject::{Kind, Stand};

const FLOWS: u32 = 100;
/// Frames a second that any machine can make and forward.
const RATE: f64 = 2000.0;

#[test]
fn shunt_delivers_to_a_real_server() {
    delivers(Kind::Shunt);
}

#[test]
fn the_reflector_delivers_to_a_real_server() {
    delivers(Kind::Reflector);
}

#[test]
fn testpmd_delivers_to_a_real_server() {
    delivers(Kind::Testpmd);
}

#[test]
fn nftables_delivers_to_a_real_server() {
    delivers(Kind::Nft);
}

#[test]
fn xdp_tx_delivers_to_a_real_server() {
    delivers(Kind::XdpTx);
}

#[test]
fn the_bridge_delivers_to_a_real_server() {
    delivers(Kind::Bridge);
}

/// Also that nothing but the generator's frames arrives, that times are taken, and that who is paused forwards again.
fn delivers(kind: Kind) {
    let mut stand: Stand = kind.stand();
    for turn in 1..=2 {
        let paced = measure::paced(&mut stand, FLOWS, RATE, Duration::from_millis(200));
        assert!(paced.offered > 0.0, "{kind:?}, turn {turn}: the generator sent nothing");
        assert!(paced.lost < 1.0, "{kind:?}, turn {turn}: nothing of {} frames/s arrived", paced.offered);
        assert!(paced.times.total() > 0 && paced.times.quantile(0.5) > 0, "{kind:?}, turn {turn}: no times");
        let rate = measure::saturated(&mut stand, FLOWS, Duration::from_millis(50));
        assert!(rate.delivered > 0.0, "{kind:?}, turn {turn}: nothing of {} frames/s arrived", rate.offered);
    }
    assert_eq!(stand.sink().counts().foreign, 0, "{kind:?}: frames went astray");
}
