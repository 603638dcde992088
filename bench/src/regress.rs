//! Has a frame become more expensive? Counts of now beside those that were committed.

use std::fmt;

use crate::report::Row;

/// What a row may have more than it had, per cent.
pub const MORE: f64 = 3.0;
/// And how many instructions at least: of few, one is much.
const LEAST: f64 = 1.0;

/// Instructions a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// The set.
    pub group: String,
    /// What was counted.
    pub row: String,
    /// Of what.
    pub parameter: String,
    /// So many.
    pub instructions: f64,
}

/// Why a check fails.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A row has more instructions than it had.
    Longer {
        /// Now.
        now: Count,
        /// When it was committed.
        before: f64,
    },
    /// A row that nobody has counted before.
    New(Count),
    /// Another compiler, or another profile: then the source need not be to blame.
    Build {
        /// Now.
        now: String,
        /// When it was committed.
        before: String,
    },
}

/// What is wrong with these counts, if `committed` is what they should be; `here` says what they were counted with. Another
/// build is no fault by itself.
pub fn judge(counts: &[Count], committed: &[Row], here: &[Row]) -> Vec<Fault> {
    let before = |count: &Count| {
        let row = committed.iter().find(|row| {
            (&row.group, &row.row, &row.parameter) == (&count.group, &count.row, &count.parameter)
        });
        row.and_then(|row| row.value.parse::<f64>().ok())
    };
    let mut faults: Vec<Fault> = counts
        .iter()
        .filter_map(|count| match before(count) {
            Some(before) if count.instructions > before * (1.0 + MORE / 100.0) + LEAST => {
                Some(Fault::Longer { now: count.clone(), before })
            }
            Some(_) => None,
            None => Some(Fault::New(count.clone())),
        })
        .collect();
    let build = |rows: &[Row]| {
        let word = |word| {
            let row = rows.iter().find(|row| row.group == "machine" && row.row == word);
            row.map_or("unknown", |row| &row.value).to_owned()
        };
        format!("{}, profile {}", word("rustc"), word("profile"))
    };
    let (now, before) = (build(here), build(committed));
    if !faults.is_empty() && now != before {
        faults.push(Fault::Build { now, before });
    }
    faults
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Longer { now: Count { group, row, parameter, instructions }, before } => write!(
                f,
                "{group},{row},{parameter}: {instructions:.1} instructions a frame, {before:.1} committed: {:+.1} %",
                (instructions / before - 1.0) * 100.0
            ),
            Fault::New(Count { group, row, parameter, .. }) => {
                write!(f, "{group},{row},{parameter}: not in the file: count anew, and commit that")
            }
            Fault::Build { now, before } => write!(
                f,
                "this was built with {now}, what is committed with {before}: count the committed source anew, built like this one, \
                 to tell the two apart"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::parse;

    const COMMITTED: &str = "group,row,parameter,value,unit\n\
        machine,rustc,,rustc 1.95.0,\n\
        flows,pass/director,1000,400.0,instructions\n\
        stage,stage/hash,1000,10.0,instructions\n";

    fn count(row: &str, instructions: f64) -> Count {
        let group = if row == "stage/hash" { "stage" } else { "flows" };
        Count { group: group.into(), row: row.into(), parameter: "1000".into(), instructions }
    }

    fn told(counts: &[Count], compiler: &str) -> Vec<String> {
        let here = parse(&format!("machine,rustc,,{compiler},\n")).unwrap();
        judge(counts, &parse(COMMITTED).unwrap(), &here).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn three_per_cent_more_pass_and_what_is_more_is_told_with_its_row_and_by_how_much() {
        let counts = [count("pass/director", 412.9), count("stage/hash", 11.2)];
        assert_eq!(told(&counts, "rustc 1.95.0"), Vec::<String>::new());
        let counts = [count("pass/director", 414.0), count("stage/hash", 5.0)];
        let wanted = "flows,pass/director,1000: 414.0 instructions a frame, 400.0 committed: +3.5 %";
        assert_eq!(told(&counts, "rustc 1.95.0"), [wanted]);
    }

    #[test]
    fn a_row_that_nobody_counted_before_is_a_fault() {
        let told = told(&[count("pass/new", 1.0)], "rustc 1.95.0");
        assert_eq!(told, ["flows,pass/new,1000: not in the file: count anew, and commit that"]);
    }

    #[test]
    fn another_compiler_is_told_of_where_there_is_a_fault_and_only_there() {
        assert!(told(&[count("pass/director", 400.0)], "rustc 1.96.0").is_empty());
        let told = told(&[count("pass/director", 500.0)], "rustc 1.96.0");
        assert!(told[1].contains("rustc 1.96.0") && told[1].contains("rustc 1.95.0"), "{told:?}");
    }
}
