//! docs/pool.md and the rustdoc of the pool agree with each other and with the code.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redigo::testing::ScriptedServer;
use redigo::{CloseReason, Dialer, Error, Pool, PoolBuilder};

const GUIDE: &str = include_str!("../../docs/pool.md");
const BUILDER: &str = include_str!("../../src/pool/builder.rs");
const OPTIONS: [&str; 6] = [
    BUILDER,
    include_str!("../../src/pool/builder/dialing.rs"),
    include_str!("../../src/pool/builder/health.rs"),
    include_str!("../../src/pool/builder/lifetime.rs"),
    include_str!("../../src/pool/builder/monitoring.rs"),
    include_str!("../../src/pool/builder/sizing.rs"),
];

/// The rustdoc of each option, by the option's name.
fn documented_options() -> BTreeMap<&'static str, String> {
    let mut options = BTreeMap::new();
    for source in OPTIONS {
        let mut docs = String::new();
        for line in source.lines() {
            if let Some(doc) = line.strip_prefix("    ///") {
                docs.push_str(doc.trim());
                docs.push('\n');
            } else if let Some(name) = line.strip_prefix("    pub fn ") {
                options.insert(first_word(name), std::mem::take(&mut docs));
            } else if !line.starts_with("    #[") {
                docs.clear();
            }
        }
    }
    // An option for tests only.
    assert!(options.remove("clock").is_some());
    assert!(options.len() > 30, "only {} options: does the search still work?", options.len());
    options
}

/// A row of one of the two tables of options.
#[derive(Debug, PartialEq)]
struct Row {
    tier: String,
    options: Vec<String>,
    needs_upkeep: bool,
    default: String,
}

/// Reads the tables below headings that contain the name of a tier.
fn rows(lines: impl Iterator<Item = &'static str>) -> Vec<Row> {
    let (mut tier, mut rows) = (None, Vec::new());
    for line in lines {
        if line.starts_with('#') {
            let tiers = ["Essential", "Frequently used", "Infrequently used"];
            tier = tiers
                .into_iter()
                .find(|tier| line.trim_start_matches(['#', ' ']).starts_with(tier));
        }
        let Some(tier) = tier else { continue };
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        if line.starts_with("| ") && line.contains('`') {
            let [names, default, ..] = cells[..] else { panic!("{line}") };
            rows.push(Row {
                tier: tier.to_owned(),
                options: names.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
                needs_upkeep: names.contains('¹'),
                default: default.to_owned(),
            });
        }
    }
    rows
}

fn rows_of_the_guide() -> Vec<Row> {
    let section = GUIDE.split("\n## All options").nth(1).unwrap().split("\n## ").next().unwrap();
    rows(section.lines())
}

fn rows_of_the_rustdoc() -> Vec<Row> {
    // The row of `metrics` stands in an attribute.
    rows(BUILDER.lines().filter_map(|line| {
        let row = line.strip_prefix("    doc = \" ").and_then(|row| row.strip_suffix('"'));
        row.or_else(|| line.strip_prefix("/// "))
    }))
}

fn first_word(text: &str) -> &str {
    text.split(|char: char| !char.is_alphanumeric() && char != '_').next().unwrap()
}

/// The names that follow this at the beginning of a line.
fn names_after<'a>(source: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    source.lines().filter_map(move |line| line.strip_prefix(begin).map(first_word))
}

#[test]
fn guide_and_rustdoc_have_the_same_tables_of_options() {
    let (guide, rustdoc) = (rows_of_the_guide(), rows_of_the_rustdoc());
    for (in_guide, in_rustdoc) in guide.iter().zip(&rustdoc) {
        assert_eq!(in_guide, in_rustdoc, "docs/pool.md and PoolBuilder differ");
    }
    assert_eq!(guide.len(), rustdoc.len());
}

#[test]
fn tables_have_every_option_with_its_default() {
    let mut options = documented_options();
    for row in rows_of_the_guide() {
        for option in row.options {
            let docs = options.remove(&*option);
            let docs = docs.unwrap_or_else(|| panic!("{option} is no option, or stands twice"));
            let default = docs.lines().last().unwrap();
            assert_eq!(default, format!("Defaults to {}.", row.default), "{option}");
            assert_eq!(docs.contains("upkeep thread"), row.needs_upkeep, "{option}");
            assert!(docs.contains("```"), "{option} has no example");
        }
    }
    assert!(options.is_empty(), "the tables leave out {:?}", options.keys());
}

