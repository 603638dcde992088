use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn text_of(what: What, row: Value) -> String {
    text(&json!({}), |asked| match asked == what {
        true => json!({ "generation": 7, what.rows(): [row] }),
        false => json!({ "generation": 7 }),
    })
}

#[test]
fn a_fault_of_a_vip_is_a_one_with_its_name() {
    let row = json!({ "address": "192.0.2.21", "type": "vip", "service": "192.0.2.10:80/tcp", "fault": "vip_missing" });
    let text = text_of(What::Health, row);
    let line =
        "shunt_vip_fault{service=\"192.0.2.10:80/tcp\",real_server=\"192.0.2.21\",fault=\"vip_missing\"} 1\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_state_is_one_of_all_it_can_be() {
    let text = text_of(What::Reals, json!({ "service": "s", "address": "192.0.2.21", "state": "draining" }));
    for (state, value) in [("up", "0"), ("draining", "1"), ("down", "0")] {
        let line = format!(
            "shunt_real_server_state{{service=\"s\",real_server=\"192.0.2.21\",state=\"{state}\"}} {value}\n"
        );
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn refused_adverts_are_counted_by_their_reasons() {
    let row =
        json!({ "name": "VI_1", "interface": "eth0", "vrid": 51, "rejected": { "checksum": 2, "ttl": 1 } });
    let text = text_of(What::Vrrp, row);
    for (reason, count) in [("checksum", 2), ("ttl", 1)] {
        let line = format!(
            "shunt_vrrp_adverts_rejected_total{{router=\"VI_1\",interface=\"eth0\",vrid=\"51\",reason=\"{reason}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{text}");
    }
    let rival = "shunt_vrrp_rival{router=\"VI_1\",interface=\"eth0\",vrid=\"51\"} 0\n";
    assert!(text.contains(rival), "{text}");
}

#[test]
fn a_queue_is_of_its_worker_and_what_the_director_says_of_itself_has_no_labels() {
    let worker = json!({
        "worker": 3,
        "queues": [{ "interface": "eth0", "queue": 1, "mode": "native", "zero_copy": true, "xdp": { "rx_ring_full": 9 } }],
        "frames": { "total": 9, "free": 4, "filling": 5 },
    });
    let text = text_of(What::Workers, worker);
    for line in [
        "shunt_queue_rx_ring_full_total{worker=\"3\",interface=\"eth0\",queue=\"1\"} 9\n",
        "shunt_queue_info{worker=\"3\",interface=\"eth0\",queue=\"1\",mode=\"native\",zero_copy=\"true\"} 1\n",
        "shunt_worker_umem_frames{worker=\"3\",state=\"filling\"} 5\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let director = json!({ "ready": true, "reloads": { "done": 2, "refused": 1, "last_successful": false } });
    let text = super::text(&director, |_| json!({}));
    for line in [
        "\nshunt_ready 1\n",
        "\nshunt_config_last_reload_successful 0\n",
        "\nshunt_config_reloads_total{result=\"refused\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn times_are_in_seconds_and_buckets_are_those_that_were_counted() {
    let lateness = json!({ "count": 5, "total_us": 700, "at_most": [[100, 2], [250, 4]] });
    let vrrp = json!({ "lateness": lateness });
    let health =
        json!({ "health": [{ "address": "a", "took_total_ms": 1500.0, "timed": 3, "took_ms": 250.0 }] });
    let text = text(&json!({}), |what| match what {
        What::Vrrp => vrrp.clone(),
        What::Health => health.clone(),
        _ => json!({}),
    });
    for line in [
        "\nshunt_vrrp_advert_lateness_seconds_bucket{le=\"0.0001\"} 2\n",
        "\nshunt_vrrp_advert_lateness_seconds_bucket{le=\"0.00025\"} 4\n",
        "\nshunt_vrrp_advert_lateness_seconds_bucket{le=\"+Inf\"} 5\n",
        "\nshunt_vrrp_advert_lateness_seconds_sum 0.0007\n",
        "\nshunt_vrrp_advert_lateness_seconds_count 5\n",
        "\nshunt_check_duration_seconds_sum{real_server=\"a\",type=\"\",port=\"\",service=\"\"} 1.5\n",
        "\nshunt_check_last_duration_seconds{real_server=\"a\",type=\"\",port=\"\",service=\"\"} 0.25\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

/// <https://prometheus.io/docs/practices/naming/>, as far as a machine can tell; and what promtool's linter looks for.
#[test]
fn names_follow_the_conventions() {
    // Units that are not base units, their abbreviations, and the names of types.
    let forbidden = [
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "minutes",
        "hours",
        "days",
        "kilobytes",
        "megabytes",
        "bits",
        "percent",
        "s",
        "ms",
        "us",
        "ns",
        "sec",
        "b",
        "kb",
        "mb",
        "gb",
        "m",
        "h",
        "d",
        "gauge",
        "counter",
        "histogram",
        "summary",
    ];
    let snake = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let mut names = BTreeSet::new();
    for metric in METRICS {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(snake(name) && (name.starts_with("shunt_") || name.starts_with("process_")), "{name}");
        let kind = metric.kind.of_family();
        assert_eq!(
            name.ends_with("_total"),
            kind == Type::Counter,
            "{name}: only counters end so, and all do"
        );
        for suffix in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(suffix), "{name}: a histogram has series of such names");
        }
        for word in name.split('_') {
            assert!(!forbidden.contains(&word), "{name}: {word}");
        }
        let is_time = matches!(metric.kind, Scaled(..) | Summary(..) | Histogram(..));
        assert!(!is_time || name.ends_with("_seconds"), "{name}");
        assert!(!metric.help.is_empty() && !metric.help.contains(['\n', '\\']), "{name}");
        for (label, _) in metric.labels {
            assert!(
                snake(label) && !["le", "quantile", "job", "instance"].contains(label),
                "{name}: {label}"
            );
        }
    }
}

#[test]
fn every_metric_is_announced_even_if_there_is_nothing_to_count() {
    let text = text(&Value::Null, |_| Value::Null);
    for metric in METRICS {
        let kind = metric.kind.of_family().name();
        assert!(
            text.contains(&format!(
                "# HELP {} {}\n# TYPE {} {kind}\n",
                metric.name, metric.help, metric.name
            ))
        );
    }
}
