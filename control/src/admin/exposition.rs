//! The text that Prometheus reads (its text format 0.0.4, which OpenMetrics grew out of: `promtool check metrics` takes no other,
//! and libraries that keep counters themselves have nothing to say here, where the dataplane has counted already).
//!
//! *Invariants*
//! - a family is announced with its help and its type even if it has no series, so that a name can be looked up;
//! - a series occurs once, as Prometheus demands: where two rows have the same labels (two checks of one port), what
//!   only grows is added, and of what goes up and down the greatest counts.

use std::collections::HashMap;
use std::fmt::Write;

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many, and their sum.
    Summary,
    /// How many were at most this, for some values of this.
    Histogram,
}

/// A metric with all its series.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Type,
    series: Vec<(String, f64)>,
    places: HashMap<String, usize>,
}

/// Names of labels and their values.
pub type Labels = Vec<(&'static str, String)>;

impl Type {
    /// Its word in the text.
    pub fn name(self) -> &'static str {
        match self {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Summary => "summary",
            Type::Histogram => "histogram",
        }
    }
}

impl Family {
    /// No series yet. `help` is one line, without a backslash.
    pub fn new(name: &'static str, help: &'static str, kind: Type) -> Family {
        Family { name, help, kind, series: Vec::new(), places: HashMap::new() }
    }

    /// Adds a series. `suffix`: `_sum`, `_count`, `_bucket`, or nothing.
    pub fn add(&mut self, suffix: &str, labels: &Labels, value: f64) {
        let key = spelled(self.name, suffix, labels);
        match self.places.get(&key) {
            Some(&place) => {
                let before = &mut self.series[place].1;
                *before = if self.kind == Type::Gauge { before.max(value) } else { *before + value };
            }
            None => {
                self.places.insert(key.clone(), self.series.len());
                self.series.push((key, value));
            }
        }
    }

    /// Appends it.
    pub fn write(&self, text: &mut String) {
        let Family { name, help, kind, .. } = self;
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name()).expect(INFALLIBLE);
        for (series, value) in &self.series {
            writeln!(text, "{series} {value}").expect(INFALLIBLE);
        }
    }
}

const INFALLIBLE: &str = "a String takes everything";

fn spelled(name: &str, suffix: &str, labels: &Labels) -> String {
    let mut text = format!("{name}{suffix}");
    for (n, (label, value)) in labels.iter().enumerate() {
        let mark = if n == 0 { '{' } else { ',' };
        write!(text, "{mark}{label}=\"{}\"", escaped(value)).expect(INFALLIBLE);
    }
    if !labels.is_empty() {
        text.push('}');
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(family: &Family) -> String {
        let mut text = String::new();
        family.write(&mut text);
        text
    }

    #[test]
    fn labels_are_escaped_and_a_family_without_series_is_announced() {
        let mut family = Family::new("a_total", "What it is", Type::Counter);
        assert_eq!(text(&family), "# HELP a_total What it is\n# TYPE a_total counter\n");
        family.add("", &Labels::new(), 3.0);
        family.add("", &vec![("b", "x\"y\n\\".to_owned()), ("c", String::new())], 0.25);
        assert!(text(&family).ends_with("counter\na_total 3\na_total{b=\"x\\\"y\\n\\\\\",c=\"\"} 0.25\n"));
    }

    #[test]
    fn rows_with_the_same_labels_are_one_series() {
        let labels: Labels = vec![("real_server", "192.0.2.21".to_owned())];
        for (kind, together) in [(Type::Counter, "3"), (Type::Gauge, "2"), (Type::Summary, "3")] {
            let mut family = Family::new("a", "What it is", kind);
            family.add("", &labels, 2.0);
            family.add("", &labels, 1.0);
            let line = format!("{}\na{{real_server=\"192.0.2.21\"}} {together}\n", kind.name());
            assert!(text(&family).ends_with(&line), "{}", text(&family));
        }
    }
}
