//! Which way a real server is reached. Direct server return rewrites MAC addresses only, so a real server must be a
//! neighbour of the director: the kernel's own routing decision says whether it is one, and through which
//! interface, policy rules and all.
//!
//! Follows rtnetlink(7), RTM_GETROUTE (`inet_rtm_getroute` in net/ipv4/route.c, `inet6_rtm_getroute` in
//! net/ipv6/route.c).

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{Error, Netlink};

/// How the kernel would send to an address, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// A neighbour on the link of this index: what a real server has to be.
    OnLink {
        /// Index of the interface.
        index: u32,
        /// Longest IP packet of the way, bytes, if the route has an MTU of its own (`RTAX_MTU`).
        mtu: Option<u32>,
    },
    /// Behind a router.
    ViaGateway {
        /// The router.
        gateway: IpAddr,
        /// Index of the interface that leads to it.
        index: u32,
    },
    /// The director itself.
    Local,
    /// No route, or one that refuses.
    Unreachable,
}

/// Asks the kernel how it would reach `address`, by the interface of this index if one is given. That there is no
/// route is an answer, not an error.
pub async fn reach(netlink: &Netlink, address: IpAddr, by: Option<u32>) -> Result<Reach, Error> {
    let mut request = RouteMessage::default();
    (request.header.address_family, request.header.destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    request.attributes.push(RouteAttribute::Destination(address.into()));
    request.attributes.extend(by.map(RouteAttribute::Oif));
    let answer = netlink
        .get(RouteNetlinkMessage::GetRoute(request), || format!("RTM_GETROUTE (ip route get {address})"))
        .await;
    match answer {
        Ok(Some(RouteNetlinkMessage::NewRoute(route))) => Ok(Reach::from_route(&route)),
        Ok(_) => Ok(Reach::Unreachable),
        // fib_lookup: no route (ENETUNREACH), unreachable (EHOSTUNREACH), prohibit (EACCES), blackhole (EINVAL).
        Err(error) => match error.errno() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => {
                Ok(Reach::Unreachable)
            }
            _ => Err(error),
        },
    }
}

/// The routers that this machine's routes lead to.
pub async fn gateways(netlink: &Netlink) -> Result<Vec<IpAddr>, Error> {
    let request = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let answers = netlink.dump(request, || "RTM_GETROUTE (ip route show)".into()).await?;
    let mut gateways = Vec::new();
    for answer in &answers {
        let RouteNetlinkMessage::NewRoute(route) = answer else { continue };
        gateways.extend(route.attributes.iter().filter_map(gateway));
        for attribute in &route.attributes {
            if let RouteAttribute::MultiPath(hops) = attribute {
                gateways.extend(hops.iter().flat_map(|hop| &hop.attributes).filter_map(gateway));
            }
        }
    }
    Ok(gateways)
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

impl Reach {
    /// Index of the interface, if there is one.
    pub fn index(&self) -> Option<u32> {
        match self {
            Reach::OnLink { index, .. } | Reach::ViaGateway { index, .. } => Some(*index),
            Reach::Local | Reach::Unreachable => None,
        }
    }

    fn from_route(route: &RouteMessage) -> Reach {
        match route.header.kind {
            RouteType::Local => return Reach::Local,
            RouteType::Unicast => {}
            _ => return Reach::Unreachable,
        }
        let mut index = None;
        let mut gateway = None;
        let mut mtu = None;
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Oif(oif) => index = Some(*oif),
                RouteAttribute::Metrics(metrics) => {
                    mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                        _ => None,
                    });
                }
                RouteAttribute::Gateway(RouteAddress::Inet(a)) => gateway = Some(IpAddr::V4(*a)),
                RouteAttribute::Gateway(RouteAddress::Inet6(a)) => gateway = Some(IpAddr::V6(*a)),
                // RFC 5549 routes: an IPv4 destination behind an IPv6 router.
                RouteAttribute::Via(RouteVia::Inet(a)) => gateway = Some(IpAddr::V4(*a)),
                RouteAttribute::Via(RouteVia::Inet6(a)) => gateway = Some(IpAddr::V6(*a)),
                _ => {}
            }
        }
        match (index, gateway) {
            (Some(index), Some(gateway)) => Reach::ViaGateway { gateway, index },
            (Some(index), None) => Reach::OnLink { index, mtu },
            (None, _) => Reach::Unreachable,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::OnLink { index, .. } => write!(f, "on-link through interface {index}"),
            Reach::ViaGateway { gateway, index } => {
                write!(f, "behind the router {gateway} on interface {index}, not on-link")
            }
            Reach::Local => f.write_str("this machine itself"),
            Reach::Unreachable => f.write_str("no route to it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.kind = kind;
        route.attributes = attributes;
        route
    }

    #[test]
    fn a_unicast_route_without_gateway_is_on_link() {
        let answer = route(RouteType::Unicast, vec![RouteAttribute::Oif(7)]);
        assert_eq!(Reach::from_route(&answer), Reach::OnLink { index: 7, mtu: None });
    }

    #[test]
    fn the_mtu_of_a_route_is_read() {
        let metrics = vec![RouteMetric::Rtt(3), RouteMetric::Mtu(1400)];
        let answer =
            route(RouteType::Unicast, vec![RouteAttribute::Oif(7), RouteAttribute::Metrics(metrics)]);
        assert_eq!(Reach::from_route(&answer), Reach::OnLink { index: 7, mtu: Some(1400) });
    }

    #[test]
    fn a_gateway_of_the_other_family_is_still_a_gateway() {
        let router: IpAddr = "2001:db8::1".parse().unwrap();
        let answer =
            route(RouteType::Unicast, vec![RouteAttribute::Via(router.into()), RouteAttribute::Oif(7)]);
        assert_eq!(Reach::from_route(&answer), Reach::ViaGateway { gateway: router, index: 7 });
    }

    #[test]
    fn broadcast_multicast_and_refusing_routes_reach_nobody() {
        for kind in [RouteType::Broadcast, RouteType::Multicast, RouteType::BlackHole, RouteType::Unreachable]
        {
            assert_eq!(Reach::from_route(&route(kind, vec![RouteAttribute::Oif(7)])), Reach::Unreachable);
        }
    }
}
