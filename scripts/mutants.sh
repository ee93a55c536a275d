#!/bin/sh
# Plants each fault of tests/mutants in a copy of the sources, one at a time, and sees that a test fails for it:
#
#   scripts/mutants.sh                    all of them
#   scripts/mutants.sh nesting late-reply those named
#
# A patch says what is wrong (its first lines), which tests to run (Run:) and which of them must fail (Caught-by:). A
# test that hangs fails by its own watchdog, which ends the program: `Caught-by: a watchdog`. Where it has none, the
# program is stopped after MUTANT_SECONDS (180), and that counts only where the patch says `Caught-by: a timeout`.
# What must not be: a patch that does not apply any more, a mutant that does not compile, a test that fails for another
# reason than the fault, for it fails without it. Each is told, and the status is 1.

set -eu

limit=${MUTANT_SECONDS:-180}
root=$(cd "$(dirname "$0")/.." && pwd)
patches=$root/tests/mutants
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
# Kept between runs, so that only what a fault touches is compiled.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/mutants}
RUST_BACKTRACE=0
export CARGO_TARGET_DIR RUST_BACKTRACE

failures=0
complain() {
    echo "mutants: $*" >&2
    failures=$((failures + 1))
}

header() {
    sed -n "s/^$1: //p" "$2" | head -n 1
}

# With the present as the time of every file, for Cargo to see that it differs from the one before.
fresh_copy() {
    rm -rf "$work/copy"
    mkdir "$work/copy"
    (cd "$root" && tar -cf - .cargo Cargo.toml Cargo.lock README.md src tests examples benches docs) | (cd "$work/copy" && tar -xmf -)
}

# Cargo's test for the options in $1, which may end with a part of a test's name; the output is in $work/output. The models
# are built for the model checker, in a folder of their own.
cargo_test() {
    options=$1
    shift
    case $options in
    *models*) set -- env RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR="$CARGO_TARGET_DIR/shuttle" "$@" ;;
    esac
    # shellcheck disable=SC2086
    (cd "$work/copy" && "$@" cargo test --quiet --all-features $options) >"$work/output" 2>&1
}

run_tests() {
    cargo_test "$1" timeout -k 5 "$limit"
}

compiles() {
    cargo_test "$1 --no-run"
}

if [ $# -gt 0 ]; then
    names=$*
else
    names=$(cd "$patches" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')
fi

# Without a fault every one of these tests passes, or its failing would say nothing.
fresh_copy
for name in $names; do
    header Run "$patches/$name.patch"
done | sort -u >"$work/runs"
while read -r run; do
    if ! run_tests "$run" </dev/null; then
        tail -n 30 "$work/output" >&2
        complain "without a fault, '$run' fails"
    fi
done <"$work/runs"
[ "$failures" -eq 0 ] || exit 1

caught=0
for name in $names; do
    patch=$patches/$name.patch
    run=$(header Run "$patch")
    expected=$(header Caught-by "$patch")
    fresh_copy
    if ! (cd "$work/copy" && patch --silent --strip=1 --fuzz=0 <"$patch" >"$work/output" 2>&1); then
        complain "$name does not apply any more: the source it changes has changed, so write it anew"
        continue
    fi
    if ! compiles "$run"; then
        tail -n 20 "$work/output" >&2
        complain "$name does not compile"
        continue
    fi
    status=0
    run_tests "$run" || status=$?
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p; s/^    \([a-z0-9_:]*\)$/\1/p' "$work/output" | sort -u)
    if [ "$status" -eq 0 ]; then
        complain "$name was not caught by '$run'"
    elif [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        if [ "$expected" = "a timeout" ]; then
            echo "$name: caught by a timeout, after $limit seconds"
            caught=$((caught + 1))
        else
            complain "$name hangs, and $expected does not tell"
        fi
    elif [ "$expected" = "a stack overflow" ] && grep -q 'has overflowed its stack' "$work/output"; then
        echo "$name: caught by $expected"
        caught=$((caught + 1))
    elif [ "$expected" = "a watchdog" ] && grep -q '^it hangs: ' "$work/output"; then
        echo "$name: caught by a watchdog: $(grep '^it hangs: ' "$work/output" | head -n 1)"
        caught=$((caught + 1))
    elif echo "$failed" | grep -qxF "$expected"; then
        echo "$name: caught by $expected, one of $(echo "$failed" | grep -c .) tests that fail"
        caught=$((caught + 1))
    else
        complain "$name should be caught by '$expected', and what failed is: $(echo $failed) $(tail -n 3 "$work/output")"
    fi
done
echo "$caught of $(echo "$names" | wc -w) faults caught"
[ "$failures" -eq 0 ]
