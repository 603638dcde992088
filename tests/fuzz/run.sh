#!/bin/sh
# Builds the fuzzers and runs them one after the other, for $1 seconds in all. They begin with tests/corpus; what they
# find stands in target/fuzz-corpus, what breaks a promise in target/fuzz-crashes. Fails if there is any such.
set -eu
cd "$(dirname "$0")/../.."
: "${CARGO:=cargo}"
target=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-target}
# The passes and options of cargo-fuzz that the stable compiler has; a sanitizer it has not. With an explicit target,
# since otherwise build scripts would be instrumented too, and could not be linked. (libFuzzer is C++.)
RUSTFLAGS="--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
-C llvm-args=-sanitizer-coverage-trace-compares" \
    CXX=${CXX:-clang++} "$CARGO" build --locked -p shunt-fuzz --profile fuzz --target "$target" --features libfuzzer --bins
seconds=${1:-0}
[ "$seconds" -gt 0 ] || exit 0
status=0
for name in answers frame fragments keepalived pcap sync table vrrp; do
    corpus=$out/fuzz-corpus/$name
    mkdir -p "$corpus" "$out/fuzz-crashes"
    echo "== $name"
    "$out/$target/fuzz/fuzz-$name" "$corpus" "tests/corpus/$name" -max_total_time=$((seconds / 8 + 1)) \
        -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$out/fuzz-crashes/$name-" || status=1
done
exit $status
