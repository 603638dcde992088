//! The end of the road for frames that nobody is to answer: a host counts them at its door and throws them away.

use serde_json::Value;

use crate::host::Host;

/// A rule on the first leg of a host.
pub struct Sink {
    host: Host,
}

impl Sink {
    /// Swallows what `matches` says in the words of nft, `udp dport 9` for example.
    #[track_caller]
    pub fn open(host: &Host, matches: &str) -> Sink {
        let interface = &host.legs()[0].interface;
        host.feed(
            "nft",
            &["-f", "-"],
            &format!(
                "table netdev sink {{\n\
                   counter swallowed {{ }}\n\
                   chain take {{\n\
                     type filter hook ingress device {interface} priority 0\n\
                     {matches} counter name swallowed drop\n\
                   }}\n\
                 }}\n"
            ),
        );
        Sink { host: host.clone() }
    }

    /// How many frames it has swallowed.
    #[track_caller]
    pub fn frames(&self) -> u64 {
        let text = self.host.run("nft", &["--json", "list", "counter", "netdev", "sink", "swallowed"]);
        let view: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("nft: {fault}:\n{text}"));
        let counters = view["nftables"].as_array().into_iter().flatten();
        let packets = counters.filter_map(|entry| entry["counter"]["packets"].as_u64()).next();
        packets.unwrap_or_else(|| panic!("nft shows no counter:\n{text}"))
    }
}
