# make demo    a model comes up on this machine and answers a chat        (ONCE=1: stop after the answer)
# make test    every test; sets up what the tests need                    (make test-unit: needs nothing but Rust)
# make check   what a change must pass: formatting, lints, layers, sizes, generated files, every test
# make fuzz    tries every parser of foreign bytes for ten minutes        (make test-chaos: engines in trouble, two minutes)
# make soak    ten minutes of prompts that never repeat: memory stays inside its budgets (SOAK_SECONDS)
# make bench   measures the router beside its peers, and local mode      (make bench-controllers: on a real API server)

.PHONY: demo test test-unit test-chaos check bench bench-controllers soak fuzz setup clean

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

# Engines in trouble for two minutes; in `make test` it is twenty seconds.
test-chaos: setup
	$(CARGO) build --package kthena
	KTHENA_CHAOS_SECONDS=120 $(CARGO) test --package kthena-it chaos -- --nocapture

# Every parser of foreign bytes, FUZZ_SECONDS each, with a nightly compiler.
fuzz:
	fuzz/run.sh $(or $(FUZZ_SECONDS),600)

check: setup
	$(CARGO) xtask ci

bench:
	bench/setup.sh
	$(CARGO) build --profile dist --package kthena --package kthena-bench
	$(BUILT)/dist/kthena-bench router
	$(BUILT)/dist/kthena-bench local --kthena $(BUILT)/dist/kthena
	$(BUILT)/dist/kthena-bench scheduling
	$(BUILT)/dist/kthena-bench scrapes
	$(BUILT)/dist/kthena bench scheduling --virtual-time --out bench/out/scheduling
	$(BUILT)/dist/kthena bench prefill-decode

# Prompts that never repeat: fails if an index exceeds its budget or memory keeps growing.
soak:
	$(CARGO) build --release --package kthena-bench
	$(BUILT)/release/kthena-bench soak --seconds $(or $(SOAK_SECONDS),600)

bench-controllers: setup
	$(CARGO) build --profile dist --package kthena-controllers-driver --example measure
	$(CARGO) build --profile dist --package kthena
	$(BUILT)/dist/examples/measure fleet 100 10 0 kwok
	$(BUILT)/dist/examples/measure fleet 1000 10 0 status
	KTHENA_BIN=$(BUILT)/dist/kthena $(BUILT)/dist/examples/measure rollout 100 4 1 5 status

clean:
	$(CARGO) clean
	rm -rf .cache
