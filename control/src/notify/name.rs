//! How services and real servers are called in pipes and mail: keepalived's spelling (`inet_sockaddrtotrio`, `format_vs`),
//! which other people's scripts take apart.

use std::net::IpAddr;

use super::News;
use crate::model::{Ports, ServiceKey, ports};

/// A line for a pipe: `VS [192.0.2.10]:tcp:80 UP`, `RS [192.0.2.21]:tcp:80 [192.0.2.10]:tcp:80 DOWN`,
/// `INSTANCE "VI_1" MASTER 100`. Unlike keepalived's of services it has no NUL after the newline.
pub(super) fn line(news: &News) -> String {
    match news {
        News::Real { service, group, real, port, up, .. } => format!(
            "RS {} {} {}\n",
            address(*real, *port, service),
            self::service(service, group.as_deref()),
            state(*up)
        ),
        News::Quorum { service, group, up, .. } => {
            format!("VS {} {}\n", self::service(service, group.as_deref()), state(*up))
        }
        News::Router { name, state, priority, .. } => instance(name, state.word(), *priority),
        News::Group { name, state, .. } => format!("GROUP \"{name}\" {} 0\n", state.word()),
        News::Priority { name, active: true, priority, .. } => instance(name, "MASTER_PRIORITY", *priority),
        News::Priority { name, priority, .. } => instance(name, "BACKUP_PRIORITY", *priority),
        News::LowerHeard { name, priority, .. } => instance(name, "MASTER_RX_LOWER_PRI", *priority),
    }
}

fn instance(name: &str, what: &str, priority: u8) -> String {
    format!("INSTANCE \"{name}\" {what} {priority}\n")
}

/// `UP`, `DOWN`.
pub(super) fn state(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

/// The service: `[192.0.2.10]:tcp:80`; `[web]:0` if it is of the group `web`.
pub(super) fn service(service: &ServiceKey, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("[{group}]:0"),
        None => address(service.vip, 0, service),
    }
}

/// A real server: `[2001:db8::21]:udp:53`.
pub(super) fn address(address: IpAddr, port: u16, service: &ServiceKey) -> String {
    let ports = match (port, service.ports) {
        // Where keepalived writes "any".
        (0, Ports::ANY) => "0".to_owned(),
        (0, of_service) => ports(of_service),
        (port, _) => port.to_string(),
    };
    format!("[{address}]:{}:{ports}", service.protocol)
}
