//! What many services, many flows and many workers cost: time to compile and to change, start, reload under load,
//! memory, and the rate by the number of workers.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::Signal;
use shunt::compile::{Inputs, compile};
use shunt::health::vip::VipView;
use shunt::health::{HealthView, PassiveHealth};
use shunt::link::Link;
use shunt::model::Model;
use shunt::neighbor::NeighborView;
use shunt::quorum::Quorums;
use shunt::slow_start::SlowStart;
use shunt::survey::{Survey, Way};
use shunt_bench::report::Report;
use shunt_bench::wire::bed::{Bed, DIRECTOR_MAC, INTERFACE, REAL_SERVERS, ROUTER_MAC};
use shunt_bench::wire::sink::Arrival;
use shunt_bench::wire::statistics::spread;
use shunt_bench::wire::subject::shunt::{Load, Shunt, configuration};
use shunt_bench::wire::subject::{Runner, Stand};
use shunt_bench::wire::{cores, interrupt, measure};
use shunt_dataplane::forwarding::{Builder, ForwardingState};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::Address;
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::schedule::maglev::{MaglevTable, Member};

const KEY: HashKey = HashKey([1, 2]);
const SERVICES: usize = 10_000;
/// Flows that memory is measured for.
const FLOWS: u32 = 10_000_000;

/// Measures what grows.
#[derive(Parser)]
struct Arguments {
    /// A look: fewer rounds, and nothing that needs a namespace.
    #[arg(long)]
    quick: bool,
    /// The file of results in bench/results.
    #[arg(long, default_value = "scale.csv")]
    output: String,
}

fn main() {
    let arguments = Arguments::parse();
    let _preferred = cores::prefer();
    interrupt::clean_up_at_signals();
    let rounds = if arguments.quick { 3 } else { 7 };
    let mut report = Report::of_this_machine();
    maglev(&mut report, rounds);
    services(&mut report, rounds);
    if !arguments.quick {
        start_and_reload(&mut report);
        memory(&mut report);
        workers(&mut report);
    }
    let path = report.write(&arguments.output).expect("bench/results can be written to");
    println!("All figures: {}", path.display());
}

/// Times `work` and tells what it took, in milliseconds.
fn timed<T>(report: &mut Report, row: &str, parameter: &str, rounds: usize, mut work: impl FnMut() -> T) {
    let times: Vec<f64> = (0..rounds)
        .map(|_| {
            let begin = Instant::now();
            let result = black_box(work());
            let time = begin.elapsed();
            // What it made is taken away by control later, not while it publishes.
            drop(result);
            time.as_secs_f64() * 1e3
        })
        .collect();
    let spread = spread(&times);
    println!("{row:<28} {parameter:<30} {:>10.3} ms ({:.3}-{:.3})", spread.median, spread.low, spread.high);
    report.spread("scale", row, parameter, spread, "ms");
}

fn maglev(report: &mut Report, rounds: usize) {
    for count in [10_u16, 100, 1000] {
        let members: Vec<Member> = (0..count)
            .map(|n| Member { address: Address::from_v4(0xc612_0000 + u32::from(n)), weight: 1, value: n })
            .collect();
        let build = || MaglevTable::build(KEY, &members);
        timed(report, "maglev_build", &format!("members={count}"), rounds, build);
    }
}

/// What [`compile`] is a function of, on a machine with one interface.
struct World {
    model: Model,
    survey: Survey,
    links: BTreeMap<u32, Link>,
    neighbors: NeighborView,
    health: HealthView,
    vips: VipView,
    passive: PassiveHealth,
    quorums: Quorums,
    slow_start: SlowStart,
}

