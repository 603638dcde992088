//! Metrics over HTTP, as a real Prometheus sees them; and what strangers at the port can do to a director.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use shunt_tests::address::VIP;
use shunt_tests::prometheus::{Prometheus, promtool};
use shunt_tests::tally::list;
use shunt_tests::{Director, Host, Lab, Service, WebServer, config, expect, shown, wait};

const SOON: Duration = Duration::from_secs(60);
const AT: &str = "127.0.0.1:9877";
const RULES: &str = include_str!("../../configs/monitoring/shunt.rules.yml");
const DASHBOARD: &str = include_str!("../../configs/monitoring/grafana.json");

/// All that makes metrics: a service that is checked, a virtual router, flow synchronisation.
fn everything(lab: &Lab) -> String {
    let key = lab.folder().join("sync.key");
    std::fs::write(&key, "00".repeat(32)).expect("the folder is there");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    let service = Service::tcp(80).checked(config::QUICK_CHECK).all(lab);
    let vrrp = format!(
        "[[vrrp.router]]\nname = \"web\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{VIP}/32\"]\n\
         interval = \"100ms\"\n[sync]\ninterface = \"eth0\"\nkey_file = {key:?}\n"
    );
    config::with(lab, &format!("metrics = \"{AT}\""), &[service]) + &vrrp
}

fn get(host: &Host, path: &str) -> Result<String, String> {
    let url = format!("http://{AT}{path}");
    host.try_run(
        "curl",
        &["--disable", "--noproxy", "*", "--silent", "--show-error", "--fail", "--max-time", "10", &url],
    )
}

