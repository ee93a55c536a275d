#!/bin/sh
# Checks that nothing needs a compiler newer than the `rust-version` of Cargo.toml:
#
#   scripts/msrv.sh           the locked dependencies, and the syntax of the sources
#   scripts/msrv.sh test      runs all tests with that compiler
#
# Each dependency in Cargo.lock, for every platform and for tests and examples too, must name a `rust-version` that is
# not newer, or none. Clippy's incompatible_msrv checks the library's use of the standard library. Let chains, the only
# syntax of edition 2024 that is newer than 1.85, are found by parsing as edition 2021, which has none.
#
# `test` uses rustup's toolchain 1.85.0 if it is installed, otherwise Debian's packages rustc-web and cargo-web of that
# version (Debian 12), unpacked under target/. It installs only what the tests need: see scripts/setup.sh.

set -eu

cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)

fail() {
    echo "msrv: $*" >&2
    exit 1
}

# `cargo metadata` prints one line of JSON. Between the ids of two packages, "rust_version" occurs once.
check_lock() {
    metadata=$($cargo metadata --locked --format-version 1) || fail "cargo metadata failed"
    newer=$(printf '%s\n' "$metadata" | sed 's/,"resolve":.*//' | awk -v needed="$needed" '
        function number(version, parts) {
            split(version, parts, ".")
            return parts[1] * 1000000 + parts[2] * 1000 + parts[3]
        }
        BEGIN { RS = "\\{\"name\":\"" }
        # Each dependency of a package begins in the same way, but has no "rust_version".
        match($0, /^[^"]*","version":"[^"]*"/) {
            split(substr($0, 1, RLENGTH), words, "\"")
            package = words[1] " " words[5]
        }
        match($0, /"rust_version":"[^"]*"/) {
            version = substr($0, RSTART + 16, RLENGTH - 17)
            known++
            if (number(version) > number(needed)) print "  " package " needs Rust " version
        }
        END { if (!known) print "  (the output of cargo metadata could not be read)" }')
    [ -z "$newer" ] || fail "Cargo.lock has packages that need a newer Rust than $needed:
$newer"
}

check_syntax() {
    chains=$(find src tests examples -name '*.rs' -exec rustfmt --edition 2021 --check {} + 2>&1 >/dev/null |
        grep -A 1 'let chains') || return 0
    fail "let chains need Rust 1.88:
$chains"
}

run_tests() {
    scripts/setup.sh tls
    # The name of the folder is part of the fingerprints: one folder for each compiler.
    target=${CARGO_TARGET_DIR:-$PWD/target}
    if rustup run "$needed.0" rustc --version >/dev/null 2>&1; then
        set -- rustup run "$needed.0"
    else
        unpack_compiler "$target/debian/rust-$needed"
        tree=$target/debian/rust-$needed/usr
        set -- env PATH="$tree/bin:$PATH" RUSTC="$tree/bin/rustc" RUSTDOC="$tree/bin/rustdoc" \
            LD_LIBRARY_PATH="$(debian_libraries "$target/debian/rust-$needed")"
    fi
    "$@" rustc --version
    "$@" env CARGO_TARGET_DIR="$target/rust-$needed" cargo test --locked --all-features
}

# Debian's cargo needs three libraries that are not on every machine.
unpack_compiler() {
    debian_unpack "$1" "rustc-web=$needed.0*" "cargo-web=$needed.0*" "libstd-rust-web-$needed=$needed.0*" \
        "libstd-rust-web-dev=$needed.0*" libllvm19 libhttp-parser2.9 libpcre3 libssh2-1
}

case ${1:-} in
'') ;;
test)
    . scripts/debian.sh
    run_tests
    exit
    ;;
*) fail "unknown argument '$1'; see the head of this script" ;;
esac
check_lock
check_syntax
