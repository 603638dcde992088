//! A real Prometheus on a host of the lab, and its opinion.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::host::Host;
use crate::lab::Lab;
use crate::process::Process;
use crate::wait;

const START: Duration = Duration::from_secs(60);
const ADDRESS: &str = "127.0.0.1:9090";

/// A Prometheus that scrapes each second.
pub struct Prometheus {
    host: Host,
    _process: Process,
}

impl Prometheus {
    /// Starts one on `host` that scrapes `target` (`ADDRESS:PORT`) as job `shunt`, and evaluates the rules of this text, also each
    /// second. On return it is ready to be asked.
    #[track_caller]
    pub fn start(lab: &Lab, host: &Host, target: &str, rules: &str) -> Prometheus {
        let folder = lab.file("prometheus");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        };
        std::fs::create_dir(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        write("rules.yml", rules);
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: shunt\n    static_configs:\n      - targets: [\"{target}\"]\n"
        );
        write("prometheus.yml", &config);
        let mut command = host.command("prometheus");
        command.current_dir(&folder).args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={ADDRESS}"));
        let prometheus = Prometheus { host: host.clone(), _process: host.spawn(command) };
        wait::until(START, "Prometheus to be ready", || {
            let said = get(host, &format!("http://{ADDRESS}/-/ready"), &[]).ok()?;
            said.contains("Ready").then_some(())
        });
        prometheus
    }

    /// The series that `expression` gives now.
    ///
    /// # Errors
    /// What Prometheus says against it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.ask("query", &[("query", expression)])?;
        match &data["result"] {
            Value::Array(series) => Ok(series.clone()),
            _ => Err(format!("no series but {data}")),
        }
    }

    /// What `/api/v1/WHAT` answers: its `data`.
    ///
    /// # Errors
    /// What Prometheus says against the question.
    pub fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let text = get(&self.host, &format!("http://{ADDRESS}/api/v1/{what}"), parameters)?;
        let answer: Value = serde_json::from_str(&text).map_err(|fault| format!("{fault}: {text}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }
}

/// What promtool has to say of `input` or of a file, if it finds fault.
pub fn promtool(host: &Host, arguments: &[&str], input: Option<&Path>) -> Result<String, String> {
    let mut command = host.command("promtool");
    command.args(arguments);
    if let Some(path) = input {
        command.stdin(std::fs::File::open(path).map_err(|fault| format!("{}: {fault}", path.display()))?);
    }
    let output = command.output().map_err(|fault| format!("promtool: {fault}"))?;
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// Asks by HTTP, whatever the status of the answer.
fn get(host: &Host, url: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
    let data: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut arguments =
        vec!["--disable", "--noproxy", "*", "--silent", "--show-error", "--get", "--max-time", "10"];
    data.iter().for_each(|pair| arguments.extend(["--data-urlencode", pair]));
    arguments.push(url);
    host.try_run("curl", &arguments)
}
