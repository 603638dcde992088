//! The fuzzer of this target.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shunt_fuzz::sync::run(input));
