//! Results as people look at them: drawings and tables. They are made from the CSV of `../results` by one command, `plot`, so
//! that no figure in a README is typed.
//!
//! *Invariants*: what was not measured is not drawn, and is no error: a machine may lack a peer, or the rights to measure it.
//! A figure on veth says in its title that it is none of a NIC.

pub mod bars;
pub mod canvas;
pub mod curves;
pub mod latency;
pub mod tables;

use crate::report::Row;

/// Rows of one file or several.
#[derive(Debug, Clone, Default)]
pub struct Results(pub Vec<Row>);

/// A median with its quartiles, low and high.
pub type Quartiles = [f64; 3];

impl Results {
    /// The rows of a group, in the order in which they were written.
    pub fn group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Row> {
        self.0.iter().filter(move |row| row.group == group)
    }

    /// One figure.
    pub fn figure(&self, group: &str, row: &str, parameter: &str) -> Option<f64> {
        let found = self.group(group).find(|found| found.row == row && found.parameter == parameter);
        found.and_then(|row| row.value.parse().ok())
    }

    /// A figure that has a spread.
    pub fn spread(&self, group: &str, row: &str, parameter: &str) -> Option<Quartiles> {
        let figure = |which| self.figure(group, row, &format!("{parameter} {which}"));
        Some([figure("median")?, figure("low")?, figure("high")?])
    }

    /// Names of the rows of a group, each once.
    pub fn names<'a>(&'a self, group: &'a str) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.group(group) {
            if !names.contains(&row.row.as_str()) {
                names.push(&row.row);
            }
        }
        names
    }

    /// A word about the machine.
    pub fn machine(&self, row: &str) -> &str {
        let found = self.group("machine").find(|found| found.row == row);
        found.map_or("unknown", |row| &row.value)
    }

    /// Processor, kernel and day: below each drawing.
    fn caption(&self) -> String {
        let cores = self.machine("cores");
        let machine = if self.machine("virtual") == "yes" { ", virtual machine" } else { "" };
        let [processor, kernel, date] = ["processor", "kernel", "date"].map(|word| self.machine(word));
        format!("{processor}, {cores} cores{machine}; Linux {kernel}; {date}")
    }
}

/// All drawings that these results are enough for: names of files, and what is in them. A file that is named twice is drawn
/// once.
pub fn drawings(results: &Results) -> Vec<(&'static str, String)> {
    let all = [
        ("memory.svg", curves::memory(results)),
        ("veth.svg", bars::veth(results)),
        ("veth-latency.svg", latency::veth(results)),
        ("instructions.svg", bars::instructions(results)),
        ("scale.svg", bars::scale(results)),
    ];
    all.into_iter().filter_map(|(name, drawing)| Some((name, drawing?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::parse;

    /// A little of each file, as the programs write it; the figures are made up.
    const SAMPLE: &str = include_str!("sample.csv");

    #[test]
    fn whatever_group_is_missing_the_others_are_drawn() {
        let all = Results(parse(SAMPLE).unwrap());
        assert_eq!(drawings(&all).len(), 5);
        let mut groups: Vec<&str> = all.0.iter().map(|row| row.group.as_str()).collect();
        groups.dedup();
        for group in groups {
            let without = Results(all.0.iter().filter(|row| row.group != group).cloned().collect());
            let expected = match group {
                "flows" | "veth/latency" | "scale" => 4,
                // Bars of each are drawn where the other is missing, and instructions where others have the same names.
                _ => 5,
            };
            assert_eq!(drawings(&without).len(), expected, "without {group}");
        }
        assert!(drawings(&Results::default()).is_empty());
    }

    #[test]
    fn no_row_of_a_group_needs_another() {
        let all = Results(parse(SAMPLE).unwrap());
        for n in 0..all.0.len() {
            let mut rows = all.0.clone();
            rows.remove(n);
            drawings(&Results(rows.clone()));
            tables::all(&Results(rows));
            drawings(&Results(vec![all.0[n].clone()]));
        }
    }

    #[test]
    fn what_is_drawn_has_a_ground_of_its_own_and_says_that_a_veth_is_no_nic() {
        let results = Results(parse(SAMPLE).unwrap());
        for (name, drawing) in drawings(&results) {
            assert!(drawing.contains("fill=\"#FFFFFF\""), "{name} can be read on a white page only");
            assert_eq!(name.starts_with("veth"), drawing.contains("not a NIC"), "{name}");
        }
    }
}
