#![doc = include_str!("../README.md")]

// The module order of the README, top down: a module uses only what stands below its own group.
pub mod plane;

pub mod confine;
pub mod worker;

pub mod director;
pub mod recorder;
pub mod xsk;

pub mod forwarding;

pub mod flow;

pub mod answer;
pub mod parse;
pub mod rewrite;
pub mod schedule;
pub mod stats;

pub mod checksum;
pub mod hash;
pub mod verdict;

pub mod clock;
pub mod id;
pub mod packet;
pub mod port;
pub mod prefetch;
pub mod publish;
