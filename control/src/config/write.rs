//! [`Model`] -> native TOML, every key spelled out: what a converter prints, and the other half of the round trip that
//! the tests take.

use std::fmt::Write;
use std::time::Duration;

use crate::model::{Director, HealthCheck, Idle, Model, Probe, VirtualService};

/// The model as a native configuration; parsed again it gives an equal model.
pub fn to_toml(model: &Model) -> String {
    let mut text = String::new();
    director(&mut text, &model.director);
    for service in &model.services {
        virtual_service(&mut text, service);
    }
    text
}

fn director(text: &mut String, director: &Director) {
    let idle = match director.idle {
        Idle::Adaptive => "adaptive",
        Idle::Spin => "spin",
    };
    let interfaces: Vec<String> = director.interfaces.iter().map(|name| string(name)).collect();
    line(text, "[director]");
    line(text, &format!("interfaces = [{}]", interfaces.join(", ")));
    if !director.cores.is_empty() {
        line(text, &format!("cores = {:?}", director.cores));
    }
    line(text, &format!("flows_per_worker = {}", director.flows_per_worker));
    line(text, &format!("frames_per_queue = {}", director.frames_per_queue));
    line(text, &format!("hash_key = \"{:016x}{:016x}\"", director.hash_key[0], director.hash_key[1]));
    line(text, &format!("idle = \"{idle}\""));
}

fn virtual_service(text: &mut String, service: &VirtualService) {
    line(text, "\n[[service]]");
    line(text, &format!("vip = \"{}\"", service.key.vip));
    line(text, &format!("port = {}", service.key.port));
    line(text, &format!("protocol = \"{}\"", service.key.protocol));
    line(text, &format!("scheduler = \"{}\"", service.scheduler));
    if let Some(check) = &service.check {
        health_check(text, check);
    }
    for real in &service.reals {
        line(text, "\n[[service.real]]");
        line(text, &format!("address = \"{}\"", real.address));
        line(text, &format!("weight = {}", real.weight));
    }
}

fn health_check(text: &mut String, check: &HealthCheck) {
    line(text, "\n[service.check]");
    match check.probe {
        Probe::Tcp { port } => {
            line(text, "type = \"tcp\"");
            line(text, &format!("port = {port}"));
        }
    }
    line(text, &format!("interval = \"{}\"", duration(check.interval)));
    line(text, &format!("timeout = \"{}\"", duration(check.timeout)));
    line(text, &format!("rise = {}", check.rise));
    line(text, &format!("fall = {}", check.fall));
}

/// In the largest unit that keeps it whole.
fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

fn string(value: &str) -> String {
    toml::Value::from(value).to_string()
}

fn line(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}
