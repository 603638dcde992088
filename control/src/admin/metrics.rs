//! The views as metrics, for Prometheus. They are made of the same rows that `shunt show` prints, so that a number has one
//! meaning; here is only what each is called. `exposition` is how they are written.
//!
//! *Invariants*
//! - names follow the conventions of Prometheus: base units, `_total` for what only grows, `shunt_` first, but for what the
//!   kernel says of every process (`process_`);
//! - a state is a row of 0s and 1s, one for each value it can have, so that an alert needs no text;
//! - labels are what is configured (services, real servers, routers, workers, queues) or a fixed list (reasons, states):
//!   nothing that a client sends makes a series.

use serde_json::Value;

use crate::admin::exposition::{Family, Labels, Type};
use crate::admin::protocol::What;

/// One metric: its name, what it says, and where it is found.
struct Metric {
    name: &'static str,
    help: &'static str,
    source: Source,
    kind: Kind,
    /// Label, and the key of the row that is its value.
    labels: &'static [(&'static str, &'static str)],
}

/// Where rows are.
#[derive(Clone, Copy)]
struct Source {
    /// None: what the director says of itself.
    view: Option<What>,
    /// Path to a list, or to one row; `a/b`: the list `b` of each row of the list `a`.
    path: &'static str,
}

/// What is made of a row. Keys are paths: `flows.remembered`.
enum Kind {
    /// Only grows.
    Counter(&'static str),
    /// A counter for each of these keys of an object, which is the value of this label.
    Counters(&'static str, &'static str, &'static [&'static str]),
    /// A counter for each key of an object, which is the value of this label.
    Map(&'static str, &'static str),
    /// Goes up and down, or is true (1) or false (0).
    Gauge(&'static str),
    /// A time in another unit, of which a second has this many.
    Scaled(&'static str, f64),
    /// A gauge for each of these keys of an object, which is the value of this label.
    Gauges(&'static str, &'static str, &'static [&'static str]),
    /// A text that is one of these: a 1 for that, a 0 for the others, under this label.
    State(&'static str, &'static str, &'static [&'static str]),
    /// A 1 where there is a text, which is the value of this label.
    Fault(&'static str),
    /// Whether there is something.
    Present(&'static str),
    /// A 1, for the sake of its labels.
    Info,
    /// Keys of the sum and of the count, and how many of the sum's unit a second has.
    Summary(&'static str, &'static str, f64),
    /// Keys of the list of (limit, how many were at most that), of the sum and of the count; how many of the unit of limits
    /// and sum a second has.
    Histogram(&'static str, &'static str, &'static str, f64),
}

use Kind::{
    Counter as C, Counters, Fault, Gauge as G, Gauges, Histogram, Info, Map, Present, Scaled, State, Summary,
};

const DIRECTOR: Source = Source { view: None, path: "" };
const SERVICES: Source = of(What::Services, "services");
const REALS: Source = of(What::Reals, "reals");
const CHECKS: Source = of(What::Health, "health");
const ALL_CHECKS: Source = of(What::Health, "");
const WORKERS: Source = of(What::Workers, "workers");
const QUEUES: Source = of(What::Workers, "workers/queues");
const INTERFACES: Source = of(What::Workers, "interfaces");
const DROPS: Source = of(What::Drops, "drops");
const ROUTERS: Source = of(What::Vrrp, "routers");
const ALL_ROUTERS: Source = of(What::Vrrp, "");
const SYNC: Source = of(What::Vrrp, "sync");
const SYNC_PEERS: Source = of(What::Vrrp, "sync.peers");

const ALONE: &[(&str, &str)] = &[];
const OF_SERVICE: &[(&str, &str)] = &[("service", "service")];
const OF_REAL: &[(&str, &str)] = &[("service", "service"), ("real_server", "address")];
const OF_CHECK: &[(&str, &str)] =
    &[("real_server", "address"), ("type", "type"), ("port", "port"), ("service", "service")];
const OF_WORKER: &[(&str, &str)] = &[("worker", "worker")];
const OF_QUEUE: &[(&str, &str)] = &[("worker", "worker"), ("interface", "interface"), ("queue", "queue")];
const OF_SOCKET: &[(&str, &str)] = &[
    ("worker", "worker"),
    ("interface", "interface"),
    ("queue", "queue"),
    ("mode", "mode"),
    ("zero_copy", "zero_copy"),
];
const OF_ROUTER: &[(&str, &str)] = &[("router", "name"), ("interface", "interface"), ("vrid", "vrid")];

/// How many of them a second has.
const MILLIS: f64 = 1e3;
const MICROS: f64 = 1e6;

#[rustfmt::skip]
const METRICS: &[Metric] = &[
    metric("shunt_build_info", "Always 1; its label is the version that runs", DIRECTOR, Info, &[("version", "version")]),
    metric("shunt_ready", "Whether the start is over", DIRECTOR, G("ready"), ALONE),
    metric("shunt_generation", "Number of the forwarding state in force; each change of it has the next", DIRECTOR, G("generation"), ALONE),
    metric("shunt_config_last_reload_successful", "Whether the last configuration that was read is in force", DIRECTOR, G("reloads.last_successful"), ALONE),
    metric("shunt_config_last_reload_success_timestamp_seconds", "When a configuration came into force last, seconds since 1970", DIRECTOR, G("reloads.last_success_seconds"), ALONE),
    metric("shunt_config_reloads_total", "Times the configuration was read again, by what came of it", DIRECTOR, Counters("reloads", "result", &["done", "refused"]), ALONE),
    metric("shunt_config_applies_total", "Files given to shunt apply, by what came of them", DIRECTOR, Counters("applies", "result", &["done", "refused", "rolled_back"]), ALONE),
    metric("shunt_config_unconfirmed", "Whether what is in force was applied on trial and awaits its confirmation", DIRECTOR, G("unconfirmed"), ALONE),
    metric("process_cpu_seconds_total", "CPU time of all threads, user and system", DIRECTOR, C("process.cpu_seconds"), ALONE),
    metric("process_start_time_seconds", "When the process was started, seconds since 1970", DIRECTOR, G("process.start_time_seconds"), ALONE),
    metric("process_resident_memory_bytes", "Memory in RAM", DIRECTOR, G("process.resident_memory_bytes"), ALONE),
    metric("process_virtual_memory_bytes", "Memory mapped", DIRECTOR, G("process.virtual_memory_bytes"), ALONE),
    metric("process_open_fds", "Open file descriptors", DIRECTOR, G("process.open_fds"), ALONE),
    metric("process_max_fds", "How many may be open", DIRECTOR, G("process.max_fds"), ALONE),
    metric("process_threads", "Threads", DIRECTOR, G("process.threads"), ALONE),

    metric("shunt_service_real_servers", "Real servers of the service", SERVICES, G("reals"), OF_SERVICE),
    metric("shunt_service_real_servers_up", "Real servers that take new flows", SERVICES, G("up"), OF_SERVICE),
    metric("shunt_service_real_servers_draining", "Real servers that keep their flows and take no new ones", SERVICES, G("draining"), OF_SERVICE),
    metric("shunt_service_quorum_lost", "Whether too few real servers are up", SERVICES, G("quorum.lost"), OF_SERVICE),
    metric("shunt_service_packets_total", "Packets for the service, forwarded or not", SERVICES, C("frames"), OF_SERVICE),
    metric("shunt_service_bytes_total", "Bytes of these packets, with their Ethernet headers", SERVICES, C("bytes"), OF_SERVICE),
    metric("shunt_service_flows_total", "Flows begun", SERVICES, C("flows"), OF_SERVICE),
    metric("shunt_service_flows_active", "Flows remembered as established", SERVICES, G("active"), OF_SERVICE),
    metric("shunt_service_flows_inactive", "Other flows remembered", SERVICES, G("inactive"), OF_SERVICE),

    metric("shunt_real_server_state", "What it is: 1 for that, 0 for the others", REALS, State("state", "state", &["up", "draining", "down"]), OF_REAL),
    metric("shunt_real_server_weight", "The weight in force", REALS, G("effective_weight"), OF_REAL),
    metric("shunt_real_server_sorry", "Whether it is the sorry server, which answers once the quorum is lost", REALS, G("sorry"), OF_REAL),
    metric("shunt_real_server_overloaded", "Whether it takes no new flows until it has fewer", REALS, G("overloaded"), OF_REAL),
    metric("shunt_real_server_packets_total", "Packets forwarded to it", REALS, C("frames"), OF_REAL),
    metric("shunt_real_server_bytes_total", "Bytes of these packets, with their Ethernet headers", REALS, C("bytes"), OF_REAL),
    metric("shunt_real_server_flows_total", "Flows begun", REALS, C("flows"), OF_REAL),
    metric("shunt_real_server_flows_active", "Flows remembered as established", REALS, G("active"), OF_REAL),
    metric("shunt_real_server_flows_inactive", "Other flows remembered", REALS, G("inactive"), OF_REAL),
    metric("shunt_real_server_templates", "Clients kept together by persistence", REALS, G("templates"), OF_REAL),
    metric("shunt_real_server_handshakes_total", "Handshakes as clients saw them, by what came of them", REALS, Map("handshakes", "result"), OF_REAL),

    metric("shunt_check_state", "What the check says: 1 for that, 0 for the others", CHECKS, State("state", "status", &["up", "down", "unknown"]), OF_CHECK),
    metric("shunt_check_probes_total", "Probes with a result", CHECKS, C("probes"), OF_CHECK),
    metric("shunt_check_failures_total", "Probes that failed", CHECKS, C("failures"), OF_CHECK),
    metric("shunt_check_duration_seconds", "How long probes took", CHECKS, Summary("took_total_ms", "timed", MILLIS), OF_CHECK),
    metric("shunt_check_last_duration_seconds", "How long the last probe took", CHECKS, Scaled("took_ms", MILLIS), OF_CHECK),
    metric("shunt_check_worst_lateness_seconds", "The latest that a probe of any check has begun, since the start", ALL_CHECKS, Scaled("worst_lateness_ms", MILLIS), ALONE),
    metric("shunt_vip_fault", "1: this is wrong with the VIP on the real server; nothing where nothing is", CHECKS, Fault("fault"), OF_REAL),

    metric("shunt_worker_received_frames_total", "Frames received", WORKERS, C("rx_frames"), OF_WORKER),
    metric("shunt_worker_received_bytes_total", "Their bytes", WORKERS, C("rx_bytes"), OF_WORKER),
    metric("shunt_worker_sent_frames_total", "Frames sent", WORKERS, C("tx_frames"), OF_WORKER),
    metric("shunt_worker_sent_bytes_total", "Their bytes", WORKERS, C("tx_bytes"), OF_WORKER),
    metric("shunt_worker_dropped_frames_total", "Frames that the worker dropped, by reason", WORKERS, Map("dropped", "reason"), OF_WORKER),
    metric("shunt_worker_checksums_completed_total", "Checksums completed for a sender that left them to hardware", WORKERS, C("checksums_completed"), OF_WORKER),
    metric("shunt_worker_captured_frames_total", "Frames that were captured", WORKERS, C("captured"), OF_WORKER),
    metric("shunt_worker_capture_lost_frames_total", "Frames that were to be captured and found no room", WORKERS, C("capture_lost"), OF_WORKER),
    metric("shunt_worker_kicks_refused_total", "Times the kernel refused to be told of a ring", WORKERS, C("kicks_refused"), OF_WORKER),
    metric("shunt_worker_state", "How it does: 1 for that, 0 for the others", WORKERS, State("state", "state", &["up", "starved", "hung", "dead"]), OF_WORKER),
    metric("shunt_worker_restarts_total", "Times another worker took the place of one that died", WORKERS, C("restarts"), OF_WORKER),
    metric("shunt_worker_busy_seconds_total", "Time in which it dealt with frames, looking for them aside", WORKERS, C("busy_seconds"), OF_WORKER),
    metric("shunt_worker_turns_total", "Turns of its loop: one that takes none stands still", WORKERS, C("turns"), OF_WORKER),
    metric("shunt_worker_bursts_total", "Turns with a frame", WORKERS, C("bursts"), OF_WORKER),
    metric("shunt_worker_sleeps_total", "Times it slept because nothing came", WORKERS, C("sleeps"), OF_WORKER),
    metric("shunt_worker_generation", "Number of the forwarding state that it uses", WORKERS, G("generation"), OF_WORKER),
    metric("shunt_worker_flows", "Flows in its table", WORKERS, G("flows.remembered"), OF_WORKER),
    metric("shunt_worker_flows_capacity", "Flows that the table has room for", WORKERS, G("flows.capacity"), OF_WORKER),
    metric("shunt_worker_flows_at_risk", "Flows whose real server is not what the hash says now: they would move if the table were lost", WORKERS, G("flows.at_risk"), OF_WORKER),
    metric("shunt_worker_flows_expired_total", "Flows forgotten after their timeout", WORKERS, C("flows.expired"), OF_WORKER),
    metric("shunt_worker_flows_evicted_total", "Flows put out for a newer one", WORKERS, C("flows.evicted"), OF_WORKER),
    metric("shunt_worker_flows_dispensed_total", "Flows put out that the hash finds again", WORKERS, C("flows.dispensed"), OF_WORKER),
    metric("shunt_worker_flows_refused_total", "New flows that the table had no room for: they live by the hash alone", WORKERS, C("flows.refused"), OF_WORKER),
    metric("shunt_worker_flows_adopted_total", "Flows taken over from another worker", WORKERS, C("flows.adopted"), OF_WORKER),
    metric("shunt_worker_flows_synced_total", "Flows taken over from another director", WORKERS, C("flows.synced"), OF_WORKER),
    metric("shunt_worker_flows_moved_total", "Flows that moved because their real server was gone", WORKERS, C("flows.moved"), OF_WORKER),
    metric("shunt_worker_answers_total", "ICMP errors and RSTs that the director sent itself", WORKERS, Counters("answers", "type", &["icmp", "reset"]), OF_WORKER),
    metric("shunt_worker_answers_withheld_total", "Those that it did not send because there were too many", WORKERS, C("answers.withheld"), OF_WORKER),
    metric("shunt_worker_fragments_held_total", "Fragments that waited for the first of their datagram", WORKERS, C("fragments_held"), OF_WORKER),
    metric("shunt_worker_umem_frames", "Frames of its memory, by where they are: free, waiting for another fragment, lent to the kernel to receive into (fill ring, RX ring) or to send (TX ring, completion ring)", WORKERS, Gauges("frames", "state", &["free", "held", "filling", "sending"]), OF_WORKER),

    metric("shunt_queue_info", "Always 1; its labels say how frames of the queue come in", QUEUES, Info, OF_SOCKET),
    metric("shunt_queue_rx_dropped_total", "Kernel, AF_XDP socket: frames dropped that came in (no frame to receive into, or too long)", QUEUES, C("xdp.rx_dropped"), OF_QUEUE),
    metric("shunt_queue_rx_ring_full_total", "Kernel, AF_XDP socket: frames dropped because the RX ring was full", QUEUES, C("xdp.rx_ring_full"), OF_QUEUE),
    metric("shunt_queue_fill_ring_empty_total", "Kernel, AF_XDP socket: times the fill ring had no frame to receive into", QUEUES, C("xdp.rx_fill_ring_empty_descs"), OF_QUEUE),
    metric("shunt_queue_tx_ring_empty_total", "Kernel, AF_XDP socket: times the TX ring had nothing to send", QUEUES, C("xdp.tx_ring_empty_descs"), OF_QUEUE),
    metric("shunt_queue_rx_invalid_descriptors_total", "Kernel, AF_XDP socket: descriptors of the fill ring that it refused", QUEUES, C("xdp.rx_invalid_descs"), OF_QUEUE),
    metric("shunt_queue_tx_invalid_descriptors_total", "Kernel, AF_XDP socket: descriptors of the TX ring that it refused", QUEUES, C("xdp.tx_invalid_descs"), OF_QUEUE),
    metric("shunt_interface_frames_total", "What the XDP program did with frames: left to the kernel, given to a worker, dropped for want of one", INTERFACES, Counters("", "action", &["passed", "redirected", "no_socket", "worker_stalled"]), &[("interface", "interface")]),
    metric("shunt_dropped_frames_total", "Frames dropped, by reason, those that never reached a worker included", DROPS, C("frames"), &[("reason", "reason")]),

    metric("shunt_vrrp_state", "What the virtual router is: 1 for that, 0 for the others", ROUTERS, State("state", "state", &["INIT", "BACKUP", "MASTER", "FAULT"]), OF_ROUTER),
    metric("shunt_vrrp_priority", "Its priority in force", ROUTERS, G("priority"), OF_ROUTER),
    metric("shunt_vrrp_holds_addresses", "Whether its addresses are on their interfaces", ROUTERS, G("holds"), OF_ROUTER),
    metric("shunt_vrrp_transitions_total", "Changes of its state", ROUTERS, C("counters.transitions"), OF_ROUTER),
    metric("shunt_vrrp_adverts_sent_total", "Adverts sent", ROUTERS, C("counters.adverts_sent"), OF_ROUTER),
    metric("shunt_vrrp_adverts_received_total", "Adverts that passed every check", ROUTERS, C("counters.adverts_received"), OF_ROUTER),
    metric("shunt_vrrp_adverts_rejected_total", "Adverts refused, by reason", ROUTERS, Map("rejected", "reason"), OF_ROUTER),
    metric("shunt_vrrp_adverts_unknown_vrid_total", "Adverts for VRIDs that nobody here has", ALL_ROUTERS, C("unknown_vrid"), ALONE),
    metric("shunt_vrrp_priority_zero_sent_total", "Times it told the others that it stops", ROUTERS, C("counters.priority_zero_sent"), OF_ROUTER),
    metric("shunt_vrrp_priority_zero_received_total", "Times another one told that it stops", ROUTERS, C("counters.priority_zero_received"), OF_ROUTER),
    metric("shunt_vrrp_rival", "Whether another one is active at the same time", ROUTERS, Present("rival"), OF_ROUTER),
    metric("shunt_vrrp_rivals_total", "How often two were active at once", ROUTERS, C("counters.rivals"), OF_ROUTER),
    metric("shunt_vrrp_advert_unsent", "Whether the last advert could not be sent", ROUTERS, Present("unsent"), OF_ROUTER),
    metric("shunt_vrrp_advert_interval_seconds", "Interval of adverts in force", ROUTERS, G("interval_seconds"), OF_ROUTER),
    metric("shunt_vrrp_advert_lateness_seconds", "From the moment an advert is due to the moment that the kernel has it, all routers", ALL_ROUTERS, Histogram("lateness.at_most", "lateness.total_us", "lateness.count", MICROS), ALONE),
    metric("shunt_vrrp_advert_worst_lateness_seconds", "The latest that an advert was, since the start", ROUTERS, Scaled("worst_lateness_us", MICROS), OF_ROUTER),

    metric("shunt_sync_state", "How far it is with the flows of other directors: waiting for them, told, or alone", SYNC, State("state", "snapshot", &["waiting", "told", "alone"]), ALONE),
    metric("shunt_sync_datagrams_sent_total", "Datagrams about flows sent", SYNC, C("sent"), ALONE),
    metric("shunt_sync_datagrams_repeated_total", "Datagrams sent again because somebody missed them", SYNC, C("sent_again"), ALONE),
    metric("shunt_sync_datagrams_unsent_total", "Datagrams that the kernel did not take", SYNC, C("unsent"), ALONE),
    metric("shunt_sync_datagrams_received_total", "Datagrams believed", SYNC, C("heard"), ALONE),
    metric("shunt_sync_datagrams_lost_total", "Datagrams that never came", SYNC, C("lost"), ALONE),
    metric("shunt_sync_datagrams_rejected_total", "Datagrams not believed, by reason", SYNC, Map("rejected", "reason"), ALONE),
    metric("shunt_sync_flows_sent_total", "Flows told", SYNC, C("flows_told"), ALONE),
    metric("shunt_sync_flows_received_total", "Flows heard of, by what became of them", SYNC, Map("flows", "result"), ALONE),
    metric("shunt_sync_flows", "Flows of others that are remembered now", SYNC, G("flows_held"), ALONE),
    metric("shunt_sync_held_up_total", "Ticks in which flows had to wait because there were too many", SYNC, C("held_up"), ALONE),
    metric("shunt_sync_snapshots_total", "Times all was told to a director that asked", SYNC, C("snapshots"), ALONE),
    metric("shunt_sync_peer_silence_seconds", "Since another director was heard last", SYNC_PEERS, Scaled("silent_ms", MILLIS), &[("peer", "address")]),
];

const fn of(view: What, path: &'static str) -> Source {
    Source { view: Some(view), path }
}

const fn metric(
    name: &'static str,
    help: &'static str,
    source: Source,
    kind: Kind,
    labels: &'static [(&'static str, &'static str)],
) -> Metric {
    Metric { name, help, source, kind, labels }
}

/// All metrics. `director`: what it says of itself; `view`: what is shown of something.
pub fn text(director: &Value, mut view: impl FnMut(What) -> Value) -> String {
    let mut views: Vec<(What, Value)> = Vec::new();
    let mut text = String::new();
    for metric in METRICS {
        let Some(wanted) = metric.source.view else {
            metric.family(director).write(&mut text);
            continue;
        };
        if views.iter().all(|(what, _)| *what != wanted) {
            views.push((wanted, view(wanted)));
        }
        let (_, view) = views.iter().find(|(what, _)| *what == wanted).expect("it was pushed above");
        metric.family(view).write(&mut text);
    }
    text
}

/// A row, and the one that it belongs to.
#[derive(Clone, Copy)]
struct Row<'a> {
    value: &'a Value,
    of: &'a Value,
}

impl<'a> Row<'a> {
    fn at(self, path: &str) -> &'a Value {
        match at(self.value, path) {
            Value::Null => at(self.of, path),
            found => found,
        }
    }

    fn number(self, path: &str) -> Option<f64> {
        number(self.at(path))
    }
}

/// Booleans count as 0 and 1.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))))
}

