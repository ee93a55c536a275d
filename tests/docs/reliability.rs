//! Every test that docs/reliability.md names exists.

use std::fs;
use std::path::Path;

#[test]
fn every_promise_names_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && line.contains("::"));
    let mut named = 0;
    for row in rows {
        for test in row.split('`').skip(1).step_by(2).filter(|word| word.contains("::")) {
            let (place, name) = test.rsplit_once("::").unwrap();
            // A file in tests/ or, for a unit test, in src/.
            let place = place.replace("::", "/");
            let files = [
                format!("tests/{place}.rs"),
                format!("tests/{place}/main.rs"),
                format!("src/{place}.rs"),
            ];
            let texts = files.iter().filter_map(|file| fs::read_to_string(root.join(file)).ok());
            let is_there = texts.into_iter().any(|text| text.contains(&format!("fn {name}(")));
            assert!(is_there, "{test} is in none of {files:?}");
            named += 1;
        }
    }
    assert!(named > 40, "only {named} tests are named: does the search still work?");
}
