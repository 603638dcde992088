//! How services and real servers are called in pipes and mail: keepalived's spelling (`inet_sockaddrtotrio`, `format_vs`),
//! which other people's scripts take apart.

use std::net::IpAddr;

use super::News;
use crate::model::{Ports, ServiceKey, ports};

/// A line for a pipe: `VS [192.0.2.10]:tcp:80 UP`, `RS [192.0.2.21]:tcp:80 [192.0.2.10]:tcp:80 DOWN`. Unlike
/// keepalived's it has no NUL after the newline.
pub(super) fn line(news: &News) -> String {
    match news {
        News::Real { up, .. } => {
            format!("RS {} {} {}\n", real(news).unwrap_or_default(), service(news), state(*up))
        }
        News::Quorum { up, .. } => format!("VS {} {}\n", service(news), state(*up)),
    }
}

/// `UP`, `DOWN`.
pub(super) fn state(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

/// The service: `[192.0.2.10]:tcp:80`; `[web]:0` if it is of the group `web`.
pub(super) fn service(news: &News) -> String {
    let (News::Real { service, group, .. } | News::Quorum { service, group, .. }) = news;
    match group {
        Some(group) => format!("[{group}]:0"),
        None => address(service.vip, 0, service),
    }
}

/// The real server, if the news are about one: `[2001:db8::21]:udp:53`.
pub(super) fn real(news: &News) -> Option<String> {
    match news {
        News::Real { service, real, port, .. } => Some(address(*real, *port, service)),
        News::Quorum { .. } => None,
    }
}

fn address(address: IpAddr, port: u16, service: &ServiceKey) -> String {
    let ports = match (port, service.ports) {
        // Where keepalived writes "any".
        (0, Ports::ANY) => "0".to_owned(),
        (0, of_service) => ports(of_service),
        (port, _) => port.to_string(),
    };
    format!("[{address}]:{}:{ports}", service.protocol)
}
