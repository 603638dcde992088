//! The views as metrics, for Prometheus (OpenMetrics text). They are made of the same rows that `shunt show` prints, so
//! that a number has one meaning; here is only what each is called.
//!
//! *Invariants*
//! - names follow the conventions: base units, `_total` for what only grows (the library appends it);
//! - a state is a row of 0s and 1s, one for each value it can have, so that an alert needs no text.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::admin::protocol::What;

/// One metric: its name, what it says, and where it is found.
struct Metric {
    name: &'static str,
    help: &'static str,
    view: What,
    kind: Kind,
    /// Label, and the key of the row that is its value.
    labels: &'static [(&'static str, &'static str)],
}

enum Kind {
    /// Only grows: the key of its value. (A path: `flows.remembered`.)
    Counter(&'static str),
    /// Goes up and down: the key of its value.
    Gauge(&'static str),
    /// A text that is one of these: a 1 for that, a 0 for the others, under this label.
    State(&'static str, &'static str, &'static [&'static str]),
    /// A counter for each key of this map, which is the value of this label.
    Map(&'static str, &'static str),
    /// A 1 where there is a text, which is the value of this label.
    Fault(&'static str),
}

use Kind::{Counter as C, Fault, Gauge as G, Map, State};

const OF_SERVICE: &[(&str, &str)] = &[("vip", "vip"), ("port", "port"), ("protocol", "protocol")];
const OF_REAL: &[(&str, &str)] = &[("service", "service"), ("real_server", "address")];
const OF_CHECK: &[(&str, &str)] =
    &[("real_server", "address"), ("type", "type"), ("port", "port"), ("service", "service")];
const OF_WORKER: &[(&str, &str)] = &[("worker", "worker")];
const OF_ROUTER: &[(&str, &str)] = &[("router", "name"), ("interface", "interface"), ("vrid", "vrid")];
const OF_DROP: &[(&str, &str)] = &[("reason", "reason")];

#[rustfmt::skip]
const METRICS: &[Metric] = &[
    metric("shunt_service_real_servers", "Real servers of the service", What::Services, G("reals"), OF_SERVICE),
    metric("shunt_service_real_servers_up", "Real servers that take new flows", What::Services, G("up"), OF_SERVICE),
    metric("shunt_service_frames", "Frames forwarded", What::Services, C("frames"), OF_SERVICE),
    metric("shunt_service_bytes", "Bytes of these frames", What::Services, C("bytes"), OF_SERVICE),
    metric("shunt_service_flows", "Flows begun", What::Services, C("flows"), OF_SERVICE),
    metric("shunt_service_flows_active", "Flows remembered as established", What::Services, G("active"), OF_SERVICE),
    metric("shunt_service_flows_inactive", "Other flows remembered", What::Services, G("inactive"), OF_SERVICE),
    metric("shunt_real_server_state", "What it is", What::Reals, State("state", "state", &["up", "draining", "down"]), OF_REAL),
    metric("shunt_real_server_weight", "The weight in force", What::Reals, G("effective_weight"), OF_REAL),
    metric("shunt_real_server_frames", "Frames forwarded to it", What::Reals, C("frames"), OF_REAL),
    metric("shunt_real_server_bytes", "Bytes of these frames", What::Reals, C("bytes"), OF_REAL),
    metric("shunt_real_server_flows", "Flows begun", What::Reals, C("flows"), OF_REAL),
    metric("shunt_real_server_flows_active", "Flows remembered as established", What::Reals, G("active"), OF_REAL),
    metric("shunt_real_server_flows_inactive", "Other flows remembered", What::Reals, G("inactive"), OF_REAL),
    metric("shunt_real_server_handshakes_reset", "Handshakes that a client saw reset", What::Reals, C("handshakes.reset"), OF_REAL),
    metric("shunt_real_server_handshakes_retransmitted", "Handshakes that a client had to repeat", What::Reals, C("handshakes.retransmitted"), OF_REAL),
    metric("shunt_check_state", "What the check says", What::Health, State("state", "status", &["up", "down", "unknown"]), OF_CHECK),
    metric("shunt_check_failures", "Probes that failed", What::Health, C("failures"), OF_CHECK),
    metric("shunt_check_probes", "Probes made", What::Health, C("probes"), OF_CHECK),
    metric("shunt_vip_fault", "What is wrong with the VIP on the real server", What::Health, Fault("fault"), &[("service", "service"), ("real_server", "address")]),
    metric("shunt_worker_received_frames", "Frames received", What::Workers, C("rx_frames"), OF_WORKER),
    metric("shunt_worker_sent_frames", "Frames sent", What::Workers, C("tx_frames"), OF_WORKER),
    metric("shunt_worker_dropped_frames", "Frames dropped", What::Workers, C("drops"), OF_WORKER),
    metric("shunt_worker_flows_remembered", "Flows in the table", What::Workers, G("flows.remembered"), OF_WORKER),
    metric("shunt_worker_flows_capacity", "Flows that the table has room for", What::Workers, G("flows.capacity"), OF_WORKER),
    metric("shunt_worker_flows_evicted", "Flows put out for a newer one", What::Workers, C("flows.evicted"), OF_WORKER),
    metric("shunt_worker_flows_at_risk", "Flows whose real server is not what the hash says now", What::Workers, G("flows.at_risk"), OF_WORKER),
    metric("shunt_vrrp_state", "What the virtual router is", What::Vrrp, State("state", "state", &["INIT", "BACKUP", "MASTER", "FAULT"]), OF_ROUTER),
    metric("shunt_vrrp_priority", "Its priority in force", What::Vrrp, G("priority"), OF_ROUTER),
    metric("shunt_vrrp_transitions", "Changes of its state", What::Vrrp, C("counters.transitions"), OF_ROUTER),
    metric("shunt_vrrp_adverts_sent", "Adverts sent", What::Vrrp, C("counters.adverts_sent"), OF_ROUTER),
    metric("shunt_vrrp_adverts_received", "Adverts that passed every check", What::Vrrp, C("counters.adverts_received"), OF_ROUTER),
    metric("shunt_vrrp_adverts_rejected", "Adverts refused, by reason", What::Vrrp, Map("rejected", "reason"), OF_ROUTER),
    metric("shunt_vrrp_rival_seconds", "For how long two have been active", What::Vrrp, G("rival.seconds"), OF_ROUTER),
    metric("shunt_vrrp_rivals", "How often two were active at once", What::Vrrp, C("counters.rivals"), OF_ROUTER),
    metric("shunt_vrrp_worst_lateness_microseconds", "The latest that an advert was", What::Vrrp, G("worst_lateness_us"), OF_ROUTER),
    metric("shunt_dropped_frames", "Frames dropped, by reason", What::Drops, C("frames"), OF_DROP),
];

const fn metric(
    name: &'static str,
    help: &'static str,
    view: What,
    kind: Kind,
    labels: &'static [(&'static str, &'static str)],
) -> Metric {
    Metric { name, help, view, kind, labels }
}

/// All metrics; `view`: what is shown of something.
pub fn text(mut view: impl FnMut(What) -> Value) -> String {
    let mut registry = Registry::default();
    let mut views: Vec<(What, Value)> = Vec::new();
    for metric in METRICS {
        if views.iter().all(|(what, _)| *what != metric.view) {
            views.push((metric.view, view(metric.view)));
        }
        let (_, view) = views.iter().find(|(what, _)| *what == metric.view).expect("it was pushed above");
        metric.register(&mut registry, view[metric.view.rows()].as_array().map_or(&[][..], Vec::as_slice));
    }
    generation(&mut registry, views.first().map_or(&Value::Null, |(_, view)| view));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes everything");
    text
}

type Labels = Vec<(&'static str, String)>;

fn generation(registry: &mut Registry, view: &Value) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(view["generation"].as_f64().unwrap_or_default());
    registry.register("shunt_generation", "Number of the forwarding state in force", gauge);
}

impl Metric {
    fn register(&self, registry: &mut Registry, rows: &[Value]) {
        match self.kind {
            Kind::Counter(key) => {
                let family = Family::<Labels, Counter>::default();
                for row in rows {
                    if let Some(value) = at(row, key).as_u64() {
                        family.get_or_create(&self.labels(row)).inc_by(value);
                    }
                }
                registry.register(self.name, self.help, family);
            }
            Map(key, label) => {
                let family = Family::<Labels, Counter>::default();
                for row in rows {
                    for (name, value) in at(row, key).as_object().into_iter().flatten() {
                        let mut labels = self.labels(row);
                        labels.push((label, escaped(name)));
                        family.get_or_create(&labels).inc_by(value.as_u64().unwrap_or_default());
                    }
                }
                registry.register(self.name, self.help, family);
            }
            Kind::Gauge(key) => self.gauges(registry, rows, |row, labels, set| {
                if let Some(value) = at(row, key).as_f64() {
                    set(labels, value);
                }
            }),
            State(label, key, values) => self.gauges(registry, rows, |row, labels, set| {
                for value in values {
                    let mut labels = labels.clone();
                    labels.push((label, (*value).to_owned()));
                    set(labels, f64::from(u8::from(at(row, key) == *value)));
                }
            }),
            Fault(key) => self.gauges(registry, rows, |row, mut labels, set| {
                if let Some(fault) = at(row, key).as_str() {
                    labels.push((key, fault.to_owned()));
                    set(labels, 1.0);
                }
            }),
        }
    }

    fn gauges(
        &self,
        registry: &mut Registry,
        rows: &[Value],
        each: impl Fn(&Value, Labels, &mut dyn FnMut(Labels, f64)),
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for row in rows {
            each(row, self.labels(row), &mut |labels, value| {
                family.get_or_create(&labels).set(value);
            });
        }
        registry.register(self.name, self.help, family);
    }

    fn labels(&self, row: &Value) -> Labels {
        self.labels
            .iter()
            .filter_map(|(label, key)| match at(row, key) {
                Value::Null => None,
                Value::String(text) => Some((*label, escaped(text))),
                other => Some((*label, other.to_string())),
            })
            .collect()
    }
}

/// OpenMetrics, escaped-string: the library writes labels as they are.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// The value at a path of keys: `flows.remembered`.
fn at<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, key| &value[key])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text_of(what: What, row: Value) -> String {
        text(|asked| match asked == what {
            true => json!({ "generation": 7, what.rows(): [row] }),
            false => json!({ "generation": 7 }),
        })
    }

