#!/bin/sh
# Sees to everything that `make demo` and `make test` need beside the sources: cargo, a redis-server 6.2 or newer, and
# for the feature `tls` OpenSSL: its headers for the build, its command for the tests' certificates.
#
#   scripts/setup.sh          checks cargo, finds redis-server or installs it with the system's package manager
#   scripts/setup.sh tls      the same, and finds OpenSSL or installs it
#   scripts/setup.sh test     the same, and checks rustfmt and clippy
#
# All there: prints one line, "using redis-server X at PATH". Not to be had: one line that says what to do, and status 1.
# The server is $REDIS_SERVER_BIN if set, else the first of redis-server and valkey-server on PATH that is new enough;
# tests/support/redis_server.rs looks for it in the same way.
#
# Demo and tests start servers of their own, on free ports and in temporary folders, and talk to no other. So a
# Redis that already runs on this machine is left alone, and the service of a newly installed package is not needed.

set -eu

redis_needed=6.2
rust_needed=1.85

main() {
    check_rust
    case ${1:-} in
    test) check_rust_tools ;;
    tls | '') ;;
    *) fail "there is no '$1'; see the head of this script" ;;
    esac

    if [ -n "${1:-}" ] && ! find_openssl; then
        install OpenSSL openssl "install its headers, pkg-config and the openssl command, or set OPENSSL_DIR"
        find_openssl || fail "installing gave no OpenSSL that pkg-config finds: see docs/tls.md"
    fi
    if ! find_server; then
        # A server that is there but too old is not upgraded from here: its owner may be using it.
        if [ -n "$unfit" ]; then
            fail "$unfit, and Redis $redis_needed or newer is needed: install one, or set REDIS_SERVER_BIN to its path"
        fi
        install redis-server server "install Redis $redis_needed or newer by hand, or set REDIS_SERVER_BIN to its path"
        find_server || fail "installing gave ${unfit:-no redis-server}: install Redis $redis_needed or newer by hand, or set REDIS_SERVER_BIN to its path"
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

# Sets $server and $version to the first server that is new enough, $unfit to what is wrong with the last that is not.
find_server() {
    server='' version='' unfit=''
    # A server that is named must be the one: no falling back to another behind the user's back.
    if [ -n "${REDIS_SERVER_BIN:-}" ]; then
        set -- "$REDIS_SERVER_BIN"
    else
        set -- redis-server valkey-server
    fi
    for name in "$@"; do
        if ! server=$(command -v "$name"); then
            [ -z "${REDIS_SERVER_BIN:-}" ] || unfit="REDIS_SERVER_BIN=$name is not a program"
            continue
        fi
        # Reads 7.0.15 from "Redis server v=7.0.15 sha=...".
        version=$("$server" --version 2>/dev/null | sed -n 's/.* v=\([0-9][0-9.]*\).*/\1/p')
        if [ -z "$version" ]; then
            unfit="$server does not tell its version"
        elif at_least "$version" "$redis_needed"; then
            return 0
        else
            unfit="$server is version $version"
        fi
    done
    return 1
}

# Does pkg-config, or who set OPENSSL_DIR, know where OpenSSL's headers are? Elsewhere than on Linux the system's own
# library is used, without OpenSSL, and the openssl command is all that is needed.
find_openssl() {
    have openssl || return 1
    [ "$(uname -s)" = Linux ] || return 0
    [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null
}

# install redis-server server "what else to do"
install() {
    for manager in apt-get dnf apk brew; do
        if have "$manager"; then
            echo "setup: $1 not found; installing it with $manager"
            "$2_with_${manager%-get}" || fail "$manager could not install $1: $3"
            return
        fi
    done
    fail "$1 not found, nor apt-get, dnf, apk or brew to install it with: $3"
}

server_with_apt() {
    apt_install redis-server || return 1
    # Where systemd runs, Debian's package has just started a service on port 6379, and would at every boot. Nobody asked
    # for that: leave the machine without it, as it was. (There was no redis-server, so this stops nobody's Redis.)
    if [ -d /run/systemd/system ]; then
        quietly as_root systemctl disable --now redis-server.service || true
    fi
}

# Newer Fedora and RHEL have Valkey in the place of Redis. No service is started by dnf, apk and brew.
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

# With the static libraries: Rust links statically there.
openssl_with_apk() {
    apk_add openssl-dev openssl-libs-static pkgconf openssl
}

openssl_with_brew() {
    quietly brew install openssl pkg-config
}

# A new machine has no package lists and an old one has stale ones: either way, one update mends it. Its own status
# does not count: a third party's list that is out of reach is no hindrance.
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

# Shows what a command printed only if it fails.
quietly() {
    if ! output=$("$@" 2>&1); then
        echo "$output" | tail -n 15 >&2
        return 1
    fi
}

main "$@"
