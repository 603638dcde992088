//! Every keyword of keepalived 2.2.7: where it belongs, how many words follow it, and what becomes of it here. Silence
//! would be the bug: a keyword acts, or is so anyway, or one warning says what is lost, or it is an error.
//!
//! *Invariants* (tested): a name occurs once in a block; each example is accepted where the keyword belongs, and shows its
//! tier: what acts changes the model, what does not act gives exactly one warning that names it.
//!
//! keepalived: the `install_keyword` calls of `*_parser.c` and `check_*.c`, and keepalived.conf(5).

mod check;
mod global;
mod server;
mod vrrp;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use crate::config::shape;

/// What stands between a pair of braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Block {
    /// The file itself.
    Root,
    Global,
    Ssl,
    VirtualServer,
    RealServer,
    Tcp,
    /// `HTTP_GET` and `SSL_GET`.
    Http,
    Url,
    Smtp,
    /// `host` of an `SMTP_CHECK`.
    Host,
    Dns,
    Udp,
    Ping,
    Misc,
    File,
    TrackFile,
    VrrpInstance,
    Authentication,
    SyncGroup,
    VrrpScript,
    TrackProcess,
    TrackGroup,
    GarpGroup,
    /// Lines that are no statements: addresses, routes, names.
    List,
}

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// It does here what it does in keepalived.
    Acts,
    /// It asks for what is so anyway; why.
    Already(&'static str),
    /// It acts, and the other word is the better one.
    Deprecated(&'static str),
    /// It does nothing here; what is lost.
    Warns(&'static str),
    /// It cannot be; what is wrong, and what to do.
    Rejected(&'static str, &'static str),
    /// It acts, and not as in keepalived; what is different.
    Differs(&'static str),
}

/// A keyword.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// As it is typed.
    pub name: &'static str,
    /// Where it belongs.
    pub blocks: &'static [Block],
    /// How many words follow it.
    pub words: RangeInclusive<usize>,
    /// Words that may follow it.
    pub example: &'static str,
    /// What its braces hold; none: it has no braces.
    pub opens: Option<Block>,
    /// It may occur more than once in a block.
    pub often: bool,
    /// The keyword it is another word for; most are their own.
    pub means: &'static str,
    /// What becomes of it.
    pub tier: Tier,
}

/// As many words as there are.
const MANY: usize = usize::MAX;

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [global::KEYS, server::KEYS, check::KEYS, vrrp::KEYS].into_iter().flatten()
}

/// The keyword called `name` in `block`.
pub(super) fn find(block: Block, name: &str) -> Option<&'static Key> {
    static INDEX: LazyLock<HashMap<(Block, &str), &Key>> = LazyLock::new(|| {
        all().flat_map(|key| key.blocks.iter().map(move |block| ((*block, key.name), key))).collect()
    });
    INDEX.get(&(block, name)).copied()
}

/// The keyword of `block` that was probably meant: the same in other letters, or one nearly so.
pub(super) fn meant(block: Block, typed: &str) -> Option<&'static Key> {
    let here = || all().filter(|key| key.blocks.contains(&block));
    let lower: Vec<String> = here().map(|key| key.name.to_lowercase()).collect();
    let close = shape::closest(typed, lower.iter().map(String::as_str))?;
    here().find(|key| key.name.to_lowercase() == close)
}

/// The blocks, by the keyword that opens them, that a keyword of another block belongs into.
pub(super) fn homes(name: &str) -> Vec<&'static str> {
    let mut homes: Vec<&str> =
        all().filter(|key| key.name == name).flat_map(|key| key.blocks).map(|block| block.name()).collect();
    homes.dedup();
    homes
}

impl Block {
    /// What it is called in messages: the keyword that opens it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Block::Root => "the file itself, outside all braces",
            Block::List => "a list",
            block => all().find(|key| key.opens == Some(block)).map_or("a block", |key| key.name),
        }
    }
}

impl Key {
    /// A line that is right.
    pub(super) fn line(&self) -> String {
        let blank = if self.example.is_empty() { "" } else { " " };
        let braces = if self.opens.is_some() { " { ... }" } else { "" };
        format!("{}{blank}{}{braces}", self.name, self.example)
    }

    const fn new(
        blocks: &'static [Block],
        name: &'static str,
        words: RangeInclusive<usize>,
        example: &'static str,
        tier: Tier,
    ) -> Key {
        Key { name, blocks, words, example, opens: None, often: false, means: name, tier }
    }

    const fn opens(self, block: Block) -> Key {
        Key { opens: Some(block), ..self }
    }

    const fn often(self) -> Key {
        Key { often: true, ..self }
    }

    const fn means(self, means: &'static str) -> Key {
        Key { means, ..self }
    }
}

const fn acts(
    blocks: &'static [Block],
    name: &'static str,
    words: RangeInclusive<usize>,
    example: &'static str,
) -> Key {
    Key::new(blocks, name, words, example, Tier::Acts)
}

const fn already(
    blocks: &'static [Block],
    name: &'static str,
    words: RangeInclusive<usize>,
    example: &'static str,
    why: &'static str,
) -> Key {
    Key::new(blocks, name, words, example, Tier::Already(why))
}

const fn warns(
    blocks: &'static [Block],
    name: &'static str,
    words: RangeInclusive<usize>,
    example: &'static str,
    lost: &'static str,
) -> Key {
    Key::new(blocks, name, words, example, Tier::Warns(lost))
}

const fn rejected(
    blocks: &'static [Block],
    name: &'static str,
    words: RangeInclusive<usize>,
    example: &'static str,
    what: &'static str,
    instead: &'static str,
) -> Key {
    Key::new(blocks, name, words, example, Tier::Rejected(what, instead))
}

const fn differs(
    blocks: &'static [Block],
    name: &'static str,
    words: RangeInclusive<usize>,
    example: &'static str,
    how: &'static str,
) -> Key {
    Key::new(blocks, name, words, example, Tier::Differs(how))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_name_occurs_once_in_a_block() {
        let mut seen = HashSet::new();
        for key in all() {
            for block in key.blocks {
                assert!(seen.insert((*block, key.name)), "{} twice in {block:?}", key.name);
            }
        }
        assert!(seen.len() > 350, "{}", seen.len());
    }

    #[test]
    fn another_word_for_a_keyword_stands_beside_it() {
        for key in all() {
            for block in key.blocks {
                assert!(find(*block, key.means).is_some(), "{} in {block:?}", key.means);
            }
        }
    }

    #[test]
    fn what_was_meant_is_found_through_slips_and_other_letters() {
        let name = |block, typed| meant(block, typed).map(|key| key.name);
        assert_eq!(name(Block::Root, "virtusl_server"), Some("virtual_server"));
        assert_eq!(name(Block::RealServer, "tcp_check"), Some("TCP_CHECK"));
        assert_eq!(name(Block::VirtualServer, "LB_ALGO"), Some("lb_algo"));
        assert_eq!(name(Block::VirtualServer, "nonsense_word"), None);
        assert_eq!(homes("advert_int"), ["vrrp_instance"]);
        assert_eq!(homes("nonsense"), [""; 0]);
    }
}
