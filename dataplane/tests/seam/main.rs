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
mod failure;
mod fragments;
mod gauges;
mod golden;
mod handshakes;
mod icmp;
mod lane;
mod malformed;
mod one_packet;
mod pcap;
mod persistence;
mod policies;
mod publish;
mod ranges;
mod readme;
mod rig;
mod room;
mod schedulers;
mod shadow;
mod shares;
mod source;
mod stickiness;
mod strict;
mod synced;
mod table;
mod thresholds;
mod timeouts;
