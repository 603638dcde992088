//! An XDP program that turns every frame around in the driver: nothing on this device is faster.

use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};

use crate::wire::bed::{Bed, INTERFACE};
use crate::wire::subject::Runner;

/// The program, attached as long as this lives.
pub struct XdpTx(#[expect(dead_code, reason = "held for its drop")] Ebpf);

impl XdpTx {
    /// Attaches it.
    #[track_caller]
    pub fn start(bed: &Bed) -> XdpTx {
        let mut ebpf = load();
        attach(&mut ebpf, "reflect", bed);
        bed.thread_softirq(false);
        XdpTx(ebpf)
    }
}

impl Runner for XdpTx {}

/// Both reflectors, not attached yet.
#[track_caller]
pub(super) fn load() -> Ebpf {
    let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/reflect.bpf.o"));
    Ebpf::load(object).unwrap_or_else(|fault| panic!("reflect.bpf.o: {fault}"))
}

/// Attaches one of them to the subject's interface.
#[track_caller]
pub(super) fn attach(ebpf: &mut Ebpf, name: &str, bed: &Bed) {
    let program: &mut Xdp =
        ebpf.program_mut(name).expect("it is in the object").try_into().expect("it is XDP");
    bed.director().enter(|| {
        program
            .load()
            .and_then(|()| program.attach(INTERFACE, XdpMode::Driver).map(drop))
            .unwrap_or_else(|fault| panic!("{name} on {INTERFACE}: {fault:?}"));
    });
}
