# `make` lists what can be made. `make demo` and `make test` do their own set-up: see scripts/setup.sh.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test matrix soak fuzz models mutants bench fmt lint msrv doc package setup

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## a web service on a private Redis under load, with a crash of the Redis server on the way
	$(CARGO) run --release --example demo

# One recipe, so that the steps run in this order and each under its heading, the cheap ones first.
test: ## all checks: format, lints, docs, packaging, and the tests on a private Redis
	@echo "== Set-up"
	@scripts/setup.sh test
	@echo "== Format"
	$(CARGO) fmt --all --check
	@$(MAKE) --no-print-directory msrv
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory doc
	@$(MAKE) --no-print-directory package
	@echo "== Tests"
	$(CARGO) test --all-features
	@echo "== Models"
	$(MODELS) models
	@echo "== All is well"

matrix: ## which test shows which row of redigo's behaviour
	$(CARGO) test --quiet --test docs matrix:: -- --nocapture

# A few seconds of it are part of `make test`. SOAK_SEED=N has the faults come as they did when N was printed.
soak: setup ## 32 threads, and everything that can go wrong between them and the server, for SOAK_SECONDS (60)
	SOAK_SECONDS=$${SOAK_SECONDS:-60} $(CARGO) test --release --all-features --test soak -- --nocapture

# Needs a nightly compiler and cargo-fuzz, and says how to get them. The corpus is replayed by `make test` without either.
fuzz: ## look for inputs that break decoder, URLs, scanning or arguments, for FUZZ_SECONDS (60) each
	@scripts/fuzz.sh

# The library's own tests, built for the model checker, in a folder of their own.
MODELS = RUSTFLAGS="$(RUSTFLAGS) --cfg shuttle" CARGO_TARGET_DIR=target/shuttle CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
	$(CARGO) test --all-features --lib
models: ## the pool under a model checker, MODEL_SCHEDULES (100000) orders of its threads for each model
	MODEL_SCHEDULES=$${MODEL_SCHEDULES:-100000} $(MODELS) --release models -- --nocapture

mutants: setup ## plant each fault of tests/mutants in a copy, and see that a test catches it
	@scripts/mutants.sh

bench: ## all measurements beside redis-rs and a bare socket: a table, a summary and docs/benchmarks.svg
	@scripts/setup.sh tls
	$(CARGO) bench --features tls --bench suite

fmt: ## format the sources
	$(CARGO) fmt --all

# First the library alone, as its users build it: tests and examples bring dev-dependencies, and these the feature
# `testing`. Clippy checks only what it builds.
lint: ## clippy, with warnings denied, for each set of features
	@echo "== Lints"
	$(CARGO) clippy --lib -- -D warnings
	$(CARGO) clippy --lib --no-default-features -- -D warnings
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings
	$(CARGO) clippy --all-targets --all-features -- -D warnings

# What Cargo.toml promises to older compilers. Clippy's incompatible_msrv looks after the library; what is left is the
# one piece of syntax that came after 1.85, let chains. Its parser tells: edition 2021 has none, and says so.
msrv: ## nothing that Rust 1.85 does not know
	@echo "== Oldest Rust"
	@! find src tests examples benches -name '*.rs' -exec rustfmt --edition 2021 --check {} + 2>&1 >/dev/null \
		| grep -A 1 'let chains'

doc: ## the documentation, with warnings denied
	@echo "== Documentation"
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features

# Puts the package together as for publishing, and builds the library from that.
package: ## what would be published
	@echo "== Package"
	$(CARGO) package --allow-dirty

setup:
	@scripts/setup.sh
