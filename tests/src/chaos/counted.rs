//! What has been counted of frames and answers, by shunt and by the kernel: what a loss is explained by.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::director::Director;
use crate::host::Host;
use crate::lab::Lab;
use crate::shown;
use crate::tally::list;

/// Counters by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counted(BTreeMap<String, u64>);

impl Counted {
    /// Those of now.
    #[track_caller]
    pub fn of(lab: &Lab, director: &Director) -> Counted {
        let mut all = BTreeMap::new();
        for row in list(&director.show("drops")["drops"]) {
            all.insert(
                row["reason"].as_str().expect("a reason").to_owned(),
                row["frames"].as_u64().expect("a number"),
            );
        }
        let workers = director.show("workers");
        all.insert("kicks_refused".to_owned(), shown::sum(&workers["workers"], &["kicks_refused"]));
        for name in ["icmp", "reset", "withheld"] {
            let answers =
                list(&workers["workers"]).iter().map(|row| row["answers"][name].as_u64().unwrap_or(0)).sum();
            all.insert(format!("answers_{name}"), answers);
        }
        all.insert("flows_moved".to_owned(), shown::sum(&workers["workers"], &["moved"]));
        all.insert("kernel: eth0 tx dropped".to_owned(), dropped(director.host(), "eth0"));
        let port = lab.director(0).port();
        all.insert("kernel: cable tx dropped".to_owned(), dropped(lab.switch(), port));
        all.insert("kernel: resets sent".to_owned(), resets(director.host()));
        Counted(all)
    }

    /// By how much each of them has grown since `before`; those that have not are left out.
    pub fn since(&self, before: &Counted) -> Counted {
        let grown = |(name, now): (&String, &u64)| {
            let more = now.saturating_sub(before.get(name));
            (more > 0).then(|| (name.clone(), more))
        };
        Counted(self.0.iter().filter_map(grown).collect())
    }

    /// One of them; 0 if it is not there.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// All, in words.
    pub fn words(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(name, count)| format!("{name} {count}")).collect();
        words.join(", ")
    }
}

/// TCP segments with a RST that the kernel sent.
#[track_caller]
fn resets(host: &Host) -> u64 {
    let text = host.run("cat", &["/proc/net/snmp"]);
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: ")).map(|line| line.split(' '));
    let (names, numbers) = (rows.next().expect("proc_net(5)"), rows.next().expect("proc_net(5)"));
    let found = names.zip(numbers).find(|(name, _)| *name == "OutRsts");
    found.and_then(|(_, number)| number.parse().ok()).expect("proc_net(5)")
}

/// Frames that the kernel did not send on an interface.
#[track_caller]
fn dropped(host: &Host, interface: &str) -> u64 {
    let text = host.run("ip", &["-j", "-s", "link", "show", "dev", interface]);
    let view: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("ip: {fault}:\n{text}"));
    view[0]["stats64"]["tx"]["dropped"].as_u64().expect("ip-link(8)")
}
