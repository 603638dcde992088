//! Who may ask for what over the admin socket. The mode of the socket keeps strangers from it; whoever gets there is asked of
//! the kernel, which knows who has connected, and not of himself.
//!
//! *Invariants*
//! - every request is classified, in one place ([`needed`]): one that is added does not compile until it is;
//! - root and the user of the daemon may all, members of the group that the configuration names may read, others nothing;
//! - a reader learns no password and not the key of the hash, with which a client could choose its real server.
//!
//! unix(7) SO_PEERCRED; `SO_PEERGROUPS` in net/core/sock.c.

use std::io;
use std::os::fd::AsRawFd;

use nix::unistd::{Gid, Group, Uid};
use serde_json::Value;
use tokio::net::UnixStream;

use super::protocol::{Answer, Request, What};
use crate::config::{Faults, Loaded, Place};

/// The code of an answer to somebody who may not ask that.
pub const CODE: &str = "not-allowed";
/// Keys of `show config` that are for those alone who may write it.
const SECRETS: [&str; 2] = ["password", "hash_key"];
/// What stands in their place.
const HIDDEN: &str = "\"(hidden)\"";
/// Most groups that a process has (`NGROUPS_MAX`).
const GROUPS: usize = 65536;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// See.
    Read,
    /// Change, too.
    Full,
}

/// What a request takes.
pub fn needed(request: &Request) -> Access {
    match request {
        Request::Show { what, .. } => match what {
            What::Services
            | What::Reals
            | What::Flows
            | What::Health
            | What::Workers
            | What::Drops
            | What::Vrrp
            | What::Config
            | What::Metrics => Access::Read,
        },
        Request::Explain(_) => Access::Read,
        // What clients say is in it.
        Request::Capture(_) => Access::Full,
        // A plan says whether a password is the one that is in force, to whoever asks often enough.
        Request::Plan { .. } => Access::Full,
        Request::Apply { .. } | Request::Confirm | Request::Rollback => Access::Full,
        Request::Reload | Request::Edit { .. } | Request::Zero { .. } | Request::Announce { .. } => {
            Access::Full
        }
    }
}

/// The group of the readers, if there is one.
///
/// # Errors
/// There is none of the name.
pub fn readers(loaded: &Loaded) -> Result<Option<Gid>, Faults> {
    let Some(name) = &loaded.model.director.socket_group else { return Ok(None) };
    let fault =
        |message: String, help: &str| loaded.locations.error(&Place::SocketGroup, message, help).into();
    match (Group::from_name(name), name.parse()) {
        (Ok(Some(group)), _) => Ok(Some(group.gid)),
        (Ok(None), Ok(number)) => Ok(Some(Gid::from_raw(number))),
        (Ok(None), Err(_)) => Err(fault(
            format!("there is no group {name}"),
            "create it (groupadd --system), or name another one, or its number",
        )),
        (Err(error), _) => Err(fault(
            format!("the group database was asked for {name}: {error}"),
            "name the group by its number",
        )),
    }
}

/// Somebody who has connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    uid: Uid,
    /// The effective one first, then the supplementary ones.
    groups: Vec<Gid>,
}

impl Peer {
    /// Who was at the other end when it connected.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn of(stream: &UnixStream) -> io::Result<Peer> {
        let credentials = stream.peer_cred()?;
        let mut groups = vec![Gid::from_raw(credentials.gid())];
        groups.extend(supplementary(stream)?);
        Ok(Peer { uid: Uid::from_raw(credentials.uid()), groups })
    }

    /// What it may, as far as it may anything.
    pub fn access(&self, readers: Option<Gid>) -> Option<Access> {
        if self.uid.is_root() || self.uid == nix::unistd::geteuid() {
            return Some(Access::Full);
        }
        readers.filter(|group| self.groups.contains(group)).map(|_| Access::Read)
    }

    /// Whether it may ask that.
    ///
    /// # Errors
    /// What to tell it.
    pub fn ask(&self, request: &Request, readers: Option<Gid>) -> Result<Access, Answer> {
        let who = format!("user {} with {}", self.uid, self.groups_in_words());
        let why = match (self.access(readers), readers) {
            (Some(access), _) if access >= needed(request) => return Ok(access),
            (Some(_), _) => format!("{who} may read here and change nothing: run this as root"),
            (None, Some(group)) => format!(
                "{who} may not use this socket: run this as root, or, to read only, as a member of group {group}"
            ),
            (None, None) => format!(
                "{who} may not use this socket: run this as root, or have `socket_group` of [director] name a group \
                 that may read"
            ),
        };
        Err(Answer::refused(Some(CODE), why))
    }

    fn groups_in_words(&self) -> String {
        const MOST: usize = 8;
        let groups: Vec<String> = self.groups.iter().take(MOST).map(Gid::to_string).collect();
        let more = if self.groups.len() > MOST { " ..." } else { "" };
        format!("group{} {}{more}", if groups.len() == 1 { "" } else { "s" }, groups.join(", "))
    }
}

