//! What each setting of an AF_XDP socket in copy mode is worth: the bare reflector with one thing changed, beside the
//! reflector as the dataplane has it, in short turns.

use std::time::Duration;

use shunt_bench::report::Report;
use shunt_bench::wire::bed::{Bed, DIRECTOR_MAC, ROUTER_MAC};
use shunt_bench::wire::sink::Arrival;
use shunt_bench::wire::statistics::{paired, spread};
use shunt_bench::wire::subject::Stand;
use shunt_bench::wire::subject::reflector::{Reflector, Tuning};
use shunt_bench::wire::{cores, interrupt, measure};

const ROUNDS: usize = 15;
const WINDOW: Duration = Duration::from_millis(100);
const FLOWS: u32 = 1000;

fn main() {
    let _preferred = cores::prefer();
    interrupt::clean_up_at_signals();
    let usual = Tuning::default();
    let variants: Vec<(&str, Tuning)> = vec![
        ("as it is", usual),
        ("as it is, once more", usual),
        ("burst 16", Tuning { burst: 16, ..usual }),
        ("burst 32", Tuning { burst: 32, ..usual }),
        ("TX budget 32 (the kernel's)", Tuning { budget: None, ..usual }),
        ("TX budget 128", Tuning { budget: Some(128), ..usual }),
        ("send buffer 212992 (the kernel's)", Tuning { send_buffer: None, ..usual }),
        ("busy polling 64", Tuning { busy_poll: Some(64), ..usual }),
        ("no need-wakeup", Tuning { need_wakeup: false, ..usual }),
        ("kick at 128", Tuning { kick_at: 128, ..usual }),
        ("kick at 512", Tuning { kick_at: 512, ..usual }),
        ("512 frames", Tuning { frames: 512, budget: Some(512), ..usual }),
        ("1024 frames", Tuning { frames: 1024, budget: Some(1024), ..usual }),
        ("2048 frames", Tuning { frames: 2048, budget: Some(2048), ..usual }),
        ("8192 frames", Tuning { frames: 8192, send_buffer: Some(8192 * 4096), budget: Some(8192), ..usual }),
    ];
    let mut stands: Vec<Stand> = variants
        .iter()
        .map(|(name, tuning)| {
            let bed = Bed::new(1, Arrival::Skb);
            let reflector = Reflector::start(&bed, *tuning);
            Stand::new(name, [DIRECTOR_MAC, ROUTER_MAC], Box::new(reflector), bed)
        })
        .collect();
    let mut rates = vec![Vec::new(); stands.len()];
    for _ in 0..ROUNDS {
        for (rates, stand) in rates.iter_mut().zip(&mut stands) {
            rates.push(measure::saturated(stand, FLOWS, WINDOW).or_refuse(&stand.name).delivered);
        }
    }
    let mut report = Report::of_this_machine();
    for (rates_of, (name, _)) in rates.iter().zip(&variants) {
        let ratio = paired(rates_of, &rates[0]);
        let rate = spread(rates_of).median / 1e6;
        println!("{name:<36} {rate:.3} Mframes/s, {:.3} ({:.3}-{:.3})", ratio.median, ratio.low, ratio.high);
        report.spread("veth/copy_mode", name, "to as it is", ratio, "");
    }
    let path = report.write("copy-mode.csv").expect("bench/results can be written to");
    println!("All figures: {}", path.display());
}
