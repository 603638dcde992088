//! What `ipvsadm-save -n` prints, read as a configuration: each line becomes what would have been typed in the native
//! format, at the same place of the file, so that what is wrong with a value is said in the same words.
//!
//! *Invariants*
//! - Nothing is left out in silence: what shunt does not do (NAT, tunnels, marks, persistence engines) is an error by name.
//! - No interface is in such a file: they are found by the routes to the real servers.
//!
//! ipvsadm 1.31: `ipvsadm.8`, `ipvsadm-save.8`.

mod option;

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::error::{Fault, Faults, MOST_FAULTS, Severity, quote};
use super::file::{self, Director, File, IntegerOrText, Real, Service, Typed};
use super::resolve::{self, AUTO, Loaded};
use super::shape::Removed;
use super::source::Source;
pub(super) use option::is_command;
use option::{Value, What, is_program, option};

/// What `-p` without a time means, seconds (`IPVS_SVC_PERSISTENT_TIMEOUT`).
const PERSISTENCE: i64 = 360;

/// Reads `source`.
pub(super) fn load(source: Source) -> Result<Loaded, Faults> {
    let mut reading = Reading {
        source: &source,
        faults: Vec::new(),
        errors: 0,
        services: Vec::new(),
        removed: Removed::new(),
    };
    let mut start = 0;
    for line in source.text().split_inclusive('\n') {
        reading.line(start, line);
        start += line.len();
    }
    let Reading { faults, services, removed, .. } = reading;
    let auto = Spanned::new(0..0, vec![Spanned::new(0..0, AUTO.to_owned())]);
    let director = Director { interfaces: Some(auto), ..Director::default() };
    let file = File {
        director: Some(Spanned::new(0..0, director)),
        service: services.into_iter().filter_map(|service| service.typed).collect(),
        ..File::default()
    };
    resolve::resolve(Arc::new(source), file::Reading::of(file, faults, removed))
}

struct Reading<'a> {
    source: &'a Source,
    faults: Vec<Fault>,
    errors: usize,
    services: Vec<Known>,
    /// Services that have a real server with an error: nobody is to say that it is missing.
    removed: Removed,
}

/// A service that was added.
struct Known {
    /// How it was called: the option and its value.
    name: (&'static str, String),
    /// What it is; none after an error.
    typed: Option<Spanned<Service>>,
}

/// An option with its value, which is the option itself where it has none.
type Given = (What, Spanned<String>);

impl Reading<'_> {
    fn line(&mut self, start: usize, line: &str) {
        if line.trim_start().starts_with('#') {
            return;
        }
        let words: Vec<Spanned<String>> =
            words(start, line).skip_while(|word| is_program(word.get_ref())).collect();
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
        let span = first.span().start..last.span().end;
        let Some(given) = self.options(&words) else { return };
        match given.split_first() {
            Some(((What::Add, _), rest)) => self.service(span, rest, false),
            Some(((What::Edit, _), rest)) => self.service(span, rest, true),
            Some(((What::AddReal, _), rest)) => self.real(span, rest, false),
            Some(((What::EditReal, _), rest)) => self.real(span, rest, true),
            _ => {
                let help = "a saved table has lines that begin with -A (a service) and -a (a real server)";
                self.error(first.span(), format!("{} adds nothing", quote(first.get_ref())), help);
            }
        }
    }