/// The metrics of a page: their types, and the labels of those that have series.
struct Page {
    types: BTreeMap<String, String>,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Page {
    fn of(text: &str) -> Page {
        let mut page = Page { types: BTreeMap::new(), labels: BTreeMap::new() };
        for line in text.lines() {
            if let Some(named) = line.strip_prefix("# TYPE ") {
                let (name, kind) = named.split_once(' ').expect("a name and a type");
                page.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (name, labels) =
                    line.split_once('{').unwrap_or((line.split(' ').next().unwrap_or(line), ""));
                // What Prometheus adds.
                let own = ["instance", "job"].map(str::to_owned);
                let all = page.labels.entry(name.to_owned()).or_insert_with(|| own.into());
                all.extend(
                    labels.split(&['{', ',']).filter_map(|pair| Some(pair.split_once("=\"")?.0.to_owned())),
                );
            }
        }
        page
    }

    /// Whether there is a metric of this name, or a part of one.
    fn has(&self, name: &str) -> bool {
        let of = |suffix, kind: &[&str]| {
            let of_family = name.strip_suffix(suffix).and_then(|family| self.types.get(family));
            of_family.is_some_and(|found| kind.contains(&found.as_str()))
        };
        self.types.get(name).is_some_and(|kind| ["counter", "gauge"].contains(&kind.as_str()))
            || of("_bucket", &["histogram"])
            || of("_sum", &["summary", "histogram"])
            || of("_count", &["summary", "histogram"])
    }

    /// What `expression` refers to that is not there: metrics, and labels in their braces.
    fn missing(&self, expression: &str) -> Vec<String> {
        let mut missing = Vec::new();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut rest = expression;
        while let Some(start) = rest.find(is_word) {
            let word = &rest[start..];
            let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
            let (name, after) = word.split_at(end);
            rest = after;
            if !name.starts_with("shunt_") && !name.starts_with("process_") {
                continue;
            }
            if !self.has(name) {
                missing.push(name.to_owned());
            }
            let Some((matchers, after)) = after.strip_prefix('{').and_then(|braces| braces.split_once('}'))
            else {
                continue;
            };
            rest = after;
            if let Some(there) = self.labels.get(name) {
                let labels = matchers.split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
                missing.extend(
                    labels.filter(|label| !there.contains(*label)).map(|label| format!("{name}: {label}")),
                );
            }
        }
        missing
    }
}

/// All expressions of the dashboard, with its variables as they are for everything.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(entries) => entries
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value.as_str()) {
                ("expr", Some(expression)) => {
                    let filled = expression.replace("$__rate_interval", "1m");
                    vec![filled.replace("$instance", ".*").replace("$service", ".*")]
                }
                _ => expressions(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn prometheus_takes_the_metrics_and_every_expression_and_an_alert_fires() {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &everything(&lab));
    let host = lab.director(0);
    wait::until(SOON, "the router to be active", || {
        (director.show("vrrp")["routers"][0]["state"] == "MASTER").then_some(())
    });
    expect::answered(&lab.client(0).get_many(VIP, 20)).unwrap_or_else(|violation| panic!("{violation}"));

    let page = get(host, "/metrics").expect("the page");
    let path = lab.file("page");
    std::fs::write(&path, &page).expect("the folder is there");
    promtool(host, &["check", "metrics"], Some(&path)).unwrap_or_else(|faults| panic!("{faults}\n{page}"));
    let rules = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/monitoring/shunt.rules.yml"));
    promtool(host, &["check", "rules", &rules.to_string_lossy()], None)
        .unwrap_or_else(|faults| panic!("{faults}"));

    // At once instead of after a minute.
    let impatient: String = RULES
        .lines()
        .filter(|line| !line.trim().starts_with("for: "))
        .flat_map(|line| [line, "\n"])
        .collect();
    let prometheus = Prometheus::start(&lab, host, AT, &impatient);
    wait::until(SOON, "a scrape", || {
        let up =
            prometheus.query("up{job=\"shunt\"} == 1 and on (instance) shunt_ready == 1").expect("an answer");
        (!up.is_empty()).then_some(())
    });
    let page = Page::of(&page);
    let stored = prometheus.ask("label/__name__/values", &[]).expect("all names");
    let stored: BTreeSet<&str> = list(&stored).iter().filter_map(Value::as_str).collect();
    for name in page.labels.keys() {
        assert!(stored.contains(name.as_str()), "Prometheus has no {name}");
    }

    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = expressions(&dashboard);
    assert!(panels.len() > 40, "{panels:?}");
    for expression in &panels {
        assert_eq!(page.missing(expression), Vec::<String>::new(), "{expression}");
        prometheus.query(expression).unwrap_or_else(|fault| panic!("{fault}: {expression}"));
    }
    let all_rules = || {
        let answer = prometheus.ask("rules", &[]).expect("the rules");
        let groups = list(&answer["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec());
        groups.collect::<Vec<Value>>()
    };
    let rules = wait::until(SOON, "all rules to be evaluated", || {
        let rules = all_rules();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    assert_eq!(rules.len(), RULES.matches("- alert: ").count());
    for rule in &rules {
        assert_eq!((&rule["health"], &rule["lastError"]), (&"ok".into(), &Value::Null), "{rule:#}");
        let expression = rule["query"].as_str().expect("an expression");
        assert_eq!(page.missing(expression), Vec::<String>::new(), "{expression}");
    }

    let firing = |name: &str| {
        let answer = prometheus.ask("alerts", &[]).expect("the alerts");
        let alerts = list(&answer["alerts"]).iter();
        let mut named =
            alerts.filter(|alert| alert["labels"]["alertname"] == name && alert["state"] == "firing");
        named.next().cloned()
    };
    for name in
        ["ShuntRealServerDown", "ShuntNoRealServerUp", "ShuntDown", "ShuntNoActive", "ShuntTwoActives"]
    {
        assert_eq!(firing(name), None);
    }
    servers[0].stop();
    let alert = wait::until(SOON, "an alert for a real server", || firing("ShuntRealServerDown"));
    assert_eq!(
        alert["labels"]["real_server"],
        lab.real_server(0).address().to_string().as_str(),
        "{alert:#}"
    );
    assert_eq!(firing("ShuntNoRealServerUp"), None);
    servers[1].stop();
    wait::until(SOON, "an alert for the service", || firing("ShuntNoRealServerUp"));
}

#[test]
fn strangers_at_the_port_neither_keep_others_out_nor_use_up_descriptors() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &everything(&lab));
    let host = lab.director(0);
    let at: SocketAddr = AT.parse().expect("an address");
    let descriptors = || {
        let folder = format!("/proc/{}/fd", director.pid());
        std::fs::read_dir(folder).expect("it runs").count()
    };
    get(host, "/metrics").expect("the page");
    let before = descriptors();

    let connect = || host.connect(at, Duration::from_secs(10)).expect("it listens");
    let mut strangers: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stranger = connect();
            // It may have been sent away before it has said anything.
            let _ = match n % 3 {
                0 => stranger.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "),
                1 => stranger.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1]),
                _ => Ok(()),
            };
            stranger
        })
        .collect();
    assert!(get(host, "/metrics").expect("the page").contains("\nshunt_ready 1\n"));
    assert!(get(host, "/healthz").expect("an answer").contains("ready"));
    // Checks have sockets of their own for a moment.
    wait::until(SOON, "few descriptors", || (descriptors() < before + 30).then_some(()));
    for address in lab.real_servers().map(|server| server.address()) {
        assert_eq!(shown::real(&director, address)["state"], "up");
    }

    // One that reads nothing, one that writes without end, and one that wants something else.
    let mut deaf = connect();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").expect("it listens");
    let mut endless = connect();
    let chatter = b"a".repeat(1 << 16);
    let refused = wait::try_until(SOON, || endless.write_all(&chatter).is_err().then_some(()));
    assert!(refused.is_some(), "it reads for ever");
    for (request, status) in [("POST /metrics", "405"), ("GET /", "404"), ("DELETE /healthz", "405")] {
        let mut stranger = connect();
        write!(stranger, "{request} HTTP/1.1\r\nHost: a\r\n\r\n").expect("it listens");
        let mut answer = String::new();
        stranger.read_to_string(&mut answer).expect("an answer, and the end");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    drop(deaf);
    strangers.clear();
    wait::until(SOON, "the descriptors of before", || (descriptors() <= before + 2).then_some(()));
}

