//! Which format a file is in. Told by its content, not by its name: people pass `/etc/keepalived/keepalived.conf` and
//! copies of it with any name.

use super::ipvsadm;

/// A format that a configuration can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The native TOML format, and everything that is not recognised as another.
    Native,
    /// What `ipvsadm-save` prints.
    Ipvsadm,
    /// A `keepalived.conf`.
    Keepalived {
        /// Line of the first block, from 1.
        line: usize,
    },
}

/// Blocks at the top level of a keepalived.conf (keepalived 2.3, doc/man/man5/keepalived.conf.5).
const BLOCKS: &[&str] = &[
    "global_defs",
    "linkbeat_interfaces",
    "linkbeat_use_polling",
    "net_namespace",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "track_file",
    "track_group",
    "track_process",
    "virtual_server",
    "virtual_server_group",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_file",
    "vrrp_track_process",
];

impl Format {
    /// The format of `text`: a keepalived.conf if a block of one comes before any TOML header.
    pub fn detect(text: &str) -> Format {
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, significant(line)));
        while let Some((line, content)) = lines.next() {
            if content.starts_with('[') {
                return Format::Native;
            }
            if ipvsadm::is_command(content) {
                return Format::Ipvsadm;
            }
            let (word, rest) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
            if BLOCKS.contains(&word.trim_end_matches('{')) {
                // The brace may stand on a line of its own.
                let opens = |text: &str| text.contains('{') && !text.trim_start().starts_with('=');
                let mut after = lines.clone().map(|(_, next)| next).skip_while(|next| next.is_empty());
                if opens(rest)
                    || word.ends_with('{')
                    || after.next().is_some_and(|next| next.starts_with('{'))
                {
                    return Format::Keepalived { line };
                }
            }
        }
        Format::Native
    }
}

/// The line without comment (both formats have `#`, keepalived has `!` too) and surrounding blanks.
fn significant(line: &str) -> &str {
    line.split(['#', '!']).next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_keepalived_is_recognised_wherever_its_brace_stands() {
        for (text, line) in [
            ("global_defs {\n}\n", 1),
            ("! Configuration File for keepalived\n\nglobal_defs{\n}\n", 3),
            ("# x\nvrrp_instance VI_1\n\n{\n", 2),
            ("include /etc/keepalived/*.conf\nvirtual_server 192.0.2.10 80 { # web\n", 2),
            ("$X=1\nvirtual_server_group G {\n", 2),
        ] {
            assert_eq!(Format::detect(text), Format::Keepalived { line }, "{text}");
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
            "virtual_server = { a = 1 }\n",
            "virtual_server_x {\n",
            "hello world\n",
            "",
        ] {
            assert_eq!(Format::detect(text), Format::Native, "{text}");
        }
    }
}