impl World {
    fn of(text: &str) -> World {
        let model = shunt::config::parse("scale.toml", text).expect("it is ours").model;
        let link = Link {
            name: INTERFACE.into(),
            index: 2,
            mac: DIRECTOR_MAC,
            mtu: 1500,
            up: true,
            carrier: true,
            kind: "veth".into(),
            driver: "veth".into(),
            rx_queues: 1,
            tx_queues: 1,
            strips_tags: false,
        };
        let reals = model.services.iter().flat_map(|service| &service.reals);
        let ways =
            reals.map(|real| ((real.address, real.interface.clone()), Way { port: 0, mtu: None })).collect();
        World {
            model,
            survey: Survey { interfaces: vec![link.clone()], ways },
            links: [(2, link)].into(),
            neighbors: NeighborView::default(),
            health: HealthView::default(),
            vips: VipView::default(),
            passive: PassiveHealth::default(),
            quorums: Quorums::default(),
            slow_start: SlowStart::default(),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            model: &self.model,
            survey: &self.survey,
            links: &self.links,
            neighbors: &self.neighbors,
            is_ready: true,
            is_seeking: false,
            health: &self.health,
            vips: &self.vips,
            passive: &self.passive,
            quorums: &self.quorums,
            slow_start: &self.slow_start,
        }
    }

    fn compile(&self, previous: &ForwardingState) -> ForwardingState {
        compile(self.inputs(), previous, 1).expect("the model is good")
    }
}

/// Ten thousand services of ten real servers: all at once, and one change.
fn services(report: &mut Report, rounds: usize) {
    let text = configuration(&Load { services: SERVICES, ..Load::default() });
    let parameter = &format!("services={SERVICES} reals={REAL_SERVERS}");
    timed(report, "read_configuration", parameter, rounds, || {
        shunt::config::parse("scale.toml", &text).expect("it is ours")
    });
    let mut world = World::of(&text);
    let empty = ForwardingState::empty(KEY);
    timed(report, "compile", parameter, rounds, || world.compile(&empty));
    let before = world.compile(&empty);
    timed(report, "compile_no_change", parameter, rounds, || world.compile(&before));
    world.model.services[SERVICES / 2].reals[3].weight = 2;
    timed(report, "compile_one_weight", parameter, rounds, || world.compile(&before));
    // As control does it when a check fails: what the others are compiled from is at hand.
    let mut specs = world.inputs().specs();
    world.model.services[SERVICES / 2].reals[3].weight = 1;
    let mut publisher = Publisher::new(world.compile(&empty));
    let mut subscriber = publisher.subscribe();
    timed(report, "one_server_published", parameter, rounds, || {
        let place = SERVICES / 2;
        let weight = &mut world.model.services[place].reals[3].weight;
        *weight = 3 - *weight;
        specs[place] = world.inputs().spec(&world.model.services[place]);
        let next = Builder::after(publisher.current(), 1, 1).build(&specs).expect("the model is good");
        publisher.publish(next);
        // A worker takes it; what that one had is freed with the next.
        black_box(subscriber.current());
    });
    world.model.services.iter_mut().for_each(|service| service.reals[3].weight = 3);
    timed(report, "compile_one_server_of_all", parameter, rounds, || world.compile(&before));
    let mut tables = Vec::<MaglevTable>::new();
    for table in before.services().filter_map(|(_, service)| service.scheduler().maglev()) {
        if !tables.iter().any(|known| known.is_shared_with(table)) {
            tables.push(table.clone());
        }
    }
    println!("{:<28} {parameter:<30} {:>10}", "maglev_tables", tables.len());
    report.figure("scale", "maglev_tables", parameter, tables.len() as f64, "tables");
}

