#!/bin/sh
# Builds the fuzzers, instrumented for coverage, with the stable compiler. Cargo's flags in the environment would
# also reach build scripts, which do not link with the instrumentation: hence the explicit target.
set -eu
cd "$(dirname "$0")"
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
-C llvm-args=-sanitizer-coverage-trace-compares" \
    ${CARGO:-cargo} build --locked --profile fuzz --target "$target" --features libfuzzer --bins