/// Whether the answer to this is [`veiled`] for somebody with this access.
pub fn has_secrets(request: &Request, access: Access) -> bool {
    access < Access::Full && matches!(request, Request::Show { what: What::Config, .. })
}

/// The answer without what a reader may not see.
pub fn veiled(answer: Answer) -> Answer {
    match &answer.data {
        Value::String(text) => Answer::text(without_secrets(text)),
        _ => answer,
    }
}

/// A configuration as it is written by us: a key and its value to a line.
fn without_secrets(text: &str) -> String {
    let veil = |line: &str| match line.split_once(" = ") {
        Some((key, _)) if SECRETS.contains(&key) => format!("{key} = {HIDDEN}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(veil).collect()
}

fn supplementary(stream: &UnixStream) -> io::Result<Vec<Gid>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut length = size_of_val(&groups[..]) as libc::socklen_t;
        // SAFETY: `groups` has room for `length` bytes.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups.into_iter().map(Gid::from_raw).collect());
        }
        let error = io::Error::last_os_error();
        // It has said how many there are.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::Edit;

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer { uid: Uid::from_raw(uid), groups: groups.iter().copied().map(Gid::from_raw).collect() }
    }

    fn show(what: What) -> Request {
        Request::Show { what, limit: 1 }
    }

    #[test]
    fn root_may_all_members_read_and_others_nothing() {
        let readers = Some(Gid::from_raw(4242));
        let edit = Request::Edit { edits: Vec::<Edit>::new() };
        for (who, access) in [
            (peer(0, &[0]), Some(Access::Full)),
            (peer(1000, &[4242]), Some(Access::Read)),
            (peer(1000, &[1000, 27, 4242]), Some(Access::Read)),
            (peer(1000, &[1000]), None),
            (peer(4242, &[1000]), None),
            (peer(1000, &[]), None),
        ] {
            assert_eq!(who.access(readers), access, "{who:?}");
            assert_eq!(who.ask(&show(What::Config), readers).ok(), access, "{who:?}");
            assert_eq!(
                who.ask(&edit, readers).ok(),
                access.filter(|access| *access == Access::Full),
                "{who:?}"
            );
        }
        assert_eq!(peer(1000, &[4242]).access(None), None);
    }

    #[test]
    fn who_is_refused_is_told_who_he_is_and_what_to_do() {
        let told = |who: Peer, readers| {
            let answer = who.ask(&Request::Reload, readers).unwrap_err();
            assert_eq!(answer.code.as_deref(), Some(CODE));
            answer.error.unwrap()
        };
        let readers = Some(Gid::from_raw(4242));
        assert_eq!(
            told(peer(1000, &[4242]), readers),
            "user 1000 with group 4242 may read here and change nothing: run this as root"
        );
        assert_eq!(
            told(peer(1000, &[1000, 27]), readers),
            "user 1000 with groups 1000, 27 may not use this socket: run this as root, or, to read only, as a member of \
             group 4242"
        );
        assert!(told(peer(1000, &[1000]), None).contains("`socket_group` of [director]"));
    }

    #[test]
    fn a_reader_sees_no_password_and_no_key_of_the_hash() {
        let text =
            "[director]\nhash_key = \"0123\"\n\n[[vrrp.router]]\npassword = \"open = sesame\"\nvrid = 1\n";
        let config = Answer::text(text.to_owned());
        let request = show(What::Config);
        assert!(has_secrets(&request, Access::Read) && !has_secrets(&request, Access::Full));
        let seen = veiled(config);
        let wanted =
            "[director]\nhash_key = \"(hidden)\"\n\n[[vrrp.router]]\npassword = \"(hidden)\"\nvrid = 1\n";
        assert_eq!(seen, Answer::text(wanted.to_owned()));
    }

    #[test]
    fn what_the_writer_writes_is_what_is_looked_for() {
        let full = include_str!("../../../configs/pair.toml");
        let model = crate::config::parse("pair.toml", full).unwrap().model;
        let keyed = crate::model::Director { hash_key: [1, 2], ..model.director.clone() };
        let text = crate::config::to_toml(&crate::model::Model { director: keyed, ..model });
        let seen = without_secrets(&text);
        assert_eq!(seen.matches(HIDDEN).count(), text.matches("password = ").count() + 1, "{text}");
        assert_eq!(seen.lines().count(), text.lines().count());
    }
}
