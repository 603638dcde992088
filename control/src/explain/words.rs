//! The answer, step by step, for a person.

use serde_json::Value;

/// All frames of an answer.
pub(super) fn render(answer: &Value) -> String {
    let rows = answer["frames"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chains: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| if rows.len() > 1 { format!("frame {}\n{}", n + 1, chain(row)) } else { chain(row) })
        .collect();
    chains.join("\n")
}

/// One line a step: what it is about, and what is so.
fn chain(row: &Value) -> String {
    let mut steps: Vec<(&str, String)> = vec![("packet", packet(row)), ("comes in", ingress(row))];
    steps.push(("XDP program", steering(row)));
    if let Some(service) = row["service"].as_str() {
        steps.push(("service", format!("{service}, scheduler {}", text(&row["scheduler"]))));
        steps.extend(list(row, "known").iter().map(|flow| ("flow", known(flow))));
        steps.extend(list(row, "templates").iter().map(|flow| ("template", known(flow))));
        if list(row, "known").is_empty() && row["packet"]["kind"] != "later-fragment" {
            steps.push(("flow", "nobody remembers it".into()));
        }
        if row["hash"].is_object() {
            steps.push(("hash", hash(&row["hash"])));
        }
    } else if row["near"].is_object() {
        steps.push(("service", near(row)));
    }
    if let Some(real) = row["real"].as_str() {
        steps.push(("real server", format!("{real}: {}", way(row))));
    }
    steps.extend(list(row, "others").iter().map(|other| {
        ("not", format!("{}: {} ({})", text(&other["address"]), text(&other["why"]), text(&other["state"])))
    }));
    steps.extend(end(row));
    let width = steps.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    steps.iter().map(|(what, said)| format!("  {what:width$}  {said}\n")).collect()
}

