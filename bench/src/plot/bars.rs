//! Figures as bars, with whiskers where there is a spread.

use plotters::style::RGBColor;

use super::canvas::{Axis, FOOT, OURS, OURS_PALE, PEERS, PEERS_PALE, Side, TOP, WIDTH, drawing, short};
use super::{Quartiles, Results};

/// Room for the names.
const LEFT: i32 = 250;
/// Room for the figure behind the longest bar.
const RIGHT: i32 = WIDTH as i32 - 90;
const STEP: i32 = 21;
const GAP: i32 = 12;

/// A bar: what stands before it, how long it is, and its colour.
struct Bar {
    name: String,
    value: Quartiles,
    colour: RGBColor,
}

/// What each subject delivers on veth: overloaded, and without loss. The best first.
pub fn veth(results: &Results) -> Option<String> {
    const FLOWS: &str = "flows=1000";
    let mut subjects: Vec<(&str, Option<Quartiles>, Option<Quartiles>)> = Vec::new();
    for name in [results.names("veth/saturated"), results.names("veth/loss_free")].concat() {
        if subjects.iter().all(|(known, ..)| *known != name) {
            let of = |group| results.spread(group, name, FLOWS);
            subjects.push((name, of("veth/saturated"), of("veth/loss_free")));
        }
    }
    let rank = |subject: &(&str, Option<Quartiles>, Option<Quartiles>)| {
        subject.1.or(subject.2).map_or(0.0, |[median, ..]| median)
    };
    subjects.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    let groups: Vec<(String, Vec<Bar>)> = subjects
        .into_iter()
        .map(|(name, saturated, loss_free)| {
            let [full, pale] = if name == "shunt" { [OURS, OURS_PALE] } else { [PEERS, PEERS_PALE] };
            let bars = [("overloaded", saturated, full), ("without loss", loss_free, pale)];
            let bars = bars.into_iter().filter_map(|(name, value, colour)| {
                let value = value?.map(|rate| rate / 1e6);
                Some(Bar { name: name.to_owned(), value, colour })
            });
            (name.to_owned(), bars.collect())
        })
        .collect();
    let below = "60-byte UDP frames of 1,000 flows, delivered to the real servers' side; median and quartiles of rounds. \
        AF_XDP's";
    let second = "subjects have a core and what the softirq on the generator's core does for them; the kernel's have one core.";
    draw(
        results,
        "On veth, one pair, copy mode: not a NIC. Million frames a second",
        &[below, second],
        "million frames a second",
        &groups,
        false,
    )
}

/// Instructions a frame, row by row.
pub fn instructions(results: &Results) -> Option<String> {
    let mut groups: Vec<(String, Vec<Bar>)> = Vec::new();
    for row in results.0.iter().filter(|row| row.unit == "instructions") {
        let Ok(value) = row.value.parse::<f64>() else { continue };
        let is_told = row.group != "stage" && row.row == "floor/rewrite";
        if is_told {
            continue;
        }
        let is_ours = !["hashbrown", "pnet_packet", "floor/"]
            .iter()
            .any(|other| row.row.contains(other) || row.parameter.contains(other));
        let name = format!("{} {}", row.row.trim_start_matches("stage/"), row.parameter);
        let bar = Bar { name, value: [value; 3], colour: if is_ours { OURS } else { PEERS } };
        match groups.iter_mut().find(|(name, _)| *name == row.group) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((row.group.clone(), vec![bar])),
        }
    }
    let below =
        "Counted by callgrind; the writing of the frames not counted. `make bench-check` holds these.";
    draw(results, "Instructions a frame, in memory", &[below], "instructions a frame", &groups, false)
}

/// Times of what grows with services and members.
pub fn scale(results: &Results) -> Option<String> {
    let mut groups: Vec<(String, Vec<Bar>)> = Vec::new();
    for row in results.group("scale").filter(|row| row.unit == "ms") {
        let is_alone = !["low", "median", "high"].iter().any(|which| row.parameter.ends_with(which));
        let parameter = row.parameter.trim_end_matches(" median");
        let value = match row.value.parse::<f64>() {
            Ok(value) if is_alone => Some([value; 3]),
            _ if row.parameter.ends_with(" median") => results.spread("scale", &row.row, parameter),
            _ => None,
        };
        let Some(value) = value else { continue };
        let bar = Bar { name: parameter.to_owned(), value, colour: OURS };
        match groups.iter_mut().find(|(name, _)| *name == row.row) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((row.row.clone(), vec![bar])),
        }
    }
    let below = "Many services, and many members of one: medians and quartiles.";
    draw(
        results,
        "What grows: milliseconds",
        &[below],
        "milliseconds, each line ten times the one before",
        &groups,
        true,
    )
}

/// Bars in groups; a group of one bar has one line.
fn draw(
    results: &Results,
    title: &str,
    below: &[&str],
    unit: &str,
    groups: &[(String, Vec<Bar>)],
    is_log: bool,
) -> Option<String> {
    let bars = || groups.iter().flat_map(|(_, bars)| bars);
    let most = bars().map(|bar| bar.value[2].max(bar.value[0])).fold(0.0, f64::max);
    let least = bars().map(|bar| bar.value[0]).fold(f64::MAX, f64::min);
    if bars().count() == 0 {
        return None;
    }
    let top = TOP + 20 * (below.len() as i32 - 1);
    let lines: i32 = groups.iter().map(|(_, bars)| STEP * bars.len() as i32 + GAP).sum();
    let bottom = top + lines;
    let axis = if is_log { Axis::log(LEFT, RIGHT, least, most) } else { Axis::linear(LEFT, RIGHT, most) };
    Some(drawing((bottom + FOOT) as u32, title, below[0], &results.caption(), |canvas| {
        for (n, line) in below.iter().enumerate().skip(1) {
            canvas.text(line, (16, 42 + 20 * n as i32), 15, Side::Right, RGBColor(89, 99, 110));
        }
        canvas.across(&axis, top, bottom, unit);
        let mut y = top + GAP / 2;
        for (name, bars) in groups {
            canvas.name(name, (16, y + STEP * bars.len() as i32 / 2), Side::Right);
            for bar in bars {
                let (middle, [median, low, high]) = (y + STEP / 2, bar.value);
                canvas.text(&bar.name, (LEFT - 10, middle), 13, Side::Left, PEERS);
                canvas.bar((LEFT, y + 2), (axis.place(median), y + STEP - 2), bar.colour);
                if low < high {
                    canvas.whisker((axis.place(low), middle), (axis.place(high), middle));
                }
                canvas.label(&short(median), (axis.place(high.max(median)) + 8, middle));
                y += STEP;
            }
            y += GAP;
        }
    }))
}
