#!/bin/sh
# Checks and installs the tools that `make demo` and `make test` need: cargo, redis-server 6.2 or newer, and for the
# feature `tls` OpenSSL (its headers for the build, its command for the tests' certificates).
#
#   scripts/setup.sh          checks cargo; finds redis-server, or installs it with the system's package manager
#   scripts/setup.sh tls      also finds OpenSSL, or installs it
#   scripts/setup.sh test     also checks rustfmt and clippy
#
# On success it prints "using redis-server X at PATH". On failure it prints what to do, and the status is 1. The server is
# $REDIS_SERVER_BIN if set, otherwise the first of redis-server and valkey-server on PATH that is new enough;
# src/testing/temp_server/program.rs applies the same rule.
#
# Demo and tests start private servers, on free ports and in temporary folders, and connect to no other. A Redis that
# already runs on this machine is left alone.

set -eu

redis_needed=6.2
rust_needed=1.85

main() {
    check_rust
    case ${1:-} in
    test) check_rust_tools ;;
    tls | '') ;;
    *) fail "unknown argument '$1'; see the head of this script" ;;
    esac

    if [ -n "${1:-}" ] && ! find_openssl; then
        install OpenSSL openssl "install its headers, pkg-config and the openssl command, or set OPENSSL_DIR"
        find_openssl || fail "after the installation pkg-config still finds no OpenSSL: see docs/tls.md"
    fi
    if ! find_server; then
        # A server that is too old is not upgraded: its owner may be using it.
        if [ -n "$unsuitable" ]; then
            fail "$unsuitable, but Redis $redis_needed or newer is needed: install one, or set REDIS_SERVER_BIN to its path"
        fi
        install redis-server server "install Redis $redis_needed or newer by hand, or set REDIS_SERVER_BIN to its path"
        find_server || fail "after the installation: ${unsuitable:-no redis-server}: install Redis $redis_needed or newer by hand, or set REDIS_SERVER_BIN to its path"
    fi
    echo "using $(basename "$server") $version at $server"
}

fail() {
    echo "setup: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# at_least 7.0.15 6.2: compares major and minor.
at_least() {
    awk -v have="$1" -v need="$2" 'BEGIN {
        split(have, h, "."); split(need, n, ".")
        exit !(h[1] + 0 > n[1] + 0 || (h[1] + 0 == n[1] + 0 && h[2] + 0 >= n[2] + 0))
    }'
}

check_rust() {
    have cargo || fail "cargo not found: install Rust $rust_needed or newer (see rustup.rs), then try again"
    rust=$(cargo --version | awk '{ print $2 }')
    at_least "$rust" "$rust_needed" || fail "Rust $rust is too old: install $rust_needed or newer (rustup update stable)"
}

check_rust_tools() {
    cargo fmt --version >/dev/null 2>&1 || fail "rustfmt not found: run 'rustup component add rustfmt', then try again"
    cargo clippy --version >/dev/null 2>&1 || fail "clippy not found: run 'rustup component add clippy', then try again"
}

# Sets $server and $version to the first server that is new enough. $unsuitable says what is wrong with the last other.
find_server() {
    server='' version='' unsuitable=''
    # If the user names a server, no other one is used.
    if [ -n "${REDIS_SERVER_BIN:-}" ]; then
        set -- "$REDIS_SERVER_BIN"
    else
        set -- redis-server valkey-server
    fi
    for name in "$@"; do
        if ! server=$(command -v "$name"); then
            [ -z "${REDIS_SERVER_BIN:-}" ] || unsuitable="REDIS_SERVER_BIN=$name is not a program"
            continue
        fi
        # Reads 7.0.15 from "Redis server v=7.0.15 sha=...".
        version=$("$server" --version 2>/dev/null | sed -n 's/.* v=\([0-9][0-9.]*\).*/\1/p')
        if [ -z "$version" ]; then
            unsuitable="$server does not print its version"
        elif at_least "$version" "$redis_needed"; then
            return 0
        else
            unsuitable="$server is version $version"
        fi
    done
    return 1
}

# Finds OpenSSL's headers through OPENSSL_DIR or pkg-config. Other systems than Linux use their own TLS library and need
# only the openssl command.
find_openssl() {
    have openssl || return 1
    [ "$(uname -s)" = Linux ] || return 0
    [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null
}

# install NAME FUNCTION-PREFIX "what to do if that fails"
install() {
    for manager in apt-get dnf apk brew; do
        if have "$manager"; then
            echo "setup: $1 not found; installing it with $manager"
            "$2_with_${manager%-get}" || fail "$manager could not install $1: $3"
            return
        fi
    done
    fail "$1 not found, and no apt-get, dnf, apk or brew to install it: $3"
}

server_with_apt() {
    apt_install redis-server || return 1
    # With systemd, Debian's package starts a service on port 6379, now and at every boot. It is stopped and disabled:
    # the machine had no redis-server before, so this stops no Redis in use.
    if [ -d /run/systemd/system ]; then
        quietly as_root systemctl disable --now redis-server.service || true
    fi
}

# Newer Fedora and RHEL have Valkey instead of Redis. dnf, apk and brew start no service.
server_with_dnf() {
    need_root dnf install redis
    as_root dnf install -y redis >/dev/null 2>&1 || quietly as_root dnf install -y valkey
}

server_with_apk() {
    apk_add redis
}

server_with_brew() {
    quietly brew install redis
}

openssl_with_apt() {
    apt_install libssl-dev pkg-config openssl
}

openssl_with_dnf() {
    need_root dnf install openssl-devel pkgconf-pkg-config openssl
    quietly as_root dnf install -y openssl-devel pkgconf-pkg-config openssl
}

# With the static libraries: Rust links statically on Alpine.
openssl_with_apk() {
    apk_add openssl-dev openssl-libs-static pkgconf openssl
}

openssl_with_brew() {
    quietly brew install openssl pkg-config
}

# If the package lists are missing or stale, updates them once and tries again. The update's own status is ignored,
# because an unreachable third-party list does not matter.
apt_install() {
    need_root apt-get install "$@"
    if ! apt_get_install "$@" >/dev/null 2>&1; then
        quietly as_root apt-get update || true
        quietly apt_get_install "$@" || return 1
    fi
}

apt_get_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

apk_add() {
    need_root apk add "$@"
    as_root apk add "$@" >/dev/null 2>&1 || quietly as_root apk add --update-cache "$@"
}

need_root() {
    if [ "$(id -u)" -ne 0 ] && ! have sudo; then
        fail "installing needs root, and there is no sudo: run '$*' as root, then try again"
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@" </dev/null
    else
        sudo "$@" </dev/null
    fi
}

# Shows a command's output only if it fails.
quietly() {
    if ! output=$("$@" 2>&1); then
        echo "$output" | tail -n 15 >&2
        return 1
    fi
}

main "$@"
