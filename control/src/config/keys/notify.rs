//! `[scripts]`, `[notify]`, and what a program to run is.

use super::{Key, Kind, duration, key};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("scripts", Kind::Table, "[scripts]", &["script"]).about("Rules for all programs that shunt runs."),
    key("scripts.security", Kind::Boolean, "security = true", &["enable_script_security", "script_security"])
        .about("A program that others than root can change is not run as root."),
    key("scripts.user", Kind::Text, "user = \"nobody\"", &["script_user"])
        .about("Whose rights programs have that name none."),
    key("scripts.group", Kind::Text, "group = \"nogroup\"", &[]).about("Their group, if not the user's."),
    key("notify", Kind::Table, "[notify]", &["notification", "alerts"])
        .about("Who is told when real servers and services come and go."),
    key("notify.at_start", Kind::Boolean, "at_start = true", &["rs_init_notifies"])
        .about("Real servers that are up at the start are told of too."),
    key("notify.pipe", Kind::Tables, "[[notify.pipe]]", &["fifo", "notify_fifo"])
        .about("A named pipe that gets a line for every change."),
    key("notify.pipe.path", Kind::Text, "path = \"/run/shunt/changes\"", &["fifo", "name"]).required().pattern("^/")
        .about("Where it is made."),
    key("notify.pipe.reader", Kind::Command, "reader = \"/usr/local/bin/changes.sh\"", &["script", "notify_fifo_script"])
        .about("A program that is started with the path as its last argument, and reads it."),
    key("notify.service_pipe", Kind::Tables, "[[notify.service_pipe]]", &["lvs_notify_fifo"])
        .about("A named pipe that gets a line for every change of real servers and services, and none for virtual routers."),
    key("notify.service_pipe.path", Kind::Text, "path = \"/run/shunt/services\"", &["fifo", "name"]).required().pattern("^/")
        .about("Where it is made."),
    key("notify.service_pipe.reader", Kind::Command, "reader = \"/usr/local/bin/changes.sh\"", &["script", "lvs_notify_fifo_script"])
        .about("A program that is started with the path as its last argument, and reads it."),
    key("notify.mail", Kind::Table, "[notify.mail]", &["smtp", "email"]).about("Mail about changes."),
    key("notify.mail.server", Kind::Text, "server = \"mail.example.com\"", &["smtp_server", "host", "address"]).required()
        .about("Name or address of the mail server."),
    key("notify.mail.port", Kind::Integer, "port = 25", &[]).range(1, 65535).about("Its port."),
    key("notify.mail.helo", Kind::Text, "helo = \"director.example.com\"", &["smtp_helo_name", "ehlo"])
        .about("The name given with HELO; the host's if left out."),
    duration("notify.mail.timeout", "timeout = \"30s\"", &["smtp_connect_timeout", "connect_timeout"])
        .about("The whole conversation may take this long."),
    key("notify.mail.from", Kind::Text, "from = \"shunt@example.com\"", &["notification_email_from", "sender"])
        .about("Sender."),
    key("notify.mail.to", Kind::Texts, "to = [\"ops@example.com\"]", &["notification_email", "recipients"]).required()
        .about("Recipients."),
    key("notify.mail.router_id", Kind::Text, "router_id = \"director-1\"", &["id", "name"])
        .about("Who says it, in the subject; the host's name if left out."),
    key("notify.mail.no_faults", Kind::Boolean, "no_faults = true", &["no_email_faults"])
        .about("Faults of the director itself are not mailed."),
    key("command.run", Kind::Words, "run = \"/usr/local/bin/up.sh\"", &["command", "exec", "script", "path"]).required()
        .about("The program and its arguments."),
    key("command.user", Kind::Text, "user = \"nobody\"", &[]).about("Whose rights it has."),
    key("command.group", Kind::Text, "group = \"nogroup\"", &[]).about("Its group, if not the user's."),
    duration("command.timeout", "timeout = \"10s\"", &[]).about("It is killed after this."),
];
