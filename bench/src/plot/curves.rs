//! What a frame costs by the number of flows.

use plotters::style::RGBColor;

use super::Results;
use super::canvas::{Axis, FOOT, GREEN, ORANGE, OURS, PEERS, PURPLE, Side, TOP, WIDTH, drawing};

const HEIGHT: u32 = 440;
/// Room for the figures of the vertical axis, and for the names at the ends of the curves.
const LEFT: i32 = 64;
const RIGHT: i32 = WIDTH as i32 - 250;
/// Names that are closer than this would be one upon the other.
const APART: i32 = 19;

/// A row of `flows`, its name in the drawing, and its colour.
const CURVES: [(&str, &str, RGBColor); 3] = [
    ("pass/worker", "shunt, copied in and out", PURPLE),
    ("pass/director", "shunt's decision", OURS),
    ("pass/hashbrown", "the same on hashbrown", ORANGE),
];
/// Those that do not depend on flows.
const LEVELS: [(&str, &str, &str, &str, RGBColor); 2] = [
    ("stage", "stage/parse", "pnet_packet", "parsing by pnet_packet", GREEN),
    ("flows", "floor/rewrite", "1000", "rewrite only: the floor", PEERS),
];

/// Flows, and nanoseconds with their quartiles.
type Curve = Vec<(f64, [f64; 3])>;

/// Nanoseconds a frame by the number of flows, in memory.
pub fn memory(results: &Results) -> Option<String> {
    let curves: Vec<(&str, RGBColor, Curve, Curve)> = CURVES
        .into_iter()
        .map(|(row, name, colour)| {
            (name, colour, curve(results, row), curve(results, &format!("{row}/swept")))
        })
        .filter(|(_, _, curve, _)| !curve.is_empty())
        .collect();
    let most_flows = curves.iter().flat_map(|(_, _, curve, _)| curve.last()).map(|(flows, _)| *flows);
    let most_flows = most_flows.fold(f64::NAN, f64::max);
    if most_flows.is_nan() {
        return None;
    }
    let levels = LEVELS.into_iter().filter_map(|(group, row, parameter, name, colour)| {
        let quartiles = results.spread(group, row, parameter)?;
        Some((name, colour, vec![(1.0, quartiles), (most_flows, quartiles)], Vec::new()))
    });
    let all: Vec<_> = curves.iter().cloned().chain(levels).collect();
    let values = all.iter().flat_map(|(_, _, curve, swept)| curve.iter().chain(swept)).map(|(_, ns)| ns[0]);
    let (least, most) = values.fold((f64::MAX, 0.0_f64), |(least, most), ns| (least.min(ns), most.max(ns)));

    let bottom = HEIGHT as i32 - FOOT;
    let x = Axis::log(LEFT, RIGHT, 1.0, most_flows);
    let y = Axis::log(bottom, TOP + 28, least, most);
    let below =
        "60-byte TCP frames, flows in random order; median and quartiles. No kernel and no NIC is in it.";
    Some(drawing(HEIGHT, "In memory: nanoseconds a frame", below, &results.caption(), |canvas| {
        canvas.across(&x, y.to, y.from, "flows that live");
        canvas.up(&y, LEFT, RIGHT, "ns a frame");
        let mut names = Vec::new();
        for (name, colour, curve, swept) in &all {
            let places = curve.iter().map(|(flows, ns)| (x.place(*flows), y.place(ns[0]))).collect();
            canvas.line(places, *colour, 3);
            let is_level = curve[0].1 == curve[curve.len() - 1].1;
            for (flows, [ns, low, high]) in curve.iter().filter(|_| !is_level) {
                let at = x.place(*flows);
                canvas.whisker((at, y.place(*low)), (at, y.place(*high)));
                canvas.spot((at, y.place(*ns)), 4, *colour, true);
            }
            for (flows, [ns, ..]) in swept {
                canvas.spot((x.place(*flows), y.place(*ns)), 5, *colour, false);
                names.push((y.place(*ns), format!("its last cache swept: {ns:.0}"), *colour));
            }
            let end = curve[curve.len() - 1].1[0];
            let digits = usize::from(end < 10.0);
            names.push((y.place(end), format!("{name}: {end:.digits$}"), *colour));
        }
        for (at, name, colour) in spaced(names) {
            canvas.text(&name, (RIGHT + 14, at), 15, Side::Right, colour);
        }
    }))
}

/// The figures of a row by flows, in order.
fn curve(results: &Results, row: &str) -> Curve {
    let flows = results.group("flows").filter(|found| found.row == row && found.unit == "ns");
    let flows = flows.filter_map(|found| found.parameter.strip_suffix(" median"));
    let mut curve: Curve =
        flows.filter_map(|flows| Some((flows.parse().ok()?, results.spread("flows", row, flows)?))).collect();
    curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    curve
}

/// Moves names up until none is upon another.
fn spaced(mut names: Vec<(i32, String, RGBColor)>) -> Vec<(i32, String, RGBColor)> {
    names.sort_by_key(|(at, ..)| -at);
    let mut last = i32::MAX;
    for (at, ..) in &mut names {
        *at = (*at).min(last.saturating_sub(APART));
        last = *at;
    }
    names
}
