//! Checks the tree of a file against [`super::keys`] before serde reads it: unknown keys and values of the wrong
//! kind are reported and taken out, all of them in one pass. serde stops at its first error, so it only ever gets a
//! tree that it can read to the end.
//!
//! *Invariant*: after [`prune`], the tree deserializes into `file::File` (tested with random trees).

use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::error::{Fault, MOST_FAULTS, Severity, quote};
use super::keys::{self, Key, Kind};
use super::source::Source;

/// Keys that were taken out, so that nobody reports them as missing: start of their table, and their path.
pub(super) type Removed = HashSet<(usize, &'static str)>;

/// Takes out of the whole document what does not belong in it.
pub(super) fn prune(document: &mut Spanned<DeTable<'_>>, source: &Source) -> (Vec<Fault>, Removed) {
    let mut pruning = Pruning { source, faults: Vec::new(), removed: Removed::new() };
    let span = document.span();
    pruning.table(document.get_mut(), span, "", "");
    (pruning.faults, pruning.removed)
}

/// A correction to suggest for `typed`, among what can stand there.
pub(crate) fn closest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    // Two slips at most, and never so many that nothing of the word is left.
    let near = |word: &str| {
        let slips = strsim::damerau_levenshtein(&typed, word);
        (slips <= 2 && slips * 2 < word.len().max(2)).then_some(slips)
    };
    known.filter_map(|word| Some((near(word)?, word))).min_by_key(|(slips, _)| *slips).map(|(_, word)| word)
}

struct Pruning<'a> {
    source: &'a Source,
    faults: Vec<Fault>,
    removed: Removed,
}

impl Pruning<'_> {
    /// `at`: the path of the table as it was typed. `within`: the path that its keys are listed under.
    fn table(&mut self, table: &mut DeTable<'_>, span: Range<usize>, at: &str, within: &str) {
        let entries = std::mem::take(table).into_iter();
        *table = entries
            .filter_map(|(name, mut value)| {
                let Some(key) = keys::find(&keys::join(within, name.get_ref())) else {
                    self.unknown(name.get_ref(), name.span(), &span, at, within);
                    return None;
                };
                let faults = self.faults.len();
                let fits = self.value(&mut value, key, &keys::join(at, key.name()));
                // Of an array only entries may have gone; then it says nothing about how many it was to have.
                if self.faults.len() > faults {
                    self.removed.insert((span.start, key.path));
                }
                fits.then_some((name, value))
            })
            .collect();
    }

    /// Whether the value may stay, without what had to be taken out of it, and in the one form that serde reads where
    /// several can be typed.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, key: &'static Key, at: &str) -> bool {
        let span = value.span();
        match (key.kind, value.get_ref()) {
            (Kind::TableOrTables, DeValue::Table(_)) => *value = array_of_one(value),
            (Kind::IntegersOrTexts, DeValue::Integer(_) | DeValue::String(_)) => *value = array_of_one(value),
            (Kind::Command, DeValue::String(_) | DeValue::Array(_)) => *value = table_with("run", value),
            _ => {}
        }
        match (key.kind, value.get_mut()) {
            (Kind::Table | Kind::Command, DeValue::Table(table)) => {
                self.table(table, span.clone(), at, key.inside());
                // Without what is run there is no program, whatever else the table says.
                return key.kind != Kind::Command || self.has_run(table, &span, at);
            }
            (Kind::Text | Kind::IntegerOrText | Kind::BooleanOrText | Kind::Words, DeValue::String(_))
            | (Kind::Boolean | Kind::BooleanOrText, DeValue::Boolean(_)) => {}
            (Kind::Integer | Kind::IntegerOrText, DeValue::Integer(number)) => {
                return self.integer(number, span, key, at);
            }
            (
                Kind::Tables
                | Kind::TableOrTables
                | Kind::TextsOrTables
                | Kind::Texts
                | Kind::Integers
                | Kind::IntegersOrTexts
                | Kind::Words,
                DeValue::Array(array),
            ) => self.array(array, key, at),
            (kind, found) => {
                self.wrong(span, key, at, format!("expected {}, found {}", kind.describe(), describe(found)));
                return false;
            }
        }
        true
    }

    fn array(&mut self, array: &mut DeArray<'_>, key: &'static Key, at: &str) {
        let entries = std::mem::replace(array, DeArray::new()).into_iter();
        *array = entries.filter_map(|mut value| self.entry(&mut value, key, at).then_some(value)).collect();
    }

    /// Whether one entry of an array may stay.
    fn entry(&mut self, value: &mut Spanned<DeValue<'_>>, key: &'static Key, at: &str) -> bool {
        let span = value.span();
        if let (Kind::TextsOrTables, DeValue::String(_), Some(first)) =
            (key.kind, value.get_ref(), keys::children(key.inside()).next())
        {
            *value = table_with(first.name(), value);
        }
        let fits = match (key.kind, value.get_mut()) {
            (Kind::Tables | Kind::TableOrTables | Kind::TextsOrTables, DeValue::Table(table)) => {
                self.table(table, span.clone(), at, key.inside());
                true
            }
            (Kind::Texts | Kind::Words | Kind::IntegersOrTexts, DeValue::String(_)) => true,
            (Kind::Integers | Kind::IntegersOrTexts, DeValue::Integer(number)) => {
                return self.integer(number, span, key, at);
            }
            _ => false,
        };
        if !fits {
            let found = describe(value.get_ref());
            self.wrong(span, key, at, format!("expected {}, found {found} in it", key.kind.describe()));
        }
        fits
    }

    /// Whether the table of a program says what is run.
    fn has_run(&mut self, table: &DeTable<'_>, span: &Range<usize>, at: &str) -> bool {
        let has = table.get("run").is_some();
        if !has && !self.removed.contains(&(span.start, "command.run")) {
            let help = "say what is run: { run = \"/usr/local/bin/up.sh\", user = \"nobody\" }".to_owned();
            self.push(span.clone(), &keys::join(at, "run"), "missing".to_owned(), help);
        }
        has
    }

    /// Whether the number fits 64 bits; the parser hands on longer ones as text.
    fn integer(&mut self, number: &DeInteger<'_>, span: Range<usize>, key: &'static Key, at: &str) -> bool {
        let fits = i64::from_str_radix(number.as_str(), number.radix()).is_ok();
        if !fits {
            self.wrong(span, key, at, format!("{number} is out of range"));
        }
        fits
    }

    fn wrong(&mut self, span: Range<usize>, key: &Key, at: &str, message: String) {
        let help = format!("write it like this: {}", key.example);
        self.push(span, at, message, help);
    }

    fn unknown(&mut self, name: &str, span: Range<usize>, table: &Range<usize>, at: &str, within: &str) {
        let key = if name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) && !name.is_empty() {
            keys::join(at, name)
        } else {
            keys::join(at, &quote(name))
        };
        let meant = meant(name, within);
        if let Some(meant) = meant {
            self.removed.insert((table.start, meant.path));
        }
        self.push(span, &key, "unknown key".to_owned(), help_for_unknown(name, within, meant));
    }

    fn push(&mut self, span: Range<usize>, key: &str, message: String, help: String) {
        if self.faults.len() <= MOST_FAULTS {
            let fault = self.source.fault(Severity::Error, span, key, message);
            self.faults.push(Fault { help: Some(help), ..fault });
        }
    }
}

