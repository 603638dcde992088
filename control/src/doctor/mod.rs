//! `shunt doctor`: is this host fit for shunt, and is the network as a configuration says? A director that is set up wrongly
//! mostly does not fail, it is slow or serves some clients only; what that comes from is found here, with the command that
//! mends it.
//!
//! Each subject has a file: facts are gathered apart from what they mean, so that the meaning is tested with facts made up.
//!
//! *Invariants*
//! - nothing is changed: no program is attached, no queue bound, no address added; questions to the network teach nobody
//!   anything about a VIP;
//! - a shunt that runs is asked and not disturbed;
//! - it ends: every question has a limit of time;
//! - what cannot be looked at, for want of rights or of an answer, is said.

mod features;
mod host;
mod interface;
mod irq;
mod network;
mod programs;
mod report;
mod rivals;
mod routers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use shunt_dataplane::plane::{cores, placement};
use shunt_dataplane::xsk::umem::frame_size;

use crate::address;
use crate::admin::client;
use crate::admin::protocol::{Request, What};
use crate::config::{self, Faults, Loaded, Severity, defaults};
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::survey::{Survey, SurveyError, survey};
use crate::{programs as scripts, rights};
pub use report::{Finding, Fix, Level, Report};
use rivals::Daemon;

/// A running shunt answers within this.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the command line says.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Words {
    /// A configuration: its faults, and the network that it speaks of
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// An interface to look at, also several times [default: those of FILE, or all that are up]
    #[arg(long = "interface", value_name = "IF")]
    pub interfaces: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Looks at this host and, with a configuration, at its network. `socket`: where a shunt may run.
///
/// Must be called on a tokio runtime. It takes some seconds where virtual routers are to be heard.
pub async fn examine(words: &Words, reading: &config::Options, socket: &Path) -> Report {
    let mut findings = Vec::new();
    let loaded = words.file.as_ref().and_then(|file| match config::load_with(file, reading) {
        Ok(loaded) => Some(loaded),
        Err(faults) => {
            findings.extend(of_faults(&faults));
            None
        }
    });
    if let Some(loaded) = &loaded {
        findings.extend(of_faults(&loaded.warnings));
        findings.extend(of_faults(&scripts::foresee(loaded).await));
    }
    let daemon = Daemon::at(socket);
    let (workers, vrrp) = match daemon {
        Daemon::Runs(_) => tokio::join!(ask(socket, What::Workers), ask(socket, What::Vrrp)),
        _ => (Value::Null, Value::Null),
    };
    if let Err(error) = look(words, loaded.as_ref(), &daemon, socket, &workers, &vrrp, &mut findings).await {
        findings.push(Finding::fail("netlink", error));
    }
    Report { findings }
}

async fn look(
    words: &Words,
    loaded: Option<&Loaded>,
    daemon: &Daemon,
    socket: &Path,
    workers: &Value,
    vrrp: &Value,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let netlink = Netlink::open().map_err(|error| format!("no netlink socket: {error}"))?;
    let links = link::links(&netlink).await.map_err(|error| error.to_string())?;
    let links: BTreeMap<u32, Link> = links.into_iter().map(|link| (link.index, link)).collect();
    let surveyed = match loaded {
        Some(loaded) => match survey(&netlink, &links, loaded, &[]).await {
            Ok((survey, warnings)) => {
                findings.extend(of_faults(&warnings));
                Some(survey)
            }
            Err(SurveyError::Faults(faults)) => {
                findings.extend(of_faults(&faults));
                None
            }
            Err(SurveyError::Kernel(error)) => return Err(error.to_string()),
        },
        None => None,
    };
    if let Some(loaded) = loaded
        && findings.iter().all(|finding| finding.level == Level::Ok)
    {
        let services = config::counted(loaded.model.services.len(), "service");
        findings.push(Finding::ok("configuration", format!("valid, {services}")));
    }
    let interfaces = interfaces(words, loaded, surveyed.as_ref(), &links, findings);
    findings.extend(host::Facts::gather().findings(needs(loaded, &interfaces)));
    findings.push(daemon.finding(socket));
    findings.extend(rivals::Facts::gather().findings());
    let director = director(loaded, daemon, &interfaces);
    let attached = programs::attached(&netlink).await.map_err(|error| error.to_string())?;
    for link in &interfaces {
        let facts = interface::Facts::gather(link, attached.get(&link.index), modes(workers, &link.name));
        findings.extend(facts.findings(&director));
    }
    if let (Some(loaded), Some(survey)) = (loaded, &surveyed) {
        findings.extend(network(&netlink, loaded, survey, &links, daemon, vrrp).await?);
    }
    Ok(())
}

/// What is asked of other hosts.
async fn network(
    netlink: &Netlink,
    loaded: &Loaded,
    survey: &Survey,
    links: &BTreeMap<u32, Link>,
    daemon: &Daemon,
    vrrp: &Value,
) -> Result<Vec<Finding>, String> {
    let routers = async {
        match daemon {
            // It hears what there is to hear.
            Daemon::Runs(_) if !vrrp.is_null() => Ok(routers::as_it_runs(vrrp)),
            Daemon::Runs(_) => {
                Ok((vec![Finding::warn("vrrp", "the shunt that runs did not say")], Vec::new()))
            }
            _ => listen(netlink, loaded, links).await,
        }
    };
    let (mut facts, routers) = tokio::join!(network::Facts::gather(loaded, survey, links.values()), routers);
    let (heard, directors) = routers?;
    facts.recognize(survey, &directors).await;
    let mut findings = facts.findings();
    findings.extend(heard);
    Ok(findings)
}

