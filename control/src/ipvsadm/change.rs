//! Commands that change something: what they say to the director, and what its answer is in the words of the kernel's errors
//! (`libipvs.c`: `ipvs_strerror`).

use std::net::IpAddr;

use super::arguments::{Arguments, Complaint};
use super::option::{Forward, Kind, Verb};
use super::table::{name, spelled};
use super::{Done, Session, cannot, scheduler};
use crate::admin::protocol::{Answer, Request};
use crate::edit::{Edit, RealChange, ServiceChange};

impl Session<'_> {
    /// Asks the director to do it.
    pub(super) fn change(&mut self, arguments: &Arguments) -> Done {
        let verb = arguments.verb.expect("arguments are read with one");
        refuse_what_there_is_not(verb, arguments)?;
        let service = arguments.service.map(|(protocol, vip, port)| name(protocol, vip, &spelled(port)));
        if verb == Verb::DeleteReal {
            self.same_port(arguments)?;
        }
        let mut stay = None;
        let request = match verb {
            Verb::Clear => {
                let (edits, of_the_file) = self.clear()?;
                stay = of_the_file;
                Request::Edit { edits }
            }
            Verb::Zero => Request::Zero { service },
            verb => Request::Edit { edits: vec![edit(verb, arguments, service)] },
        };
        let answer = (self.ask)(request).map_err(cannot)?;
        match answer.error {
            Some(_) => Err(Complaint::refusal(refusal(verb, arguments, &answer))),
            None => {
                stay.iter().for_each(|stay| self.complain(stay));
                Ok(())
            }
        }
    }

    /// A real server has the port of its service, so one with another is none of them. (When it is added or edited, ipvsadm
    /// puts the right one in its place.)
    fn same_port(&self, arguments: &Arguments) -> Done {
        let (Some((protocol, vip, port)), Some(real)) = (arguments.service, arguments.real) else {
            return Ok(());
        };
        if real.port.is_none_or(|of_real| of_real == port) {
            return Ok(());
        }
        Err(Complaint::refusal(match self.table()?.service(protocol, vip, port) {
            Some(_) => "No such destination",
            None => "Service not defined",
        }))
    }

    /// All services that were added go. Those of the configuration are not a command's to clear: an `ipvsadm-restore` of an
    /// empty file at boot would take away what the configuration has just made.
    /// With what is said of these, if there are any.
    fn clear(&mut self) -> Result<(Vec<Edit>, Option<String>), Complaint> {
        let table = self.table()?;
        let (added, filed): (Vec<_>, Vec<_>) = table.services.iter().partition(|service| service.is_added);
        if filed.is_empty() {
            return Ok((vec![Edit::Clear], None));
        }
        let services = match filed.len() {
            1 => "1 service of the configuration stays: take it".to_owned(),
            more => format!("{more} services of the configuration stay: take them"),
        };
        let edits = added.into_iter().map(|service| Edit::RemoveService { service: service.name() });
        Ok((edits.collect(), Some(format!("{services} out of its file to be rid of it"))))
    }
}

fn refuse_what_there_is_not(verb: Verb, arguments: &Arguments) -> Done {
    let refused = |text: &str| Err(Complaint::refusal(text));
    match verb {
        Verb::StartDaemon => refused(
            "IPVS's sync daemon is not supported: directors tell each other of flows as the configuration says ([sync])",
        ),
        Verb::StopDaemon => refused("No daemon is running"),
        // There is none, as in a kernel without it.
        Verb::Edit | Verb::Delete | Verb::Zero if arguments.mark.is_some() => refused("No such service"),
        Verb::EditReal | Verb::DeleteReal | Verb::AddReal if arguments.mark.is_some() => {
            refused("Service not defined")
        }
        Verb::Add if arguments.mark.is_some() => refused(
            "firewall marks (-f) are not supported: name the VIP, the protocol and the port (-t VIP:PORT)",
        ),
        Verb::Add | Verb::Edit if arguments.has(Kind::Engine) => {
            refused("Scheduler or persistence engine not found")
        }
        Verb::AddReal | Verb::EditReal => match arguments.forward {
            Forward::Direct => Ok(()),
            Forward::Masquerading => refused(
                "masquerading (-m, NAT) is not supported: give the real server the VIP on its loopback interface, and write -g",
            ),
            Forward::Tunnel => refused(
                "tunnelling (-i) is not supported: give the real server the VIP on its loopback interface, and write -g",
            ),
        },
        _ => Ok(()),
    }
}

/// `service` is the name of the one that was given; `arguments` has what the rules of `verb` ask for.
fn edit(verb: Verb, arguments: &Arguments, service: Option<String>) -> Edit {
    let service = service.unwrap_or_default();
    let real = arguments.real.map_or(IpAddr::from([0; 4]), |real| real.address);
    match verb {
        Verb::Add => Edit::AddService { service, change: service_change(arguments) },
        Verb::Edit => Edit::ChangeService { service, change: service_change(arguments) },
        Verb::Delete => Edit::RemoveService { service },
        Verb::AddReal => Edit::AddReal { service, real, change: real_change(arguments) },
        Verb::EditReal => Edit::ChangeReal { service, real, change: real_change(arguments) },
        Verb::DeleteReal => Edit::RemoveReal { service, real },
        Verb::Set => {
            let [tcp, tcp_fin, udp] = arguments.timeouts;
            Edit::Timeouts { tcp, tcp_fin, udp }
        }
        other => unreachable!("{other:?} changes no service"),
    }
}

/// All of it: `-E` makes a service what `-A` would have made it.
fn service_change(arguments: &Arguments) -> ServiceChange {
    ServiceChange {
        scheduler: Some(arguments.scheduler.clone().unwrap_or_else(|| scheduler::DEFAULT.to_owned())),
        persistence: Some(arguments.persistence.unwrap_or(0)),
        prefix: arguments.persistence.map(|_| whole(arguments)),
        one_packet: Some(arguments.has(Kind::OnePacket)),
        flags: Some(arguments.flags.clone()),
    }
}

/// The prefix that was given, or a whole address.
fn whole(arguments: &Arguments) -> u8 {
    let is_ipv6 = arguments.service.is_some_and(|(_, vip, _)| vip.is_ipv6());
    arguments.prefix.unwrap_or(if is_ipv6 { 128 } else { 32 })
}

fn real_change(arguments: &Arguments) -> RealChange {
    RealChange {
        weight: Some(arguments.weight.unwrap_or(1)),
        upper: Some(arguments.upper),
        lower: Some(arguments.lower),
    }
}

/// The error that the kernel would have had, or what the director says where the kernel would have none.
fn refusal(verb: Verb, arguments: &Arguments, answer: &Answer) -> String {
    let of_real = matches!(verb, Verb::AddReal | Verb::EditReal | Verb::DeleteReal);
    match answer.code.as_deref() {
        Some("service-exists") => "Service already exists".to_owned(),
        Some("no-service") if of_real => "Service not defined".to_owned(),
        Some("no-service") => "No such service".to_owned(),
        Some("real-exists") => "Destination already exists".to_owned(),
        Some("no-real") => "No such destination".to_owned(),
        Some("no-scheduler") => "Scheduler or persistence engine not found".to_owned(),
        _ if of_real && arguments.lower > arguments.upper => "Numerical result out of range".to_owned(),
        _ => answer.error.clone().unwrap_or_default(),
    }
}
