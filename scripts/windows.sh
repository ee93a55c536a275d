#!/bin/sh
# Builds the library for 64-bit Windows and runs its tests in Wine, each program beside redis-servers of this system:
#
#   scripts/windows.sh                 unit tests and integration tests
#   scripts/windows.sh --test pool     the same with other arguments of cargo test than --lib --tests
#
# Needs Debian 12, or another Linux with mingw-w64 and Wine. Missing packages are installed. The standard library for
# x86_64-pc-windows-gnu is rustup's, if `rustup target add` has installed it; otherwise it is built from Debian's packages
# rustc-web and rust-web-src, which are unpacked under target/. Everything else is under target/windows, too.

set -eu

cd "$(dirname "$0")/.."
. scripts/debian.sh
triple=x86_64-pc-windows-gnu
target=${CARGO_TARGET_DIR:-$PWD/target}
folder=$target/windows

# In Wine 8, shutting a socket down does not wake a thread that waits in a call on it, as it does on Windows. These tests
# need that, most of them in the test's own server.
skipped='
    deadlines::cancel_ends_a_blocked_write
    deadlines::failure_of_one_half_ends_the_other
    dial::canceling_ends_an_unaccepted_tcp_dial
    fault_proxy::fault_is_a_permanent_error
    fault_proxy::fault_while_dialing_names_the_step
    fault_proxy::peek_detects_idle_connections_that_were_cut
    fault_proxy::subscriber_receives_the_fault
    hang_up::refused_value_fails_with_the_reason_over_tcp
    hang_up::unauthenticated_value_fails_with_the_reason
    last_reply::refused_write_reports_the_reason_over_tcp_and_unix
'

find_wine() {
    for wine in wine64 wine /usr/lib/wine/wine64; do
        WINE=$(command -v "$wine" 2>/dev/null) && return 0
    done
    return 1
}

install() {
    command -v apt-get >/dev/null 2>&1 || debian_fail "install $*, then try again"
    echo "windows: installing $* with apt-get"
    debian_as_root apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 || {
        debian_as_root apt-get update >/dev/null 2>&1 || true
        debian_as_root apt-get install -y --no-install-recommends "$@" >&2 || debian_fail "apt-get could not install $*"
    }
}

# Sets `cargo` and `rustc` to commands that compile for Windows.
find_compiler() {
    build_std=
    if [ -z "${WINDOWS_BUILD_STD:-}" ] && [ -d "$(rustc --print target-libdir --target $triple)" ]; then
        cargo=${CARGO:-cargo}
        return
    fi
    tree=$target/debian/rust-windows
    debian_unpack "$tree" 'rustc-web=1.96*' 'cargo-web=1.96*' 'libstd-rust-web-1.96=1.96*' 'libstd-rust-web-dev=1.96*' \
        'rust-web-src=1.96*' libllvm22 libhttp-parser2.9 libpcre3 libssh2-1
    PATH=$tree/usr/bin:$PATH
    LD_LIBRARY_PATH=$(debian_libraries "$tree")
    RUSTC=$tree/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export PATH LD_LIBRARY_PATH RUSTC RUSTC_BOOTSTRAP
    cargo=$tree/usr/bin/cargo
    build_std=-Zbuild-std=std,panic_unwind,test
}

command -v x86_64-w64-mingw32-gcc >/dev/null 2>&1 || install gcc-mingw-w64-x86-64-win32
find_wine || { install wine64 && find_wine; } || debian_fail "no wine64 after the installation"
scripts/setup.sh
mkdir -p "$folder"

echo "== Programs that run the tests"
REDIS_SERVER=${REDIS_SERVER_BIN:-redis-server}
rustc --edition 2024 -O tests/windows/runner.rs -o "$folder/runner"
find_compiler
x86_64-w64-mingw32-gcc -shared -o "$folder/bcryptprimitives.dll" tests/windows/bcryptprimitives.c -ladvapi32

export WINE REDIS_SERVER WINEPREFIX="$folder/wine" WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
if [ ! -d "$WINEPREFIX" ]; then
    "$WINE" wineboot -i >"$folder/wineboot.log" 2>&1 || debian_fail "wineboot failed: see $folder/wineboot.log"
fi
[ -e "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" ] ||
    cp "$folder/bcryptprimitives.dll" "$WINEPREFIX/drive_c/windows/system32/"

# The server for Windows is a program of its own package, so that it is built with the same standard library.
mkdir -p "$folder/server"
cat >"$folder/server/Cargo.toml" <<END
[package]
name = "redis-server"
version = "0.0.0"
edition = "2024"

[workspace]

[[bin]]
name = "redis-server"
path = "$PWD/tests/windows/redis_server.rs"
END
# shellcheck disable=SC2086
"$cargo" build --quiet --release --manifest-path "$folder/server/Cargo.toml" --target-dir "$target" --target $triple $build_std
REDIS_SERVER_BIN="Z:$(echo "$target/$triple/release/redis-server.exe" | tr / '\\')"
CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$folder/runner
export REDIS_SERVER_BIN CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER

echo "== The library with TLS (SChannel)"
# shellcheck disable=SC2086
"$cargo" build --lib --features metrics,testing,tls --target-dir "$target" --target $triple $build_std

echo "== Tests in $("$WINE" --version)"
[ $# -gt 0 ] || set -- --lib --tests
set -- "$@" --
for test in $skipped; do
    set -- "$@" --skip "$test"
done
echo "not run, because Wine does not wake their threads:" $skipped
# shellcheck disable=SC2086
"$cargo" test --features metrics,testing --no-fail-fast --target-dir "$target" --target $triple $build_std "$@"
