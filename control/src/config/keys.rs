//! Every key of the native format, with what belongs there: the vocabulary that [`super::shape`] checks a file
//! against, that help texts quote and that [`mod@super::schema`] tells editors. The types that the values are read into are
//! in [`super::file`].
//!
//! *Invariants* (tested): each entry is a field in `file`, and each is described in `configs/README.md` and shown in
//! `configs/reference.toml`; a range or a list of words is what [`super::resolve`] takes.

mod check;
mod director;
mod notify;
mod service;
mod vrrp;

/// What may stand at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[key]`
    Table,
    /// `[[key]]`, any number of times.
    Tables,
    /// `[key]`, or `[[key]]` any number of times.
    TableOrTables,
    /// A string.
    Text,
    /// An integer.
    Integer,
    /// An integer, or a word in its place.
    IntegerOrText,
    /// Integers and words in an array, or one alone.
    IntegersOrTexts,
    /// `true` or `false`.
    Boolean,
    /// `true` or `false`, or a word in their place.
    BooleanOrText,
    /// An array of strings.
    Texts,
    /// An array of tables, or of strings, each of which is the first key of such a table.
    TextsOrTables,
    /// An array of integers.
    Integers,
    /// A program with its arguments: one string, or an array of them.
    Words,
    /// The same, or a table with `run` and whose rights it has.
    Command,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Dotted path without indices.
    pub path: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// How it is written.
    pub example: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// What the same thing is called elsewhere, for "did you mean".
    pub aliases: &'static [&'static str],
    /// Least and largest of its integers.
    pub range: Option<(i64, i64)>,
    /// All its words; empty: any.
    pub words: &'static [&'static str],
    /// A regular expression (ECMA 262) for its strings.
    pub pattern: Option<&'static str>,
    /// It cannot be left out.
    pub required: bool,
}

/// A whole number and its unit.
const DURATION: &str = "^[0-9]+(ms|s|m|h|d)$";
/// A percentage with at most one decimal.
const SHARE: &str = r"^[0-9]+(\.[0-9])?%$";

/// All keys: those of a table in the order of `configs/README.md`.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [director::KEYS, service::KEYS, check::KEYS, notify::KEYS, vrrp::KEYS].into_iter().flatten()
}

/// The key at `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// The keys directly below `table` (the empty path: the top level).
pub(super) fn children(table: &str) -> impl Iterator<Item = &'static Key> {
    all().filter(move |key| key.table() == table)
}

/// `table.name`, or `name` at the top level.
pub(super) fn join(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

impl Key {
    /// The last part of the path: what is typed.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the table that the key stands in.
    pub(super) fn table(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// The path that the keys in its table are listed under: tables that are alike are listed once.
    pub(super) fn inside(&self) -> &'static str {
        match (self.kind, self.path) {
            (Kind::Command, _) => "command",
            (_, "service.real.check") => "service.check",
            (_, "vrrp.router.addresses" | "vrrp.router.excluded") => "address",
            (_, "vrrp.router.peers") => "peer",
            (_, "vrrp.group.track") => "vrrp.router.track",
            (Kind::TextsOrTables, _) => "tracked",
            (_, path) => path,
        }
    }

    const fn about(self, about: &'static str) -> Key {
        Key { about, ..self }
    }

    const fn range(self, least: i64, largest: i64) -> Key {
        Key { range: Some((least, largest)), ..self }
    }

    const fn words(self, words: &'static [&'static str]) -> Key {
        Key { words, ..self }
    }

    const fn pattern(self, pattern: &'static str) -> Key {
        Key { pattern: Some(pattern), ..self }
    }

    const fn required(self) -> Key {
        Key { required: true, ..self }
    }
}

impl Kind {
    /// For "expected ...".
    pub(super) fn describe(self) -> &'static str {
        match self {
            Kind::Table => "a table",
            Kind::Tables => "an array of tables",
            Kind::TableOrTables => "a table or an array of tables",
            Kind::Text => "a string",
            Kind::Integer => "an integer",
            Kind::IntegerOrText => "an integer or a string",
            Kind::IntegersOrTexts => "integers or strings",
            Kind::Boolean => "true or false",
            Kind::BooleanOrText => "true, false or a string",
            Kind::Texts => "an array of strings",
            Kind::TextsOrTables => "an array of strings or tables",
            Kind::Integers => "an array of integers",
            Kind::Words => "a string or an array of strings",
            Kind::Command => "a string, an array of strings or a table",
        }
    }
}

const fn key(path: &'static str, kind: Kind, example: &'static str, aliases: &'static [&'static str]) -> Key {
    let (about, words) = ("", &[] as &[&str]);
    Key { path, kind, example, about, aliases, range: None, words, pattern: None, required: false }
}

/// A key whose value is a duration.
const fn duration(path: &'static str, example: &'static str, aliases: &'static [&'static str]) -> Key {
    key(path, Kind::Text, example, aliases).pattern(DURATION)
}

/// A key whose value is a share.
const fn share(path: &'static str, example: &'static str, aliases: &'static [&'static str]) -> Key {
    key(path, Kind::Text, example, aliases).pattern(SHARE)
}

#[cfg(test)]
mod tests {
    use toml::Value;

    use super::*;

    const REFERENCE: &str = include_str!("../../../configs/reference.toml");
    const README: &str = include_str!("../../../configs/README.md");

    #[test]
    fn a_path_is_its_table_and_its_name() {
        let weight = find("service.real.weight").unwrap();
        assert_eq!((weight.table(), weight.name()), ("service.real", "weight"));
        assert_eq!(join(weight.table(), weight.name()), weight.path);
        assert_eq!(
            children("").map(Key::name).collect::<Vec<_>>(),
            ["director", "service", "scripts", "notify", "vrrp", "sync"]
        );
        assert_eq!(children("service.check").map(Key::name).next(), Some("type"));
    }

    #[test]
    fn every_key_is_in_the_reference_file_and_in_the_readme() {
        let reference = Value::Table(REFERENCE.parse().unwrap());
        let shown = |path: &str| {
            let found = path.split('.').fold(vec![&reference], |values, name| {
                let entries = values.iter().flat_map(|value| match value {
                    Value::Array(entries) => entries.iter().collect(),
                    value => vec![*value],
                });
                entries.filter_map(|entry| entry.get(name)).collect()
            });
            !found.is_empty()
        };
        for key in all() {
            // Tables that are alike are listed once, and may be shown anywhere.
            let shared = all().filter(|home| home.inside() == key.table());
            let is_shown = shared
                .fold(shown(key.path), |is_shown, home| is_shown || shown(&join(home.path, key.name())));
            assert!(is_shown, "configs/reference.toml lacks {}", key.path);
            assert!(README.contains(&format!("`{}`", key.path)), "configs/README.md lacks {}", key.path);
        }
    }

    #[test]
    fn every_example_can_be_pasted_and_every_key_is_explained() {
        for key in all() {
            assert!(key.example.parse::<toml::Table>().is_ok(), "{}", key.example);
            assert!(!key.about.is_empty(), "{}", key.path);
        }
    }
}
