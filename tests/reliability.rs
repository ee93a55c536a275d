//! The tests that docs/reliability.md names are there.

use std::fs;
use std::path::Path;

#[test]
fn every_promise_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && line.contains("::"));
    let mut named = 0;
    for row in rows {
        for test in row.split('`').skip(1).step_by(2).filter(|word| word.contains("::")) {
            let (place, name) = test.rsplit_once("::").unwrap();
            // In a file of tests/ or, with a longer path, of src/.
            let file = match place.contains("::") {
                true => root.join("src").join(place.replace("::", "/")),
                false => root.join("tests").join(place),
            };
            let file = file.with_extension("rs");
            let text = fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{test}: {}: {error}", file.display()));
            assert!(text.contains(&format!("fn {name}(")), "{test} is not in {}", file.display());
            named += 1;
        }
    }
    assert!(named > 40, "only {named} tests are named: does the search still work?");
}
