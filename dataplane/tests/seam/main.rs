//! Tests of the dataplane on its public seam: workers on memory ports, driven by hand. One program, since
//! each would link libxdp and libbpf anew.

mod craft;
mod differential;
mod golden;
mod malformed;
mod rig;
