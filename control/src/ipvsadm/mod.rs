//! `shunt ipvsadm`, and shunt under the names `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore`: what scripts, habits and
//! monitoring already say to a director works on this one. Its commands become edits of what runs, its listings are the
//! director's facts in IPVS's words.
//!
//! *Invariants*
//! - Commands, listings, complaints and exit codes are ipvsadm's, to the byte; what shunt does not do (NAT, tunnels, firewall
//!   marks, persistence engines, IPVS's sync daemon) is refused by name, as a kernel refuses what it has not.
//! - Nothing waits for a resolver longer than it says (`names`).
//!
//! ipvsadm 1.31: `ipvsadm.8`; option parsing: `popt(3)`.

mod arguments;
mod change;
mod connections;
mod endpoint;
pub mod ledger;
mod listing;
mod names;
mod option;
mod popt;
mod scheduler;
mod table;

use std::io::{BufRead, Read, Write};
use std::path::Path;

use crate::admin::client;
use crate::admin::protocol::{Answer, Request, What};
use arguments::{Arguments, Complaint};
use listing::{Columns, Form};
use names::Names;
use option::{Kind, Verb};
use table::Table;

/// Flows that are listed at most.
const MOST_FLOWS: usize = 100_000;
/// Longest line that `-R` reads, bytes.
const MOST_LINE: u64 = 64 * 1024;

/// As what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// `ipvsadm`.
    Ipvsadm,
    /// `ipvsadm-save`: `ipvsadm -S`.
    Save,
    /// `ipvsadm-restore`: `ipvsadm -C`, and then `ipvsadm -R`.
    Restore,
}

impl Personality {
    /// The one of a program that is called `path`.
    pub fn of(path: &str) -> Option<Personality> {
        match path.rsplit('/').next() {
            Some("ipvsadm") => Some(Personality::Ipvsadm),
            Some("ipvsadm-save") => Some(Personality::Save),
            Some("ipvsadm-restore") => Some(Personality::Restore),
            _ => None,
        }
    }
}

/// Runs it: `program` is how it was called, `words` what follows. The exit code.
pub fn run(personality: Personality, program: &str, words: Vec<String>, socket: &Path) -> u8 {
    let ask = |request| client::ask(socket, request);
    let (mut out, mut errors) = (std::io::stdout(), std::io::stderr());
    let mut session = Session::new(program, &ask, &mut out, &mut errors);
    match personality {
        Personality::Ipvsadm => session.command(&words, &mut std::io::stdin().lock()).code,
        Personality::Save => {
            session.command(&[vec!["-S".to_owned()], words].concat(), &mut std::io::empty()).code
        }
        Personality::Restore => {
            match session.command(&["-C".to_owned()], &mut std::io::empty()) {
                Ended { code: 0, .. } => {}
                ended => return ended.code,
            }
            session.command(&[vec!["-R".to_owned()], words].concat(), &mut std::io::stdin().lock()).code
        }
    }
}

/// Commands of one program run.
struct Session<'a> {
    program: &'a str,
    ask: &'a dyn Fn(Request) -> Result<Answer, String>,
    names: Names,
    out: &'a mut dyn Write,
    errors: &'a mut dyn Write,
    is_restoring: bool,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: u8,
    /// Lines of `-R` that follow are not read.
    is_final: bool,
}

impl Ended {
    const WELL: Ended = Ended { code: 0, is_final: false };
}

type Done = Result<(), Complaint>;

