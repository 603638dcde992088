//! What each setting of an AF_XDP socket in copy mode is worth: the bare reflector with one thing changed, beside the
//! reflector as the dataplane has it, in short turns. Two of the same differ by up to a tenth for as long as they live, by
//! which pages of memory they got: so all of them are set up anew several times.

use std::time::Duration;

use shunt_bench::report::Report;
use shunt_bench::wire::bed::{Bed, DIRECTOR_MAC, ROUTER_MAC};
use shunt_bench::wire::sink::Arrival;
use shunt_bench::wire::statistics::{paired, spread};
use shunt_bench::wire::subject::Stand;
use shunt_bench::wire::subject::reflector::{Reflector, Tuning};
use shunt_bench::wire::{cores, interrupt, measure};

/// Times that everything is set up anew.
const SITTINGS: usize = 7;
/// Rounds of a sitting.
const ROUNDS: usize = 3;
const WINDOW: Duration = Duration::from_millis(60);
const FLOWS: u32 = 1000;

fn main() {
    let _preferred = cores::prefer();
    interrupt::clean_up_at_signals();
    let usual = Tuning::default();
    let frames =
        |frames: u32| Tuning { frames, send_buffer: Some(frames * 4096), budget: Some(frames), ..usual };
    let variants: Vec<(&str, Tuning)> = vec![
        ("as it is", usual),
        ("as it is, once more", usual),
        ("no prefetch", Tuning { prefetch: false, ..usual }),
        ("burst 16", Tuning { burst: 16, ..usual }),
        ("burst 32", Tuning { burst: 32, ..usual }),
        ("burst 128", Tuning { burst: 128, ..usual }),
        ("burst 256", Tuning { burst: 256, ..usual }),
        ("kick at 128", Tuning { kick_at: 128, ..usual }),
        ("kick at 512", Tuning { kick_at: 512, ..usual }),
        ("TX budget 32 (the kernel's)", Tuning { budget: None, ..usual }),
        ("TX budget 128", Tuning { budget: Some(128), ..usual }),
        ("send buffer 212992 (the kernel's)", Tuning { send_buffer: None, ..usual }),
        ("busy polling 64", Tuning { busy_poll: Some(64), ..usual }),
        ("busy polling 256", Tuning { busy_poll: Some(256), ..usual }),
        ("no need-wakeup", Tuning { need_wakeup: false, ..usual }),
        ("512 frames", frames(512)),
        ("1024 frames", frames(1024)),
        ("2048 frames", frames(2048)),
        ("8192 frames", frames(8192)),
    ];
    let mut rates = vec![Vec::new(); variants.len()];
    for sitting in 1..=SITTINGS {
        eprintln!("== copy mode: sitting {sitting} of {SITTINGS}");
        let mut stands: Vec<Stand> = variants.iter().map(|(name, tuning)| stand(name, *tuning)).collect();
        for _ in 0..ROUNDS {
            for (rates, stand) in rates.iter_mut().zip(&mut stands) {
                rates.push(measure::saturated(stand, FLOWS, WINDOW).or_refuse(&stand.name).delivered);
            }
        }
    }
    // Of both that are as it is: half the luck.
    let usual: Vec<f64> = rates[0].iter().zip(&rates[1]).map(|(one, other)| (one + other) / 2.0).collect();
    let mut report = Report::of_this_machine();
    for (rates_of, (name, _)) in rates.iter().zip(&variants) {
        let ratio = paired(rates_of, &usual);
        let rate = spread(rates_of).median / 1e6;
        println!("{name:<36} {rate:.3} Mframes/s, {:.3} ({:.3}-{:.3})", ratio.median, ratio.low, ratio.high);
        report.spread("veth/copy_mode", name, "to as it is", ratio, "");
    }
    let path = report.write("copy-mode.csv").expect("bench/results can be written to");
    println!("All figures: {}", path.display());
}

fn stand(name: &str, tuning: Tuning) -> Stand {
    let bed = Bed::new(1, Arrival::Skb);
    let reflector = Reflector::start(&bed, tuning);
    Stand::new(name, [DIRECTOR_MAC, ROUTER_MAC], Box::new(reflector), bed)
}
