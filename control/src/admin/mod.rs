//! Administration of a running director over its Unix socket: `protocol` is what is said, `server` the daemon's end,
//! `client` the command line's, `show` what there is to see, `table` how a person sees it, `metrics` how Prometheus does.

pub mod client;
pub mod metrics;
pub mod protocol;
pub mod server;
pub mod show;
pub mod table;
