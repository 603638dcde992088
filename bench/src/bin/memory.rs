//! Measures the packet path in memory: rows side by side in short turns, medians as CSV on the standard output.
//! Arguments: names of sets; none: all.

use shunt_bench::memory::rounds::alternate;
use shunt_bench::memory::sets::SETS;

/// Rounds of a set, and bursts of a row in each: 0.3 ms at 40 ns a frame.
const ROUNDS: usize = 301;
const BURSTS: usize = 100;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    println!("group,row,parameter,value,unit");
    for set in SETS.iter().filter(|set| is_wanted(set.name)) {
        for cost in alternate(&mut (set.rows)(), ROUNDS, BURSTS) {
            let [low, median, high] = cost.nanoseconds;
            let (group, row, parameter) = (set.name, cost.name, cost.parameter);
            println!("{group},{row},{parameter},{median:.2},ns");
            println!("{group},{row},{parameter},{low:.2},ns lower quartile");
            println!("{group},{row},{parameter},{high:.2},ns upper quartile");
            println!("{group},{row},{parameter},{:.2},floors", cost.ratio[1]);
        }
    }
}
