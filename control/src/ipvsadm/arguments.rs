//! What a command line asks for, or ipvsadm's complaint about it. Read from left to right: the first thing that is wrong is
//! the one that is said.
//!
//! ipvsadm 1.31: `ipvsadm.8`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::endpoint::{self, Endpoint, number};
use super::names::Names;
use super::option::{Forward, Kind, Protocol, Verb, Word};
use super::popt::Words;
use super::scheduler;

/// What `-p` without a time means, seconds (`IPVS_SVC_PERSISTENT_TIMEOUT`).
const PERSISTENCE: u32 = 360;
/// Longest time, seconds: 31 days.
const LONGEST: i64 = 31 * 86_400;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// What to do.
    pub verb: Option<Verb>,
    /// Which options were given.
    pub given: BTreeSet<Kind>,
    /// Protocol, VIP and port of the service; port 0 is all ports.
    pub service: Option<(Protocol, IpAddr, u16)>,
    /// The service is one by firewall mark.
    pub mark: Option<u32>,
    /// The real server; without a port it has that of the service.
    pub real: Option<Endpoint>,
    /// Name of the scheduler.
    pub scheduler: Option<String>,
    /// Flags of the scheduler.
    pub flags: Vec<String>,
    /// Persistence, seconds.
    pub persistence: Option<u32>,
    /// Leading bits of a client's address.
    pub prefix: Option<u8>,
    /// How frames get to the real server.
    pub forward: Forward,
    /// Weight of the real server.
    pub weight: Option<u16>,
    /// Its upper threshold.
    pub upper: u32,
    /// Its lower threshold.
    pub lower: u32,
    /// Of `--set`: TCP, after a FIN, UDP, seconds; 0: as it is.
    pub timeouts: [u32; 3],
    /// Of `--format`.
    pub is_proc: bool,
    /// As they were typed: what they mean depends on the scheduler, which may come after them.
    typed_flags: Option<String>,
}

/// Why nothing is done.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// For standard error, without the end of the line.
    pub text: String,
    /// The exit code.
    pub code: u8,
    /// Whether it also ends `-R`, which goes on after others.
    pub is_final: bool,
}

impl Complaint {
    /// Of the command line.
    fn usage(text: impl Into<String>) -> Complaint {
        Complaint { text: text.into(), code: 2, is_final: true }
    }

    /// Not even a command.
    pub fn try_help(program: &str) -> Complaint {
        let text = format!("Try `{program} -h' or '{program} --help' for more information.");
        Complaint { text, code: 255, is_final: true }
    }

    /// Of the director: what a kernel would have refused.
    pub fn refusal(text: impl Into<String>) -> Complaint {
        Complaint { text: text.into(), code: 255, is_final: false }
    }
}

/// Reads the words after the program's name.
///
/// # Errors
/// What ipvsadm says of them.
pub fn read(program: &str, words: &[String], names: &Names) -> Result<Arguments, Complaint> {
    let mut words = Words::new(words);
    let mut arguments = Arguments::default();
    let Some(Ok((Word::Verb(verb), value))) = words.next() else {
        return Err(Complaint::try_help(program));
    };
    if matches!(verb, Verb::StartDaemon | Verb::StopDaemon) && !matches!(value, Some("master" | "backup")) {
        return Err(Complaint::usage(match verb {
            Verb::StartDaemon => "illegal start-daemon parameter specified",
            _ => "illegal start_daemon specified",
        }));
    }
    arguments.verb = Some(verb);
    if matches!(verb, Verb::Help | Verb::Version) {
        return Ok(arguments);
    }
    for next in words.by_ref() {
        let (word, value) = next.map_err(|bad| Complaint {
            text: format!("{}: {}", bad.word, bad.why),
            code: 255,
            is_final: false,
        })?;
        arguments.take(word, value, names)?;
    }
    let mut rest = words.arguments().into_iter();
    if verb == Verb::Set {
        let (Some(tcp), Some(tcp_fin), Some(udp)) = (rest.next(), rest.next(), rest.next()) else {
            return Err(Complaint::usage("--set option requires 3 timeout values"));
        };
        arguments.timeouts = [seconds(tcp, 0)?, seconds(tcp_fin, 0)?, seconds(udp, 0)?];
    }
    if let Some(word) = rest.next() {
        return Err(Complaint::usage(format!("unexpected argument {word}")));
    }
    arguments.finish(verb)?;
    Ok(arguments)
}

impl Arguments {
    /// Whether this option was given.
    pub fn has(&self, kind: Kind) -> bool {
        self.given.contains(&kind)
    }

