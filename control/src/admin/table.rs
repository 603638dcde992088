//! Views as tables for people.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use crate::admin::protocol::What;

/// A column: its title, and the keys of its value (several are joined).
type Column = (&'static str, &'static [&'static str]);

/// A view as text.
pub fn render(what: What, view: &Value) -> String {
    let (rows, columns): (&str, &[Column]) = match what {
        What::Services => (
            "services",
            &[
                ("VIP", &["vip"]),
                ("Port", &["port"]),
                ("Proto", &["protocol"]),
                ("Scheduler", &["scheduler"]),
                ("Persist s", &["persistence_seconds"]),
                ("On failure", &["on_failure"]),
                ("Up", &["up"]),
                ("Reals", &["reals"]),
                ("Active", &["active"]),
                ("Inactive", &["inactive"]),
                ("Flows", &["flows"]),
                ("Frames", &["frames"]),
                ("Bytes", &["bytes"]),
                ("Changed", &["changed"]),
            ],
        ),
        What::Reals => (
            "reals",
            &[
                ("Service", &["service"]),
                ("Real server", &["address"]),
                ("Weight", &["effective_weight"]),
                ("State", &["state"]),
                ("MAC", &["mac"]),
                ("Port", &["interface"]),
                ("Active", &["active"]),
                ("Inactive", &["inactive"]),
                ("Flows", &["flows"]),
                ("Frames", &["frames"]),
                ("Bytes", &["bytes"]),
                ("Over", &["overloaded"]),
                ("Resent", &["handshakes.retransmitted"]),
                ("Reset", &["handshakes.reset"]),
                ("Changed", &["changed"]),
                ("Why", &["reason"]),
            ],
        ),
        What::Flows => (
            "flows",
            &[
                ("Proto", &["protocol"]),
                ("Client", &["client", "client_port"]),
                ("VIP", &["vip", "port"]),
                ("Real server", &["real"]),
                ("State", &["state"]),
                ("Expires s", &["expires_seconds"]),
                ("Worker", &["worker"]),
            ],
        ),
        What::Health => (
            "health",
            &[
                ("Real server", &["address"]),
                ("Check", &["type"]),
                ("Port", &["port"]),
                ("Status", &["status"]),
                ("For s", &["since_seconds"]),
                ("Streak", &["streak"]),
                ("Took ms", &["took_ms"]),
                ("Service", &["service"]),
                ("Last error", &["last_error"]),
            ],
        ),
        What::Workers => return workers(view) + &pending(view),
        What::Vrrp => (
            "routers",
            &[
                ("Router", &["name"]),
                ("Interface", &["interface"]),
                ("VRID", &["vrid"]),
                ("Version", &["version"]),
                ("State", &["state"]),
                ("For s", &["since_seconds"]),
                ("Priority", &["priority"]),
                ("of", &["configured_priority"]),
                ("Active", &["active.address"]),
                ("Its priority", &["active.priority"]),
                ("Addresses", &["addresses"]),
                ("Refused", &["counters.rejected"]),
                ("Why", &["last_change.cause"]),
            ],
        ),
        What::Config | What::Metrics => return view.as_str().unwrap_or_default().to_owned(),
        What::Drops => {
            ("drops", &[("Reason", &["reason"]), ("Frames", &["frames"]), ("Meaning", &["meaning"])])
        }
    };
    let mut text = table(columns, &view[rows]);
    if what == What::Flows && view["truncated"] == true {
        text += &format!(
            "{} of {} flows; --limit N shows more\n",
            self::rows(&view["flows"]).len(),
            view["total"]
        );
    }
    if what == What::Health {
        text += &remedies(&view[rows]);
    }
    if what == What::Vrrp {
        text += &troubles(view);
    }
    text + &pending(view)
}

/// What was applied and awaits its confirmation.
fn pending(view: &Value) -> String {
    let pending = &view["pending"];
    match pending["file"].as_str() {
        Some(file) => format!(
            "\nUNCONFIRMED: {file} is in force, and goes back in {} s unless you run: shunt confirm\n",
            pending["rolls_back_in_seconds"]
        ),
        None => String::new(),
    }
}

/// What somebody should look at: faults, refused adverts, two that are active at once; and how late adverts were.
fn troubles(view: &Value) -> String {
    let mut text = String::new();
    for row in rows(&view["routers"]) {
        let name = self::text(&row["name"], "name");
        if let Some(fault) = row["fault"].as_str() {
            text += &format!("\n{name}: in FAULT: {fault}\n");
        }
        let rival = &row["rival"];
        if rival.is_object() {
            let priority = match &rival["priority"] {
                Value::Null => "its adverts are refused".to_owned(),
                priority => format!("with priority {priority}"),
            };
            text += &format!(
                "\n{name}: TWO ARE ACTIVE for {:.0} s: {} too, {priority}, last heard {:.1} s ago\n",
                rival["seconds"].as_f64().unwrap_or_default(),
                self::text(&rival["source"], "source"),
                rival["seconds_ago"].as_f64().unwrap_or_default(),
            );
        }
        let refused = &row["last_rejected"];
        if refused.is_object() {
            text += &format!(
                "\n{name}: {} adverts refused, the last {:.0} s ago from {}: {}\n",
                row["counters"]["rejected"],
                refused["seconds_ago"].as_f64().unwrap_or_default(),
                self::text(&refused["source"], "source"),
                self::text(&refused["sentence"], "sentence"),
            );
        }
    }
    let sync = &view["sync"];
    if sync.is_object() {
        text += &format!(
            "\nflows: {} told, {} heard, {} held for others, {} directors heard ({})\n",
            sync["flows_told"],
            sync["flows_heard"],
            sync["flows_held"],
            rows(&sync["peers"]).len(),
            self::text(&sync["snapshot"], "snapshot"),
        );
    }
    let late = &view["lateness"];
    if late["count"].as_u64().unwrap_or_default() > 0 {
        text += &format!(
            "\nadverts: {} sent, late by {} us (p50), {} us (p99.9), {} us at most\n",
            late["count"], late["p50_us"], late["p999_us"], late["worst_us"],
        );
    }
    text
}

/// What to do about each fault: too long for a column, and meant to be copied.
fn remedies(values: &Value) -> String {
    let mut text = String::new();
    for row in rows(values).iter().filter(|row| !row["remedy"].is_null()) {
        let said = |key| self::text(&row[key], key);
        text += &format!("\n{}: {}\n  {}\n", said("service"), said("diagnosis"), said("remedy"));
    }
    text
}

fn workers(view: &Value) -> String {
    const COLUMNS: &[Column] = &[
        ("Worker", &["worker"]),
        ("Core", &["core"]),
        ("RX frames", &["rx_frames"]),
        ("TX frames", &["tx_frames"]),
        ("Drops", &["drops"]),
        ("Flows", &["flows.remembered"]),
        ("of", &["flows.capacity"]),
        ("UMEM", &["frames.total"]),
        ("Free", &["frames.free"]),
        ("Filling", &["frames.filling"]),
        ("Sending", &["frames.sending"]),
        ("Gen", &["generation"]),
    ];
    const QUEUES: &[Column] = &[
        ("Worker", &["worker"]),
        ("Interface", &["interface"]),
        ("Queue", &["queue"]),
        ("XDP", &["mode"]),
        ("Zero-copy", &["zero_copy"]),
        ("Lost", &["lost"]),
    ];
    const INTERFACES: &[Column] = &[
        ("Interface", &["interface"]),
        ("To workers", &["redirected"]),
        ("To the kernel", &["passed"]),
        ("No socket", &["no_socket"]),
        ("Worker stalled", &["worker_stalled"]),
    ];
    let queues: Vec<Value> = rows(&view["workers"])
        .iter()
        .flat_map(|worker| {
            rows(&worker["queues"]).iter().map(|queue| {
                let mut queue = queue.clone();
                queue["worker"] = worker["worker"].clone();
                queue
            })
        })
        .collect();
    [table(COLUMNS, &view["workers"]), table(QUEUES, &queues.into()), table(INTERFACES, &view["interfaces"])]
        .join("\n")
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn table(columns: &[Column], values: &Value) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(title, _)| *title));
    for row in rows(values) {
        table.add_row(columns.iter().map(|(_, keys)| {
            keys.iter()
                .map(|key| text(&row[key.split('.').next().unwrap_or(key)], key))
                .collect::<Vec<_>>()
                .join(":")
        }));
    }
    for (n, (_, keys)) in columns.iter().enumerate() {
        let is_number = |row: &Value| {
            text(&row[keys[0].split('.').next().unwrap_or(keys[0])], keys[0]).parse::<u64>().is_ok()
        };
        if rows(values).first().is_some_and(is_number)
            && let Some(column) = table.column_mut(n)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A value as text; `key` may lead into an object (`flows.remembered`).
fn text(value: &Value, key: &str) -> String {
    let value = match key.split_once('.') {
        Some((_, inner)) => &value[inner],
        None => value,
    };
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(values) => {
            values.iter().map(|value| self::text(value, "")).collect::<Vec<_>>().join(", ")
        }
        // Seconds, and never needed more exactly in a table.
        Value::Number(number) if number.is_f64() => format!("{:.1}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_a_title_a_row_each_and_no_trailing_blanks() {
        let view = json!({ "drops": [
            { "reason": "no_real", "frames": 12, "meaning": "None." },
            { "reason": "ttl_expired", "frames": 3, "meaning": "Old." },
        ]});
        assert_eq!(
            render(What::Drops, &view),
            " Reason       Frames  Meaning\n no_real          12  None.\n ttl_expired       3  Old.\n"
        );
    }

    #[test]
    fn a_fault_is_followed_by_what_to_do() {
        let view = json!({ "health": [
            { "address": "192.0.2.21", "type": "tcp", "status": "up" },
            { "address": "192.0.2.21", "type": "vip", "status": "down", "service": "192.0.2.10:80/tcp",
              "diagnosis": "192.0.2.21 does not have 192.0.2.10",
              "remedy": "run there: ip addr add 192.0.2.10/32 dev lo" },
        ]});
        let text = render(What::Health, &view);
        let end = "\n\n192.0.2.10:80/tcp: 192.0.2.21 does not have 192.0.2.10\n  \
                   run there: ip addr add 192.0.2.10/32 dev lo\n";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(text.matches("\n\n").count(), 1, "{text}");
    }

    #[test]
    fn more_flows_than_shown_are_mentioned() {
        let view = json!({ "total": 7, "truncated": true, "flows": [{ "client": "198.51.100.7", "client_port": 40000 }] });
        let text = render(What::Flows, &view);
        assert!(text.contains("198.51.100.7:40000"), "{text}");
        assert!(text.ends_with("1 of 7 flows; --limit N shows more\n"), "{text}");
    }
}
