//! The tables of `configs/KEEPALIVED.md` are the table of keywords. `BLESS=1` writes them anew; read the difference before
//! keeping it.

use std::fmt::Write;

use super::super::keywords::{self, Block, Key, Tier};

/// cargo runs tests in the directory of their package.
const DOCUMENT: &str = "../configs/KEEPALIVED.md";
/// What stands above it is written by hand.
const MARK: &str =
    "<!-- From here on a test writes the tables: BLESS=1 cargo test -p shunt --lib document -->\n";

#[test]
fn the_document_says_of_every_keyword_what_becomes_of_it() {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let (prose, tables) = text.split_once(MARK).expect("the mark divides the document");
    let expected = self::tables();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(DOCUMENT, format!("{prose}{MARK}{expected}")).unwrap();
    } else {
        assert_eq!(tables, expected);
    }
}

/// A table for each block, in the order in which the blocks are met.
fn tables() -> String {
    let mut blocks: Vec<Block> = Vec::new();
    for block in keywords::all().flat_map(|key| key.blocks) {
        if !blocks.contains(block) {
            blocks.push(*block);
        }
    }
    let mut text = String::new();
    for block in blocks {
        let _ = writeln!(text, "\n### {}\n\n| keyword | what shunt does |\n|---|---|", heading(block));
        for key in keywords::all().filter(|key| key.blocks.contains(&block)) {
            let _ = writeln!(text, "| `{}` | {} |", key.name, fate(key).replace('|', "\\|"));
        }
    }
    text
}

/// The keywords that open it.
fn heading(block: Block) -> String {
    if block == Block::Root {
        return "Outside all braces".to_owned();
    }
    let openers = keywords::all().filter(|key| key.opens == Some(block));
    openers.map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ")
}

fn fate(key: &Key) -> String {
    match key.tier {
        Tier::Acts if key.means != key.name => format!("acts; another word for `{}`", key.means),
        Tier::Acts => "acts".to_owned(),
        Tier::Already(why) => format!("already so: {why}"),
        Tier::Deprecated(better) => format!("acts, with a warning; write `{better}`"),
        Tier::Warns(lost) => format!("does nothing, with a warning: {lost}"),
        Tier::Rejected(what, instead) => format!("rejected: {what}; {instead}"),
        Tier::Differs(how) => format!("acts, with a warning: {how}"),
    }
}
