//! How long frames are under way, by load.

use super::Results;
use super::canvas::{Axis, FOOT, OURS, PEERS, Side, TOP, WIDTH, drawing};

const GROUP: &str = "veth/latency";
const LOADS: [&str; 3] = ["10%", "50%", "90%"];
const QUANTILES: [&str; 3] = ["p50", "p99", "p99.9"];
const LEFT: i32 = 230;
const STEP: i32 = 20;

/// p50, p99 and p99.9 at three loads, on veth.
pub fn veth(results: &Results) -> Option<String> {
    let lines: Vec<(&str, &str, Vec<f64>)> = results
        .names(GROUP)
        .into_iter()
        .flat_map(|name| LOADS.map(|load| (name, load)))
        .map(|(name, load)| {
            let figure = |quantile| results.figure(GROUP, name, &format!("load={load} {quantile}"));
            (name, load, QUANTILES.into_iter().filter_map(figure).map(|ns| ns / 1e3).collect())
        })
        .filter(|(.., times): &(&str, &str, Vec<f64>)| !times.is_empty())
        .collect();
    let times = || lines.iter().flat_map(|(.., times)| times.iter().copied());
    let (least, most) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
    if lines.is_empty() {
        return None;
    }
    let gaps = lines.chunk_by(|a, b| a.0 == b.0).count() as i32;
    let bottom = TOP + STEP * lines.len() as i32 + 12 * gaps;
    let axis = Axis::log(LEFT, WIDTH as i32 - 40, least, most);
    let title = "On veth, one pair, copy mode: not a NIC. How long a frame is under way";
    let below = "At 10, 50 and 90 % of the subject's own loss-free rate. Spots: p50, p99, p99.9.";
    Some(drawing((bottom + FOOT) as u32, title, below, &results.caption(), |canvas| {
        canvas.across(&axis, TOP, bottom, "microseconds");
        let mut y = TOP;
        for of_one in lines.chunk_by(|a, b| a.0 == b.0) {
            y += 6;
            let middle = y + STEP * of_one.len() as i32 / 2;
            canvas.name(of_one[0].0, (16, middle), Side::Right);
            for (name, load, times) in of_one {
                let at = y + STEP / 2;
                let colour = if *name == "shunt" { OURS } else { PEERS };
                canvas.text(load, (LEFT - 12, at), 13, Side::Left, PEERS);
                let places: Vec<_> = times.iter().map(|time| (axis.place(*time), at)).collect();
                canvas.line(vec![places[0], places[places.len() - 1]], colour, 2);
                for (n, place) in places.iter().enumerate() {
                    canvas.spot(*place, 5 - n as i32, colour, true);
                }
                y += STEP;
            }
            y += 6;
        }
    }))
}