    /// The options of a line; none after an error.
    fn options(&mut self, words: &[Spanned<String>]) -> Option<Vec<Given>> {
        let mut given = Vec::new();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let (name, attached) = match word.get_ref().split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    let start = word.span().start + name.len() + 1;
                    (name, Some(Spanned::new(start..word.span().end, value.to_owned())))
                }
                _ => (word.get_ref().as_str(), None),
            };
            let Some((what, value)) = option(name) else {
                let help = "write what `ipvsadm-save -n` prints: -A -t VIP:PORT -s SCHEDULER, -a -t VIP:PORT -r RIP:PORT -g -w 1";
                self.error(word.span(), format!("{} is no option of a saved table", quote(name)), help);
                return None;
            };
            let next = |words: &mut std::iter::Peekable<std::slice::Iter<'_, Spanned<String>>>| {
                words.next_if(|word| !word.get_ref().starts_with('-')).cloned()
            };
            let value = match (value, attached) {
                (Value::None, _) => Some(word.clone()),
                (_, Some(attached)) => Some(attached),
                (Value::Possible, None) => next(&mut words).or_else(|| Some(word.clone())),
                (Value::Needed, None) => next(&mut words),
            };
            let Some(value) = value else {
                self.error(
                    word.span(),
                    format!("{} without its value", quote(name)),
                    "add it, or take the option out",
                );
                return None;
            };
            given.push((what, value));
        }
        Some(given)
    }

    /// `-A`, or `-E` of one that is known.
    fn service(&mut self, span: Range<usize>, given: &[Given], is_edit: bool) {
        let Some((name, at)) = self.name(&span, given) else { return };
        let known = self.services.iter().position(|known| known.name == name);
        if is_edit && known.is_none() {
            let help = "add it first: the line begins with -A";
            return self.error(at.span(), "there is no such service".to_owned(), help);
        }
        let typed = match name.0 {
            "mark" => {
                let message = "a service by firewall mark is not supported".to_owned();
                let help =
                    "name the VIP, the protocol and the ports: -t VIP:PORT, or a range in the native format";
                self.error(at.span(), message, help);
                None
            }
            protocol => self.typed(span, protocol, &at, given),
        };
        match known.filter(|_| is_edit) {
            // Its real servers stay.
            Some(known) => {
                let typed = typed.map(|mut typed| {
                    if let Some(before) = &mut self.services[known].typed {
                        typed.get_mut().real = std::mem::take(&mut before.get_mut().real);
                    }
                    typed
                });
                self.services[known].typed = typed;
            }
            None => self.services.push(Known { name, typed }),
        }
    }

    /// The service of a line, and where it is named.
    fn name(
        &mut self,
        span: &Range<usize>,
        given: &[Given],
    ) -> Option<((&'static str, String), Spanned<String>)> {
        let named = given.iter().find_map(|(what, value)| match what {
            What::Service(protocol) => Some(((*protocol, value.get_ref().clone()), value.clone())),
            What::Mark => Some((("mark", value.get_ref().clone()), value.clone())),
            _ => None,
        });
        if named.is_none() {
            let help = "say which one: -t VIP:PORT, -u VIP:PORT or --sctp-service VIP:PORT";
            self.error(span.clone(), "there is no service in this line".to_owned(), help);
        }
        named
    }

    /// A service as it would have been typed; none after an error.
    fn typed(
        &mut self,
        span: Range<usize>,
        protocol: &str,
        at: &Spanned<String>,
        given: &[Given],
    ) -> Option<Spanned<Service>> {
        let errors = self.errors;
        let (vip, port) = self.endpoint(at)?;
        let port = port.map(|port| {
            let typed = match port.get_ref() {
                0 => IntegerOrText::Text("any".to_owned()),
                port => IntegerOrText::Integer(*port),
            };
            Spanned::new(port.span(), typed)
        });
        let mut service = Service {
            vip: Some(vip),
            port: port.or_else(|| Some(Spanned::new(at.span(), IntegerOrText::Text("any".to_owned())))),
            protocol: Some(Spanned::new(at.span(), protocol.to_owned())),
            scheduler: Some(Spanned::new(span.clone(), "wlc".to_owned())),
            ..Service::default()
        };
        let mut flags = None;
        for (what, value) in given {
            match what {
                What::Scheduler => service.scheduler = Some(value.clone()),
                What::Persistent => {
                    // Without a time it is the option that stands there.
                    let seconds = match value.get_ref().starts_with('-') {
                        true => Some(PERSISTENCE),
                        false => self.number(value).map(|number| *number.get_ref()),
                    };
                    service.persistence =
                        seconds.map(|seconds| Spanned::new(value.span(), format!("{seconds}s")));
                }
                What::Netmask => {
                    let mask = match value.get_ref().parse() {
                        Ok(prefix) => IntegerOrText::Integer(prefix),
                        Err(_) => IntegerOrText::Text(value.get_ref().clone()),
                    };
                    service.persistence_prefix = Some(Spanned::new(value.span(), mask));
                }
                What::OnePacket => service.one_packet = Some(Spanned::new(value.span(), true)),
                What::Flags => flags = Some(value),
                What::Service(_) | What::Six => {}
                What::Engine => {
                    let message =
                        format!("the persistence engine {} is not supported", quote(value.get_ref()));
                    self.error(
                        value.span(),
                        message,
                        "take --pe out: clients are told apart by their addresses",
                    );
                }
                _ => self.misplaced(value),
            }
        }
        service.scheduler_flags = flags.map(|flags| scheduler_flags(flags, service.scheduler.as_ref()));
        (self.errors == errors).then(|| Spanned::new(span, service))
    }

    /// `-a`, or `-e` of one that is known.
    fn real(&mut self, span: Range<usize>, given: &[Given], is_edit: bool) {
        let Some((name, at)) = self.name(&span, given) else { return };
        let Some(known) = self.services.iter().position(|known| known.name == name) else {
            let help = "add it first: -A with the same address and port, on a line above";
            return self.error(at.span(), "there is no such service".to_owned(), help);
        };
        // What is wrong with the service is said; its real servers are not its fault.
        let Some(service) = self.services[known].typed.take() else { return };
        let real = self.typed_real(span, service.get_ref(), given);
        let mut service = service;
        if real.is_none() {
            self.removed.insert((service.span().start, "service.real"));
        }
        let reals = &mut service.get_mut().real;
        if let Some(real) = real {
            let address =
                |real: &Spanned<Real>| real.get_ref().address.as_ref().map(|text| text.get_ref().clone());
            match reals.iter().position(|other| is_edit && address(other) == address(&real)) {
                Some(other) => reals[other] = real,
                None => reals.push(real),
            }
        }
        self.services[known].typed = Some(service);
    }

    fn typed_real(
        &mut self,
        span: Range<usize>,
        service: &Service,
        given: &[Given],
    ) -> Option<Spanned<Real>> {
        let errors = self.errors;
        let mut real = Real::default();
        for (what, value) in given {
            match what {
                What::Real => {
                    let (address, port) = self.endpoint(value)?;
                    real.address = Some(address);
                    self.same_port(port, service);
                }
                What::Weight => real.weight = self.number(value),
                What::Upper => real.upper = self.number(value),
                What::Lower => real.lower = self.number(value),
                What::Nat => self.other_way(value, "masquerading (NAT)"),
                What::Tunnel => self.other_way(value, "tunnelling (IPIP)"),
                // The tunnel itself is told of.
                What::Service(_) | What::Mark | What::Six | What::Direct | What::OfTunnel => {}
                _ => self.misplaced(value),
            }
        }
        if real.address.is_none() && self.errors == errors {
            let help = "say which one: -r RIP:PORT";
            self.error(span.clone(), "there is no real server in this line".to_owned(), help);
        }
        (self.errors == errors).then(|| Spanned::new(span, real))
    }

    fn other_way(&mut self, at: &Spanned<String>, name: &str) {
        let message = format!("{name} is not supported: real servers answer clients directly");
        let help = "give the real server the VIP on its loopback interface, and write -g";
        self.error(at.span(), message, help);
    }

    /// Nothing above Ethernet is rewritten; ipvsadm puts the service's port in the place of another in silence.
    fn same_port(&mut self, port: Option<Spanned<i64>>, service: &Service) {
        let Some(port) = port else { return };
        let of_service = match service.port.as_ref().map(Spanned::get_ref) {
            Some(IntegerOrText::Integer(port)) => *port,
            _ => 0,
        };
        if *port.get_ref() != of_service && *port.get_ref() != 0 {
            let message =
                format!("port {} is not used: a real server has the port of its service", port.get_ref());
            self.push(Severity::Warning, port.span(), message, "write the port of the service");
        }
    }

    /// `192.0.2.10:80`, `[2001:db8::10]:80`, or an address alone; the address is looked at later.
    fn endpoint(&mut self, typed: &Spanned<String>) -> Option<(Spanned<String>, Option<Spanned<i64>>)> {
        let (text, start) = (typed.get_ref().as_str(), typed.span().start);
        let (address, skipped, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, 1, rest.strip_prefix(':')),
            None => match text.rsplit_once(':') {
                Some((address, port)) if !address.contains(':') => (address, 0, Some(port)),
                _ => (text, 0, None),
            },
        };
        let begin = start + skipped;
        let address = Spanned::new(begin..begin + address.len(), address.to_owned());
        let Some(port) = port else { return Some((address, None)) };
        let at = typed.span().end - port.len()..typed.span().end;
        let port = self.number(&Spanned::new(at, port.to_owned()))?;
        Some((address, Some(port)))
    }

    fn number(&mut self, typed: &Spanned<String>) -> Typed<i64> {
        match typed.get_ref().parse::<u32>() {
            Ok(number) => Some(Spanned::new(typed.span(), i64::from(number))),
            Err(_) => {
                let help = "write the number: `ipvsadm-save -n` does";
                self.error(typed.span(), format!("{} is not a number", quote(typed.get_ref())), help);
                None
            }
        }
    }

    fn misplaced(&mut self, value: &Spanned<String>) {
        let message = format!("{} does not belong in this line", quote(value.get_ref()));
        self.error(value.span(), message, "options of a service go with -A, those of a real server with -a");
    }

    fn error(&mut self, at: Range<usize>, message: String, help: &str) {
        self.push(Severity::Error, at, message, help);
    }

    fn push(&mut self, severity: Severity, at: Range<usize>, message: String, help: &str) {
        self.errors += usize::from(severity == Severity::Error);
        if self.faults.len() <= MOST_FAULTS {
            let fault = self.source.fault(severity, at, "ipvsadm", message);
            self.faults.push(Fault { help: Some(help.to_owned()), ..fault });
        }
    }
}

