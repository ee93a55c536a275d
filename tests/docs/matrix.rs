//! The tests for each row of redigo's behavior: `make matrix` prints them.
//!
//! `rows.txt` lists the rows. A row is covered if its number is in a test's name
//! (`r017_to_r028_replies`), in its body or table ("R019"), in a comment directly above it, or in
//! docs/differences.md. Comments at the head of a file do not count, nor does code that is not a
//! test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const DIFFERENCES: &str = "docs/differences.md";

#[test]
fn every_row_has_a_test_or_a_line_in_the_differences() {
    let rows = rows(&read(&root().join("tests/docs/rows.txt")));
    let mut places: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for file in sources() {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        for (row, item) in mentions(&read(&file), !name.starts_with("src")) {
            let place = format!("{name} {item}");
            let known = places.entry(row).or_default();
            if known.contains(&place) {
                continue;
            }
            // Tests with the number in their name come first.
            match numbers(&item).contains(&row) {
                true => known.insert(0, place),
                false => known.push(place),
            }
        }
    }
    let differences = numbers(&read(&root().join(DIFFERENCES)));

    let (mut tested, mut explained) = (0, 0);
    let mut uncovered = Vec::new();
    for (row, words) in &rows {
        let differs = differences.contains(row);
        let place = match places.get(row).map(Vec::as_slice) {
            Some([first, more @ ..]) => {
                tested += 1;
                let more =
                    if more.is_empty() { String::new() } else { format!(" +{}", more.len()) };
                let differs = if differs { " (differs)" } else { "" };
                format!("{first}{more}{differs}")
            }
            _ if differs => {
                explained += 1;
                DIFFERENCES.to_owned()
            }
            _ => {
                uncovered.push(format!("R{row:03}"));
                "NOT COVERED".to_owned()
            }
        };
        println!("R{row:03} {words:<64} {place}");
    }
    println!(
        "{} rows: {tested} by tests, {explained} by {DIFFERENCES}, {} not covered",
        rows.len(),
        uncovered.len(),
    );
    let named = places.keys().chain(&differences);
    let unknown: Vec<_> = named.filter(|row| !rows.contains_key(row)).collect();
    assert!(unknown.is_empty(), "there are no such rows: {unknown:?}");
    assert!(uncovered.is_empty(), "no test and no line in {DIFFERENCES}: {}", uncovered.join(" "));
}

#[test]
fn the_list_of_rows_is_complete() {
    let rows = rows(&read(&root().join("tests/docs/rows.txt")));
    assert!(rows.keys().copied().eq(1..=329));
}

#[test]
fn single_numbers_and_ranges_are_found() {
    let found = |text: &str| numbers(text);
    assert_eq!(found("fn r001_to_r003_names()"), [1, 2, 3]);
    assert_eq!(found("fn r161_r163_both()"), [161, 163]);
    assert_eq!(found("(\"R019\", b\"x\")"), [19]);
    assert_eq!(found("R104–R106, R110-R111 and R201 to R202"), [104, 105, 106, 110, 111, 201, 202]);
    assert_eq!(found("nil (R013) | R012..=R013"), [13, 12, 13]);
    for none in ["R12", "R1234", "error123", "\"+OK\\r100\"", "XR100", "R10x"] {
        assert!(found(none).is_empty(), "{none}");
    }
}

#[test]
fn numbers_belong_to_the_test_around_them() {
    let text = r#"
//! Not here: R900.
const TABLE: &[&str] = &["R001"];

/// That is R002 as well.
#[test]
fn r003_first() {
    // R004, the second step.
    check("R005");
}

// R006 is below.
#[test]
fn second() {}
"#;
    let expected = [
        (1, "TABLE"),
        (2, "r003_first"),
        (3, "r003_first"),
        (4, "r003_first"),
        (5, "r003_first"),
        (6, "second"),
    ];
    assert_eq!(mentions(text, true), expected.map(|(row, item)| (row, item.to_owned())));
    // In `src`, only the code after `#[cfg(test)]` counts.
    let library = format!("/// R007\nfn code() {{}}\n#[cfg(test)]\nmod tests {{{text}}}\n");
    assert_eq!(mentions(&library, false).len(), expected.len());
    assert_eq!(mentions(text, false), []);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The number and the words of each row.
fn rows(list: &str) -> BTreeMap<u16, String> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (row, words) = line.split_once(' ').unwrap_or_else(|| panic!("no words: {line}"));
            match numbers(row)[..] {
                [number] => (number, words.to_owned()),
                _ => panic!("no row: {line}"),
            }
        })
        .collect()
}

/// All files with tests, except this one.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["src", "tests"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with(file!()) {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "only {} files", found.len());
    found.sort();
    found
}

/// The rows that a file names, each with the item that contains it. In a file that does not contain
/// only tests, only the code after `#[cfg(test)]` counts.
fn mentions(text: &str, all_tests: bool) -> Vec<(u16, String)> {
    let mut found = Vec::new();
    let mut in_tests = all_tests;
    let (mut item, mut item_indent) = (String::new(), 0);
    // Numbers above an item are collected until its name is found.
    let mut above = Vec::new();
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        in_tests |= code.starts_with("#[cfg(test)]");
        if !in_tests || code.starts_with("//!") {
            continue;
        }
        if let Some(name) = item_name(code) {
            (item, item_indent) = (name.to_owned(), indent);
            found.extend(above.drain(..).map(|row| (row, item.clone())));
        }
        let is_above = code.starts_with("//") && (item.is_empty() || indent <= item_indent);
        for row in numbers(code) {
            match is_above {
                true => above.push(row),
                false => found.push((row, item.clone())),
            }
        }
        if code.is_empty() {
            above.clear();
        }
    }
    found
}

/// The name of the function, constant, static or macro that the line declares.
fn item_name(code: &str) -> Option<&str> {
    let code = code.strip_prefix("pub(crate) ").unwrap_or(code);
    let rest = ["fn ", "const fn ", "const ", "static ", "macro_rules! "]
        .iter()
        .find_map(|keyword| code.strip_prefix(keyword))?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (!name.is_empty() && name != "_").then_some(name)
}

/// The numbers of all rows in a text, such as `R019`, `r019_name`, `R104–R115`, `r017_to_r028`.
fn numbers(text: &str) -> Vec<u16> {
    let mut found = Vec::new();
    let mut range_from = None;
    let mut before = '\0';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match number_at(rest).filter(|_| !before.is_alphanumeric() && before != '\\') {
            Some(number) => {
                found.extend(range_from.take().map_or(number, |from| from + 1)..=number);
                rest = &rest[4..];
                before = '0';
                let links = ["_to_", " to ", "–", "-", "..="];
                let link = links.iter().find_map(|link| rest.strip_prefix(link));
                if let Some(end) = link.filter(|end| number_at(end).is_some()) {
                    (range_from, rest, before) = (Some(number), end, ' ');
                }
            }
            None => {
                before = first;
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    found
}

/// The row number at the start of a text, if there is one.
fn number_at(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(['R', 'r'])?;
    let number = digits.get(..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let ends = !digits[3..].starts_with(|c: char| c.is_ascii_alphanumeric());
    ends.then(|| number.parse().ok()).flatten()
}