/// The value as the only entry of an array, in its place.
fn array_of_one<'a>(value: &mut Spanned<DeValue<'a>>) -> Spanned<DeValue<'a>> {
    let span = value.span();
    let mut array = DeArray::new();
    array.push(std::mem::replace(value, Spanned::new(span.clone(), DeValue::Boolean(false))));
    Spanned::new(span, DeValue::Array(array))
}

/// The value as a key of a table, in its place.
fn table_with<'a>(key: &'static str, value: &mut Spanned<DeValue<'a>>) -> Spanned<DeValue<'a>> {
    let span = value.span();
    let mut table = DeTable::new();
    let inside = std::mem::replace(value, Spanned::new(span.clone(), DeValue::Boolean(false)));
    table.insert(Spanned::new(span.clone(), key.into()), inside);
    Spanned::new(span, DeValue::Table(table))
}

/// The key of the same table that was probably meant.
fn meant(name: &str, table: &str) -> Option<&'static Key> {
    let by_alias = || keys::children(table).find(|key| key.aliases.contains(&name));
    match closest(name, keys::children(table).map(Key::name)) {
        Some(close) => keys::children(table).find(|key| key.name() == close),
        None => by_alias(),
    }
}

fn help_for_unknown(name: &str, table: &str, meant: Option<&Key>) -> String {
    if let Some(key) = meant {
        return format!("did you mean \"{}\"?", key.name());
    }
    if let Some(elsewhere) = keys::all().find(|key| key.name() == name) {
        return match keys::find(elsewhere.table()) {
            Some(home) => format!("\"{name}\" belongs in {}", home.example),
            None => format!("\"{name}\" is written {}", elsewhere.example),
        };
    }
    let known: Vec<&str> = keys::children(table).map(Key::name).collect();
    format!("known keys here: {}", known.join(", "))
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", quote(text)),
        DeValue::Integer(number) => format!("the integer {number}"),
        DeValue::Float(number) => format!("the float {}", number.as_str()),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(value) => format!("the date {value}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
