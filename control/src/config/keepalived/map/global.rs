//! `global_defs`: what counts for all services, the programs that are run, and who is told.

use std::path::PathBuf;
use std::time::Duration;

use super::super::report::Report;
use super::command;
use super::section::{Line, Section};
use super::value::{self, LONGEST};
use crate::config::defaults;
use crate::model::{Mail, MailServer, Notify, Pipe, Scripts, Timeouts};

/// keepalived: SMTP_PORT and `smtp_connect_timeout`, global_data.c.
const SMTP_PORT: u16 = 25;
const SMTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Pipes that are told of everything, of services, and of virtual routers; and the programs that read them.
const PIPES: [(&str, &str); 3] = [
    ("notify_fifo", "notify_fifo_script"),
    ("lvs_notify_fifo", "lvs_notify_fifo_script"),
    ("vrrp_notify_fifo", "vrrp_notify_fifo_script"),
];

/// What `global_defs` says.
pub(super) struct Globals {
    pub timeouts: Timeouts,
    pub scripts: Scripts,
    pub notify: Notify,
    /// Mail about virtual services, unless one says otherwise.
    pub service_alert: bool,
    /// Mail about real servers, unless one says otherwise.
    pub real_alert: bool,
    /// Mail about instances and their groups, unless one says otherwise.
    pub vrrp_alert: bool,
    /// Pipes that are told of nothing else than instances and their groups.
    pub vrrp_pipes: Vec<Pipe>,
    pub log_all_failures: bool,
    /// `default_interface`, and where it stands.
    pub interface: Option<String>,
}

impl Globals {
    /// Whether there is a server for mail, and somebody who gets it.
    pub(super) fn mails(&self) -> bool {
        self.notify.mail.is_some()
    }
}

/// Reads all `global_defs` as one.
pub(super) fn read(report: &mut Report, root: &Section<'_>) -> Globals {
    let defs = Defs { root };
    let script = defs.last("script_user").and_then(|line| command::user(report, line));
    let mut switch = |name| defs.last(name).and_then(|line| value::switch(report, line));
    let alert_of_all = switch("smtp_alert");
    let alert = switch("smtp_alert_checker").or(alert_of_all);
    let vrrp_alert = switch("smtp_alert_vrrp").or(alert_of_all).unwrap_or(false);
    let log_all_failures = switch("checker_log_all_failures").unwrap_or(false);
    let interface = defs.last("default_interface").and_then(|line| {
        let name = value::interface(report, line.word(0)?, line.path())?;
        report.locate(crate::config::Place::Interface(name.clone()), &line.word(0)?.at);
        Some(name)
    });
    let mut known = Vec::new();
    let [pipes, service_pipes, vrrp_pipes] = PIPES.map(|names| pipe(report, &defs, names, &mut known));
    Globals {
        timeouts: timeouts(report, &defs),
        scripts: Scripts { security: defs.has("enable_script_security"), user: script },
        notify: Notify {
            pipes,
            service_pipes,
            mail: mail(report, &defs),
            at_start: defs.has("rs_init_notifies"),
        },
        // keepalived: validate_check_config(): silence about services, mail about real servers.
        service_alert: alert.unwrap_or(false),
        real_alert: alert.unwrap_or(true),
        vrrp_alert,
        vrrp_pipes,
        log_all_failures,
        interface,
    }
}

/// The lines of all `global_defs` of the file and what it includes.
#[derive(Clone, Copy)]
pub(super) struct Defs<'a, 'b> {
    pub root: &'b Section<'a>,
}

impl<'a, 'b> Defs<'a, 'b> {
    /// The line that counts.
    pub(super) fn last(&self, name: &str) -> Option<&'b Line<'a>> {
        self.root.all("global_defs").filter_map(|defs| defs.section.last(name)).last()
    }

    /// Whether there is one.
    pub(super) fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }
}

/// `lvs_timeouts tcp N tcpfin N udp N`, in any order; 0 leaves one as it is.
fn timeouts(report: &mut Report, defs: &Defs<'_, '_>) -> Timeouts {
    let mut timeouts = defaults::TIMEOUTS;
    let Some(line) = defs.last("lvs_timeouts") else { return timeouts };
    for pair in line.words().chunks(2) {
        let known = [("tcp", 0), ("tcpfin", 1), ("udp", 2)];
        let Some(which) = value::word(report, &pair[0], line.path(), "timeout", &known) else { continue };
        let Some(word) = pair.get(1) else {
            let message = format!("there is no time after {}", value::named(&pair[0].text));
            report.error(
                &pair[0].at,
                line.path(),
                message,
                "give seconds: lvs_timeouts tcp 900 tcpfin 120 udp 300",
            );
            continue;
        };
        let seconds = value::number(report, word, line.path(), 0..=LONGEST.as_secs());
        if let Some(seconds @ 1..) = seconds {
            let one =
                [&mut timeouts.established, &mut timeouts.fin, &mut timeouts.udp].into_iter().nth(which);
            *one.unwrap_or_else(|| unreachable!("`known` counts three timeouts")) =
                Duration::from_secs(seconds);
        }
    }
    timeouts
}

