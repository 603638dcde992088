//! The options of ipvsadm 1.31, and which of them go with which command.

/// What an option says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// What to do.
    Verb(Verb),
    /// A service by its address.
    Service(Protocol),
    /// A service by firewall mark.
    Mark,
    /// The mark is of IPv6.
    Six,
    /// How frames get to the real server.
    Forward(Forward),
    /// Sorted, as always.
    Sort,
    /// In the text of `/proc/net/ip_vs`: no option of ipvsadm's, but for what reads that file.
    Shape,
    /// Any other.
    Plain(Kind),
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Add,
    Edit,
    Delete,
    AddReal,
    EditReal,
    DeleteReal,
    Clear,
    List,
    Zero,
    Set,
    Help,
    Version,
    Restore,
    Save,
    StartDaemon,
    StopDaemon,
}

/// How frames get to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forward {
    /// To its MAC address: the only way of shunt's.
    #[default]
    Direct,
    /// In a tunnel.
    Tunnel,
    /// By rewriting addresses.
    Masquerading,
}

/// Whether a value follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None.
    Nothing,
    /// One.
    Value,
    /// One, unless what follows is an option.
    Perhaps,
}

pub use crate::model::Protocol;

/// What may be given once in a command, in the order in which ipvsadm complains of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Real,
    Forward,
    Weight,
    Upper,
    Lower,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    Flags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLength,
    TunnelInfo,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
}

use Kind::*;
use Takes::{Nothing, Perhaps, Value};

/// Short name, long name, whether a value follows, what it says.
#[rustfmt::skip]
pub const OPTIONS: &[(Option<char>, &str, Takes, Word)] = &[
    (Some('A'), "add-service", Nothing, Word::Verb(Verb::Add)),
    (Some('E'), "edit-service", Nothing, Word::Verb(Verb::Edit)),
    (Some('D'), "delete-service", Nothing, Word::Verb(Verb::Delete)),
    (Some('C'), "clear", Nothing, Word::Verb(Verb::Clear)),
    (Some('L'), "list", Nothing, Word::Verb(Verb::List)),
    (Some('l'), "list", Nothing, Word::Verb(Verb::List)),
    (Some('Z'), "zero", Nothing, Word::Verb(Verb::Zero)),
    (Some('a'), "add-server", Nothing, Word::Verb(Verb::AddReal)),
    (Some('e'), "edit-server", Nothing, Word::Verb(Verb::EditReal)),
    (Some('d'), "delete-server", Nothing, Word::Verb(Verb::DeleteReal)),
    (None, "set", Nothing, Word::Verb(Verb::Set)),
    (Some('h'), "help", Nothing, Word::Verb(Verb::Help)),
    (Some('v'), "version", Nothing, Word::Verb(Verb::Version)),
    (Some('R'), "restore", Nothing, Word::Verb(Verb::Restore)),
    (Some('S'), "save", Nothing, Word::Verb(Verb::Save)),
    (None, "start-daemon", Value, Word::Verb(Verb::StartDaemon)),
    (None, "stop-daemon", Value, Word::Verb(Verb::StopDaemon)),
    (Some('t'), "tcp-service", Value, Word::Service(Protocol::Tcp)),
    (Some('u'), "udp-service", Value, Word::Service(Protocol::Udp)),
    (None, "sctp-service", Value, Word::Service(Protocol::Sctp)),
    (Some('f'), "fwmark-service", Value, Word::Mark),
    (Some('6'), "ipv6", Nothing, Word::Six),
    (Some('s'), "scheduler", Value, Word::Plain(Scheduler)),
    (Some('p'), "persistent", Perhaps, Word::Plain(Persistent)),
    (Some('M'), "netmask", Value, Word::Plain(Netmask)),
    (Some('r'), "real-server", Value, Word::Plain(Real)),
    (Some('g'), "gatewaying", Nothing, Word::Forward(Forward::Direct)),
    (Some('i'), "ipip", Nothing, Word::Forward(Forward::Tunnel)),
    (Some('m'), "masquerading", Nothing, Word::Forward(Forward::Masquerading)),
    (Some('w'), "weight", Value, Word::Plain(Weight)),
    (Some('x'), "u-threshold", Value, Word::Plain(Upper)),
    (Some('y'), "l-threshold", Value, Word::Plain(Lower)),
    (Some('n'), "numeric", Nothing, Word::Plain(Numeric)),
    (Some('c'), "connection", Nothing, Word::Plain(Connection)),
    (None, "mcast-interface", Value, Word::Plain(McastInterface)),
    (None, "mcast-group", Value, Word::Plain(McastGroup)),
    (None, "mcast-port", Value, Word::Plain(McastPort)),
    (None, "mcast-ttl", Value, Word::Plain(McastTtl)),
    (None, "syncid", Value, Word::Plain(SyncId)),
    (None, "sync-maxlen", Value, Word::Plain(SyncMaxLength)),
    (None, "timeout", Nothing, Word::Plain(Timeout)),
    (None, "daemon", Nothing, Word::Plain(Daemon)),
    (None, "stats", Nothing, Word::Plain(Stats)),
    (None, "rate", Nothing, Word::Plain(Rate)),
    (None, "thresholds", Nothing, Word::Plain(Thresholds)),
    (None, "persistent-conn", Nothing, Word::Plain(PersistentConn)),
    (None, "nosort", Nothing, Word::Plain(NoSort)),
    (None, "sort", Nothing, Word::Sort),
    (Some('X'), "exact", Nothing, Word::Plain(Exact)),
    (Some('o'), "ops", Nothing, Word::Plain(OnePacket)),
    (None, "pe", Value, Word::Plain(Engine)),
    (Some('b'), "sched-flags", Value, Word::Plain(Flags)),
    (None, "tun-info", Nothing, Word::Plain(TunnelInfo)),
    (None, "tun-type", Value, Word::Plain(TunnelType)),
    (None, "tun-port", Value, Word::Plain(TunnelPort)),
    (None, "tun-nocsum", Nothing, Word::Plain(TunnelNoChecksum)),
    (None, "tun-csum", Nothing, Word::Plain(TunnelChecksum)),
    (None, "tun-remcsum", Nothing, Word::Plain(TunnelRemoteChecksum)),
    (None, "format", Value, Word::Shape),
];

