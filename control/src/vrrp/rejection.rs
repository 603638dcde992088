//! Why an advert is refused.
//!
//! An advert that counts for nothing looks like a peer that is not there, and ends in two active routers. So each reason
//! has a counter of its own, and a sentence that says what the peer has, what this router has, and what to do.

/// Reasons, in the order in which they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejection {
    /// No host has this source address: unspecified, multicast, broadcast.
    Source,
    /// The packet has IPv4 options or IPv6 extension headers.
    Options,
    /// The message is shorter than it says, or than its header.
    TooShort,
    /// The message is longer than it says.
    TooLong,
    /// It came over a router, or may have.
    Ttl,
    /// Another version of VRRP.
    Version,
    /// An authentication that nobody knows.
    InvalidAuthType,
    /// Another authentication than ours.
    AuthType,
    /// Another password.
    Password,
    /// Another interval (version 2), or none at all.
    Interval,
    /// Not an advert.
    Type,
    /// Another number of addresses.
    Count,
    /// The checksum is wrong.
    Checksum,
    /// A unicast packet for a multicast router, or the other way round.
    Destination,
    /// One of our addresses is not in it.
    Addresses,
    /// Nobody in the list of peers sent it.
    Peer,
}

impl Rejection {
    /// All of them, in their order: `ALL[reason as usize] == reason`.
    pub const ALL: [Rejection; 16] = [
        Rejection::Source,
        Rejection::Options,
        Rejection::TooShort,
        Rejection::TooLong,
        Rejection::Ttl,
        Rejection::Version,
        Rejection::InvalidAuthType,
        Rejection::AuthType,
        Rejection::Password,
        Rejection::Interval,
        Rejection::Type,
        Rejection::Count,
        Rejection::Checksum,
        Rejection::Destination,
        Rejection::Addresses,
        Rejection::Peer,
    ];

    /// Whether it is rather a director that is configured otherwise than noise, or an attack.
    pub fn is_of_a_director(self) -> bool {
        use Rejection::{
            Addresses, AuthType, Checksum, Count, Destination, Interval, InvalidAuthType, Password, Peer,
            Version,
        };
        matches!(
            self,
            Version
                | InvalidAuthType
                | AuthType
                | Password
                | Interval
                | Count
                | Checksum
                | Destination
                | Addresses
                | Peer
        )
    }

    /// Its name, for metrics: it does not change.
    pub fn name(self) -> &'static str {
        match self {
            Rejection::Source => "source",
            Rejection::Options => "options",
            Rejection::TooShort => "too_short",
            Rejection::TooLong => "too_long",
            Rejection::Ttl => "ttl",
            Rejection::Version => "version",
            Rejection::InvalidAuthType => "invalid_auth_type",
            Rejection::AuthType => "auth_type",
            Rejection::Password => "password",
            Rejection::Interval => "interval",
            Rejection::Type => "type",
            Rejection::Count => "count",
            Rejection::Checksum => "checksum",
            Rejection::Destination => "destination",
            Rejection::Addresses => "addresses",
            Rejection::Peer => "peer",
        }
    }

    /// What it means and what to do about it, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Rejection::Source => "a source address that no host has; forged, or the peer has no address yet",
            Rejection::Options => "IP options or extension headers; no router sends those; forged",
            Rejection::TooShort => "shorter than it says; cut off on the way, or no VRRP",
            Rejection::TooLong => "longer than it says; another version, or no VRRP",
            Rejection::Ttl => {
                "it came over a router, or the peer sends another TTL; set min_ttl for that peer"
            }
            Rejection::Version => "another version of VRRP; set vrrp_version alike",
            Rejection::InvalidAuthType => "an authentication that nobody knows; damaged or forged",
            Rejection::AuthType => "another authentication; set auth_type alike",
            Rejection::Password => "another password; set auth_pass alike",
            Rejection::Interval => "another interval; set advert_int alike",
            Rejection::Type => "not an advert; damaged or forged",
            Rejection::Count => "another number of addresses; set virtual_ipaddress alike",
            Rejection::Checksum => "damaged on the way, or computed otherwise; look at v3_checksum_as_v2",
            Rejection::Destination => {
                "unicast for multicast or the reverse; set unicast_peer on both or on none"
            }
            Rejection::Addresses => "another list of addresses; set virtual_ipaddress alike",
            Rejection::Peer => "not one of the peers; add it to unicast_peer, or find out who sends it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_at_its_own_place_and_has_a_name_of_its_own() {
        for (n, reason) in Rejection::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
            assert!(Rejection::ALL[..n].iter().all(|other| other.name() != reason.name()));
            assert!(reason.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        }
    }
}
