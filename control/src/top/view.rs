//! A frame: lines of a given width and height. What does not fit is cut, with a mark; 80x24 shows the essentials, and a
//! larger terminal more rows, longer names and why.

use std::cmp::Ordering;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;

use super::rates::{Board, Rates};
use super::sample::{Load, Sample};

/// Columns from which on the reason of each row has one of its own.
const WIDE: usize = 110;
/// Columns of the numbers: state, weight, frames, bits, new flows, active flows, each with a blank before it.
const NUMBERS: usize = 10 + 7 + 9 + 9 + 8 + 8;
const ALARM: Style = Style::new().fg(Color::Red);
const HEAD: Style = Style::new().add_modifier(Modifier::REVERSED);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Column {
    /// Frames a second.
    #[default]
    Frames,
    /// Bits a second.
    Bits,
    /// New flows a second.
    Flows,
    /// Flows now.
    Active,
    /// The name, from a to z.
    Name,
}

impl Column {
    /// The one after it, and after the last the first.
    pub fn next(self) -> Column {
        match self {
            Column::Frames => Column::Bits,
            Column::Bits => Column::Flows,
            Column::Flows => Column::Active,
            Column::Active => Column::Name,
            Column::Name => Column::Frames,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Column::Frames => "frames/s",
            Column::Bits => "bit/s",
            Column::Flows => "new/s",
            Column::Active => "active",
            Column::Name => "name",
        }
    }
}

/// What of it the user wants to see.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Sorted by this; numbers: the largest first.
    pub column: Column,
    /// The other way round.
    pub reversed: bool,
    /// Only services and real servers with this in their name or state; empty: all.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// Rows of the table that are left out at its top.
    pub first: usize,
}

/// A frame that is printed: as many lines as there are.
pub fn text(board: &Board, look: &Look, width: usize) -> String {
    let lines = lines(board, &mut look.clone(), width, None);
    lines.iter().map(|line| format!("{}\n", line.to_string().trim_end())).collect()
}

/// A frame of `width` columns and, if there is one, exactly `height` lines.
pub fn lines(board: &Board, look: &mut Look, width: usize, height: Option<usize>) -> Vec<Line<'static>> {
    let mut lines = vec![(title(board, look), HEAD)];
    if let Some(why) = &board.gone {
        lines.push((format!("NO ANSWER, asking again: {why}"), ALARM));
    }
    let Some(now) = &board.now else { return fit(lines, width, height) };
    lines.extend(totals(board, now));
    lines.extend(routers(now));
    lines.extend(workers(board, now, height.map_or(usize::MAX, |height| (height / 6).max(2))));
    lines.push((header(width), HEAD));
    let rows = table(board, now, look, width);
    let mut tail = vec![(String::new(), Style::new())];
    let events = height.map_or(usize::MAX, |height| (height / 6).max(3));
    tail.extend(self::events(board, events));
    if height.is_some() {
        tail.push((keys(look), HEAD));
    }
    let room = height.map_or(rows.len(), |height| height.saturating_sub(lines.len() + tail.len()));
    look.first = look.first.min(rows.len().saturating_sub(room));
    let hidden = rows.len().saturating_sub(look.first + room);
    lines.extend(rows.into_iter().skip(look.first).take(room));
    if hidden > 0 && room > 0 {
        lines.pop();
        lines.push((format!("  … {} more rows below", hidden + 1), Style::new()));
    }
    if let Some(height) = height {
        // The events and the keys stay at the bottom.
        while lines.len() + tail.len() < height {
            lines.push((String::new(), Style::new()));
        }
    }
    lines.extend(tail);
    fit(lines, width, height)
}

fn fit(mut lines: Vec<(String, Style)>, width: usize, height: Option<usize>) -> Vec<Line<'static>> {
    lines.truncate(height.unwrap_or(usize::MAX));
    let line = |(text, style): (String, Style)| match style == HEAD {
        true => Line::styled(padded(&text, width), style),
        false => Line::styled(cut(&text, width), style),
    };
    lines.into_iter().map(line).collect()
}

fn title(board: &Board, look: &Look) -> String {
    let state = match (&board.now, &board.gone) {
        (_, Some(_)) => "away".to_owned(),
        (None, None) => "asking".to_owned(),
        (Some(now), None) => {
            format!("{}, generation {}", if now.ready { "ready" } else { "starting" }, now.generation)
        }
    };
    let way = if look.reversed { ", reversed" } else { "" };
    let filter = match (look.filter.is_empty(), look.typing) {
        (true, false) => String::new(),
        (_, typing) => format!("  only: {}{}", look.filter, if typing { "_" } else { "" }),
    };
    format!("shunt: {state}  by {}{way}{filter}", look.column.title())
}

