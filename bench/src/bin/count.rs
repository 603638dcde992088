//! Runs one row without a clock, for callgrind to count its instructions. Arguments: the set, the number of the row, the
//! number of bursts. Without arguments: lists the rows that are counted.

use shunt_bench::memory::sets::SETS;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        for set in &SETS {
            for (n, row) in (set.rows)().iter().enumerate() {
                println!("{} {n} {} {}", set.name, row.name, row.parameter);
            }
        }
        return;
    };
    let set = SETS.iter().find(|set| set.name == name).expect("a set of that name");
    let mut number = || arguments.next().and_then(|text| text.parse::<usize>().ok()).expect("a number");
    let (row, bursts) = (number(), number());
    (set.rows)().swap_remove(row).run(bursts);
}
