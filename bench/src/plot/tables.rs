//! Results as tables of Markdown: those that are read most by columns, all others as they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Results;
use super::canvas::short;
use crate::report::Row;

/// Groups whose tables have columns of their own: they need no other.
const KNOWN: [&str; 5] = ["machine", "flows", "veth/saturated", "veth/loss_free", "veth/latency"];

/// All tables.
pub fn all(results: &Results) -> String {
    let mut text = String::new();
    for table in [machine(results), flows(results), veth(results)] {
        text += &table;
    }
    let mut groups: Vec<&str> = Vec::new();
    for Row { group, .. } in &results.0 {
        if !KNOWN.contains(&group.as_str()) && !groups.contains(&group.as_str()) {
            groups.push(group);
        }
    }
    groups.into_iter().for_each(|group| text += &plain(results, group));
    text
}

fn machine(results: &Results) -> String {
    let mut rows: Vec<[&str; 2]> = Vec::new();
    for row in results.group("machine").filter(|row| !row.value.is_empty()) {
        if !rows.contains(&[&row.row, &row.value]) {
            rows.push([&row.row, &row.value]);
        }
    }
    table("The machine", &["", ""], rows.iter().map(|row| row.map(str::to_owned).to_vec()))
}

/// Nanoseconds a frame: a line a row, a column a number of flows.
fn flows(results: &Results) -> String {
    let mut columns: Vec<u64> = Vec::new();
    let medians = results.group("flows").filter(|row| row.unit == "ns");
    for flows in medians.filter_map(|row| row.parameter.strip_suffix(" median")?.parse().ok()) {
        if !columns.contains(&flows) {
            columns.push(flows);
        }
    }
    columns.sort_unstable();
    let lines = results.names("flows").into_iter().map(|name| {
        let figure = |parameter: String| results.figure("flows", name, &parameter);
        let cell = |flows: &u64| {
            let Some(ns) = figure(format!("{flows} median")) else { return String::new() };
            let few = figure(format!("{flows} to 1000 median"));
            few.map_or(short(ns), |few| format!("{} ({few:.2})", short(ns)))
        };
        let floors = figure("1000 to the floor median".to_owned()).map(|floors| format!("{floors:.1}"));
        let cells = columns.iter().map(cell);
        [name.to_owned()].into_iter().chain(cells).chain([floors.unwrap_or_default()]).collect()
    });
    let titles: Vec<String> = columns.iter().map(|flows| short(*flows as f64)).collect();
    let mut titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    titles.insert(0, "flows");
    titles.push("1 k, times the floor");
    table("In memory: nanoseconds a frame (as a multiple of 1 k flows in the same rounds)", &titles, lines)
}

/// A line a subject.
fn veth(results: &Results) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in
        ["veth/saturated", "veth/loss_free", "veth/latency"].map(|group| results.names(group)).concat()
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let rate = |group: &str, name: &str, flows: &str| {
        let spread = results.spread(group, name, &format!("flows={flows}"));
        spread.map_or(String::new(), |[median, low, high]| {
            format!("{:.3} ({:.3}-{:.3})", median / 1e6, low / 1e6, high / 1e6)
        })
    };
    let times = |name: &str, load: &str| {
        let figure = |quantile| results.figure("veth/latency", name, &format!("load={load} {quantile}"));
        let times: Vec<String> =
            ["p50", "p99", "p99.9"].into_iter().filter_map(figure).map(|ns| short(ns / 1e3)).collect();
        times.join(", ")
    };
    let lines = names.into_iter().map(|name| {
        let rates = ["1", "1000", "100000"].map(|flows| rate("veth/saturated", name, flows));
        let loss_free = rate("veth/loss_free", name, "1000");
        let times = ["10%", "50%", "90%"].map(|load| times(name, load));
        [name.to_owned()].into_iter().chain(rates).chain([loss_free]).chain(times).collect()
    });
    table(
        "On veth, one pair, copy mode: not a NIC. Million frames a second; p50, p99 and p99.9 in microseconds",
        &[
            "",
            "overloaded, 1 flow",
            "1 k flows",
            "100 k flows",
            "without loss",
            "at 10 % of that",
            "50 %",
            "90 %",
        ],
        lines,
    )
}

/// A group as it is: what has a spread in one line.
fn plain(results: &Results, group: &str) -> String {
    let mut lines: BTreeMap<usize, (Vec<String>, [String; 2])> = BTreeMap::new();
    for (n, row) in results.group(group).enumerate() {
        let unit = row.unit.clone();
        let which = ["median", "low", "high"].into_iter().find(|which| row.parameter.ends_with(which));
        let parameter = which.and_then(|which| row.parameter.strip_suffix(which)).map(str::trim_end);
        let parameter = parameter.unwrap_or(&row.parameter).to_owned();
        let value = row.value.parse::<f64>().map_or(row.value.clone(), short);
        let key = vec![row.row.clone(), parameter, unit];
        // Rows of one spread follow each other.
        match (which, lines.last_entry()) {
            (Some("low"), Some(mut last)) if last.get().0 == key => last.get_mut().1[1] = value,
            (Some("high"), Some(mut last)) if last.get().0 == key => {
                last.get_mut().1[1] += &format!("-{value}")
            }
            _ => drop(lines.insert(n, (key, [value, String::new()]))),
        }
    }
    let lines = lines.into_values().map(|(mut key, [value, spread])| {
        let unit = key.pop().unwrap_or_default();
        key.extend([value, spread, unit]);
        key
    });
    table(&format!("`{group}`"), &["row", "of", "median", "quartiles", "unit"], lines)
}

/// A table with its heading; nothing where it has no line.
fn table(heading: &str, titles: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return String::new();
    }
    let mut text =
        format!("\n## {heading}\n\n| {} |\n|---|{}\n", titles.join(" | "), "--:|".repeat(titles.len() - 1));
    for line in lines {
        // A bar would end its cell.
        let line: Vec<String> = line.iter().map(|cell| cell.replace('|', "/")).collect();
        writeln!(text, "| {} |", line.join(" | ")).expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::parse;

    fn told(csv: &str) -> String {
        all(&Results(parse(csv).unwrap()))
    }

    #[test]
    fn flows_are_columns_and_the_ratio_is_that_of_the_same_rounds() {
        let text = told(
            "flows,pass/director,1000 median,25,ns\nflows,pass/director,1000 to the floor median,3.9,ratio\n\
             flows,pass/director,10000000 median,60,ns\nflows,pass/director,10000000 to 1000 median,2.31,ratio\n",
        );
        assert!(text.contains("| flows | 1000 | 10 M | 1 k, times the floor |"), "{text}");
        assert!(text.contains("| pass/director | 25 | 60 (2.31) | 3.9 |"), "{text}");
    }

    #[test]
    fn a_group_that_nobody_knows_is_told_as_it_is_with_its_spread_in_one_line() {
        let text = told("new,a,x median,2,ms\nnew,a,x low,1,ms\nnew,a,x high,3,ms\nnew,b,,yes,\n");
        assert!(text.contains("## `new`"), "{text}");
        assert!(text.contains("| a | x | 2 | 1-3 | ms |\n| b |  | yes |  |  |"), "{text}");
    }

    #[test]
    fn nothing_measured_is_no_table() {
        assert_eq!(told(""), "");
    }
}
