//! Administration of a running director over its Unix socket: `protocol` is what is said, `server` the daemon's end
//! (`receive`: a request comes in, `access`: who may ask for what), `client` the command line's, `show` what there is to see, `table` how a person sees it, `metrics` how Prometheus does
//! (`exposition`: the text, `process`: what the kernel says of this process), `http` where it asks for it.

pub mod access;
pub mod client;
pub mod exposition;
pub mod http;
pub mod metrics;
pub mod process;
pub mod protocol;
mod receive;
pub mod reloads;
pub mod server;
pub mod show;
pub mod table;