    fn once(&mut self, kind: Kind) -> Result<(), Complaint> {
        match self.given.insert(kind) {
            true => Ok(()),
            false => Err(Complaint::usage(format!("multiple '{}' options specified", kind.name()))),
        }
    }

    fn take(&mut self, word: Word, value: Option<&str>, names: &Names) -> Result<(), Complaint> {
        let text = value.unwrap_or_default();
        match word {
            Word::Verb(_) => Err(Complaint::usage(format!("invalid option `{text}'"))),
            Word::Service(protocol) => {
                self.once(Kind::Service)?;
                let at = endpoint::read(text, Some(protocol), names)
                    .ok_or_else(|| Complaint::usage("illegal virtual server address[:port] specified"))?;
                self.service = Some((protocol, at.address, at.port.unwrap_or(0)));
                Ok(())
            }
            Word::Mark => {
                self.once(Kind::Service)?;
                let mark = number(text, 1, u32::MAX.into()).and_then(|mark| mark.try_into().ok());
                let wrong = || Complaint::usage(format!("invalid fwmark value `{text}' specified"));
                self.mark = Some(mark.ok_or_else(wrong)?);
                Ok(())
            }
            Word::Six if self.mark.is_none() => Err(Complaint::usage("-6 used before -f\n")),
            Word::Six | Word::Sort => Ok(()),
            Word::Forward(forward) => {
                self.once(Kind::Forward)?;
                self.forward = forward;
                Ok(())
            }
            Word::Shape => {
                self.is_proc = text == "proc-ip_vs";
                let wrong = format!("invalid format `{text}' specified: it is `proc-ip_vs'");
                if self.is_proc { Ok(()) } else { Err(Complaint::usage(wrong)) }
            }
            Word::Plain(kind) => {
                self.once(kind)?;
                self.value(kind, value, names)
            }
        }
    }

