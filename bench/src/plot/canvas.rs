//! Ground, colours, letters and axes of all drawings.
//!
//! *Invariant*: the ground is painted, so that a drawing looks the same on a light page and on a dark one.

use plotters::coord::Shift;
use plotters::prelude::*;

/// The thing that this is about.
pub const OURS: RGBColor = RGBColor(9, 105, 218);
/// The same, paler.
pub const OURS_PALE: RGBColor = RGBColor(154, 200, 250);
/// Others.
pub const PEERS: RGBColor = RGBColor(110, 119, 129);
/// The same, paler.
pub const PEERS_PALE: RGBColor = RGBColor(199, 205, 212);
/// A third one, told apart from both.
pub const ORANGE: RGBColor = RGBColor(188, 76, 0);
/// And a fourth and a fifth.
pub const PURPLE: RGBColor = RGBColor(130, 80, 223);
/// See [`PURPLE`].
pub const GREEN: RGBColor = RGBColor(26, 127, 55);
const INK: RGBColor = RGBColor(31, 35, 40);
const FAINT: RGBColor = RGBColor(89, 99, 110);
const GRID: RGBColor = RGBColor(222, 227, 233);

/// Width of all drawings.
pub const WIDTH: u32 = 860;
/// Where what is drawn begins, below the title.
pub const TOP: i32 = 62;
/// What the axis' figures, its name and the caption take at the foot.
pub const FOOT: i32 = 66;
const LEFT: i32 = 16;

/// Which side of a place its text is on.
pub enum Side {
    /// The text begins there.
    Right,
    /// It ends there.
    Left,
    /// It is there with its middle.
    Middle,
}

/// What is drawn on.
pub struct Canvas<'a>(DrawingArea<SVGBackend<'a>, Shift>);

/// A drawing of this height, with its title, a line below that, and a caption at the foot.
pub fn drawing(height: u32, title: &str, below: &str, caption: &str, work: impl FnOnce(&Canvas)) -> String {
    let mut text = String::new();
    let canvas = Canvas(SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area());
    canvas.0.fill(&WHITE).expect(STRING);
    canvas.text(title, (LEFT, 20), 20, Side::Right, INK);
    canvas.text(below, (LEFT, 42), 15, Side::Right, FAINT);
    canvas.text(caption, (LEFT, height as i32 - 14), 13, Side::Right, FAINT);
    work(&canvas);
    drop(canvas);
    text
}

const STRING: &str = "a string takes all that is drawn";

impl Canvas<'_> {
    /// Text with its middle at this height.
    pub fn text(&self, text: &str, at: (i32, i32), size: i32, side: Side, colour: RGBColor) {
        use plotters::style::text_anchor::{HPos, Pos, VPos};
        let place = match side {
            Side::Right => HPos::Left,
            Side::Left => HPos::Right,
            Side::Middle => HPos::Center,
        };
        let style = ("sans-serif", size).into_font().color(&colour).pos(Pos::new(place, VPos::Center));
        self.0.draw(&Text::new(text.to_owned(), at, style)).expect(STRING);
    }

    /// The name of a row.
    pub fn name(&self, text: &str, at: (i32, i32), side: Side) {
        self.text(text, at, 15, side, INK);
    }

    /// A figure beside what it is of.
    pub fn label(&self, text: &str, at: (i32, i32)) {
        self.text(text, at, 14, Side::Right, INK);
    }

    /// A filled rectangle.
    pub fn bar(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) {
        self.0.draw(&Rectangle::new([from, to], colour.filled())).expect(STRING);
    }

    /// A line through these places.
    pub fn line(&self, places: Vec<(i32, i32)>, colour: RGBColor, width: u32) {
        self.0.draw(&PathElement::new(places, colour.stroke_width(width))).expect(STRING);
    }

    /// A whisker: from quartile to quartile.
    pub fn whisker(&self, from: (i32, i32), to: (i32, i32)) {
        let (across, along) = if from.1 == to.1 { (0, 4) } else { (4, 0) };
        self.line(vec![from, to], INK, 1);
        for (x, y) in [from, to] {
            self.line(vec![(x - across, y - along), (x + across, y + along)], INK, 1);
        }
    }

    /// A spot, filled or hollow.
    pub fn spot(&self, at: (i32, i32), radius: i32, colour: RGBColor, is_filled: bool) {
        if is_filled {
            self.0.draw(&Circle::new(at, radius, colour.filled())).expect(STRING);
        } else {
            self.0.draw(&Circle::new(at, radius, WHITE.filled())).expect(STRING);
            self.0.draw(&Circle::new(at, radius, colour.stroke_width(2))).expect(STRING);
        }
    }

    /// The lines and figures of a horizontal axis, between these heights, and its name below.
    pub fn across(&self, axis: &Axis, top: i32, bottom: i32, name: &str) {
        for (value, text) in axis.ticks() {
            let x = axis.place(value);
            self.line(vec![(x, top), (x, bottom)], GRID, 1);
            self.text(&text, (x, bottom + 12), 13, Side::Middle, FAINT);
        }
        self.text(name, ((axis.from + axis.to) / 2, bottom + 30), 14, Side::Middle, INK);
    }

    /// The same of a vertical one; its name stands above it.
    pub fn up(&self, axis: &Axis, left: i32, right: i32, name: &str) {
        for (value, text) in axis.ticks() {
            let y = axis.place(value);
            self.line(vec![(left, y), (right, y)], GRID, 1);
            self.text(&text, (left - 8, y), 13, Side::Left, FAINT);
        }
        self.text(name, (LEFT, axis.to - 14), 14, Side::Right, INK);
    }
}

