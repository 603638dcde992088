//! Tests of the dataplane on its public seam: workers on memory ports, driven by hand. One program, since
//! each would link libxdp and libbpf anew.

mod allocation;
mod answers;
mod builder;
mod completion;
mod conservation;
mod craft;
mod differential;
mod facts;
mod gauges;
mod golden;
mod malformed;
mod pcap;
mod publish;
mod readme;
mod rig;
mod schedulers;
mod source;
mod stickiness;
mod table;
