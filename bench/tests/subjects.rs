//! The harness itself: every subject forwards for a moment, and what it forwards reaches a real server. How fast is
//! nobody's business here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shunt_bench::wire::measure;
use shunt_bench::wire::subject::{Kind, Stand};

const FLOWS: u32 = 100;
const LIMIT: Duration = Duration::from_secs(20);

static ALONE: Mutex<()> = Mutex::new(());

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

/// Also that nothing but the generator's frames arrives, that times are taken, and that who is paused, or was given too
/// much, forwards again.
fn delivers(kind: Kind) {
    // Each wants both ends of a cable served at once, on machines with two cores.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // That it forwards is proved here already.
    let mut stand: Stand = kind.stand();
    assert!(stand.sink().times().quantile(0.5) > 0, "{kind:?}: frames took no time");
    let rate = measure::saturated(&mut stand, FLOWS, Duration::from_millis(50));
    assert!(rate.offered > 0.0, "{kind:?}: the generator sent nothing");
    measure::prove(&mut stand, LIMIT);
    assert_eq!(stand.sink().counts().foreign, 0, "{kind:?}: frames went astray");
}