fn packet(row: &Value) -> String {
    let packet = &row["packet"];
    if !packet.is_object() {
        return format!("none, in {} bytes", row["bytes"]);
    }
    let endpoint = |address: &Value, port: &Value| match (text(address), port.as_u64()) {
        (address, None | Some(0)) => address.to_owned(),
        (address, Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (address, Some(port)) => format!("{address}:{port}"),
    };
    let flags: Vec<&str> = list(packet, "flags").iter().filter_map(Value::as_str).collect();
    let flags = if flags.is_empty() { String::new() } else { format!(" {}", flags.join("|")) };
    let kind = match text(&packet["kind"]) {
        "first-fragment" => ", the first fragment of a datagram",
        "later-fragment" => ", a later fragment of a datagram: it has no ports",
        "icmp-error" => ": an ICMP error about this flow",
        _ => "",
    };
    let vlans = list(packet, "vlans").iter().map(|vlan| format!(", VLAN {vlan}")).collect::<String>();
    format!(
        "{} -> {}/{}{flags}{kind}, TTL {}{vlans}, {} bytes",
        endpoint(&packet["client"], &packet["client_port"]),
        endpoint(&packet["vip"], &packet["port"]),
        text(&packet["protocol"]),
        packet["ttl"],
        row["bytes"],
    )
}

fn ingress(row: &Value) -> String {
    let interface = text(&row["interface"]);
    let core = |row: &Value, key: &str| match row[key].as_u64() {
        Some(core) => format!(" on core {core}"),
        None => String::new(),
    };
    if row["worker_is_certain"] == true {
        return format!(
            "on {interface}, queue {}: worker {}{}",
            row["queues"][0]["queue"],
            row["worker"],
            core(row, "worker_core")
        );
    }
    let queues: Vec<String> = list(row, "queues")
        .iter()
        .map(|queue| format!("queue {}: worker {}{}", queue["queue"], queue["worker"], core(queue, "core")))
        .collect();
    let why = match list(row, "known")
        .iter()
        .any(|flow| flow["worker"] == row["worker"] && flow["expired"] == false)
    {
        true => "which knows the flow",
        false => "taken for example",
    };
    format!(
        "on {interface}; the NIC's hash chooses the queue, which is not known here ({}); worker {} is asked, {why}",
        queues.join(", "),
        row["worker"]
    )
}

fn steering(row: &Value) -> String {
    let why = row["steered_why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    match row["steered"].as_bool() {
        Some(true) => format!("steers it to a worker{why}"),
        Some(false) => format!("leaves it to the kernel{why}: no worker sees it"),
        None => format!("could not be asked{why}"),
    }
}

fn known(flow: &Value) -> String {
    let whose = match flow["worker"].as_u64() {
        Some(worker) => format!("worker {worker} remembers it"),
        None => "another director has told of it".to_owned(),
    };
    let real = flow["real"].as_str().unwrap_or("a real server that is no longer there");
    let silent =
        flow["silent_seconds"].as_u64().map(|silent| format!(", silent for {silent} s")).unwrap_or_default();
    let expiry = match flow["expired"].as_bool() {
        Some(true) => "its time is over".to_owned(),
        _ => format!("forgotten in {} s", flow["expires_seconds"]),
    };
    format!("{whose}: {real}, {}{silent}, {expiry}", text(&flow["state"]))
}

fn hash(hash: &Value) -> String {
    match (hash["slot"].as_u64(), hash["slots"].as_u64()) {
        (Some(slot), Some(slots)) => format!("slot {slot} of {slots}: {}", text(&hash["real"])),
        _ => text(&hash["real"]).to_owned(),
    }
}

fn near(row: &Value) -> String {
    let (near, packet) = (&row["near"], &row["packet"]);
    let names: Vec<&str> = list(near, "services").iter().filter_map(Value::as_str).collect();
    let more = match near["more"].as_u64() {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    let (vip, protocol, port) = (text(&packet["vip"]), text(&packet["protocol"]), &packet["port"]);
    let what = match text(&near["wrong"]) {
        "port" => format!("none: {vip} is a VIP and has services of {protocol}, but not on port {port}"),
        "protocol" => format!("none: {vip} is a VIP, but has no service of {protocol}"),
        _ => format!("none: {vip} is no VIP of this director"),
    };
    match names.is_empty() {
        true => format!("{what}; there is no service of its address family"),
        false => format!("{what}; nearest: {}{more}", names.join(", ")),
    }
}

fn way(row: &Value) -> &'static str {
    match text(&row["way"]) {
        "remembered" => "the flow has it",
        "other-worker" => {
            "the flow has it, says another worker's table; this worker remembers it from here on"
        }
        "other-director" => "the flow has it, says another director",
        "moved" => "chosen anew, for the one that the flow had is gone",
        "persistence" => "the client's other flows have it",
        "first-fragment" => "the first fragment of the datagram went there",
        "flow-of-error" => "the flow that the error is about has it",
        "hash-of-error" => "the hash names it for the flow that the error is about, which nobody remembers",
        _ => "the scheduler's choice for a new flow",
    }
}

fn end(row: &Value) -> Vec<(&'static str, String)> {
    let reason = &row["reason"];
    let because = || {
        [
            ("because", format!("{}: {}", text(&reason["name"]), text(&reason["meaning"]))),
            ("to do", text(&reason["remedy"]).to_owned()),
        ]
    };
    // What the XDP program does not steer a worker does not drop either.
    if row["steered"] == false {
        let mut steps = vec![("verdict", "left to the kernel".to_owned())];
        if row["packet"].is_null() && reason.is_object() {
            steps.extend(because());
        }
        return steps;
    }
    let mut steps = Vec::new();
    let sent = &row["sent"];
    let place = format!("out of {}, queue {}", text(&sent["interface"]), number(&sent["queue"]));
    match text(&row["verdict"]) {
        "forwarded" => {
            let vlan = list(sent, "vlans").iter().map(|vlan| format!(", VLAN {vlan}")).collect::<String>();
            steps.push((
                "rewritten",
                format!(
                    "to {} from {}{vlan}, TTL {}",
                    text(&sent["destination_mac"]),
                    text(&sent["source_mac"]),
                    number(&sent["ttl"])
                ),
            ));
            steps.push(("verdict", format!("forwarded {place}, {} bytes", number(&sent["bytes"]))));
        }
        "answered" => steps.push((
            "verdict",
            format!("not forwarded; its sender is told by {}, {place}", text(&row["answer"])),
        )),
        "held" => steps.push((
            "verdict",
            "held for at most 200 ms, until the first fragment of its datagram comes".to_owned(),
        )),
        _ => steps.push(("verdict", "dropped".to_owned())),
    }
    if reason.is_object() {
        steps.extend(because());
    }
    if row["no_room"] == true {
        steps.push((
            "flow",
            "not remembered: its place in the flow table is full (see `flows_per_worker`)".to_owned(),
        ));
    } else if row["after"].is_object() {
        let after = &row["after"];
        steps.push((
            "flow after",
            format!("{}, forgotten after {} s of silence", text(&after["state"]), after["expires_seconds"]),
        ));
    }
    steps
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "?".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(row: Value) -> String {
        render(&json!({ "generation": 1, "frames": [row] }))
    }

    #[test]
    fn a_frame_that_no_worker_gets_is_the_kernels_whatever_a_worker_would_say() {
        let text = told(
            json!({ "bytes": 60, "packet": {}, "steered": false, "verdict": "dropped", "reason": { "name": "no_service" } }),
        );
        assert!(text.contains("verdict      left to the kernel") && !text.contains("no_service"), "{text}");
        let text = told(
            json!({ "bytes": 60, "verdict": "dropped", "reason": { "name": "ttl_expired", "remedy": "Wait." } }),
        );
        assert!(text.contains("could not be asked") && text.contains("to do        Wait."), "{text}");
    }

    #[test]
    fn who_knows_a_flow_and_for_how_long_is_told() {
        let flow = json!({ "worker": 1, "real": "192.0.2.21", "state": "established", "silent_seconds": 3,
                           "expired": false, "expires_seconds": 897 });
        let text = told(
            json!({ "service": "192.0.2.10:80/tcp", "known": [flow], "no_room": true, "steered": true }),
        );
        let line = "worker 1 remembers it: 192.0.2.21, established, silent for 3 s, forgotten in 897 s";
        assert!(text.contains(line) && text.contains("flow table is full"), "{text}");
        let several = render(&json!({ "frames": [{ "bytes": 1 }, { "bytes": 2 }] }));
        assert!(several.starts_with("frame 1\n") && several.contains("\nframe 2\n"), "{several}");
    }
}
