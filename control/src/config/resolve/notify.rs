//! `[scripts]` and `[notify]`: whose rights programs have, and who is told of changes.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::timeouts::LONGEST;
use super::{command, value};
use crate::config::defaults;
use crate::config::file::{self, Typed};
use crate::model::{Mail, MailServer, Notify, Pipe, Scripts};

const SHORTEST: Duration = Duration::from_millis(1);

/// The rules for programs; `None` after an error.
pub(super) fn scripts(report: &mut Report, typed: Option<&Spanned<file::Scripts>>) -> Option<Scripts> {
    let Some(table) = typed else { return Some(Scripts::default()) };
    let typed = table.get_ref();
    let user = command::user(report, typed.user.as_ref(), typed.group.as_ref(), "scripts");
    Some(Scripts { security: value::boolean(typed.security.as_ref()), user: user? })
}

/// Who is told; `None` after an error.
pub(super) fn resolve(report: &mut Report, typed: Option<&Spanned<file::Notify>>) -> Option<Notify> {
    let Some(table) = typed else { return Some(Notify::default()) };
    let typed = table.get_ref();
    let of_all = pipes(report, &typed.pipe, ["notify.pipe.path", "notify.pipe.reader"], &[]);
    let keys = ["notify.service_pipe.path", "notify.service_pipe.reader"];
    let of_services = pipes(report, &typed.service_pipe, keys, of_all.as_deref().unwrap_or_default());
    let mail = match &typed.mail {
        Some(table) => mail(report, table).map(Some),
        None => Some(None),
    };
    Some(Notify {
        pipes: of_all?,
        service_pipes: of_services?,
        mail: mail?,
        at_start: value::boolean(typed.at_start.as_ref()),
    })
}

/// Pipes, each with a path of its own; `None` after an error. `keys`: of path and reader. `others`: who has a path already.
pub(super) fn pipes(
    report: &mut Report,
    typed: &[Spanned<file::Pipe>],
    [path, reader]: [&'static str; 2],
    others: &[Pipe],
) -> Option<Vec<Pipe>> {
    let mut first: HashMap<PathBuf, Range<usize>> = HashMap::new();
    let mut pipe = |table: &Spanned<file::Pipe>| -> Option<Pipe> {
        let typed = table.get_ref();
        let reader = command::resolve(report, typed.reader.as_ref(), reader);
        let Some(text) = &typed.path else {
            report.missing(table.span(), path);
            return None;
        };
        let key = path;
        let path = value::path(report, text, key)?;
        let before = match first.get(&path) {
            Some(before) => Some(format!("first on line {}", report.line(before))),
            None if others.iter().any(|pipe| pipe.path == path) => {
                Some("another pipe of [notify] has it".to_owned())
            }
            None => None,
        };
        if let Some(before) = before {
            let message = format!("{} is here twice; {before}", path.display());
            report.error(text.span(), key, message, "give each pipe a path of its own");
            return None;
        }
        first.insert(path.clone(), text.span());
        Some(Pipe { path, reader: reader? })
    };
    let pipes: Vec<Option<Pipe>> = typed.iter().map(&mut pipe).collect();
    pipes.into_iter().collect()
}

fn mail(report: &mut Report, table: &Spanned<file::Mail>) -> Option<Mail> {
    let (span, typed) = (table.span(), table.get_ref());
    let server = match &typed.server {
        Some(text) => value::token(report, text, "notify.mail.server", "mail server"),
        None => {
            report.missing(span.clone(), "notify.mail.server");
            None
        }
    };
    let port = match &typed.port {
        Some(port) => value::number(report, port, "notify.mail.port", 1..=u16::MAX),
        None => Some(defaults::MAIL_PORT),
    };
    let timeout = match &typed.timeout {
        Some(text) => value::duration(report, text, "notify.mail.timeout", SHORTEST..=LONGEST),
        None => Some(defaults::MAIL_TIMEOUT),
    };
    let mut optional = |typed: &Typed<String>, path, noun| match typed {
        Some(text) => value::line(report, text, path, noun).map(Some),
        None => Some(None),
    };
    let helo = optional(&typed.helo, "notify.mail.helo", "host name");
    let from = optional(&typed.from, "notify.mail.from", "mail address");
    let router_id = optional(&typed.router_id, "notify.mail.router_id", "name");
    let to = recipients(report, &span, typed);
    let server = server?;
    Some(Mail {
        server: server.parse().map_or(MailServer::Name(server), MailServer::Address),
        port: port?,
        helo: helo?,
        timeout: timeout?,
        from: from?,
        to: to?,
        router_id: router_id?,
        no_faults: value::boolean(typed.no_faults.as_ref()),
    })
}

fn recipients(report: &mut Report, table: &Range<usize>, typed: &file::Mail) -> Option<Vec<String>> {
    const PATH: &str = "notify.mail.to";
    let Some(list) = &typed.to else {
        report.missing(table.clone(), PATH);
        return None;
    };
    if list.get_ref().is_empty() && report.is_missing(table, PATH) {
        let help = "say who gets it: to = [\"ops@example.com\"]";
        report.error(list.span(), PATH, "no recipient", help);
        return None;
    }
    let to: Vec<Option<String>> =
        list.get_ref().iter().map(|text| value::line(report, text, PATH, "mail address")).collect();
    to.into_iter().collect()
}
