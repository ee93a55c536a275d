#!/bin/sh
# Plants each fault of tests/mutants in a copy of the sources, one at a time, and checks that its test fails:
#
#   scripts/mutants.sh                    all faults
#   scripts/mutants.sh nesting late-reply the named faults
#   scripts/mutants.sh --check            only whether all patches apply
#
# A patch starts with a description of the fault, the tests to run (Run:) and the test that must fail (Caught-by:). A
# test that hangs is ended by its own watchdog: `Caught-by: a watchdog`. A test without one is stopped after
# MUTANT_SECONDS (600), which counts only if the patch says `Caught-by: a timeout`. The status is 1 if a fault is not
# caught, a patch does not apply, a mutant does not compile, a named test does not exist, or a test fails without any
# fault.

set -eu

limit=${MUTANT_SECONDS:-600}
root=$(cd "$(dirname "$0")/.." && pwd)
patches=$root/tests/mutants
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
# Kept between runs, with the copy: Cargo compiles a package again if its folder has another name.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/mutants}
copy=$CARGO_TARGET_DIR/copy
RUST_BACKTRACE=0
# Linking is most of the time, and takes much longer with debug information.
CARGO_PROFILE_DEV_DEBUG=${CARGO_PROFILE_DEV_DEBUG:-0}
CARGO_PROFILE_TEST_DEBUG=$CARGO_PROFILE_DEV_DEBUG
export CARGO_TARGET_DIR RUST_BACKTRACE CARGO_PROFILE_DEV_DEBUG CARGO_PROFILE_TEST_DEBUG

failures=0
complain() {
    echo "mutants: $*" >&2
    failures=$((failures + 1))
}

header() {
    sed -n "s/^$1: //p" "$2" | head -n 1
}

# Gives every file the current time, so that Cargo sees the change.
fresh_copy() {
    rm -rf "$copy"
    mkdir -p "$copy"
    (cd "$root" && tar -cf - .cargo Cargo.toml Cargo.lock README.md src tests examples docs) | (cd "$copy" && tar -xmf -)
}

# Runs cargo test with the options in $1, which can end with a test filter; the output goes to $work/output. Models are
# built for the model checker, in a separate target folder.
cargo_test() {
    options=$1
    shift
    case $options in
    *models*) set -- env RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR="$CARGO_TARGET_DIR/shuttle" "$@" ;;
    esac
    # shellcheck disable=SC2086
    (cd "$copy" && "$@" cargo test --quiet --all-features $options) >"$work/output" 2>&1
}

run_tests() {
    cargo_test "$1" timeout -k 5 "$limit"
}

compiles() {
    cargo_test "$1 --no-run"
}

# Plants a fault in the fresh copy.
plant() {
    (cd "$copy" && patch --silent --strip=1 --fuzz=0 "$@" <"$patches/$name.patch" >"$work/output" 2>&1)
}

not_applied() {
    complain "$name no longer applies, because the source has changed: write the patch again"
}

all=$(cd "$patches" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')

if [ "${1-}" = --check ]; then
    if ! command -v patch >/dev/null; then
        echo "mutants: not checked, because the program patch is not installed" >&2
        exit
    fi
    copy=$root
    for name in $all; do
        plant --dry-run || not_applied
    done
    [ "$failures" -eq 0 ]
    exit
fi

names=${*:-$all}

# The copy and the target folder are for one run at a time.
mkdir -p "$CARGO_TARGET_DIR"
lock=$CARGO_TARGET_DIR/mutants.pid
if [ -f "$lock" ] && kill -0 "$(cat "$lock")" 2>/dev/null; then
    echo "mutants: another run uses $CARGO_TARGET_DIR" >&2
    exit 1
fi
echo $$ >"$lock"
trap 'rm -rf "$work" "$lock"' EXIT

# Without a fault all these tests must pass; otherwise a failure proves nothing.
fresh_copy
for name in $names; do
    header Run "$patches/$name.patch"
done | sort -u >"$work/runs"
while read -r run; do
    if ! { compiles "$run" && run_tests "$run"; } </dev/null; then
        tail -n 30 "$work/output" >&2
        complain "without a fault, '$run' fails"
    fi
    cargo_test "$run -- --list" </dev/null || true
    grep '^[a-z0-9_:]*: test$' "$work/output" | sed "s|: test\$||; s|^|$run |" >>"$work/tests"
done <"$work/runs"
for name in $names; do
    run=$(header Run "$patches/$name.patch")
    expected=$(header Caught-by "$patches/$name.patch")
    case $expected in
    "a "*) ;;
    *) grep -qxF -e "$run $expected" "$work/tests" || complain "$name: '$run' has no test $expected" ;;
    esac
done
[ "$failures" -eq 0 ] || exit 1

caught=0
for name in $names; do
    patch=$patches/$name.patch
    run=$(header Run "$patch")
    expected=$(header Caught-by "$patch")
    fresh_copy
    if ! plant; then
        not_applied
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
            complain "$name hangs, but its patch says it is caught by $expected"
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
        complain "$name should be caught by '$expected', but these failed: $(echo $failed) $(tail -n 3 "$work/output")"
    fi
done
echo "$caught of $(echo "$names" | wc -w) faults caught"
[ "$failures" -eq 0 ]