impl<'a> Session<'a> {
    fn new(
        program: &'a str,
        ask: &'a dyn Fn(Request) -> Result<Answer, String>,
        out: &'a mut dyn Write,
        errors: &'a mut dyn Write,
    ) -> Session<'a> {
        Session { program, ask, names: Names::of_machine(), out, errors, is_restoring: false }
    }

    /// Does what the words say; `-R` reads `input`.
    fn command(&mut self, words: &[String], input: &mut dyn BufRead) -> Ended {
        let listing = ["-L".to_owned()];
        let words = if words.is_empty() { &listing } else { words };
        let done = arguments::read(self.program, words, &self.names).and_then(|arguments| {
            match arguments.verb {
                Some(Verb::Restore) => return self.restore(input),
                Some(Verb::Help) => self.print(&usage(self.program)),
                Some(Verb::Version) => {
                    self.print(usage(self.program).split_inclusive('\n').next().unwrap_or(""))
                }
                Some(Verb::List) => self.list(&arguments)?,
                Some(Verb::Save) => self.save(&arguments)?,
                _ => self.change(&arguments)?,
            }
            let is_final = matches!(arguments.verb, Some(Verb::Help | Verb::Version));
            Ok(Ended { is_final, ..Ended::WELL })
        });
        done.unwrap_or_else(|complaint| {
            self.complain(&complaint.text);
            Ended { code: complaint.code, is_final: complaint.is_final }
        })
    }

    /// Each line of `input` is a command; the last one says how it ended, as in ipvsadm.
    fn restore(&mut self, input: &mut dyn BufRead) -> Result<Ended, Complaint> {
        if self.is_restoring {
            return Err(Complaint::try_help(self.program));
        }
        self.is_restoring = true;
        let mut ended = Ended::WELL;
        loop {
            let mut line = Vec::new();
            let read = (&mut *input).take(MOST_LINE).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                return Ok(ended);
            }
            let line = String::from_utf8_lossy(&line);
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if words.first().is_some_and(|word| Personality::of(word) == Some(Personality::Ipvsadm)) {
                words.remove(0);
            }
            if words.first().is_none_or(|word| word.starts_with('#')) {
                continue;
            }
            ended = self.command(&words, &mut std::io::empty());
            if ended.is_final {
                return Ok(ended);
            }
        }
    }

    fn list(&mut self, arguments: &Arguments) -> Done {
        let columns = Columns::of(|kind| arguments.has(kind));
        if arguments.has(Kind::Connection) {
            return self.list_connections(arguments);
        }
        // IPVS's own: directors tell each other of flows in another way here, and none of these runs.
        if arguments.has(Kind::Daemon) {
            return Ok(());
        }
        let table = self.table()?;
        if arguments.has(Kind::Timeout) {
            let [tcp, tcp_fin, udp] = table.timeouts;
            self.print(&format!("Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}\n"));
            return Ok(());
        }
        let is_one = arguments.has(Kind::Service);
        let found = arguments.service.and_then(|(protocol, vip, port)| table.service(protocol, vip, port));
        if is_one && found.is_none() {
            let text = "No such service".to_owned();
            return Err(Complaint { text, code: 1, is_final: true });
        }
        let shown = found.map_or(&table.services[..], std::slice::from_ref);
        if !arguments.has(Kind::Numeric) {
            let reals =
                |service: &table::Service| service.reals.iter().map(|real| real.address).collect::<Vec<_>>();
            self.names.look_up(shown.iter().flat_map(|service| [vec![service.vip], reals(service)].concat()));
        }
        let text = {
            let form = self.form(arguments, columns);
            match found {
                _ if arguments.is_proc => listing::proc(&table),
                Some(service) => listing::one(service, &form),
                None => listing::all(&table, &form),
            }
        };
        self.print(&text);
        Ok(())
    }

    fn form(&self, arguments: &Arguments, columns: Columns) -> Form<'_> {
        Form {
            columns,
            is_exact: arguments.has(Kind::Exact),
            is_sorted: !arguments.has(Kind::NoSort),
            names: (!arguments.has(Kind::Numeric)).then_some(&self.names),
        }
    }

    fn list_connections(&mut self, arguments: &Arguments) -> Done {
        let flows = self.show(What::Flows)?;
        let connections = connections::of(&flows).map_err(cannot)?;
        let is_numeric = arguments.has(Kind::Numeric);
        if !is_numeric {
            self.names.look_up(connections.iter().flat_map(connections::Connection::addresses));
        }
        let names = (!is_numeric).then_some(&self.names);
        let text = connections::listing(&connections, names, arguments.has(Kind::PersistentConn));
        self.print(&text);
        if flows["truncated"] == true {
            let all = &flows["total"];
            self.complain(&format!("only {} of {all} connections are listed", connections.len()));
        }
        Ok(())
    }

    fn save(&mut self, arguments: &Arguments) -> Done {
        let table = self.table()?;
        if !arguments.has(Kind::Numeric) {
            let reals =
                |service: &table::Service| service.reals.iter().map(|real| real.address).collect::<Vec<_>>();
            self.names.look_up(
                table.services.iter().flat_map(|service| [vec![service.vip], reals(service)].concat()),
            );
        }
        let text = listing::rules(&table, &self.form(arguments, Columns::Plain));
        self.print(&text);
        for service in
            table.services.iter().filter(|service| matches!(service.ports, table::Ports::Range(..)))
        {
            self.complain(&format!(
                "{} is not saved: ipvsadm has no word for a range of ports (`shunt show config` writes it down)",
                service.name()
            ));
        }
        Ok(())
    }

    fn table(&self) -> Result<Table, Complaint> {
        Table::of(&self.show(What::Services)?, &self.show(What::Reals)?).map_err(cannot)
    }

    fn show(&self, what: What) -> Result<serde_json::Value, Complaint> {
        let answer = (self.ask)(Request::Show { what, limit: MOST_FLOWS }).map_err(cannot)?;
        match answer.error {
            Some(why) => Err(cannot(why)),
            None => Ok(answer.data),
        }
    }

    /// Prints; that the reader has seen enough (`| head`) is no error.
    fn print(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
    }

    fn complain(&mut self, text: &str) {
        let _ = writeln!(self.errors, "{text}");
    }
}