#[test]
fn defaults_in_the_tables_are_those_of_the_code() {
    let builder = format!("{:?}", Pool::builder(Dialer::tcp(":6379")));
    for row in rows_of_the_guide() {
        let plain = row.default.replace('`', "");
        // The second half of some defaults depends on other options: see the next test.
        let values = match plain.split(';').next().unwrap() {
            "off"
            | "no limit"
            | "none"
            | "false"
            | "max_active, or 32 without one"
            | "the name for metrics, or none" => {
                vec!["None".to_owned(), "false".to_owned()]
            }
            "0" => vec!["0".to_owned(), "0ns".to_owned()],
            "100 ms to 10 s" => vec!["Backoff { first: 100ms, longest: 10s }".to_owned()],
            list if list.contains("READONLY") => {
                vec![format!("{:?}", list.split(", ").collect::<Vec<_>>())]
            }
            number => vec![number.replace(' ', "")],
        };
        for option in row.options {
            let shown = values.iter().any(|value| {
                [",", " }"].iter().any(|end| builder.contains(&format!("{option}: {value}{end}")))
            });
            assert!(shown, "{option} does not default to {}: {builder}", row.default);
        }
    }
}

#[test]
fn defaults_that_depend_on_other_options() {
    let pool = |options: fn(PoolBuilder) -> PoolBuilder| {
        options(Pool::builder(ScriptedServer::new().dialer())).build().unwrap()
    };
    assert_eq!(pool(|options| options).stats().max_idle, 32);
    assert_eq!(pool(|options| options.max_active(40)).stats().max_idle, 40);

    let zero = Duration::ZERO;
    let full = |options: fn(PoolBuilder) -> PoolBuilder| {
        let pool = pool(options);
        let conn = pool.acquire().unwrap();
        (conn, pool.get_timeout(zero).unwrap_err())
    };
    let (_conn, error) = full(|options| options.max_active(1));
    assert!(matches!(error, Error::PoolExhausted(_)), "{error:?}");
    let (_conn, error) = full(|options| options.max_active(1).wait_timeout(Duration::from_secs(9)));
    assert!(matches!(error, Error::PoolTimeout(_)), "{error:?}");

    let budget = |retries| {
        let left = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&left);
        let pool = Pool::builder_with(move |ctx| {
            *seen.lock().unwrap() = ctx.remaining();
            Ok(ScriptedServer::new().conn())
        });
        pool.dial_retries(retries).build().unwrap().acquire().unwrap();
        let left = *left.lock().unwrap();
        left.map(|left| left.as_secs_f64().round())
    };
    assert_eq!((budget(0), budget(1)), (None, Some(30.0)));
}

#[test]
fn every_statistic_is_in_the_guide() {
    let stats = include_str!("../../src/pool/stats.rs");
    let fields = stats.split("pub struct PoolStats {").nth(1).unwrap().split("\n}").next().unwrap();
    let fields: Vec<_> = names_after(fields, "    pub ").collect();
    assert!(fields.len() > 25, "{fields:?}");
    let numbers = GUIDE.split("## Statistics").nth(1).unwrap().split("## Metrics").next().unwrap();
    for field in fields {
        // These are states, not counts.
        if ["suspended", "generation", "detached"].contains(&field) {
            continue;
        }
        let names = [format!("`{field}`"), format!("`{field}.")];
        assert!(names.iter().any(|name| numbers.contains(name)), "docs/pool.md leaves out {field}");
    }
}

#[test]
fn every_operation_is_in_the_guide() {
    let pool = include_str!("../../src/pool.rs");
    // These are in the crate's documentation.
    let known = ["builder", "builder_with", "get", "acquire", "get_timeout", "get_context"];
    let counts = ["active_count", "idle_count", "is_closed", "replace_dial_function"];
    for call in names_after(pool, "    pub fn ") {
        if !known.contains(&call) && !counts.contains(&call) {
            let names = ["`", "`Pool::"].map(|before| format!("{before}{call}("));
            assert!(
                names.iter().any(|name| GUIDE.contains(name)),
                "docs/pool.md leaves out {call}"
            );
        }
    }
}

#[test]
fn log_lines_in_the_guide_are_those_of_the_code() {
    let inner = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pool/inner");
    let mut code = std::fs::read_to_string(format!("{inner}.rs")).unwrap();
    for file in std::fs::read_dir(inner).unwrap() {
        code.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let section = GUIDE.split("\n## Log lines").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    assert_eq!(lines.len(), 8);
    for line in lines {
        // The text before the first value, without a number at its beginning.
        let fixed = line.trim_start_matches("N ").split(['(', ':', '`']).next().unwrap();
        let fixed = fixed.split(" T s").next().unwrap();
        assert!(code.contains(fixed), "the code does not log {fixed:?}");
    }
}

#[test]
fn picture_of_a_connections_life_has_every_close_reason() {
    let picture = include_str!("../../docs/pool-life.svg");
    for reason in CloseReason::ALL {
        assert!(picture.contains(reason.as_str()), "docs/pool-life.svg leaves out {reason}");
    }
}

#[test]
fn picture_of_a_checkout_has_every_error() {
    let picture = include_str!("../../docs/pool-checkout.svg");
    for error in
        ["PoolClosed", "PoolExhausted", "PoolDeadlock", "PoolTimeout", "BreakerOpen", "Canceled"]
    {
        assert!(picture.contains(error), "docs/pool-checkout.svg leaves out {error}");
        assert!(GUIDE.contains(&format!("| `{error}` |")), "docs/pool.md leaves out {error}");
    }
}
