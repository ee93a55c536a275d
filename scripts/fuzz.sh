#!/bin/sh
# Runs all fuzz targets, or the named ones, for FUZZ_SECONDS (60) each:
#
#   scripts/fuzz.sh
#   FUZZ_SECONDS=3600 scripts/fuzz.sh decoder
#
# It starts from the corpus in tests/fuzz/corpus and does not change it; new inputs go to a folder under target/. To keep
# a failing input, copy it into the corpus: `cargo test` replays it.
#
# Needs cargo-fuzz and a nightly compiler. If one is missing, the script prints how to install it.

set -eu

seconds=${FUZZ_SECONDS:-60}
cd "$(dirname "$0")/.."

fail() {
    echo "fuzz: $*" >&2
    exit 1
}

command -v rustup >/dev/null 2>&1 || fail "rustup not found: cargo-fuzz needs a nightly compiler, which rustup installs (see rustup.rs)"
rustup toolchain list | grep -q nightly || fail "no nightly compiler: run 'rustup toolchain install nightly --profile minimal', then try again"
cargo fuzz --version >/dev/null 2>&1 || fail "cargo-fuzz not found: run 'cargo install cargo-fuzz', then try again"

[ $# -gt 0 ] || set -- args decoder scan url
for target in "$@"; do
    found=target/fuzz/corpus/$target
    mkdir -p "$found" "target/fuzz/artifacts/$target"
    echo "== $target, $seconds seconds"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz/driver --target-dir target/fuzz "$target" \
        "$found" "tests/fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -artifact_prefix="target/fuzz/artifacts/$target/" -print_final_stats=1 \
        -rss_limit_mb=1024 -timeout=20 2>&1 | grep -vE '^#|^INFO|NEW_FUNC|# Uses'
    # The pipe hides the fuzzer's exit status, but a failure leaves its input in the folder.
    if [ -n "$(ls -A "target/fuzz/artifacts/$target")" ]; then
        fail "$target failed: the input is in target/fuzz/artifacts/$target"
    fi
done
