//! What is said of virtual routers, in keepalived's words (vrrp_notify.c): which program, with which arguments, and
//! which mail.

use super::News;
use super::mail::Words;
use super::queue::Item;
use crate::model::{Command, VrrpHooks};

/// What a virtual router, or a group of them, is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// It holds the addresses.
    Active,
    /// Another director does.
    Backup,
    /// It must not.
    Fault,
    /// The director ends, or the router is configured no more.
    Stop,
}

impl Told {
    /// keepalived's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Told::Active => "MASTER",
            Told::Backup => "BACKUP",
            Told::Fault => "FAULT",
            Told::Stop => "STOP",
        }
    }

    fn hook(self, hooks: &VrrpHooks) -> Option<&Command> {
        match self {
            Told::Active => hooks.active.as_ref(),
            Told::Backup => hooks.backup.as_ref(),
            Told::Fault => hooks.fault.as_ref(),
            Told::Stop => hooks.stop.as_ref(),
        }
    }
}

/// The programs that are told, the one for the state before the one for all states.
pub(super) fn programs(news: &News) -> Option<Item> {
    let (hooks, kind, name, state, priority) = match news {
        News::Router { hooks, name, state, priority } => (hooks, "INSTANCE", name, *state, *priority),
        News::Group { hooks, name, state } => (hooks, "GROUP", name, *state, 0),
        News::LowerHeard { hooks, .. } => {
            let commands = hooks.lower_heard.iter().map(|command| (command.clone(), Vec::new())).collect();
            let item = Item { state: "MASTER_RX_LOWER_PRI", commands, is_last: false };
            return hooks.lower_heard.is_some().then_some(item);
        }
        _ => return None,
    };
    let VrrpHooks { active, backup, fault, stop, any, .. } = hooks;
    [active, backup, fault, stop, any].into_iter().any(Option::is_some).then(|| {
        let arguments = [kind, name, state.word(), &priority.to_string()].map(str::to_owned).to_vec();
        let of_state = state.hook(hooks).map(|command| (command.clone(), Vec::new()));
        let of_all = any.as_ref().map(|command| (command.clone(), arguments));
        let commands = of_state.into_iter().chain(of_all).collect();
        Item { state: state.word(), commands, is_last: state == Told::Stop }
    })
}

/// What is mailed (smtp.c); none: nothing.
pub(super) fn words(news: &News) -> Option<Words> {
    let (hooks, who, state) = match news {
        News::Router { hooks, name, state, .. } => (hooks, format!("VRRP Instance {name}"), *state),
        News::Group { hooks, name, state, .. } => (hooks, format!("VRRP Group {name}"), *state),
        _ => return None,
    };
    if !hooks.mail {
        return None;
    }
    let is_group = matches!(news, News::Group { .. });
    let said = match state {
        Told::Stop if is_group => "All VRRP group instances are now stopping".to_owned(),
        Told::Stop => "VRRP Instance stopping".to_owned(),
        _ if is_group => format!("All VRRP group instances are now in {} state", state.word()),
        Told::Active => "VRRP Instance is now owning VRRP VIPs".to_owned(),
        _ => "VRRP Instance is no longer owning VRRP VIPs".to_owned(),
    };
    let what = match state {
        Told::Stop => "Stopping".to_owned(),
        _ => format!("Entering {} state", state.word()),
    };
    Some(Words {
        subject: format!("{who} - {what}"),
        body: format!("=> {said} <="),
        is_fault: state == Told::Fault,
    })
}
