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

test: bench-deps lint
	$(CARGO) build --locked -p shunt
	$(CARGO) test --locked --workspace

bench: bench-deps bench-build
	target/release/memory > bench/results/memory.csv
	target/release/wire
	target/release/scale
	target/release/idle
	target/release/plot

bench-quick: bench-deps bench-build
	target/release/wire --quick --output quick-veth.csv
	target/release/scale --quick --output quick-scale.csv

# Fails when the instructions of a frame have risen.
bench-check: deps
	$(CARGO) run --release --locked -p shunt-bench --bin count -- --check bench/results/instructions.csv

bench-build:
	$(CARGO) build --release --locked -p shunt -p shunt-bench --bins

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
