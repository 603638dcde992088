//! AF_XDP in safe types, on xsk-rs (Documentation/networking/af_xdp.rst). All `unsafe` of the packet path is
//! in this folder; each block is one operation on a ring or on frame memory.
//!
//! `umem` is the memory and its frames, `socket` a bound socket with its four rings, `options` what is set and
//! read back with setsockopt, `lost` what the kernel counts of frames that a socket could not take, `steering` the
//! XDP program that steers frames to the sockets, with its maps, `program` that program on an interface, `beat` a worker's
//! sign of life to it.

pub mod beat;
pub mod lost;
pub mod options;
pub mod program;
pub mod socket;
pub mod steering;
pub mod umem;