/// The value at a path of keys: `flows.remembered`. An empty one leads nowhere else.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    match path {
        "" => value,
        path => path.split('.').fold(value, |value, key| &value[key]),
    }
}

/// What is no list has nothing in it.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl Source {
    fn rows(self, view: &Value) -> Vec<Row<'_>> {
        match self.path.split_once('/') {
            Some((outer, inner)) => list(at(view, outer))
                .flat_map(|of| list(at(of, inner)).map(move |value| Row { value, of }))
                .collect(),
            None => match at(view, self.path) {
                Value::Array(rows) => rows.iter().map(|value| Row { value, of: &Value::Null }).collect(),
                Value::Null => Vec::new(),
                value => vec![Row { value, of: &Value::Null }],
            },
        }
    }
}

impl Kind {
    fn of_family(&self) -> Type {
        match self {
            C(_) | Counters(..) | Map(..) => Type::Counter,
            G(_) | Scaled(..) | Gauges(..) | State(..) | Fault(_) | Present(_) | Info => Type::Gauge,
            Summary(..) => Type::Summary,
            Histogram(..) => Type::Histogram,
        }
    }
}

impl Metric {
    fn family(&self, view: &Value) -> Family {
        let mut family = Family::new(self.name, self.help, self.kind.of_family());
        for row in self.source.rows(view) {
            self.add(&mut family, row);
        }
        family
    }