#[test]
fn a_reload_begins_moves_and_ends_it_and_a_port_that_is_taken_is_refused() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    let service = [Service::tcp(80).all(&lab)];
    let at = |port: u16| config::with(&lab, &format!("metrics = \"127.0.0.1:{port}\""), &service);
    let is_served = |port: u16| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        host.connect(address, Duration::from_secs(5)).is_ok()
    };
    let _other = host.enter(|| TcpListener::bind("127.0.0.1:9999")).expect("it is free");
    let failure = Director::try_start(&lab, 0, &at(9999)).err().expect("the port is taken");
    for words in ["shunt.toml:3:", "director.metrics: bind: 127.0.0.1:9999", "in use", "ss -ltnp"] {
        assert!(failure.log.contains(words), "{words}: {}", failure.log);
    }

    let mut director = Director::start(&lab, 0, &config::file(&lab, &service));
    assert!(!is_served(9877));
    director.reload(&at(9877)).expect("a good configuration");
    assert!(is_served(9877));
    director.reload(&at(9999)).expect_err("the port is taken");
    assert!(is_served(9877));
    let page = get(host, "/metrics").expect("the page");
    for line in ["\nshunt_config_last_reload_successful 0\n", "_reloads_total{result=\"refused\"} 1\n"] {
        assert!(page.contains(line), "{line}{page}");
    }
    director.reload(&at(9878)).expect("a good configuration");
    assert!(is_served(9878) && !is_served(9877));
    director.reload(&config::file(&lab, &service)).expect("a good configuration");
    wait::until(SOON, "nobody to listen", || (!is_served(9878)).then_some(()));
}
