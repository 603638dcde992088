//! Who is told of what happens: programs, pipes and people.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// The program and its arguments; the program is an absolute path, or a name to be found in the PATH of keepalived
    /// (`/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`).
    pub argv: Vec<String>,
    /// Whose rights it has; none: [`Scripts::user`].
    pub user: Option<User>,
    /// The process group is killed after this; none: the interval of what runs it.
    pub timeout: Option<Duration>,
}

/// A user by name, and a group if it is not the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// Name or number.
    pub name: String,
    /// Name or number of the group; none: the user's.
    pub group: Option<String>,
}

/// Rules for all programs that shunt runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scripts {
    /// A program that others than root can write, or whose path they can change, is not run as root; one that everybody
    /// can is not run at all (`enable_script_security`).
    pub security: bool,
    /// Whose rights programs have that name none (`script_user`); none: `keepalived_script` if there is such a user, else
    /// root.
    pub user: Option<User>,
}

/// Who is told when real servers and services come and go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// Named pipes that get a line for every change (`notify_fifo`).
    pub pipes: Vec<Pipe>,
    /// Those that get one for changes of real servers and services only (`lvs_notify_fifo`).
    pub service_pipes: Vec<Pipe>,
    /// Mail; none: none is sent.
    pub mail: Option<Mail>,
    /// Real servers that are up at the start are told of too (`rs_init_notifies`).
    pub at_start: bool,
}

/// A named pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipe {
    /// Where it is made.
    pub path: PathBuf,
    /// A program that is started with the path as its last argument, and reads it.
    pub reader: Option<Command>,
}

/// Mail about changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Name or address of the mail server (`smtp_server`).
    pub server: MailServer,
    /// Its port.
    pub port: u16,
    /// The name given with `HELO`; none: the host's (`smtp_helo_name`).
    pub helo: Option<String>,
    /// The whole conversation may take this long (`smtp_connect_timeout`).
    pub timeout: Duration,
    /// Sender (`notification_email_from`); none: `root@` the host's name.
    pub from: Option<String>,
    /// Recipients, at least one (`notification_email`).
    pub to: Vec<String>,
    /// Who says it, in the subject (`router_id`); none: the host's name.
    pub router_id: Option<String>,
    /// Faults of the director itself are not mailed (`no_email_faults`).
    pub no_faults: bool,
}

/// A mail server, found when mail is sent, never before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailServer {
    /// By address.
    Address(IpAddr),
    /// By name.
    Name(String),
}

/// What a service, or a real server, tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Hooks {
    /// Run when it comes up (`notify_up`, `quorum_up`).
    pub up: Option<Command>,
    /// Run when it goes down (`notify_down`, `quorum_down`).
    pub down: Option<Command>,
    /// Mail is sent for both (`smtp_alert`).
    pub mail: bool,
}