    fn add(&self, family: &mut Family, row: Row<'_>) {
        let labels = self.labels(row);
        let with = |label, value: &str| [labels.clone(), vec![(label, value.to_owned())]].concat();
        match self.kind {
            C(key) | G(key) => {
                if let Some(value) = row.number(key) {
                    family.add("", &labels, value);
                }
            }
            Scaled(key, unit) => {
                if let Some(value) = row.number(key) {
                    family.add("", &labels, value / unit);
                }
            }
            Counters(key, label, names) | Gauges(key, label, names) => {
                for name in names {
                    if let Some(value) = number(&row.at(key)[*name]) {
                        family.add("", &with(label, name), value);
                    }
                }
            }
            Map(key, label) => {
                for (name, value) in row.at(key).as_object().into_iter().flatten() {
                    family.add("", &with(label, name), number(value).unwrap_or_default());
                }
            }
            State(label, key, values) => {
                for value in values {
                    let is_it = row.at(key) == *value;
                    family.add("", &with(label, value), f64::from(u8::from(is_it)));
                }
            }
            Fault(key) => {
                if let Some(fault) = row.at(key).as_str() {
                    family.add("", &with(key, fault), 1.0);
                }
            }
            Present(key) => family.add("", &labels, f64::from(u8::from(!row.at(key).is_null()))),
            Info => family.add("", &labels, 1.0),
            Summary(sum, count, unit) => {
                if let (Some(sum), Some(count)) = (row.number(sum), row.number(count)) {
                    family.add("_sum", &labels, sum / unit);
                    family.add("_count", &labels, count);
                }
            }
            Histogram(buckets, sum, count, unit) => {
                let Some(count) = row.number(count) else { return };
                for bucket in row.at(buckets).as_array().into_iter().flatten() {
                    if let (Some(limit), Some(at_most)) = (number(&bucket[0]), number(&bucket[1])) {
                        family.add("_bucket", &with("le", &(limit / unit).to_string()), at_most);
                    }
                }
                family.add("_bucket", &with("le", "+Inf"), count);
                family.add("_sum", &labels, row.number(sum).unwrap_or_default() / unit);
                family.add("_count", &labels, count);
            }
        }
    }

    /// A label without a value is an empty one, which is the same to Prometheus.
    fn labels(&self, row: Row<'_>) -> Labels {
        let labels = self.labels.iter();
        labels
            .map(|(label, key)| match row.at(key) {
                Value::Null => (*label, String::new()),
                Value::String(text) => (*label, text.clone()),
                other => (*label, other.to_string()),
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
