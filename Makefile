# make demo    a model comes up on this machine and answers a chat        (ONCE=1: stop after the answer)
# make test    every test; sets up what the tests need                    (make test-unit: needs nothing but Rust)
# make check   what a change must pass: formatting, lints, layers, sizes, generated files, every test
# make bench   measures the router beside nginx, and local mode          (make bench-controllers: on a real API server)

.PHONY: demo test test-unit check bench bench-controllers setup clean

CARGO ?= cargo
BUILT := $(or $(CARGO_TARGET_DIR),target)

demo:
	$(CARGO) build --release --package kthena
	$(BUILT)/release/kthena local up -f examples/quickstart --ask "Why is the sky blue?" $(if $(ONCE),--once)

setup:
	tests/setup.sh

# The first line builds what the second needs, the program under test included.
test: setup
	$(CARGO) build --workspace --all-targets
	$(CARGO) test --workspace

test-unit:
	$(CARGO) test --workspace --lib --bins

check: setup
	$(CARGO) xtask ci

bench:
	$(CARGO) build --profile dist --package kthena --package kthena-bench
	$(BUILT)/dist/kthena-bench router
	$(BUILT)/dist/kthena-bench local --kthena $(BUILT)/dist/kthena

bench-controllers: setup
	$(CARGO) run --profile dist --package kthena-controllers-driver --example measure

clean:
	$(CARGO) clean
	rm -rf .cache