    fn value(&mut self, kind: Kind, value: Option<&str>, names: &Names) -> Result<(), Complaint> {
        let text = value.unwrap_or_default();
        let range = |least, most, what: &str| {
            let wrong = || Complaint::usage(format!("illegal {what} specified"));
            number(text, least, most).ok_or_else(wrong)
        };
        match kind {
            Kind::Scheduler => self.scheduler = Some(text.to_owned()),
            Kind::Persistent => {
                self.persistence = Some(match value {
                    Some(text) => seconds(text, 1)?,
                    None => PERSISTENCE,
                });
            }
            Kind::Netmask => self.prefix = Some(self.netmask(text)?),
            Kind::Real => {
                let protocol = self.service.map(|(protocol, ..)| protocol);
                let at = endpoint::read(text, protocol, names)
                    .ok_or_else(|| Complaint::usage("illegal real server address[:port] specified"))?;
                self.real = Some(at);
            }
            Kind::Weight => {
                let weight = range(0, u16::MAX.into(), "weight")?;
                self.weight = Some(weight.try_into().expect("it is in range"));
            }
            Kind::Upper => self.upper = threshold(range(0, i32::MAX.into(), "u_threshold")?),
            Kind::Lower => self.lower = threshold(range(0, i32::MAX.into(), "l_threshold")?),
            Kind::SyncId => drop(range(0, 255, "syncid")?),
            Kind::McastPort => drop(range(1, 65535, "mcast-port")?),
            Kind::McastTtl => drop(range(1, 255, "mcast-ttl")?),
            Kind::SyncMaxLength => drop(range(1, 65507, "sync-maxlen")?),
            Kind::McastGroup => multicast(text)?,
            Kind::TunnelType if !["ipip", "gue", "gre"].contains(&text) => {
                return Err(Complaint::usage("illegal tunnel type specified"));
            }
            Kind::TunnelPort => drop(range(1, 65535, "tunnel port")?),
            Kind::Flags => self.typed_flags = Some(text.to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// A mask of IPv4, or a prefix of IPv6.
    fn netmask(&self, text: &str) -> Result<u8, Complaint> {
        let is_ipv6 = matches!(self.service, Some((_, IpAddr::V6(_), _)));
        if is_ipv6 {
            let prefix = number(text, 1, 128).and_then(|prefix| prefix.try_into().ok());
            return prefix.ok_or_else(|| Complaint::usage("illegal ipv6 netmask specified"));
        }
        let illegal = || Complaint::usage("illegal virtual server persistent mask specified");
        let mask: std::net::Ipv4Addr = text.parse().map_err(|_| illegal())?;
        let bits = mask.to_bits();
        match bits.leading_ones() == bits.count_ones() && bits != 0 {
            true => Ok(bits.count_ones() as u8),
            false => Err(Complaint::refusal(format!(
                "the mask {mask} is not supported: clients are told apart by the first bits of their addresses, 1 at least"
            ))),
        }
    }

    /// What is said of the line as a whole.
    fn finish(&mut self, verb: Verb) -> Result<(), Complaint> {
        if let Some(flags) = self.typed_flags.take() {
            self.flags = scheduler::flags(self.scheduler.as_deref(), &flags).map_err(Complaint::usage)?;
        }
        self.follow_the_rule(verb)?;
        let protocol = self.service.map(|(protocol, ..)| protocol);
        match verb {
            Verb::Add | Verb::Edit => {
                let is_any = self.service.is_some_and(|(.., port)| port == 0);
                if is_any && self.persistence.is_none() {
                    return Err(Complaint::usage("Zero port specified for non-persistent service"));
                }
                if self.has(Kind::OnePacket) && self.mark.is_none() && protocol != Some(Protocol::Udp) {
                    return Err(Complaint::usage("One-Packet Scheduling is only for UDP virtual services"));
                }
            }
            Verb::AddReal | Verb::EditReal => self.check_forward()?,
            Verb::List => self.check_list()?,
            _ => {}
        }
        Ok(())
    }

    fn follow_the_rule(&self, verb: Verb) -> Result<(), Complaint> {
        let rule = verb.rule();
        let mut alone = None;
        for kind in Kind::ALL {
            if !self.has(kind) {
                if rule.needed.contains(&kind) {
                    let (option, command) = (kind.name(), verb.name());
                    return Err(Complaint::usage(format!(
                        "You need to supply the '{option}' option for the '{command}' command"
                    )));
                }
                continue;
            }
            if rule.alone.contains(&kind) {
                if let Some(other) = alone.replace(kind) {
                    let (option, other, command) = (kind.name(), Kind::name(other), verb.name());
                    return Err(Complaint::usage(format!(
                        "The option '{option}' conflicts with the '{other}' option in the '{command}' command"
                    )));
                }
            } else if !rule.needed.contains(&kind) && !rule.possible.contains(&kind) {
                let (option, command) = (kind.name(), verb.name());
                return Err(Complaint::usage(format!(
                    "Illegal '{option}' option with the '{command}' command"
                )));
            }
        }
        Ok(())
    }

    fn check_forward(&self) -> Result<(), Complaint> {
        let is_ipv6 = |address: IpAddr| address.is_ipv6();
        let of_service = self.service.is_some_and(|(_, vip, _)| is_ipv6(vip));
        let of_real = self.real.is_some_and(|real| is_ipv6(real.address));
        if of_service != of_real && self.forward != Forward::Tunnel {
            return Err(Complaint::usage("Different address family is allowed only for tunneling servers"));
        }
        let mut tunnel = Kind::ALL.into_iter().filter(|kind| *kind >= Kind::TunnelType);
        if self.forward != Forward::Tunnel && tunnel.any(|kind| self.has(kind)) {
            return Err(Complaint::usage("Tunnel options conflict with forward method"));
        }
        Ok(())
    }

    fn check_list(&self) -> Result<(), Complaint> {
        let any = |kinds: &[Kind]| kinds.iter().any(|kind| self.has(*kind));
        let other = any(&[Kind::Timeout, Kind::Daemon]);
        if (other || self.has(Kind::Connection)) && any(&[Kind::Stats, Kind::Rate, Kind::Thresholds])
            || other && self.has(Kind::PersistentConn)
        {
            return Err(Complaint::usage("options conflicts in the list command"));
        }
        Ok(())
    }
}

fn threshold(number: i64) -> u32 {
    number.try_into().expect("it is in range")
}

fn seconds(text: &str, least: i64) -> Result<u32, Complaint> {
    let wrong = || Complaint::usage(format!("invalid timeout value `{text}' specified"));
    number(text, least, LONGEST).and_then(|seconds| seconds.try_into().ok()).ok_or_else(wrong)
}

fn multicast(text: &str) -> Result<(), Complaint> {
    let (family, is_group) = match text.contains(':') {
        true => ("IPv6", text.parse().is_ok_and(|group: std::net::Ipv6Addr| group.is_multicast())),
        false => ("IPv4", text.parse().is_ok_and(|group: std::net::Ipv4Addr| group.is_multicast())),
    };
    if is_group { Ok(()) } else { Err(Complaint::usage(format!("invalid {family} mcast-group `{text}'"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Result<Arguments, Complaint> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        read("ipvsadm", &words, &Names::of("ssh 22/tcp\n", &[]))
    }

    fn complaint(line: &str) -> (String, u8) {
        let complaint = arguments(line).expect_err(line);
        (complaint.text, complaint.code)
    }

    #[test]
    fn a_service_and_a_real_server_are_read() {
        let service = arguments("-At 192.0.2.10:ssh -ssh -b sh-port,flag-1 -p -M 255.255.255.0").unwrap();
        assert_eq!(service.verb, Some(Verb::Add));
        assert_eq!(service.service, Some((Protocol::Tcp, "192.0.2.10".parse().unwrap(), 22)));
        assert_eq!((service.persistence, service.prefix), (Some(360), Some(24)));
        assert_eq!(service.flags, ["sh-port", "sh-fallback"]);
        let real = arguments("-a -t 192.0.2.10:22 -r 192.0.2.21 -w 0 -x 20 -y 10").unwrap();
        assert_eq!(real.real.unwrap().port, None);
        assert_eq!((real.weight, real.upper, real.lower), (Some(0), 20, 10));
        assert_eq!(arguments("--set 259200 0 7").unwrap().timeouts, [259_200, 0, 7]);
    }

    #[test]
    fn complaints_are_those_of_ipvsadm() {
        let vip = "192.0.2.10:80";
        for (line, text) in [
            (format!("-A -t {vip} -L"), "invalid option `'"),
            (format!("-A -t {vip} -t {vip}"), "multiple 'service-address' options specified"),
            (
                format!("-a -t {vip}"),
                "You need to supply the 'real-server' option for the 'add-server' command",
            ),
            ("-D".into(), "You need to supply the 'service-address' option for the 'delete-service' command"),
            (format!("-Z -n -t {vip}"), "Illegal 'numeric' option with the 'zero' command"),
            (
                "-L --daemon --timeout".into(),
                "The option 'daemon' conflicts with the 'timeout' option in the 'list' command",
            ),
            ("-L -c --stats".into(), "options conflicts in the list command"),
            ("-L --timeout --persistent-conn".into(), "options conflicts in the list command"),
            (format!("-A -t {vip} -p 0"), "invalid timeout value `0' specified"),
            (format!("-A -t {vip} -p 2678401"), "invalid timeout value `2678401' specified"),
            (format!("-A -t {vip} -o"), "One-Packet Scheduling is only for UDP virtual services"),
            (format!("-A -t {vip} -s sh -b mh-port"), "incompatible scheduler flag `mh-port'"),
            (format!("-A -t {vip} -s sh -b nonsense"), "invalid scheduler flag `nonsense'"),
            (format!("-A -t {vip} -M nonsense"), "illegal virtual server persistent mask specified"),
            ("-A -t [2001:db8::1]:80 -M 0".into(), "illegal ipv6 netmask specified"),
            (
                format!("-a -t {vip} -r 2001:db8::21"),
                "Different address family is allowed only for tunneling servers",
            ),
            (
                format!("-a -t {vip} -r 192.0.2.21 --tun-type gue"),
                "Tunnel options conflict with forward method",
            ),
            (format!("-a -t {vip} -r 192.0.2.21 -w 65536"), "illegal weight specified"),
            (format!("-a -t {vip} -r 21"), "illegal real server address[:port] specified"),
            ("-a -r 192.0.2.21:ssh".into(), "illegal real server address[:port] specified"),
            ("--set 1 2 x".into(), "invalid timeout value `x' specified"),
            ("--start-daemon both".into(), "illegal start-daemon parameter specified"),
            ("--start-daemon master --mcast-group 10.0.0.1".into(), "invalid IPv4 mcast-group `10.0.0.1'"),
            ("--start-daemon master --syncid 256".into(), "illegal syncid specified"),
            ("-L -6".into(), "-6 used before -f\n"),
        ] {
            assert_eq!(complaint(&line), (text.to_owned(), 2), "{line}");
        }
        let help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.".to_owned();
        for line in ["-n", "-X", "nonsense", "--nonsense", "-t 192.0.2.10:80 -A", "--list=yes"] {
            assert_eq!(complaint(line), (help.clone(), 255), "{line}");
        }
        assert_eq!(complaint("-L --nonsense"), ("--nonsense: unknown option".to_owned(), 255));
    }

    proptest::proptest! {
        #[test]
        fn no_words_make_it_panic(line in "(-[ALDaedEZSRCh] )?((-t|-u|-f|-r|-p|-M|-b|-w|-x|--set|--sctp-service|-[a-zA-Z6]{1,3}|--[a-z-]{0,9}=?|[0-9.]{0,12}:[0-9]{0,6}|\\[[0-9a-f:]{0,9}\\]:[0-9]{0,3}|[é,=-]{0,4}) ){0,8}") {
            let _ = arguments(&line);
        }
    }
}
