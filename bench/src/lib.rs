//! The benchmark harness of shunt: what the benchmarks in `benches/` share. Its README says what each number
//! means.

pub mod report;
pub mod state;
pub mod traffic;
pub mod wire;
