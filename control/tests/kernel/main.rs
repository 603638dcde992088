//! What control knows of and does to the kernel, against the real one: each test in network namespaces of its own.
//! Needs root, iproute2, ethtool and nftables, and fails without.

mod address;
mod announce;
mod health;
mod link;
mod namespace;
mod neighbor;
mod route;
mod survey;
mod sync;
mod vip;
mod vrrp;
