//! Active health checks: what is probed, from where, how often, and what a row of results means.
//!
//! A real server is up while all its checks are up. The words and the defaults are shunt's own; what keepalived calls
//! them stands at each field.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Command;

/// An active health check of one real server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is probed.
    pub probe: Probe,
    /// Where the probe goes, and from where.
    pub target: Target,
    /// When probes are made, and how many results change the health.
    pub timing: Timing,
    /// What is assumed before the first result.
    pub start: Start,
    /// Each failed probe is logged, not only the one that takes the server out (`log_all_failures`).
    pub log_all_failures: bool,
}

/// Where a probe goes, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Target {
    /// Destination address; none: the real server's own (`connect_ip`).
    pub address: Option<IpAddr>,
    /// Destination port; 0 where the probe has none: ping, script, file (`connect_port`).
    pub port: u16,
    /// Source address; none: the kernel's choice (`bindto`).
    pub source: Option<IpAddr>,
    /// Source port; 0: the kernel's choice (`bind_port`).
    pub source_port: u16,
    /// The interface it leaves by; none: the kernel's choice (`bind_if`).
    pub interface: Option<String>,
    /// Firewall mark of its packets; 0: none (`fwmark`).
    pub mark: u32,
}

/// When probes are made, and how many results change the health.
///
/// The worst time in which a silent server is found out is `interval + fall * timeout + (fall - 1) * retry`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Time between the starts of two probes (`delay_loop`). A probe that takes longer is followed by the next at the next
    /// multiple.
    pub interval: Duration,
    /// A probe without answer fails after this (`connect_timeout`).
    pub timeout: Duration,
    /// Time from the end of a failed probe of a server that is up to the next; none: `interval`
    /// (`delay_before_retry`).
    pub retry: Option<Duration>,
    /// Consecutive successes that bring a real server up, >= 1 (keepalived: 1).
    pub rise: u32,
    /// Consecutive failures that bring it down, >= 1 (`retry` + 1). The very first result decides alone.
    pub fall: u32,
    /// The first probe starts at random within this after `BOOTSTRAP` (1 s); none: at once (`warmup`).
    pub warmup: Option<Duration>,
}

/// What is assumed before the first result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Start {
    /// Nothing: the server takes no flows until its first success (keepalived's `alpha`).
    #[default]
    Unknown,
    /// It is well (keepalived's default). The first result counts at once, a failure too.
    Up,
}

/// What a health check probes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A TCP connection that is closed as soon as it stands (`TCP_CHECK`).
    Tcp,
    /// HTTP requests (`HTTP_GET`, `SSL_GET`).
    Http(Http),
    /// A mail server's greeting and `HELO` (`SMTP_CHECK`).
    Smtp(Smtp),
    /// A DNS query over UDP (`DNS_CHECK`).
    Dns(Dns),
    /// A datagram, with or without an answer (`UDP_CHECK`).
    Udp(Udp),
    /// An ICMP echo request (`PING_CHECK`).
    Ping,
    /// A program's exit status (`MISC_CHECK`).
    Script(Script),
    /// A number in a file (`FILE_CHECK`).
    File(FileCheck),
}

/// Requests of one check over HTTP, in plain text or over TLS. All must succeed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Http {
    /// Over TLS; none: plain text.
    pub tls: Option<Tls>,
    /// What the request line says.
    pub version: HttpVersion,
    /// `Host:` of requests that have none of their own; none: the address (`virtualhost`).
    pub host: Option<String>,
    /// The requests, at least one. They are made one after another, `interval` apart as keepalived does.
    pub requests: Vec<Request>,
    /// Of a server that is not up the requests wait for no interval, once the one that failed has succeeded
    /// (`fast_recovery`).
    pub fast_recovery: bool,
}

/// TLS of a check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The name asked for (SNI); none: none is asked for (`enable_sni` with `virtualhost`).
    pub server_name: Option<String>,
    /// What the certificate must be; none: anything.
    pub verify: Option<Verify>,
}

/// What a server's certificate is measured by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Verify {
    /// Certificates to trust, PEM; none: those of the system (`/etc/ssl/certs/ca-certificates.crt`).
    pub authorities: Option<PathBuf>,
    /// The name it must be for; none: the name asked for, else the address.
    pub name: Option<String>,
}

