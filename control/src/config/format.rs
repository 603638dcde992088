//! Which format a file is in. Told by its content, not by its name: people pass `/etc/keepalived/keepalived.conf` and
//! copies of it with any name.

use super::ipvsadm;
use super::listing;

/// A format that a configuration can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The native TOML format, and everything that is not recognised as another.
    Native,
    /// What `ipvsadm-save` prints.
    Ipvsadm,
    /// A `keepalived.conf`.
    Keepalived {
        /// The line that shows it, from 1.
        line: usize,
    },
}

/// Blocks that stand at the top level of a keepalived.conf and nowhere else (keepalived.conf(5)).
pub(super) const BLOCKS: &[&str] = &[
    "SSL",
    "bfd_instance",
    "garp_group",
    "global_defs",
    "interface_up_down_delays",
    "linkbeat_interfaces",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "track_group",
    "virtual_server",
    "virtual_server_group",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_file",
    "vrrp_track_process",
];

/// Statements of its top level that have no block.
const STATEMENTS: &[&str] = &[
    "child_wait_time",
    "include",
    "includea",
    "includeb",
    "includem",
    "includer",
    "includew",
    "instance",
    "linkbeat_use_polling",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "use_pid_dir",
];

/// Tables of the native format, which somebody may take for blocks.
const TABLES: &[&str] = &["director", "service"];

impl Format {
    /// The format of `text`: what its first telling line says.
    pub fn detect(text: &str) -> Format {
        let is_listing = listing::is_numbered(text);
        let content = |line| significant(if is_listing { listing::content(line) } else { line });
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, content(line)));
        while let Some((line, content)) = lines.next() {
            let mut after = lines.clone().map(|(_, next)| next);
            let mut next_opens =
                || after.find(|next| !next.is_empty()).is_some_and(|next| next.starts_with('{'));
            let word = content.split(|c: char| c.is_whitespace() || c == '{').next().unwrap_or_default();
            if content.starts_with('[') || is_assignment(content) || TABLES.contains(&word) {
                return Format::Native;
            }
            if ipvsadm::is_command(content) {
                return Format::Ipvsadm;
            }
            let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic());
            if is_only_of_keepalived(content)
                || STATEMENTS.contains(&word)
                // A word that is not known here may be one with a typing mistake.
                || is_name && (content.contains('{') || next_opens())
            {
                return Format::Keepalived { line };
            }
        }
        Format::Native
    }
}

/// `key = value`, as nothing in a keepalived.conf begins.
fn is_assignment(content: &str) -> bool {
    let is_of_key = |c: char| c.is_alphanumeric() || "_-.\"' \t".contains(c);
    content.split_once('=').is_some_and(|(key, _)| !key.is_empty() && key.chars().all(is_of_key))
}

/// A definition, a condition or a sequence, as nothing in TOML begins.
fn is_only_of_keepalived(content: &str) -> bool {
    let is_word = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_^".contains(c));
    content.strip_prefix(['$', '@']).is_some_and(is_word)
        || content.starts_with("~SEQ")
        || content.starts_with("~LST")
}

/// The line without comment (both formats have `#`, keepalived has `!` too, and `;` is taken for one) and surrounding
/// blanks.
fn significant(line: &str) -> &str {
    let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
    let content = line.split(['#', '!']).next().unwrap_or_default().trim_matches(blank);
    if content.starts_with(';') { "" } else { content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keepalived_conf_is_recognised_by_its_first_telling_line() {
        for (text, line) in [
            ("global_defs {\n}\n", 1),
            ("! Configuration File for keepalived\n\nglobal_defs{\n}\n", 3),
            ("# x\nvrrp_instance VI_1\n\n{\n", 2),
            ("include /etc/keepalived/*.conf\nvirtual_server 192.0.2.10 80 { # web\n", 1),
            ("includer conf.d/*.conf\n", 1),
            ("\u{feff}$X=1\nvirtual_server_group G {\n", 1),
            ("@lb1 net_namespace x\n", 1),
            ("~SEQ(N, 1, 3) $VS\n", 1),
            ("; Common Configuration Block\n\u{a0}\nvrrp_script chk {\n", 3),
            ("virtusl_server 192.0.2.10 80 {\n", 1),
            ("globl_defs {\n", 1),
            ("use_pid_dir\n", 1),
            ("  1. ; Master\n  2. \u{a0}\n  3. global_defs {\n  4. }\n", 3),
        ] {
            assert_eq!(Format::detect(text), Format::Keepalived { line }, "{text}");
        }
    }

    #[test]
    fn every_block_and_statement_of_the_top_level_is_recognised() {
        for block in BLOCKS {
            assert_eq!(Format::detect(&format!("{block} x {{\n}}\n")), Format::Keepalived { line: 1 });
            assert_eq!(Format::detect(&format!("{block}\n{{\n}}\n")), Format::Keepalived { line: 1 });
        }
        for statement in STATEMENTS {
            assert_eq!(Format::detect(&format!("{statement} x\n")), Format::Keepalived { line: 1 });
        }
    }

    #[test]
    fn a_saved_table_is_recognised_by_its_first_line() {
        for text in
            ["-A -t 192.0.2.10:80 -s rr\n", "# x\n\n/sbin/ipvsadm -A -f 1\n", " --add-service -u x:1\n"]
        {
            assert_eq!(Format::detect(text), Format::Ipvsadm, "{text}");
        }
        for text in ["-C\n", "A -t\n", "ipvsadm\n", "[a]\n-A -t 192.0.2.10:80\n"] {
            assert_eq!(Format::detect(text), Format::Native, "{text}");
        }
    }

    #[test]
    fn toml_and_anything_else_is_native() {
        for text in [
            "[director]\n# virtual_server 192.0.2.10 80 {\n",
            "[director]\nx = \"\"\"\nvirtual_server 192.0.2.10 80 {\n\"\"\"\n",
            "x = \"\"\"\nvirtual_server 192.0.2.10 80 {\n\"\"\"\n",
            "virtual_server = { a = 1 }\n",
            "include = \"x\"\n",
            "director.hash_key = \"$x\"\nglobal_defs {\n",
            "\"a b\" = 1\nglobal_defs {\n",
            "director {\n  interfaces = [\"eth0\"]\n}\n",
            "{ \"director\": 1 }\n",
            "1. [director]\n2. x = 1\n3. global_defs {\n",
            "hello world\n",
            "",
        ] {
            assert_eq!(Format::detect(text), Format::Native, "{text}");
        }
    }

    #[test]
    fn what_ipvsadm_saves_is_recognised() {
        let saved = "-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 192.0.2.21:80 -g -w 1\n";
        assert_eq!(Format::detect(saved), Format::Ipvsadm);
        assert_eq!(Format::detect(&format!("# saved\n\n{saved}")), Format::Ipvsadm);
        assert_eq!(Format::detect("-C\n"), Format::Native);
    }
}
