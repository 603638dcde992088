//! Every keyword, in a file that is whole without it: what acts changes the model, what does not act gives exactly one
//! warning that names it, what cannot be is exactly one error.

use proptest::prelude::*;

use super::super::keywords::{self, Block, Key, Tier};
use super::invariants::check;
use super::{mapped, said};

#[test]
fn every_keyword_does_what_the_table_says() {
    let mut wrong = Vec::new();
    for key in keywords::all() {
        for block in key.blocks {
            let (with, without) = (mapped(&file(*block, key, true)), mapped(&file(*block, key, false)));
            if let Some(fault) = fault(key, &with, &without) {
                let (with, without) = (said(&with).join("\n  "), said(&without).join("\n  "));
                wrong.push(format!(
                    "{block:?} {}: {fault}\n with:\n  {with}\n without:\n  {without}\n",
                    key.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} keywords\n{}", wrong.len(), wrong.concat());
}

/// Why the outcomes are not what the tier of the keyword promises.
fn fault(
    key: &Key,
    with: &Result<crate::config::Loaded, crate::config::Faults>,
    without: &Result<crate::config::Loaded, crate::config::Faults>,
) -> Option<&'static str> {
    let (said_with, said_without) = (said(with), said(without));
    let name = format!("'{}'", key.name).to_lowercase();
    let of_it = said_with.iter().filter(|message| message.contains(&name)).count();
    let models = (with.as_ref().ok().map(|l| &l.model), without.as_ref().ok().map(|l| &l.model));
    let changes = models.0 != models.1;
    if let Tier::Rejected(..) = key.tier {
        let errors = said_with.iter().filter(|message| message.starts_with("error")).count();
        return (errors != 1 || of_it != 1).then_some("not exactly one error that names it");
    }
    if with.is_err() {
        return Some("an error");
    }
    match key.tier {
        Tier::Acts if !changes => Some("acts, and changes nothing"),
        Tier::Acts if of_it > 0 => Some("acts, and warns"),
        Tier::Deprecated(_) | Tier::Differs(_) if !changes || of_it != 1 => {
            Some("not one warning, or no change")
        }
        Tier::Already(_) if changes || said_with != said_without => {
            Some("is so anyway, and yet changes something")
        }
        Tier::Warns(_) if of_it != 1 || said_with.len() != said_without.len() + 1 => {
            Some("not exactly one warning")
        }
        Tier::Warns(_) if changes => Some("does nothing, and changes the model"),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn valid_lines_in_any_combination_give_a_valid_model(
        virtual_server in lines(Block::VirtualServer),
        real_server in lines(Block::RealServer),
        checker in prop::sample::select(CHECKERS.to_vec()).prop_flat_map(|(name, block)| {
            lines(block).prop_map(move |lines| (name, block, lines))
        }),
        weights in proptest::collection::vec(0..3_u16, 1..4),
    ) {
        let (name, block, checker) = checker;
        let base = |block: Block, typed: &[&'static Key]| {
            let mut text = defaults(block, |means| typed.iter().all(|key| key.means != means));
            for key in typed {
                text += &line(key);
            }
            text
        };
        let reals: String = weights.iter().enumerate().map(|(at, weight)| {
            let weight = if real_server.iter().any(|key| key.name == "weight") { String::new() } else { format!("weight {weight}\n") };
            let inside = base(Block::RealServer, &real_server);
            format!("real_server 198.18.0.{} 80 {{\n{weight}{inside}{name} {{\n{}}}\n}}\n", 11 + at, base(block, &checker))
        }).collect();
        let services = base(Block::VirtualServer, &virtual_server);
        let text = format!(
            "global_defs {{\n}}\ntrack_file load {{\nfile /run/l\n}}\nvirtual_server 198.18.0.100 80 {{\n{services}{reals}}}\n\
             virtual_server 198.18.0.100 443 {{\n{}{}}}\n", services.replace(".99 80", ".99 443"), reals.replace(" 80 {", " 443 {"),
        );
        match mapped(&text) {
            Ok(loaded) => check(&loaded.model).map_err(|broken| TestCaseError::fail(format!("{broken}\n{text}")))?,
            Err(faults) => return Err(TestCaseError::fail(format!("{faults}\n{text}"))),
        }
    }

    /// Pieces of good files get far into the mapping.
    #[test]
    fn no_shuffled_lines_make_it_panic(picks in proptest::collection::vec((0..400_usize, any::<bool>(), 0..4_u8), 0..80)) {
        let all: Vec<&Key> = keywords::all().collect();
        let mut text = "global_defs {\n}\n".to_owned();
        for (pick, example, braces) in picks {
            let key = all[pick % all.len()];
            let words = if example { key.example } else { "0" };
            let brace = if key.opens.is_some() { " {" } else { "" };
            text += &format!("{} {words}{brace}\n{}", key.name, "}\n".repeat(usize::from(braces == 0)));
        }
        if let Err(faults) = mapped(&text) {
            prop_assert!(faults.has_errors());
        }
    }
}

const CHECKERS: &[(&str, Block)] = &[
    ("TCP_CHECK", Block::Tcp),
    ("HTTP_GET", Block::Http),
    ("SSL_GET", Block::Http),
    ("SMTP_CHECK", Block::Smtp),
    ("DNS_CHECK", Block::Dns),
    ("UDP_CHECK", Block::Udp),
    ("PING_CHECK", Block::Ping),
    ("MISC_CHECK", Block::Misc),
    ("FILE_CHECK", Block::File),
];

/// Some of the keywords of a block that contradict nothing; no synonyms together.
fn lines(block: Block) -> impl Strategy<Value = Vec<&'static Key>> {
    let contradict = |key: &Key| {
        key.name.starts_with("sh-")
            || key.name.starts_with("mh-")
            || matches!(key.name, "ops" | "real_server" | "lthreshold" | "virtual_server_group")
            || key.name.ends_with("_CHECK")
            || key.name.ends_with("_GET")
    };
    let all: Vec<&'static Key> = keywords::all()
        .filter(|key| key.blocks.contains(&block) && !contradict(key) && key.name == key.means)
        .filter(|key| !matches!(key.tier, Tier::Rejected(..)))
        .collect();
    let most = all.len();
    prop::sample::subsequence(all, 0..=most)
}

/// A good file, with the line of a keyword in a block, or without it.
fn file(block: Block, key: &Key, with: bool) -> String {
    let slot = |here: Block| {
        let replaced = |means: &str| {
            key.means == means
                || matches!(
                    (key.name, means),
                    ("ops", "protocol") | ("native_ipv6", "virtual_ipaddress") | ("interfaces", "interface")
                )
        };
        let mut text = defaults(here, |means| here != block || !replaced(means));
        if here == block {
            text += needs(key);
            if with {
                text += &line(key);
            }
        }
        text
    };
    let nested = |opener: &str, inside: String| format!("{opener} {{\n{inside}}}\n");
    let checker = match block {
        Block::Http if key.name == "enable_sni" => nested("SSL_GET", slot(Block::Http)),
        Block::Http => nested("HTTP_GET", slot(Block::Http)),
        Block::Url => nested("HTTP_GET", nested("url", slot(Block::Url))),
        Block::Host => nested("SMTP_CHECK", nested("host", slot(Block::Host))),
        _ => match CHECKERS.iter().find(|(_, of)| *of == block) {
            Some((name, _)) => nested(name, slot(block)),
            None => String::new(),
        },
    };
    let root = slot(Block::Root);
    let track = |name: &str, inside: String| match block == Block::Root && key.means == name {
        true => String::new(),
        false => nested(&format!("{name} load"), inside),
    };
    let real = format!(
        "{}FILE_CHECK {{\ntrack_file load\n}}\nHTTP_GET {{\nurl {{\npath /\n}}\n}}\n{checker}",
        slot(Block::RealServer)
    );
    let instance = || nested("vrrp_instance VI_1", defaults(Block::VrrpInstance, |_| true));
    let things = "vrrp_script chk {\nscript /bin/true\n}\nvrrp_track_process proc {\nprocess haproxy\n}\n";
    let vrrp = match block {
        Block::VrrpInstance => things.to_owned() + &nested("vrrp_instance VI_1", slot(block)),
        Block::Authentication => {
            let inside = nested("authentication", slot(block));
            nested("vrrp_instance VI_1", defaults(Block::VrrpInstance, |_| true) + &inside)
        }
        Block::SyncGroup => things.to_owned() + &instance() + &nested("vrrp_sync_group G", slot(block)),
        Block::Root if key.name != "vrrp_instance" => instance(),
        // What is said of all instances shows in one of each family.
        Block::Global => {
            let six =
                "interface eth5\nvirtual_router_id 9\nuse_vmac\nvirtual_ipaddress {\nfe80::9\n}\n".to_owned();
            instance() + &nested("vrrp_instance VI_6", six)
        }
        Block::VrrpScript => nested("vrrp_script s", slot(block)),
        Block::TrackProcess => {
            // What its weight does shows where it is tracked.
            let inside = defaults(Block::VrrpInstance, |_| true) + "track_process {\np\n}\n";
            nested("vrrp_track_process p", slot(block)) + &nested("vrrp_instance VI_1", inside)
        }
        Block::TrackGroup => nested("track_group g", slot(block)),
        Block::GarpGroup => instance() + &nested("garp_group", slot(block)),
        Block::Ssl => nested("SSL", slot(block)),
        _ => String::new(),
    };
    let second = "real_server 198.18.0.13 80 {\n}\n";
    let server = nested("real_server 198.18.0.11 80", real) + second;
    let service = nested("virtual_server 198.18.0.50 80", slot(Block::VirtualServer) + &server);
    let globals = nested("global_defs", slot(Block::Global));
    format!("{globals}{vrrp}{}{service}{root}", track("track_file", slot(Block::TrackFile)))
}

/// The lines that make a block whole, each with what its keyword means.
fn defaults(block: Block, wanted: impl Fn(&str) -> bool) -> String {
    let lines: &[(&str, &str)] = match block {
        Block::Global => &[
            ("notification_email", "notification_email {\nops@example.com\n}\n"),
            ("smtp_server", "smtp_server 127.0.0.1\n"),
        ],
        Block::VirtualServer => {
            &[("delay_loop", "delay_loop 6\n"), ("lb_kind", "lb_kind DR\n"), ("protocol", "protocol TCP\n")]
        }
        Block::Http => &[("url", "url {\npath /\n}\n")],
        Block::Url => &[("path", "path /\n")],
        Block::Misc => &[("misc_path", "misc_path /bin/true\n")],
        Block::File => &[("track_file", "track_file load\n")],
        Block::TrackFile => &[("file", "file /run/load-of-base\n")],
        Block::VrrpInstance => &[
            ("interface", "interface eth5\n"),
            ("virtual_router_id", "virtual_router_id 9\n"),
            ("virtual_ipaddress", "virtual_ipaddress {\n198.18.0.101\n}\n"),
        ],
        Block::Authentication => &[("auth_type", "auth_type PASS\n"), ("auth_pass", "auth_pass x\n")],
        Block::SyncGroup => &[("group", "group {\nVI_1\n}\n")],
        Block::VrrpScript => &[("script", "script /bin/true\n")],
        Block::TrackProcess => &[("process", "process haproxy\n")],
        Block::GarpGroup => &[("garp_interval", "garp_interval 0.5\n"), ("interface", "interface eth5\n")],
        _ => &[],
    };
    lines.iter().filter(|(means, _)| wanted(means)).map(|(_, line)| *line).collect()
}

/// Lines without which a keyword has nothing to act on.
fn needs(key: &Key) -> &'static str {
    match key.name {
        "sh-port" | "sh-fallback" | "flag-1" | "flag-2" => "lb_algo sh\n",
        "mh-port" | "mh-fallback" => "lb_algo mh\n",
        "ops" => "protocol UDP\n",
        "hysteresis" => "quorum 2\n",
        "lthreshold" => "uthreshold 60\n",
        "sorry_server_inhibit" | "sorry_server_lvs_method" => "sorry_server 198.18.0.99\n",
        "notify_fifo_script" => "notify_fifo /run/all.fifo\n",
        "lvs_notify_fifo_script" => "lvs_notify_fifo /run/lvs.fifo\n",
        "virtual_server_group" => {
            "virtual_server group web {\nlb_kind DR\nprotocol TCP\nreal_server 198.18.0.11 80 {\n}\n}\n"
        }
        "regex_no_match" | "regex_options" | "regex_min_offset" | "regex_max_offset" => "regex x\n",
        "enable_sni" => "virtualhost www.example.com\n",
        "min_reply_length" | "max_reply_length" => "require_reply\n",
        "vrrp_notify_fifo_script" => "vrrp_notify_fifo /run/vrrp.fifo\n",
        "native_ipv6" => "virtual_ipaddress {\nfe80::101\n}\n",
        "unicast_ttl" => "unicast_peer {\n198.18.0.2\n}\n",
        "track_src_ip" => "mcast_src_ip 198.18.0.2\n",
        "vmac_xmit_base" => "use_vmac\n",
        _ => "",
    }
}

/// The line of a keyword, with its block.
fn line(key: &Key) -> String {
    let Some(block) = key.opens else { return format!("{} {}\n", key.name, key.example) };
    let inside = match (block, key.name) {
        (Block::List, "virtual_server_group") => "198.18.0.60 80\n".to_owned(),
        (Block::List, "notification_email") => "two@example.com\n".to_owned(),
        (Block::List, "group") => "VI_1\n".to_owned(),
        (Block::List, "virtual_ipaddress" | "virtual_ipaddress_excluded") => "198.18.0.102\n".to_owned(),
        (Block::List, "unicast_peer") => "198.18.0.2\n".to_owned(),
        (Block::List, "track_script") => "chk\n".to_owned(),
        (Block::List, "track_process") => "proc\n".to_owned(),
        (Block::List, "track_file") => "load\n".to_owned(),
        (Block::List, "track_interface" | "interfaces") => "eth7\neth5\n".to_owned(),
        (Block::Host, _) => "connect_port 2525\n".to_owned(),
        (Block::Global, _) => "rs_init_notifies\n".to_owned(),
        (Block::VirtualServer, _) => defaults(block, |_| true) + "real_server 198.18.0.11 80 {\n}\n",
        (block, _) => defaults(block, |_| true),
    };
    format!("{} {} {{\n{inside}}}\n", key.name, key.example)
}