/// Listens for all virtual routers at once: what is heard, and from whom.
async fn listen(
    netlink: &Netlink,
    loaded: &Loaded,
    links: &BTreeMap<u32, Link>,
) -> Result<(Vec<Finding>, Vec<IpAddr>), String> {
    let addresses = address::addresses(netlink).await.map_err(|error| error.to_string())?;
    let own: BTreeSet<IpAddr> = addresses.iter().map(|address| address.address).collect();
    let routers = &loaded.model.vrrp.routers;
    let patience = routers::patience(routers);
    let ears = routers.iter().filter_map(|router| {
        let link = links.values().find(|link| link.name == router.interface)?.clone();
        let (heard, router) = (router.clone(), router);
        let heard = tokio::task::spawn_blocking(move || routers::listen(&heard, &link, patience));
        Some(async move { (router, heard.await) })
    });
    let (mut findings, mut directors) = (Vec::new(), Vec::new());
    for (router, heard) in join_all(ears).await {
        match heard {
            Ok(Ok(heard)) => {
                findings.push(heard.finding(router, &own));
                directors.extend(heard.sources.into_keys().filter(|source| !own.contains(source)));
            }
            Ok(Err(error)) => {
                findings.push(Finding::unseen(format!("{} vrrp", router.name), &format!("adverts: {error}")));
            }
            Err(_) => unreachable!("listening does not panic"),
        }
    }
    Ok((findings, directors))
}

fn of_faults(faults: &Faults) -> impl Iterator<Item = Finding> {
    faults.iter().map(|fault| {
        let what =
            format!("{}:{}:{}: {}: {}", fault.file, fault.line, fault.column, fault.key, fault.message);
        let finding = match fault.severity {
            Severity::Error => Finding::fail("configuration", what),
            Severity::Warning => Finding::warn("configuration", what),
        };
        match &fault.help {
            Some(help) => finding.advise(help),
            None => finding,
        }
    })
}

/// The interfaces to look at, each once.
fn interfaces(
    words: &Words,
    loaded: Option<&Loaded>,
    survey: Option<&Survey>,
    links: &BTreeMap<u32, Link>,
    findings: &mut Vec<Finding>,
) -> Vec<Link> {
    let named = |name: &String| links.values().find(|link| link.name == *name).cloned();
    let mut chosen: Vec<Link> = Vec::new();
    for name in &words.interfaces {
        match named(name) {
            Some(link) => chosen.push(link),
            None => findings.push(
                Finding::fail(format!("{name} link"), "there is no such interface").run("ip link show"),
            ),
        }
    }
    match (survey, loaded) {
        (Some(survey), _) => chosen.extend(survey.interfaces.iter().cloned()),
        // One that is missing is among its faults.
        (None, Some(loaded)) => chosen.extend(loaded.model.director.interfaces.iter().filter_map(named)),
        (None, None) if words.interfaces.is_empty() => {
            chosen.extend(links.values().filter(|link| link.up && link.mac != [0; 6]).cloned());
        }
        (None, None) => {}
    }
    let mut seen = BTreeSet::new();
    chosen.retain(|link| seen.insert(link.index));
    chosen
}

fn needs(loaded: Option<&Loaded>, interfaces: &[Link]) -> host::Needs {
    let frames = loaded.map_or(defaults::FRAMES_PER_QUEUE, |loaded| loaded.model.director.frames_per_queue);
    let queues: u32 = interfaces.iter().map(|link| link.rx_queues).sum();
    let mtu = interfaces.iter().map(|link| link.mtu).max().unwrap_or(0);
    let servers: BTreeSet<IpAddr> = loaded
        .into_iter()
        .flat_map(|loaded| &loaded.model.services)
        .flat_map(|service| service.servers().map(|real| real.address))
        .collect();
    host::Needs {
        umem: u64::from(frames) * u64::from(queues) * u64::from(frame_size(mtu)),
        neighbors: servers.len() as u64,
    }
}

fn director(loaded: Option<&Loaded>, daemon: &Daemon, interfaces: &[Link]) -> interface::Director {
    let configured = loaded.map(|loaded| loaded.model.director.cores.clone()).unwrap_or_default();
    let workers = interfaces.iter().map(|link| link.rx_queues.min(link.tx_queues)).min().unwrap_or(0);
    interface::Director {
        pid: daemon.pid(),
        cores: cores(),
        workers: placement(&configured, workers as usize).into_iter().flatten().collect(),
        sees_programs: rights::missing_here().is_empty(),
    }
}

/// How the workers of a running shunt get frames from an interface.
fn modes(workers: &Value, interface: &str) -> Vec<String> {
    let rows = workers["workers"].as_array().into_iter().flatten();
    let queues = rows.flat_map(|row| row["queues"].as_array().into_iter().flatten());
    let modes: BTreeSet<String> = queues
        .filter(|queue| queue["interface"] == interface)
        .map(|queue| {
            let copies = if queue["zero_copy"] == true { "zero-copy" } else { "copy mode" };
            format!("{} XDP, {copies}", queue["mode"].as_str().unwrap_or("unknown"))
        })
        .collect();
    modes.into_iter().collect()
}

/// What a running shunt shows; null if it does not answer in time.
async fn ask(socket: &Path, what: What) -> Value {
    let socket = socket.to_owned();
    let asked = tokio::task::spawn_blocking(move || client::ask(&socket, Request::Show { what, limit: 1 }));
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(Ok(answer))) => answer.data,
        _ => Value::Null,
    }
}
