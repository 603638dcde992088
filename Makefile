# demo: see it work. test: the proof. bench: how fast. Each installs the Debian packages it lacks.

CARGO ?= cargo
export RUSTDOCFLAGS = -D warnings

.PHONY: demo test bench build deps lint unit clean

demo: deps
	@echo "== Building shunt in release mode (a few minutes the first time)"
	$(CARGO) build --release --locked -p shunt -p shunt-tests --bins
	target/release/demo

test: deps lint
	$(CARGO) build --locked -p shunt
	$(CARGO) test --locked --workspace

bench: deps
	$(CARGO) bench --locked -p shunt-bench --bench pass
	$(CARGO) run --release --locked -p shunt-bench --bin stall

build: deps
	$(CARGO) build --release --locked -p shunt

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) doc --locked --workspace --no-deps --document-private-items

deps:
	@sh tests/install-packages.sh

clean:
	$(CARGO) clean
