//! The options of ipvsadm 1.31 that a saved table has, short and long.

/// Whether `line` is one that ipvsadm reads: it adds or edits a service or a real server.
pub(in crate::config) fn is_command(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| is_program(word));
    let command = words.next().and_then(|word| option(word.split('=').next().unwrap_or(word)));
    command.is_some_and(|(what, _)| matches!(what, What::Add | What::Edit | What::AddReal | What::EditReal))
}

/// What an option says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Add,
    Edit,
    AddReal,
    EditReal,
    Service(&'static str),
    Mark,
    Six,
    Scheduler,
    Persistent,
    Netmask,
    Engine,
    OnePacket,
    Flags,
    Real,
    Direct,
    Nat,
    Tunnel,
    OfTunnel,
    Weight,
    Upper,
    Lower,
}

/// Whether a value follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    None,
    Needed,
    Possible,
}

#[rustfmt::skip]
const OPTIONS: &[(&str, &str, What, Value)] = &[
    ("-A", "--add-service", What::Add, Value::None),
    ("-E", "--edit-service", What::Edit, Value::None),
    ("-a", "--add-server", What::AddReal, Value::None),
    ("-e", "--edit-server", What::EditReal, Value::None),
    ("-t", "--tcp-service", What::Service("tcp"), Value::Needed),
    ("-u", "--udp-service", What::Service("udp"), Value::Needed),
    ("", "--sctp-service", What::Service("sctp"), Value::Needed),
    ("-f", "--fwmark-service", What::Mark, Value::Needed),
    ("-6", "--ipv6", What::Six, Value::None),
    ("-s", "--scheduler", What::Scheduler, Value::Needed),
    ("-p", "--persistent", What::Persistent, Value::Possible),
    ("-M", "--netmask", What::Netmask, Value::Needed),
    ("", "--pe", What::Engine, Value::Needed),
    ("-o", "--ops", What::OnePacket, Value::None),
    ("-b", "--sched-flags", What::Flags, Value::Needed),
    ("-r", "--real-server", What::Real, Value::Needed),
    ("-g", "--gatewaying", What::Direct, Value::None),
    ("-m", "--masquerading", What::Nat, Value::None),
    ("-i", "--ipip", What::Tunnel, Value::None),
    ("", "--tun-type", What::OfTunnel, Value::Needed),
    ("", "--tun-port", What::OfTunnel, Value::Needed),
    ("", "--tun-nocsum", What::OfTunnel, Value::None),
    ("", "--tun-csum", What::OfTunnel, Value::None),
    ("", "--tun-remcsum", What::OfTunnel, Value::None),
    ("-w", "--weight", What::Weight, Value::Needed),
    ("-x", "--u-threshold", What::Upper, Value::Needed),
    ("-y", "--l-threshold", What::Lower, Value::Needed),
];

/// The option called `word`, if it is one.
pub(super) fn option(word: &str) -> Option<(What, Value)> {
    let found =
        OPTIONS.iter().find(|(short, long, ..)| *long == word || (!short.is_empty() && *short == word));
    found.map(|(_, _, what, value)| (*what, *value))
}

/// `-R` takes its lines with the program in front, too.
pub(super) fn is_program(word: &str) -> bool {
    word.rsplit('/').next() == Some("ipvsadm")
}
