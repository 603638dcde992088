//! Whose rights a program has.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User as Account, getgrouplist};

use crate::model::{Command, Scripts, User};

/// Who programs run as unless the configuration says otherwise, if there is such a user.
const DEFAULT: &str = "keepalived_script";

/// A user with all groups, found before the fork: between fork and exec nobody can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The user's name, or its number if it has none.
    pub name: String,
    pub uid: Uid,
    pub gid: Gid,
    /// The supplementary groups.
    pub groups: Vec<Gid>,
    pub home: String,
}

/// The user of a command: its own, that of `script_user`, `keepalived_script`, root.
pub(super) fn of(command: &Command, rules: &Scripts) -> Result<Identity, String> {
    if let Some(user) = command.user.as_ref().or(rules.user.as_ref()) {
        return named(user);
    }
    match Account::from_name(DEFAULT) {
        Ok(Some(account)) => identity(account, None),
        // As keepalived: who asks for security does not get root by default.
        Ok(None) if rules.security => Err(format!(
            "enable_script_security is on, no script_user is configured and there is no user {DEFAULT}; \
             create that user (useradd --system {DEFAULT}), or name one: script_user root"
        )),
        Ok(None) => own(),
        Err(error) => Err(format!("the user database was asked for {DEFAULT}: {error}")),
    }
}

/// The director's own, which is root.
fn own() -> Result<Identity, String> {
    named(&User { name: nix::unistd::geteuid().to_string(), group: None })
}

fn named(user: &User) -> Result<Identity, String> {
    let group = user.group.as_deref().map(group).transpose()?;
    let account = match Account::from_name(&user.name) {
        Ok(None) => match user.name.parse() {
            Ok(number) => Account::from_uid(Uid::from_raw(number)),
            Err(_) => Ok(None),
        },
        found => found,
    };
    match (account, user.name.parse(), group) {
        (Ok(Some(account)), _, group) => identity(account, group),
        (Ok(None), Ok(number), Some(gid)) => Ok(Identity {
            name: user.name.clone(),
            uid: Uid::from_raw(number),
            gid,
            groups: vec![gid],
            home: "/".to_owned(),
        }),
        (Ok(None), Ok(_), None) => {
            Err(format!("there is no user {}, so that its group must be named too", user.name))
        }
        (Ok(None), Err(_), _) => Err(format!("there is no user {}", user.name)),
        (Err(error), ..) => Err(format!("the user database was asked for {}: {error}", user.name)),
    }
}

fn group(name: &str) -> Result<Gid, String> {
    match (Group::from_name(name), name.parse()) {
        (Ok(Some(group)), _) => Ok(group.gid),
        (Ok(None), Ok(number)) => Ok(Gid::from_raw(number)),
        (Ok(None), Err(_)) => Err(format!("there is no group {name}")),
        (Err(error), _) => Err(format!("the group database was asked for {name}: {error}")),
    }
}

fn identity(account: Account, group: Option<Gid>) -> Result<Identity, String> {
    let name = CString::new(account.name.as_str()).expect("a name from the C library has no NUL in it");
    let groups = getgrouplist(&name, account.gid).map_err(|error| {
        format!("the group database was asked for the groups of {}: {error}", account.name)
    })?;
    Ok(Identity {
        name: account.name,
        uid: account.uid,
        gid: group.unwrap_or(account.gid),
        groups,
        home: account.dir.to_string_lossy().into_owned(),
    })
}

impl Identity {
    pub(super) fn is_member(&self, gid: u32) -> bool {
        self.gid.as_raw() == gid || self.groups.iter().any(|group| group.as_raw() == gid)
    }

    /// Whether it has root's rights, or those of root's group.
    pub(super) fn is_root(&self) -> bool {
        self.uid.is_root() || self.gid.as_raw() == 0
    }
}

/// `user 'admin'`, `user 1000`.
pub(super) fn user_name(uid: u32) -> String {
    match Account::from_uid(Uid::from_raw(uid)) {
        Ok(Some(account)) => format!("user '{}'", account.name),
        _ => format!("user {uid}"),
    }
}

/// `group 'admin'`, `group 1000`.
pub(super) fn group_name(gid: u32) -> String {
    match Group::from_gid(Gid::from_raw(gid)) {
        Ok(Some(group)) => format!("group '{}'", group.name),
        _ => format!("group {gid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, group: Option<&str>) -> User {
        User { name: name.to_owned(), group: group.map(str::to_owned) }
    }

    fn command(user: Option<User>) -> Command {
        Command { argv: vec!["true".to_owned()], user, timeout: None }
    }

    #[test]
    fn a_command_has_its_own_user_before_that_of_all_scripts() {
        let rules = Scripts { security: false, user: Some(user("daemon", None)) };
        assert_eq!(of(&command(Some(user("bin", None))), &rules).expect("bin").name, "bin");
        assert_eq!(of(&command(None), &rules).expect("daemon").name, "daemon");
    }

    #[test]
    fn a_number_is_a_user_and_a_group_too() {
        let of_number = named(&user("0", Some("2"))).expect("root");
        assert_eq!((of_number.name.as_str(), of_number.gid), ("root", Gid::from_raw(2)));
        let unknown = named(&user("54321", Some("54322"))).expect("a number needs no account");
        assert_eq!((unknown.uid, unknown.groups), (Uid::from_raw(54321), vec![Gid::from_raw(54322)]));
        assert!(named(&user("54321", None)).unwrap_err().contains("its group must be named"));
    }

    #[test]
    fn who_does_not_exist_is_named() {
        assert_eq!(named(&user("nobody-at-all", None)).unwrap_err(), "there is no user nobody-at-all");
        assert_eq!(named(&user("root", Some("none-at-all"))).unwrap_err(), "there is no group none-at-all");
    }

    #[test]
    fn without_a_script_user_security_does_not_fall_back_to_root() {
        let rules = |security| Scripts { security, user: None };
        if Account::from_name(DEFAULT).expect("a user database").is_some() {
            assert_eq!(of(&command(None), &rules(true)).expect("the default").name, DEFAULT);
            return;
        }
        assert!(of(&command(None), &rules(false)).expect("root").uid.is_root());
        let refused = of(&command(None), &rules(true)).unwrap_err();
        assert!(refused.contains("there is no user keepalived_script"), "{refused}");
        assert!(refused.contains("useradd"), "{refused}");
    }
}
