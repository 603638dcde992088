//! Programs, pipes and mail.

use super::page::{Page, duration, string, strings};
use crate::config::defaults;
use crate::model::{Command, Hooks, MailServer, Notify, Pipe, Scripts};

pub(super) fn scripts(page: &mut Page, scripts: &Scripts) {
    if *scripts == Scripts::default() {
        return;
    }
    page.table("[scripts]");
    page.set_unless("security", scripts.security, false);
    if let Some(user) = &scripts.user {
        page.set("user", string(&user.name));
        if let Some(group) = &user.group {
            page.set("group", string(group));
        }
    }
}

pub(super) fn notify(page: &mut Page, notify: &Notify) {
    if notify.at_start {
        page.table("[notify]");
        page.set("at_start", true);
    }
    pipes(page, "[[notify.pipe]]", &notify.pipes);
    pipes(page, "[[notify.service_pipe]]", &notify.service_pipes);
    let Some(mail) = &notify.mail else { return };
    page.table("[notify.mail]");
    page.set(
        "server",
        match &mail.server {
            MailServer::Address(address) => string(&address.to_string()),
            MailServer::Name(name) => string(name),
        },
    );
    page.set_unless("port", mail.port, defaults::MAIL_PORT);
    page.set_unless("timeout", duration(mail.timeout), duration(defaults::MAIL_TIMEOUT));
    for (key, value) in [("helo", &mail.helo), ("from", &mail.from)] {
        if let Some(value) = value {
            page.set(key, string(value));
        }
    }
    page.set("to", strings(mail.to.iter().map(String::as_str)));
    if let Some(router_id) = &mail.router_id {
        page.set("router_id", string(router_id));
    }
    page.set_unless("no_faults", mail.no_faults, false);
}

pub(super) fn pipes(page: &mut Page, table: &str, pipes: &[Pipe]) {
    for pipe in pipes {
        page.table(table);
        page.set("path", string(&pipe.path.to_string_lossy()));
        if let Some(reader) = &pipe.reader {
            page.set("reader", command(reader));
        }
    }
}

/// `names`: the keys of what is run. `mails`: whether there is a mail server.
pub(super) fn hooks(page: &mut Page, hooks: &Hooks, names: [&str; 2], mails: bool) {
    for (name, hook) in names.into_iter().zip([&hooks.up, &hooks.down]) {
        if let Some(hook) = hook {
            page.set(name, command(hook));
        }
    }
    page.set_unless("mail", hooks.mail, mails);
}

/// A program with its arguments: a line where no word needs quotes.
pub(super) fn words(argv: &[String]) -> String {
    let plain = |word: &String| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c))
    };
    match argv.iter().all(plain) {
        true => string(&argv.join(" ")),
        false => strings(argv.iter().map(String::as_str)),
    }
}

/// A program, on one line.
pub(super) fn command(command: &Command) -> String {
    let run = words(&command.argv);
    if command.user.is_none() && command.timeout.is_none() {
        return run;
    }
    let mut text = format!("{{ run = {run}");
    if let Some(user) = &command.user {
        text += &format!(", user = {}", string(&user.name));
        if let Some(group) = &user.group {
            text += &format!(", group = {}", string(group));
        }
    }
    if let Some(timeout) = command.timeout {
        text += &format!(", timeout = {}", duration(timeout));
    }
    text + " }"
}