fn totals(board: &Board, now: &Sample) -> Vec<(String, Style)> {
    let rates: Vec<Rates> = now.services.iter().map(|service| board.rates(service)).collect();
    // What one service did not say is missing in the sum of all.
    let sum = |field: fn(&Rates) -> Option<f64>| rates.iter().map(field).sum::<Option<f64>>();
    let count = |state: &str| now.checks.iter().filter(|check| check.state == state).count();
    let active: u64 = now.services.iter().map(|service| service.active).sum();
    let up = now.reals.iter().filter(|real| real.state == "up").count();
    let down = now.reals.iter().filter(|real| real.state == "down").count();
    let mut lines = vec![
        (
            format!(
                "Traffic  {} frames/s  {} bit/s  {} new flows/s  {} active",
                short(sum(|r| r.frames)),
                short(sum(|r| r.bits)),
                short(sum(|r| r.flows)),
                short(Some(active as f64)),
            ),
            STRONG,
        ),
        (
            format!(
                "Health   real servers: {up} up, {down} down; checks: {} up, {} down, {} unknown",
                count("up"),
                count("down"),
                count("unknown")
            ),
            if down > 0 || count("down") > 0 { ALARM } else { Style::new() },
        ),
    ];
    let drops = board.drops();
    if !drops.is_empty() {
        let drops: Vec<String> =
            drops.iter().map(|(reason, rate)| format!("{reason} {}", short(Some(*rate)))).collect();
        lines.push((format!("Drops/s  {}", drops.join("  ")), ALARM));
    }
    lines
}

fn routers(now: &Sample) -> Option<(String, Style)> {
    let said: Vec<String> = now
        .routers
        .iter()
        .map(|router| {
            let rival = match router.rival.as_str() {
                "" => String::new(),
                rival => format!(" TWO ARE ACTIVE: {rival} too"),
            };
            format!("{} {} {}{rival}", router.name, router.state, router.priority)
        })
        .collect();
    let is_bad = now.routers.iter().any(|router| router.state == "FAULT" || !router.rival.is_empty());
    (!said.is_empty())
        .then(|| (format!("VRRP     {}", said.join("  ")), if is_bad { ALARM } else { Style::new() }))
}

/// At most `most` lines: the busiest workers.
fn workers(board: &Board, now: &Sample, most: usize) -> Vec<(String, Style)> {
    let mut workers: Vec<_> = now.workers.iter().map(|worker| (worker, board.work(worker))).collect();
    workers.sort_by(|(_, a), (_, b)| b.frames.unwrap_or(0.0).total_cmp(&a.frames.unwrap_or(0.0)));
    let skew = match board.skew() {
        Some(skew) if workers.len() > 1 => format!("  busiest/mean {skew:.2}"),
        _ => String::new(),
    };
    let all = workers.len();
    let mut lines = Vec::new();
    for (worker, work) in workers.into_iter().take(most) {
        let core = worker.core.map(|core| format!(" core {core}")).unwrap_or_default();
        let skew = if lines.is_empty() { skew.as_str() } else { "" };
        let more = if lines.is_empty() && all > most { format!("  of {all} workers") } else { String::new() };
        lines.push((
            format!(
                "Worker {}{core}  {} frames/s  {} drops/s  busy {}{skew}  table {}  {} sleeps/s{more}",
                worker.worker,
                short(work.frames),
                short(work.drops),
                percent(work.busy),
                percent((worker.capacity > 0).then(|| worker.flows as f64 / worker.capacity as f64)),
                short(work.sleeps),
            ),
            Style::new(),
        ));
    }
    lines
}

fn name_width(width: usize) -> usize {
    match width >= WIDE {
        true => ((width - NUMBERS) / 2).clamp(29, 45),
        false => width.saturating_sub(NUMBERS).max(8),
    }
}

fn header(width: usize) -> String {
    let name = padded("Service / real server", name_width(width));
    let why = if width >= WIDE { "  Why" } else { "" };
    format!(
        "{name} {:<9} {:>6} {:>8} {:>8} {:>7} {:>7}{why}",
        "State", "Weight", "frames/s", "bit/s", "new/s", "active"
    )
}