/// The pipe of a keyword, if there is one, and of that of its reader. `known`: paths that have a pipe.
fn pipe(
    report: &mut Report,
    defs: &Defs<'_, '_>,
    (name, script): (&str, &str),
    known: &mut Vec<PathBuf>,
) -> Vec<Pipe> {
    let reader = defs.last(script).and_then(|line| Some((command::command(report, line)?, line)));
    let Some((path, line)) = defs.last(name).and_then(|line| Some((line.word(0)?, line))) else {
        if let Some((_, line)) = reader {
            let message = format!("there is no {name}, so this is not run");
            report.warning(line.at(), line.path(), message, format!("add one: {name} /run/shunt.fifo"));
        }
        return Vec::new();
    };
    if let Some(user) = line.word(1) {
        let message = format!("the pipe belongs to root, and not to {}", value::named(&user.text));
        let help = "take the user out, or let its reader run as root";
        report.warning(&user.at, line.path(), message, help);
    }
    if !path.text.starts_with('/') {
        let message = format!("{} is no absolute path", value::named(&path.text));
        report.error(&path.at, line.path(), message, "begin it with a /");
    }
    let path = PathBuf::from(&path.text);
    if known.contains(&path) {
        let message = format!("{} is another keyword's pipe: it gets each line once", path.display());
        report.warning(line.at(), line.path(), message, "give it a path of its own, or take it out");
        return Vec::new();
    }
    known.push(path.clone());
    vec![Pipe { path, reader: reader.map(|(reader, _)| reader) }]
}

fn mail(report: &mut Report, defs: &Defs<'_, '_>) -> Option<Mail> {
    const ABOUT_MAIL: &[&str] = &[
        "smtp_server",
        "smtp_helo_name",
        "smtp_connect_timeout",
        "notification_email_from",
        "no_email_faults",
    ];
    let text = |report: &mut Report, name: &str| {
        let line = defs.last(name)?;
        value::token(report, line.word(0)?, line.path())
    };
    let server = defs.last("smtp_server").and_then(|line| server(report, line));
    let timeout = defs.last("smtp_connect_timeout").and_then(|line| {
        value::duration(report, line.word(0)?, line.path(), Duration::from_millis(1)..=LONGEST)
    });
    let (helo, from) = (text(report, "smtp_helo_name"), text(report, "notification_email_from"));
    let router_id = text(report, "router_id");
    let to = recipients(report, defs);
    if to.is_empty() || !defs.has("smtp_server") {
        // An empty block has its warning already.
        let first = ABOUT_MAIL.iter().filter_map(|name| defs.last(name)).min_by_key(|line| line.at().line());
        let asked = alerts(defs.root).find(|line| line.word(0).is_none_or(|word| word.text != "off"));
        if let Some(line) = asked.filter(|_| first.is_none() && !defs.has("notification_email")) {
            let message = "no mail is sent: there is no smtp_server and no notification_email";
            let help = "name both in global_defs, or take smtp_alert out";
            report.warning(line.at(), line.path(), message, help);
        } else if let Some(line) = first.filter(|_| !defs.has("notification_email")) {
            let message = "no mail is sent: there is no notification_email";
            report.warning(
                line.at(),
                line.path(),
                message,
                "name who is told: notification_email { admin@example.com }",
            );
        } else if let Some(line) = defs.last("notification_email").filter(|_| !to.is_empty()) {
            let message = "no mail is sent: there is no smtp_server";
            report.warning(
                line.at(),
                line.path(),
                message,
                "name the server that takes it: smtp_server 127.0.0.1",
            );
        }
        return None;
    }
    let server = server?;
    Some(Mail {
        server: server.0,
        port: server.1,
        helo,
        timeout: timeout.unwrap_or(SMTP_TIMEOUT),
        from,
        to,
        router_id,
        no_faults: defs.has("no_email_faults"),
    })
}

/// Where mail is asked for, or not wanted.
fn alerts<'a, 'b>(root: &'b Section<'a>) -> impl Iterator<Item = &'b Line<'a>> {
    let globals = root.all("global_defs");
    let services = || root.all("virtual_server");
    let reals = services().flat_map(|line| line.section.all("real_server"));
    let routers = root.all("vrrp_instance").chain(root.all("vrrp_sync_group"));
    let of_services = services().chain(reals).chain(routers).flat_map(|line| line.section.all("smtp_alert"));
    globals
        .flat_map(|line| {
            let of = |name| line.section.all(name);
            of("smtp_alert").chain(of("smtp_alert_checker")).chain(of("smtp_alert_vrrp"))
        })
        .chain(of_services)
}

/// `smtp_server ADDRESS|NAME [PORT]`. A name is looked up when mail is sent, not before.
fn server(report: &mut Report, line: &Line<'_>) -> Option<(MailServer, u16)> {
    let name = value::token(report, line.word(0)?, line.path());
    let port = match line.word(1) {
        Some(port) => value::number(report, port, line.path(), 1..=u16::MAX),
        None => Some(SMTP_PORT),
    };
    let name = name?;
    let server = match name.parse() {
        Ok(address) => MailServer::Address(address),
        Err(_) => MailServer::Name(name),
    };
    Some((server, port?))
}

fn recipients(report: &mut Report, defs: &Defs<'_, '_>) -> Vec<String> {
    let mut to = Vec::new();
    for line in defs.root.all("global_defs").flat_map(|defs| defs.section.all("notification_email")) {
        if line.entries().is_empty() {
            let message = "the block is empty: no mail is sent";
            report.warning(
                line.at(),
                line.path(),
                message,
                "name who is told, one a line, or take the block out",
            );
        }
        for entry in line.entries() {
            if let Some(extra) = entry.arguments.first() {
                let message = format!("{} is too much: one address a line", value::named(&extra.text));
                report.error(&extra.at, line.path(), message, "give each address its own line");
            }
            to.extend(value::token(report, &entry.keyword, line.path()));
        }
    }
    to
}