/// The words of a line that begins at byte `start`.
fn words(start: usize, line: &str) -> impl Iterator<Item = Spanned<String>> {
    line.split_whitespace().map(move |word| {
        let at = start + (word.as_ptr().addr() - line.as_ptr().addr());
        Spanned::new(at..at + word.len(), word.to_owned())
    })
}

/// Flags by name, or by the numbers that the kernel knows them by (`IP_VS_SVC_F_SCHED1` and so on).
fn scheduler_flags(
    typed: &Spanned<String>,
    scheduler: Option<&Spanned<String>>,
) -> Spanned<Vec<Spanned<String>>> {
    let scheduler = scheduler.map_or("", |name| name.get_ref().as_str());
    let name = |flag: &str| match flag {
        "flag-1" => format!("{scheduler}-fallback"),
        "flag-2" => format!("{scheduler}-port"),
        other => other.to_owned(),
    };
    let flags = typed.get_ref().split(',').map(|flag| Spanned::new(typed.span(), name(flag)));
    Spanned::new(typed.span(), flags.collect())
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::model::{HashFlags, Persistence, Ports, Protocol, Scheduler, VipCheck};

    fn faults(text: &str) -> String {
        match parse("a", text) {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn a_saved_table_is_a_model_whose_interfaces_are_found() {
        let text = "# saved\n-A -t 192.0.2.10:80 -s wrr -p 50 -M 255.255.255.0\n\n\
                    -a -t 192.0.2.10:80 -r 192.0.2.21:80 -g -w 3 -x 10 -y 5\n\
                    ipvsadm --add-service --sctp-service=[2001:db8::10]:0 -p -s mh -b flag-1,mh-port\n\
                    -A -u 192.0.2.10:53 -o\n";
        let model = parse("a", text).unwrap().model;
        assert!(model.director.auto_interfaces && model.director.interfaces.is_empty());
        let [web, sctp, dns] = &model.services[..] else { panic!("{model:?}") };
        assert_eq!(web.key.to_string(), "192.0.2.10:80/tcp");
        assert_eq!(web.scheduler, Scheduler::Wrr);
        let seconds = |seconds| std::time::Duration::from_secs(seconds);
        assert_eq!(web.persistence, Some(Persistence { timeout: seconds(50), prefix: 24 }));
        assert_eq!(
            (web.reals[0].weight, web.reals[0].thresholds.upper, web.reals[0].thresholds.lower),
            (3, 10, 5)
        );
        assert_eq!(web.vip_check, VipCheck::Off);
        assert_eq!((sctp.key.protocol, sctp.key.ports), (Protocol::Sctp, Ports::ANY));
        assert_eq!(sctp.scheduler, Scheduler::Mh(HashFlags { port: true, fallback: true }));
        assert_eq!(sctp.persistence, Some(Persistence { timeout: seconds(360), prefix: 128 }));
        assert!(dns.one_packet && dns.scheduler == Scheduler::Wlc);
    }

    #[test]
    fn an_edit_replaces_what_was_added_and_keeps_its_real_servers() {
        let text = "-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 192.0.2.21:80 -w 1\n\
                    -E -t 192.0.2.10:80 -s lc\n-e -t 192.0.2.10:80 -r 192.0.2.21:80 -w 7\n";
        let model = parse("a", text).unwrap().model;
        assert_eq!(model.services.len(), 1);
        assert_eq!(model.services[0].scheduler, Scheduler::Lc);
        assert_eq!(model.services[0].reals.iter().map(|real| real.weight).collect::<Vec<_>>(), [7]);
        assert!(faults("-A -t 192.0.2.10:80\n-E -t 192.0.2.11:80 -s lc").contains("no such service"));
    }

    #[test]
    fn the_words_of_a_value_are_where_they_stand() {
        let said = faults("-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 192.0.2.300:80 -g -w 70000\n");
        assert!(said.contains("a:2:24: error: service.real.address: "), "{said}");
        let other_port = "-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 192.0.2.21:81\n";
        assert_eq!(parse("a", other_port).unwrap().model.services[0].reals.len(), 1);
        assert!(faults(other_port).contains("a:2:35: warning: ipvsadm: port 81 is not used"));
        assert!(said.contains("a:2:45: error: service.real.weight: 70000 is out of range"), "{said}");
    }

    proptest::proptest! {
        #[test]
        fn no_lines_make_it_panic(text in "((-A|-a|-E|-e|-t|-r|-p|-b|-M|-w|--pe|-s|-f|-o|[a-z0-9.:\\[\\],=-]{0,8})[ \n]){0,30}") {
            let _ = parse("a", &format!("-A -t 192.0.2.10:80\n{text}"));
        }
    }
}
