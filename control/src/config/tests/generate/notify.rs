//! Programs, pipes and mail.

use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::model::{Command, Hooks, Mail, MailServer, Notify, Pipe, Scripts, User};

/// Words that are not split, unless they are written so that they are not.
pub(super) fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9./-]{0,6}", "[a-z \"'\\\\$\n\t\u{fc}]{0,6}"]
}

pub(super) fn argv() -> impl Strategy<Value = Vec<String>> {
    ("(/[a-z ]{1,6}){1,2}|[a-z]{1,6}", vec(word(), 0..3))
        .prop_map(|(program, arguments)| [vec![program], arguments].concat())
}

pub(super) fn user() -> impl Strategy<Value = Option<User>> {
    let user =
        ("[a-z0-9_]{1,6}", prop::option::of("[a-z0-9_]{1,6}")).prop_map(|(name, group)| User { name, group });
    prop::option::of(user)
}

pub(super) fn command() -> impl Strategy<Value = Option<Command>> {
    let timeout = prop::option::of((1..=100_000u64).prop_map(Duration::from_millis));
    prop::option::of((argv(), user(), timeout).prop_map(|(argv, user, timeout)| Command {
        argv,
        user,
        timeout,
    }))
}

pub(super) fn hooks() -> impl Strategy<Value = Hooks> {
    (command(), command(), any::<bool>()).prop_map(|(up, down, mail)| Hooks { up, down, mail })
}

pub(super) fn scripts() -> impl Strategy<Value = Scripts> {
    (any::<bool>(), user()).prop_map(|(security, user)| Scripts { security, user })
}

pub(super) fn notify() -> impl Strategy<Value = Notify> {
    let paths = btree_set("(/[a-z\u{fc}\" ]{1,6}){1,2}", 0..5);
    (paths, vec(command(), 5), 0..5_usize, prop::option::of(mail()), any::<bool>()).prop_map(
        |(paths, readers, of_all, mail, at_start)| {
            let pipes = paths.into_iter().zip(readers);
            let mut pipes: Vec<Pipe> =
                pipes.map(|(path, reader)| Pipe { path: PathBuf::from(path), reader }).collect();
            let service_pipes = pipes.split_off(of_all.min(pipes.len()));
            Notify { pipes, service_pipes, mail, at_start }
        },
    )
}

fn mail() -> impl Strategy<Value = Mail> {
    let server = prop_oneof![
        any::<std::net::IpAddr>().prop_map(MailServer::Address),
        "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}".prop_map(MailServer::Name),
    ];
    let text = || "[a-z\"<@> .\u{fc}]{0,8}[a-z]";
    let names = (prop::option::of(text()), prop::option::of(text()), prop::option::of(text()));
    (server, 1..=u16::MAX, 1000..=100_000u64, names, vec(text(), 1..3), any::<bool>()).prop_map(
        |(server, port, timeout, (helo, from, router_id), to, no_faults)| Mail {
            server,
            port,
            helo,
            timeout: Duration::from_millis(timeout),
            from,
            to,
            router_id,
            no_faults,
        },
    )
}
