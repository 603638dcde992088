# demo: see it work. test: the proof. bench: how fast. fuzz: what nobody thought of, for FUZZ_SECONDS. deb: a package of it.
# Each installs the Debian packages it lacks.

CARGO ?= cargo
FUZZ_SECONDS ?= 600
export RUSTDOCFLAGS = -D warnings

.PHONY: demo test bench bench-quick bench-check bench-build bench-deps fuzz build deb deps lint unit clean

demo: deps
	@echo "== Building shunt in release mode (a few minutes the first time)"
	$(CARGO) build --release --locked -p shunt -p shunt-tests --bins
	target/release/demo

# One build for all: `cargo test` makes the programs too, the shunt that the lab runs among them. Programs have no tests of their
# own, and are not built a second time to find that out.
test: bench-deps lint
	@! grep -rn '#\[test\]' */src/bin control/src/main.rs || { echo "A test in a program is not run: put it into the library"; exit 1; }
	$(CARGO) test --locked --workspace --lib --test '*'
	$(CARGO) test --locked --workspace --doc

# All of it, in under 20 minutes once it is built. STALL=1000 looks for stalls over a billion frames, instead of 300 million.
bench: bench-build
	sh bench/run.sh

bench-quick: bench-build
	sh bench/run.sh --quick

# Fails when the instructions of a frame have risen by over 3 %.
bench-check: deps
	@sh tests/install-packages.sh counting
	$(CARGO) build --release --locked -p shunt-bench --bin count
	target/release/count --check bench/results/instructions.csv

bench-build: deps
	@sh tests/install-packages.sh bench || echo "== Peers whose packages are missing will not be measured"
	$(CARGO) build --release --locked -p shunt -p shunt-bench --bins
	$(CARGO) bench --locked -p shunt-bench --bench pass --no-run

bench-deps: deps
	@sh tests/install-packages.sh bench

fuzz: deps
	CARGO=$(CARGO) sh tests/fuzz/run.sh $(FUZZ_SECONDS)

build: deps
	$(CARGO) build --release --locked -p shunt

deb: build
	sh configs/debian/build.sh target/release/shunt target/debian

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) doc --locked --workspace --no-deps --document-private-items

deps:
	@sh tests/install-packages.sh

clean:
	$(CARGO) clean