/// The director does not answer, or not as it should: to ipvsadm, there is no IPVS.
fn cannot(why: String) -> Complaint {
    Complaint { text: format!("Can't initialize ipvs: {why}"), code: 2, is_final: true }
}

/// What `-h` prints.
fn usage(program: &str) -> String {
    include_str!("usage.txt").replace("\n  ipvsadm ", &format!("\n  {program} "))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::IpAddr;

    use serde_json::json;

    use super::*;
    use crate::edit::{Edit, RealChange, ServiceChange};

    /// What `-R` makes of `input` with a director that knows no service at port 91: how it ended, what it said, what was asked.
    fn restore(input: &str) -> (Ended, String, Vec<Edit>) {
        let asked = RefCell::new(Vec::new());
        let ask = |request: Request| match request {
            Request::Edit { edits } => {
                let is_known = !format!("{edits:?}").contains(":91/");
                asked.borrow_mut().extend(edits);
                Ok(match is_known {
                    true => Answer::text(String::new()),
                    false => Answer::refused(Some("no-service"), "there is none".to_owned()),
                })
            }
            Request::Show { .. } => Ok(Answer::data(json!({ "services": [], "reals": [] }))),
            other => panic!("{other:?} was asked"),
        };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let ended = Session::new("ipvsadm", &ask, &mut out, &mut errors)
            .command(&["-R".to_owned()], &mut input.as_bytes());
        assert!(out.is_empty());
        (ended, String::from_utf8(errors).unwrap(), asked.into_inner())
    }

    #[test]
    fn commands_become_edits_of_all_that_ipvsadm_would_set() {
        let (ended, said, edits) = restore(
            "# saved\n\nipvsadm -A -u [2001:db8::10]:0 -p 50 -s sh -b sh-port\n/sbin/ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.21:81\n\
             -D --sctp-service=192.0.2.10:9\n--set 5 0 7\n-C\n",
        );
        assert_eq!((ended, said.as_str()), (Ended::WELL, ""));
        let service = ServiceChange {
            scheduler: Some("sh".to_owned()),
            persistence: Some(50),
            prefix: Some(128),
            one_packet: Some(false),
            flags: Some(vec!["sh-port".to_owned()]),
        };
        let real = RealChange { weight: Some(1), upper: Some(0), lower: Some(0) };
        let [real_server, vip] =
            ["192.0.2.21", "192.0.2.10"].map(|address| address.parse::<IpAddr>().unwrap());
        assert_eq!(
            edits,
            [
                Edit::AddService { service: "[2001:db8::10]:any/udp".to_owned(), change: service },
                Edit::AddReal { service: format!("{vip}:80/tcp"), real: real_server, change: real },
                Edit::RemoveService { service: format!("{vip}:9/sctp") },
                Edit::Timeouts { tcp: 5, tcp_fin: 0, udp: 7 },
                Edit::Clear,
            ]
        );
    }

    #[test]
    fn a_restore_goes_on_after_what_is_refused_and_ends_at_what_is_mistyped() {
        let (ended, said, edits) = restore("-D -t 192.0.2.10:91\n-D -t 192.0.2.10:80\n");
        assert_eq!((ended, said.as_str(), edits.len()), (Ended::WELL, "No such service\n", 2));
        let (ended, said, edits) = restore("-D -t 192.0.2.10:80 -n\n-D -t 192.0.2.10:80\n");
        assert_eq!(ended, Ended { code: 2, is_final: true });
        assert_eq!(said, "Illegal 'numeric' option with the 'delete-service' command\n");
        assert!(edits.is_empty());
        // What is in it does not read it again.
        assert_eq!(restore("-R\n-D -t 192.0.2.10:80\n").0, Ended { code: 255, is_final: true });
    }

    #[test]
    fn a_program_is_known_by_its_name_wherever_it_lies() {
        assert_eq!(Personality::of("/sbin/ipvsadm"), Some(Personality::Ipvsadm));
        assert_eq!(Personality::of("ipvsadm-restore"), Some(Personality::Restore));
        assert_eq!(Personality::of("/usr/bin/shunt"), None);
    }
}