impl Kind {
    /// All, in the order of complaints.
    pub const ALL: [Kind; 34] = [
        Numeric,
        Connection,
        Service,
        Scheduler,
        Persistent,
        Netmask,
        Real,
        Forward,
        Weight,
        Upper,
        Lower,
        McastInterface,
        Timeout,
        Daemon,
        Stats,
        Rate,
        Thresholds,
        PersistentConn,
        NoSort,
        SyncId,
        Exact,
        OnePacket,
        Engine,
        Flags,
        McastGroup,
        McastPort,
        McastTtl,
        SyncMaxLength,
        TunnelInfo,
        TunnelType,
        TunnelPort,
        TunnelNoChecksum,
        TunnelChecksum,
        TunnelRemoteChecksum,
    ];

    /// What complaints call it.
    pub fn name(self) -> &'static str {
        match self {
            Service => "service-address",
            Real => "real-server",
            Forward => "forwarding-method",
            kind => {
                let named = OPTIONS.iter().find(|(.., word)| *word == Word::Plain(kind));
                named.expect("every other kind is one option's").1
            }
        }
    }
}

/// Which options go with a command.
pub struct Rule {
    /// Without these it is nothing.
    pub needed: &'static [Kind],
    /// These may be given.
    pub possible: &'static [Kind],
    /// Of these one at most.
    pub alone: &'static [Kind],
}

const TUNNEL: [Kind; 5] = [TunnelType, TunnelPort, TunnelNoChecksum, TunnelChecksum, TunnelRemoteChecksum];

impl Verb {
    /// What complaints call it.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Add => "add-service",
            Verb::Edit => "edit-service",
            Verb::Delete => "delete-service",
            Verb::AddReal => "add-server",
            Verb::EditReal => "edit-server",
            Verb::DeleteReal => "delete-server",
            Verb::Clear => "flush",
            Verb::List => "list",
            Verb::Zero => "zero",
            Verb::Set => "set",
            Verb::Help => "help",
            Verb::Version => "version",
            Verb::Restore => "restore",
            Verb::Save => "save",
            Verb::StartDaemon => "start-daemon",
            Verb::StopDaemon => "stop-daemon",
        }
    }

    /// Which options go with it.
    pub fn rule(self) -> Rule {
        let (needed, possible, alone): (&'static [Kind], &'static [Kind], &'static [Kind]) = match self {
            Verb::Add | Verb::Edit => {
                (&[Service], &[Scheduler, Persistent, Netmask, OnePacket, Engine, Flags], &[])
            }
            Verb::Delete => (&[Service], &[], &[]),
            Verb::AddReal | Verb::EditReal => (
                &[Service, Real],
                &const {
                    let [a, b, c, d, e] = TUNNEL;
                    [Forward, Weight, Upper, Lower, a, b, c, d, e]
                },
                &[],
            ),
            Verb::DeleteReal => (&[Service, Real], &[], &[]),
            Verb::List => (
                &[],
                &[Numeric, Stats, Rate, Thresholds, PersistentConn, NoSort, SyncId, Exact, TunnelInfo],
                &[Connection, Service, Timeout, Daemon],
            ),
            Verb::Zero => (&[], &[Service], &[]),
            Verb::Save => (&[], &[Numeric], &[]),
            Verb::StartDaemon => {
                (&[], &[McastInterface, SyncId, McastGroup, McastPort, McastTtl, SyncMaxLength], &[])
            }
            Verb::StopDaemon => (&[], &[SyncId], &[]),
            Verb::Clear | Verb::Set | Verb::Restore | Verb::Help | Verb::Version => (&[], &[], &[]),
        };
        Rule { needed, possible, alone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_and_its_place() {
        assert!(Kind::ALL.is_sorted());
        assert_eq!(Kind::ALL.map(Kind::name)[..4], ["numeric", "connection", "service-address", "scheduler"]);
        assert_eq!(OPTIONS.iter().filter(|(short, ..)| *short == Some('n')).count(), 1);
    }
}
