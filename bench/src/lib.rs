//! The benchmark harness of shunt: what the benchmarks and the programs in `bin/` share. Its README says what each
//! number means.

pub mod memory;
pub mod plot;
pub mod regress;
pub mod report;
pub mod state;
pub mod traffic;
pub mod umem;
pub mod wire;
