//! The rows of `shunt_bench::memory`, each by itself, with criterion's statistics. `../README.md` says what each row
//! means; for comparisons use the program `memory`, which alternates them.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shunt_bench::memory::Row;
use shunt_bench::memory::sets::SETS;
use shunt_dataplane::port::BURST;

fn rows(c: &mut Criterion) {
    for set in &SETS {
        let mut group = c.benchmark_group(set.name);
        group.throughput(Throughput::Elements(BURST as u64));
        // Quick: a first look at each row, not the last word.
        group
            .sample_size(60)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        let rows = (set.sittings)().into_iter().flatten().filter(|row| !is_large(row));
        for (n, mut row) in rows.enumerate() {
            let id = BenchmarkId::new(format!("{n}/{}", row.name), &row.parameter);
            group.bench_function(id, |b| b.iter_custom(|bursts| row.run(bursts as usize)));
        }
    }
}

/// Ten million flows take longer to make than to measure: the program `memory` has them.
fn is_large(row: &Row) -> bool {
    row.parameter.parse::<u32>().is_ok_and(|flows| flows > 1_000_000)
}

criterion_group!(benches, rows);
criterion_main!(benches);