    #[test]
    fn a_fault_of_a_vip_is_a_one_with_its_name() {
        let row = json!({ "address": "192.0.2.21", "type": "vip", "service": "192.0.2.10:80/tcp", "fault": "vip_missing" });
        let text = text_of(What::Health, row);
        let line = "shunt_vip_fault{service=\"192.0.2.10:80/tcp\",real_server=\"192.0.2.21\",fault=\"vip_missing\"} 1.0\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("shunt_generation 7.0\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn a_state_is_one_of_all_it_can_be() {
        let text =
            text_of(What::Reals, json!({ "service": "s", "address": "192.0.2.21", "state": "draining" }));
        for (state, value) in [("up", "0.0"), ("draining", "1.0"), ("down", "0.0")] {
            let line = format!(
                "shunt_real_server_state{{service=\"s\",real_server=\"192.0.2.21\",state=\"{state}\"}} {value}\n"
            );
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn a_counter_has_its_suffix_and_text_is_escaped() {
        let text = text_of(What::Drops, json!({ "reason": "a\"b\n", "frames": 3 }));
        assert!(text.contains("shunt_dropped_frames_total{reason=\"a\\\"b\\n\"} 3\n"), "{text}");
    }

    #[test]
    fn refused_adverts_are_counted_by_their_reasons() {
        let row = json!({ "name": "VI_1", "interface": "eth0", "vrid": 51, "rejected": { "checksum": 2, "ttl": 1 } });
        let text = text_of(What::Vrrp, row);
        for (reason, count) in [("checksum", 2), ("ttl", 1)] {
            let line = format!(
                "shunt_vrrp_adverts_rejected_total{{router=\"VI_1\",interface=\"eth0\",vrid=\"51\",reason=\"{reason}\"}} {count}\n"
            );
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }
}
