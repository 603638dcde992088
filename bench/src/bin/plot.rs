//! Draws what is in bench/results/*.csv as SVG, readable on light and on dark ground.

use std::path::Path;

use plotters::prelude::*;
use shunt_bench::report::{Row, read, results};

/// Grey of a middle lightness: letters that both white and black leave readable.
const TEXT: RGBColor = RGBColor(128, 134, 142);
/// The thing that this is about, and its peers.
const OURS: RGBColor = RGBColor(38, 139, 210);
const PEERS: RGBColor = RGBColor(147, 161, 161);
const SIZE: (u32, u32) = (760, 340);

/// A bar: its name, how long it is, and where its whisker begins and ends.
struct Bar {
    name: String,
    value: f64,
    spread: [f64; 2],
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = results();
    if let Ok(rows) = read(&folder.join("veth.csv")) {
        let saturated = bars(&rows, "veth/saturated", "flows=1000", 1e-6);
        let title = "Delivered when overloaded, one core, 60-byte frames, on veth (not a NIC): Mframes/s";
        draw(&folder.join("veth-saturated.svg"), title, &saturated)?;
        let loss_free = bars(&rows, "veth/loss_free", "flows=1000", 1e-6);
        let title = "Without loss, one core, 60-byte frames, on veth (not a NIC): Mframes/s";
        draw(&folder.join("veth-loss-free.svg"), title, &loss_free)?;
        let latency: Vec<Bar> = rows
            .iter()
            .filter(|row| row.group == "veth/latency" && row.parameter == "load=50% p99")
            .filter_map(|row| {
                let value = row.value.parse::<f64>().ok()? * 1e-3;
                Some(Bar { name: row.row.clone(), value, spread: [value; 2] })
            })
            .collect();
        let title = "99 of 100 frames within, at half of the loss-free rate, on veth: microseconds";
        draw(&folder.join("veth-latency.svg"), title, &latency)?;
    }
    if let Ok(rows) = read(&folder.join("memory.csv")) {
        let bars: Vec<Bar> = rows
            .iter()
            .filter(|row| row.group == "flows" && row.unit == "ns" && !row.row.contains("write"))
            .filter_map(|row| {
                let value = row.value.parse().ok()?;
                Some(Bar { name: format!("{} {}", row.row, row.parameter), value, spread: [value; 2] })
            })
            .collect();
        draw(&folder.join("memory.svg"), "In memory, no kernel and no NIC, by flows: ns a frame", &bars)?;
    }
    Ok(())
}

/// The medians and quartiles of a group, the longest first.
fn bars(rows: &[Row], group: &str, parameter: &str, scale: f64) -> Vec<Bar> {
    let value = |name: &str, which: &str| {
        let parameter = format!("{parameter} {which}");
        let row = rows.iter().find(|row| row.group == group && row.row == name && row.parameter == parameter);
        row.and_then(|row| row.value.parse::<f64>().ok()).unwrap_or_default() * scale
    };
    let median = format!("{parameter} median");
    let mut bars: Vec<Bar> = rows
        .iter()
        .filter(|row| row.group == group && row.parameter == median)
        .map(|row| Bar {
            name: row.row.clone(),
            value: value(&row.row, "median"),
            spread: [value(&row.row, "low"), value(&row.row, "high")],
        })
        .collect();
    bars.sort_by(|a, b| b.value.total_cmp(&a.value));
    bars
}

/// One horizontal bar a row, with its figure behind it. No ground is painted: the page's own shows.
fn draw(path: &Path, title: &str, bars: &[Bar]) -> Result<(), Box<dyn std::error::Error>> {
    if bars.is_empty() {
        return Ok(());
    }
    let height = SIZE.1.max(60 + 26 * bars.len() as u32);
    let area = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    let letters = |size: i32| ("sans-serif", size).into_font().color(&TEXT);
    area.draw(&Text::new(title, (12, 10), letters(15)))?;
    let most = bars.iter().map(|bar| bar.spread[1].max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
    let (left, right, top) = (210, SIZE.0 as i32 - 90, 44);
    let step = (height as i32 - top - 12) / bars.len() as i32;
    let x = |value: f64| left + (f64::from(right - left) * value / most) as i32;
    for (n, bar) in bars.iter().enumerate() {
        let y = top + n as i32 * step;
        let (upper, lower) = (y + step / 6, y + step * 5 / 6);
        let colour =
            if bar.name.starts_with("shunt") || bar.name.starts_with("pass/") { OURS } else { PEERS };
        area.draw(&Text::new(bar.name.clone(), (12, y + step / 2 - 7), letters(14)))?;
        area.draw(&Rectangle::new([(left, upper), (x(bar.value), lower)], colour.filled()))?;
        let middle = y + step / 2;
        let whisker = vec![(x(bar.spread[0]), middle), (x(bar.spread[1]), middle)];
        area.draw(&PathElement::new(whisker, TEXT.stroke_width(2)))?;
        let figure = if bar.value < 10.0 { format!("{:.2}", bar.value) } else { format!("{:.0}", bar.value) };
        let behind = x(bar.spread[1].max(bar.value)) + 8;
        area.draw(&Text::new(figure, (behind, middle - 7), letters(14)))?;
    }
    area.present()?;
    println!("{}", path.display());
    Ok(())
}
