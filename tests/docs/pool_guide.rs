//! docs/pool.md leaves out nothing that a pool has, and the pictures name every end of a connection.

use redigo::CloseReason;

const GUIDE: &str = include_str!("../../docs/pool.md");
const CONFIG: [&str; 5] = [
    include_str!("../../src/pool/builder.rs"),
    include_str!("../../src/pool/builder/validate.rs"),
    include_str!("../../src/pool/builder/dialing.rs"),
    include_str!("../../src/pool/builder/health.rs"),
    include_str!("../../src/pool/builder/monitoring.rs"),
];

/// The names that follow this at the beginning of a line.
fn names_after<'a>(source: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    source.lines().filter_map(move |line| {
        let rest = line.strip_prefix(begin)?;
        rest.split(|char: char| !char.is_alphanumeric() && char != '_').next()
    })
}

#[test]
fn every_option_is_explained_and_in_the_table_of_the_builder() {
    let table = CONFIG[0];
    let mut options = 0;
    for option in CONFIG.iter().flat_map(|source| names_after(source, "    pub fn ")) {
        // What makes the pool, and what only tests have.
        if ["build", "clock"].contains(&option) {
            continue;
        }
        let row = GUIDE.lines().find(|line| {
            let first = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
            first.is_some_and(|cell| cell.contains(&format!("`{option}")))
        });
        assert!(row.is_some(), "docs/pool.md has no row for {option}");
        let in_table = table.contains(&format!("`{option}`](PoolBuilder::{option})"));
        // The one with a context stands behind the one without.
        assert!(in_table || option == "test_on_borrow_context", "{option} is not in the table");
        options += 1;
    }
    assert!(options > 30, "only {options} options were found: does the search still work?");
}

#[test]
fn the_options_that_need_the_upkeep_thread_are_marked_alike() {
    let mut marked = 0;
    for row in CONFIG[0].lines().filter(|line| line.starts_with("/// | [`")) {
        let option = row.split('`').nth(1).unwrap();
        let said = GUIDE.lines().find(|line| line.starts_with(&format!("| `{option}`")));
        let Some(said) = said else { continue };
        assert_eq!(row.contains('¹'), said.contains('¹'), "{option}");
        marked += usize::from(row.contains('¹'));
    }
    assert_eq!(marked, 5);
}

#[test]
fn every_number_is_explained() {
    let stats = include_str!("../../src/pool/stats.rs");
    let fields = stats.split("pub struct PoolStats {").nth(1).unwrap().split("\n}").next().unwrap();
    let fields: Vec<_> = names_after(fields, "    pub ").collect();
    assert!(fields.len() > 25, "{fields:?}");
    let numbers = GUIDE.split("## Statistics").nth(1).unwrap().split("## Metrics").next().unwrap();
    for field in fields {
        // What is no number.
        if ["suspended", "generation", "detached"].contains(&field) {
            continue;
        }
        let told = [format!("`{field}`"), format!("`{field}.")];
        assert!(told.iter().any(|told| numbers.contains(told)), "docs/pool.md leaves out {field}");
    }
}

#[test]
fn every_call_is_explained() {
    let pool = include_str!("../../src/pool.rs");
    // Which the crate's own documentation begins with.
    let known = ["builder", "builder_with", "get", "acquire", "get_timeout", "get_context"];
    let counts = ["active_count", "idle_count", "is_closed", "replace_dial_function"];
    for call in names_after(pool, "    pub fn ") {
        if !known.contains(&call) && !counts.contains(&call) {
            let told = ["`", "`Pool::"].map(|before| format!("{before}{call}("));
            assert!(told.iter().any(|told| GUIDE.contains(told)), "docs/pool.md leaves out {call}");
        }
    }
}

#[test]
fn the_picture_of_a_connections_life_has_every_end_of_it() {
    let picture = include_str!("../../docs/pool-life.svg");
    for reason in CloseReason::ALL {
        assert!(picture.contains(reason.as_str()), "docs/pool-life.svg leaves out {reason}");
    }
}

#[test]
fn the_picture_of_a_checkout_has_every_error_of_it() {
    let picture = include_str!("../../docs/pool-checkout.svg");
    for error in
        ["PoolClosed", "PoolExhausted", "PoolDeadlock", "PoolTimeout", "BreakerOpen", "Canceled"]
    {
        assert!(picture.contains(error), "docs/pool-checkout.svg leaves out {error}");
        assert!(GUIDE.contains(&format!("| `{error}` |")), "docs/pool.md leaves out {error}");
    }
}