/// Version of HTTP in a request line, and whether `Connection: close` goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HttpVersion {
    /// `HTTP/1.0`.
    #[default]
    Http10,
    /// `HTTP/1.0`, `Connection: close` (keepalived's `1.0C`).
    Http10Close,
    /// `HTTP/1.1`, `Connection: close`.
    Http11,
}

/// One request, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Path with query, beginning with `/`.
    pub path: String,
    /// `Host:`; none: that of the check.
    pub host: Option<String>,
    /// Status codes that are good, both ends included; never empty.
    pub status: Vec<(u16, u16)>,
    /// MD5 of the body (`digest`).
    pub digest: Option<[u8; 16]>,
    /// What the body must have in it, or must not (`regex`).
    pub pattern: Option<Pattern>,
}

/// A regular expression for a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The expression, valid for the `regex` crate, its options in front (`(?i)`).
    pub expression: String,
    /// It must not match (`regex_no_match`).
    pub negated: bool,
    /// First byte of the body at which a match may begin (`regex_min_offset`).
    pub first: usize,
    /// Last byte at which it may begin; none: anywhere after `first` (`regex_max_offset`).
    pub last: Option<usize>,
}

/// A mail server's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Smtp {
    /// The name given with `HELO` (`helo_name`).
    pub helo: String,
}

/// A DNS query. Any answer without an error code, `NOERROR`, is a success.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dns {
    /// Type of the record asked for: `A`, `SOA`, ...
    pub record: String,
    /// The name asked for.
    pub name: String,
}

/// A datagram.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Udp {
    /// What is sent; may be empty.
    pub payload: Vec<u8>,
    /// An answer of a length between these must come (`require_reply`, `min_reply_length`, `max_reply_length`); none: only
    /// an ICMP error is a failure.
    pub reply: Option<(usize, usize)>,
}

/// A program whose exit status is the result: 0 up, else down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Script {
    /// What is run.
    pub command: Command,
    /// Exit status 2-255 is a success, and the weight from now on that less 2 (`misc_dynamic`).
    pub sets_weight: bool,
}

/// A number in a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileCheck {
    /// The file; missing or empty: 0.
    pub path: PathBuf,
    /// The number times this is added to the weight; 0: a number other than 0 is down (`weight`).
    pub factor: i32,
}

impl Probe {
    /// The name in a native configuration and in listings.
    pub fn name(&self) -> &'static str {
        match self {
            Probe::Tcp => "tcp",
            Probe::Http(Http { tls: None, .. }) => "http",
            Probe::Http(Http { tls: Some(_), .. }) => "https",
            Probe::Smtp(_) => "smtp",
            Probe::Dns(_) => "dns",
            Probe::Udp(_) => "udp",
            Probe::Ping => "ping",
            Probe::Script(_) => "script",
            Probe::File(_) => "file",
        }
    }

    /// keepalived's name of it.
    pub fn keepalived(&self) -> &'static str {
        match self {
            Probe::Tcp => "TCP_CHECK",
            Probe::Http(Http { tls: None, .. }) => "HTTP_CHECK",
            Probe::Http(Http { tls: Some(_), .. }) => "SSL_CHECK",
            Probe::Smtp(_) => "SMTP_CHECK",
            Probe::Dns(_) => "DNS_CHECK",
            Probe::Udp(_) => "UDP_CHECK",
            Probe::Ping => "PING_CHECK",
            Probe::Script(_) => "MISC_CHECK",
            Probe::File(_) => "FILE_CHECK",
        }
    }

    /// Whether it goes to a port.
    pub fn has_port(&self) -> bool {
        !matches!(self, Probe::Ping | Probe::Script(_) | Probe::File(_))
    }
}

impl HealthCheck {
    /// A check of this kind with shunt's defaults, to the real server's own address.
    pub fn new(probe: Probe, port: u16) -> HealthCheck {
        HealthCheck {
            probe,
            target: Target { port, ..Target::default() },
            timing: crate::config::defaults::TIMING,
            start: Start::default(),
            log_all_failures: false,
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
