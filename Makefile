# `make` lists what can be made. `make demo` and `make test` do their own set-up: see scripts/setup.sh.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test matrix bench fmt lint msrv doc package setup

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
	@echo "== All is well"

matrix: ## which test shows which row of redigo's behaviour
	$(CARGO) test --quiet --test matrix -- --nocapture

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
