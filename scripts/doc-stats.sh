#!/bin/sh
# Counts, in rustdoc's output, the public functions that have an example and the fallible ones that have `# Errors`:
#
#   scripts/doc-stats.sh       a line per type or module, and the totals
#   scripts/doc-stats.sh -v    also the names of the functions that lack one
#   scripts/doc-stats.sh -q    only the totals
#
# Counted are free functions, inherent methods, and the methods of public traits; not the methods of trait
# implementations, and not what `Deref` adds. A function is fallible if it returns a `Result`. The status is 1 below
# 85 % with an example or 100 % with `# Errors`.

set -eu

verbose=1
case ${1:-} in
-v) verbose=2 ;;
-q) verbose=0 ;;
'') ;;
*)
    echo "doc-stats: unknown argument '$1'; see the head of this script" >&2
    exit 2
    ;;
esac

cd "$(dirname "$0")/.."
doc=${CARGO_TARGET_DIR:-target}/doc/redigo
# The same flags as `make doc`, so that Cargo reuses its output.
RUSTDOCFLAGS="-D warnings" ${CARGO:-cargo} doc --quiet --no-deps --all-features

cd "$doc"
# all.html lists each public item once, under its canonical path.
tr '<' '\n' <all.html | sed -n 's/^a href="\([^"#]*\)".*/\1/p' |
    grep -E '(^|/)(struct|enum|trait|fn|union)\.' | sort -u >doc-stats.files

# shellcheck disable=SC2046
awk -v verbose="$verbose" '
# Removes tags and decodes what a signature can contain. "->" becomes one character.
function plain(html) {
    gsub(/<[^>]*>/, "", html)
    gsub(/-&gt;/, "\001", html)
    gsub(/&lt;/, "<", html)
    gsub(/&gt;/, ">", html)
    gsub(/&amp;/, "\\&", html)
    return html
}

# The return type is behind the arrow that is outside of all brackets.
function is_fallible(signature, at, char, depth) {
    for (at = 1; at <= length(signature); at++) {
        char = substr(signature, at, 1)
        if (char ~ /[(<[]/) depth++
        else if (char ~ /[])>]/) depth--
        else if (char == "\001" && depth == 0) return substr(signature, at + 1) ~ /^ *Result</
    }
    return 0
}

function count(type, name, header, text) {
    if (!(type in functions)) types[++type_count] = type
    functions[type]++
    if (text ~ /rust-example-rendered/) examples[type]++
    else without_example = without_example "  " type "::" name "\n"
    if (is_fallible(plain(header))) {
        fallible[type]++
        if (text ~ /id="errors[-0-9]*"/) errors[type]++
        else without_errors = without_errors "  " type "::" name "\n"
    }
}

# Returns the text between two markers.
function between(text, first, last, start) {
    start = index(text, first)
    if (!start) return ""
    text = substr(text, start + length(first))
    return substr(text, 1, index(text, last) - 1)
}

function read_page(page, type, parts, part_count, at, name) {
    if (page_name ~ /^fn\./) {
        count(page_folder, between(page_name, "fn.", ".html"), between(page, "item-decl\"><code>", "</code>"), page)
        return
    }
    type = page_name
    sub(/^[a-z]*\./, "", type)
    sub(/\.html$/, "", type)
    # Inherent methods are in one list, methods of a trait in one or two. What follows are implementations.
    sub(/<h2 id="(deref-methods|trait-implementations|foreign-impls|implementors|synthetic|blanket|object-safety|dyn-compat).*/, "", page)
    part_count = split(page, parts, /<section id="/)
    for (at = 2; at <= part_count; at++) {
        if (parts[at] !~ /^(ty)?method\.[^"]*" class="method/) continue
        name = parts[at]
        sub(/^(ty)?method\./, "", name)
        sub(/".*/, "", name)
        count(type, name, between(parts[at], "code-header\">", "</h4>"), parts[at])
    }
}

function percent(part, whole) {
    return whole ? 100 * part / whole : 100
}

function row(name, all, with_example, can_fail, with_errors) {
    printf "%-20s %9d %9d %8.1f %% %9d %9d %8.1f %%\n", name, all, with_example, percent(with_example, all), can_fail, with_errors, percent(with_errors, can_fail)
}

FNR == 1 && NR > 1 { read_page(page) }
FNR == 1 {
    page = ""
    page_name = FILENAME
    sub(/.*\//, "", page_name)
    page_folder = FILENAME
    if (!sub(/\/[^\/]*$/, "", page_folder)) page_folder = "redigo"
}
{ page = page $0 "\n" }

END {
    if (NR) read_page(page)
    if (verbose) printf "%-20s %9s %9s %10s %9s %9s %10s\n", "", "functions", "example", "share", "fallible", "# Errors", "share"
    for (at = 1; at <= type_count; at++) {
        type = types[at]
        if (verbose) row(type, functions[type], examples[type], fallible[type], errors[type])
        all += functions[type]
        with_example += examples[type]
        can_fail += fallible[type]
        with_errors += errors[type]
    }
    if (verbose) row("total", all, with_example, can_fail, with_errors)
    else printf "%.1f %% of %d public functions have an example, %.1f %% of %d fallible ones have # Errors\n", percent(with_example, all), all, percent(with_errors, can_fail), can_fail
    if (verbose == 2 && without_example) printf "\nwithout an example:\n%s", without_example
    if (verbose == 2 && without_errors) printf "\nwithout # Errors:\n%s", without_errors
    if (all < 200) {
        print "doc-stats: found too few functions; has the format of rustdoc changed?"
        exit 1
    }
    if (percent(with_example, all) < 85 || percent(with_errors, can_fail) < 100) {
        print "doc-stats: below 85 % with an example, or below 100 % with # Errors; -v lists the functions"
        exit 1
    }
}
' $(cat doc-stats.files)