/// The whole program: from its start to ready, and from SIGHUP to the new configuration, while frames come in.
fn start_and_reload(report: &mut Report) {
    for services in [1, SERVICES] {
        let parameter = &format!("services={services} reals={REAL_SERVERS}");
        let load = Load { services, ..Load::default() };
        let mut bed = Bed::new(1, Arrival::Skb);
        let begin = Instant::now();
        let mut shunt = Shunt::start(&bed, &load);
        tell(report, "start", parameter, begin.elapsed().as_secs_f64() * 1e3, "ms");
        tell(report, "memory_rss", parameter, resident(&shunt) as f64 / 1048576.0, "MiB");
        let traffic = shunt_bench::wire::generator::Traffic {
            rate: Some(20_000.0),
            flows: 1000,
            destination: DIRECTOR_MAC,
            source: ROUTER_MAC,
        };
        let text = configuration(&load).replacen("weight = 1", "weight = 2", 1);
        let (before, sent) = (bed.sink().delivered(), bed.sent());
        let time = bed.load(&traffic, |running, _| {
            running.send();
            std::thread::sleep(Duration::from_millis(200));
            std::fs::write(shunt.file(), text).expect("the folder is ours");
            let (begin, mark) = (Instant::now(), shunt.process().log().mark());
            shunt.process().signal(Signal::SIGHUP);
            shunt.process().wait_for_line_from(
                mark,
                shunt_tests::director::RELOADED,
                Duration::from_secs(60),
            );
            let time = begin.elapsed();
            std::thread::sleep(Duration::from_millis(200));
            time
        });
        std::thread::sleep(Duration::from_millis(50));
        let (sent, delivered) = (bed.sent() - sent, bed.sink().delivered() - before);
        tell(report, "reload_under_load", parameter, time.as_secs_f64() * 1e3, "ms");
        tell(report, "lost_around_reload", parameter, sent.saturating_sub(delivered) as f64, "frames");
    }
}

/// Memory for ten million flows: all of it is taken at the start, so traffic changes nothing.
fn memory(report: &mut Report) {
    let small = {
        let bed = Bed::new(1, Arrival::Skb);
        resident(&Shunt::start(&bed, &Load { flows: 1024, ..Load::default() }))
    };
    let mut bed = Bed::new(1, Arrival::Skb);
    let shunt = Shunt::start(&bed, &Load { flows: FLOWS, ..Load::default() });
    let before = resident(&shunt);
    let traffic = shunt_bench::wire::generator::Traffic {
        rate: None,
        flows: FLOWS,
        destination: DIRECTOR_MAC,
        source: ROUTER_MAC,
    };
    bed.load(&traffic, |running, _| {
        running.send();
        std::thread::sleep(Duration::from_secs(3));
    });
    let after = resident(&shunt);
    let parameter = &format!("flows={FLOWS}");
    tell(report, "memory_rss", parameter, after as f64 / 1048576.0, "MiB");
    tell(
        report,
        "memory_grown_under_load",
        parameter,
        after.saturating_sub(before) as f64 / 1048576.0,
        "MiB",
    );
    let a_flow = before.saturating_sub(small) as f64 / f64::from(FLOWS);
    tell(report, "memory_a_flow", parameter, a_flow, "bytes");
}

/// One worker a queue, each with a generator of its own: as many as have a core each.
fn workers(report: &mut Report) {
    let all = cores::all();
    for count in 1..=(all.len() / 2).max(1) {
        let bed = Bed::new(count, Arrival::Skb);
        let mine = all.iter().rev().take(count).copied().collect();
        let shunt = Shunt::start(&bed, &Load { cores: mine, ..Load::default() });
        let mut stand = Stand::new("shunt", [DIRECTOR_MAC, ROUTER_MAC], Box::new(shunt), bed);
        let rates: Vec<f64> = (0..5)
            .map(|_| {
                let window = Duration::from_millis(500);
                measure::saturated(&mut stand, 1000, window).or_refuse("shunt").delivered
            })
            .collect();
        let spread = spread(&rates);
        println!("workers={count}: {:.3} Mframes/s", spread.median / 1e6);
        report.spread("scale", "veth_saturated", &format!("workers={count}"), spread, "frames/s");
    }
}

fn tell(report: &mut Report, row: &str, parameter: &str, value: f64, unit: &str) {
    println!("{row:<28} {parameter:<30} {value:>10.1} {unit}");
    report.figure("scale", row, parameter, value, unit);
}

/// Bytes of memory that the process has.
fn resident(shunt: &Shunt) -> u64 {
    let pid = shunt.pid().expect("it is a process");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