/// Which value is where.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Pixels of the least value.
    pub from: i32,
    /// And of the most.
    pub to: i32,
    least: f64,
    most: f64,
    is_log: bool,
}

impl Axis {
    /// From 0 to `most`, or a bit more.
    pub fn linear(from: i32, to: i32, most: f64) -> Axis {
        Axis { from, to, least: 0.0, most: most.max(f64::MIN_POSITIVE), is_log: false }
    }

    /// From the power of ten below `least` to the one above `most`.
    pub fn log(from: i32, to: i32, least: f64, most: f64) -> Axis {
        let least = 10_f64.powf(least.max(1e-9).log10().floor());
        let most = 10_f64.powf(most.max(1e-9).log10().ceil()).max(10.0 * least);
        Axis { from, to, least, most, is_log: true }
    }

    /// Where a value is; at an end, what is beyond it.
    pub fn place(&self, value: f64) -> i32 {
        let share = if self.is_log {
            (value.max(self.least) / self.least).log10() / (self.most / self.least).log10()
        } else {
            value / self.most
        };
        self.from + (f64::from(self.to - self.from) * share.clamp(0.0, 1.0)).round() as i32
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let values: Vec<f64> = if self.is_log {
            let decades = (self.most / self.least).log10().round() as i32;
            (0..=decades).map(|n| self.least * 10_f64.powi(n)).collect()
        } else {
            let rough = self.most / 5.0;
            let power = 10_f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
            let step = step.unwrap_or(rough);
            (0..=(self.most / step + 1e-9) as u32).map(|n| f64::from(n) * step).collect()
        };
        values.into_iter().map(|value| (value, short(value))).collect()
    }
}

/// A figure with three digits at most, as people write it.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        format!("{} M", plain(value / 1e6))
    } else if size >= 1e4 {
        format!("{} k", plain(value / 1e3))
    } else {
        plain(value)
    }
}

fn plain(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_places_its_ends_and_what_is_between_in_proportion() {
        let axis = Axis::log(100, 400, 1.0, 1000.0);
        assert_eq!([1.0, 10.0, 100.0, 1000.0].map(|value| axis.place(value)), [100, 200, 300, 400]);
        assert_eq!((axis.place(0.0), axis.place(1e9)), (100, 400));
        let axis = Axis::linear(0, 100, 5.0);
        assert_eq!((axis.place(2.5), axis.ticks().len()), (50, 6));
    }

    #[test]
    fn figures_have_three_digits_at_most() {
        let values = [0.0, 0.5, 1.534, 12.34, 1234.0, 100_000.0, 1e7];
        assert_eq!(values.map(short), ["0", "0.5", "1.53", "12.3", "1234", "100 k", "10 M"]);
    }
}
