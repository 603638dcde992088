//! Administration of a running director over its Unix socket: `protocol` is what is said, `server` the daemon's end,
//! `client` the command line's, `show` what there is to see, `table` how a person sees it.

pub mod client;
pub mod protocol;
pub mod server;
pub mod show;
pub mod table;
