//! The benchmark harness of shunt: see `benches/`.
