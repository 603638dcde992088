//! Measures what clients notice when a director goes and comes back, and prints the table of `control/README.md`.
//!
//! `cargo run -p shunt-tests --bin failover`; with words, only the rows that have them all: `failover maglev SIGKILL`.

use std::collections::BTreeMap;
use std::time::Duration;

use shunt_tests::failover::{Event, Noticed, Setup, run};

/// Before and after a change.
const REST: Duration = Duration::from_secs(2);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "| directors | VRRP | adverts | the active one | allowed | gap | failed | broken | back: gap | failed | broken | at rest |\n\
         |---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for scheduler in [Some("maglev"), Some("rr"), None] {
        for (version, ms) in [(2, 1000), (3, 1000), (3, 100), (3, 10)] {
            for (name, event) in
                [("SIGTERM", Event::Terminate), ("SIGKILL", Event::Kill), ("cable", Event::Unplug)]
            {
                let interval = Duration::from_millis(ms);
                let setup =
                    Setup { scheduler, version, interval, per_second: 1000, downloads: 100, rest: REST };
                let who =
                    scheduler.map_or("keepalived".to_owned(), |scheduler| format!("shunt, {scheduler}"));
                let label = format!("| {who} | {version} | {ms} ms | {name} |");
                if words.iter().all(|word| label.contains(word)) {
                    print(&label, setup, event);
                }
            }
        }
    }
}

fn print(label: &str, setup: Setup, event: Event) {
    let outcome = run(setup, event);
    let allowed = (setup.master_down() + Duration::from_millis(20)).as_millis();
    let cells = |Noticed { seen, downloads, broken }: &Noticed| {
        let mut reasons = BTreeMap::new();
        for why in seen.failed.iter().chain(broken) {
            *reasons.entry(why).or_insert(0) += 1;
        }
        reasons.iter().for_each(|(why, times)| eprintln!("{label} {times} times: {why}"));
        let broken =
            if *downloads == 0 { "-".to_owned() } else { format!("{} of {downloads}", broken.len()) };
        format!("{} ms | {} of {} | {broken}", seen.gap.as_millis(), seen.failed.len(), seen.made)
    };
    let (away, back) = (cells(&outcome.away), cells(&outcome.back));
    println!("{label} {allowed} ms | {away} | {back} | {} ms |", outcome.rest.as_millis());
}