/// A service, and its real servers below it.
fn table(board: &Board, now: &Sample, look: &Look, width: usize) -> Vec<(String, Style)> {
    let mut rows = Vec::new();
    for service in sorted(board, look, now.services.iter()) {
        let is_wanted = matches(service, &look.filter);
        let reals = now.reals.iter().filter(|real| real.service == service.service);
        let reals: Vec<&Load> = reals.filter(|real| is_wanted || matches(real, &look.filter)).collect();
        if !is_wanted && reals.is_empty() {
            continue;
        }
        rows.push(row(board, service, width));
        rows.extend(sorted(board, look, reals.into_iter()).into_iter().map(|real| row(board, real, width)));
    }
    rows
}

fn sorted<'a>(board: &Board, look: &Look, loads: impl Iterator<Item = &'a Load>) -> Vec<&'a Load> {
    let name = |load: &Load| load.real.clone().unwrap_or_else(|| load.service.clone());
    let key = |load: &Load| match look.column {
        Column::Frames => board.rates(load).frames,
        Column::Bits => board.rates(load).bits,
        Column::Flows => board.rates(load).flows,
        Column::Active => Some(load.active as f64),
        Column::Name => None,
    };
    let mut loads: Vec<(f64, String, &Load)> =
        loads.map(|load| (key(load).unwrap_or(0.0), name(load), load)).collect();
    loads.sort_by(|a, b| {
        let by = b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1));
        if look.reversed { Ordering::reverse(by) } else { by }
    });
    loads.into_iter().map(|(_, _, load)| load).collect()
}

fn matches(load: &Load, filter: &str) -> bool {
    let name = load.real.as_deref().unwrap_or(&load.service);
    let filter = filter.to_lowercase();
    filter.is_empty() || [name, &load.state].iter().any(|text| text.to_lowercase().contains(&filter))
}

fn row(board: &Board, load: &Load, width: usize) -> (String, Style) {
    let rates = board.rates(load);
    let name = match &load.real {
        Some(real) => format!("  {real}"),
        None => load.service.clone(),
    };
    let why = if width >= WIDE { format!("  {}", load.reason) } else { String::new() };
    let text = format!(
        "{} {} {:>6} {:>8} {:>8} {:>7} {:>7}{why}",
        padded(&name, name_width(width)),
        padded(&load.state, 9),
        load.weight.map(|weight| weight.to_string()).unwrap_or_default(),
        short(rates.frames),
        short(rates.bits),
        short(rates.flows),
        short(Some(load.active as f64)),
    );
    let style = match (&load.real, load.state.as_str()) {
        (Some(_), "down") => ALARM,
        (None, _) => STRONG,
        _ => Style::new(),
    };
    (text, style)
}

fn events(board: &Board, most: usize) -> Vec<(String, Style)> {
    let age = |at| board.clock.map_or(0, |clock| clock.saturating_duration_since(at).as_secs());
    let mut events: Vec<_> = board
        .events
        .iter()
        .take(most)
        .map(|(at, event)| (format!("{:>5} ago  {event}", seconds(age(*at))), Style::new()))
        .collect();
    if events.is_empty() {
        events.push(("Nothing has changed since the first look.".into(), Style::new()));
    }
    events
}

fn keys(look: &Look) -> String {
    match look.typing {
        true => format!("only: {}_   Enter keeps it, Esc shows all", look.filter),
        false => "q ends  s sorts by another column  r reverses  / filters  up, down move".into(),
    }
}

fn seconds(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

fn percent(part: Option<f64>) -> String {
    part.map_or("-".into(), |part| format!("{:.0}%", part * 100.0))
}

/// A number in at most six characters.
fn short(number: Option<f64>) -> String {
    let Some(number) = number else { return "-".into() };
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let (mut number, mut unit) = (number, 0);
    // What would be rounded to 1000 is the next unit's 1.
    while number >= 999.5 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let digits = match number {
        number if unit == 0 && (number.fract() == 0.0 || number >= 99.95) => 0,
        number if unit == 0 || number >= 99.95 => usize::from(number < 99.95),
        number if number >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.digits$}{}", UNITS[unit])
}

/// `text` in at most `width` columns, with a mark where it was cut.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if columns(&kept) + 1 > width {
            kept.pop();
            break;
        }
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// As [`cut`], and filled up.
fn padded(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let blanks = width.saturating_sub(columns(&text));
    text + &" ".repeat(blanks)
}

/// Columns of a terminal; some characters take two.
fn columns(text: &str) -> usize {
    ratatui::text::Span::raw(text).width()
}

#[cfg(test)]
pub(super) mod example;
#[cfg(test)]
mod tests;
