//! `examples/prometheus.rs` runs, and its page has the format of Prometheus and the right numbers.

#[path = "../../examples/prometheus.rs"]
mod example;

use std::collections::HashMap;

#[test]
fn page_shows_the_numbers_of_the_workers() {
    let page = example::demo().unwrap();
    let series = parse(&page);
    let value = |name: &str, labels: &str| {
        let pool = "db_client_connection_pool_name=\"jobs\"";
        let labels = if labels.is_empty() { pool.to_owned() } else { format!("{pool},{labels}") };
        let series_name = format!("{name}{{{labels}}}");
        *series.get(&series_name).unwrap_or_else(|| panic!("no {series_name} in\n{page}"))
    };
    const JOBS: f64 = 2000.0;
    assert_eq!(value("db_client_connection_use_time_count", ""), JOBS);
    assert_eq!(value("db_client_connection_wait_time_count", ""), JOBS);
    assert_eq!(value("db_client_connection_use_time_bucket", "le=\"+Inf\""), JOBS);
    let (few, many) = ("le=\"0.0001\"", "le=\"10\"");
    assert!(
        value("db_client_connection_use_time_bucket", few)
            <= value("db_client_connection_use_time_bucket", many)
    );
    let dialed = value("redigo_pool_dialed", "cause=\"demand\"");
    assert!((1.0..=4.0).contains(&dialed), "{dialed}");
    // One more connection may be on its way to the pool.
    assert!(value("db_client_connection_create_time_count", "") >= dialed);
    assert_eq!(
        value("redigo_pool_checkouts", "found=\"idle\"")
            + value("redigo_pool_checkouts", "found=\"none\""),
        JOBS
    );
    assert_eq!(value("db_client_connection_max", ""), 4.0);
    assert_eq!(value("db_client_connection_count", "db_client_connection_state=\"idle\""), dialed);
    assert_eq!(value("db_client_connection_count", "db_client_connection_state=\"used\""), 0.0);
    assert_eq!(value("db_client_connection_timeouts", ""), 0.0);
    assert_eq!(value("db_client_connection_pending_requests", ""), 0.0);
    let types: Vec<_> =
        page.lines().filter(|line| line.starts_with("# TYPE db_client_connection_")).collect();
    assert!(types.contains(&"# TYPE db_client_connection_use_time histogram"), "{types:?}");
    assert!(types.contains(&"# TYPE db_client_connection_timeouts counter"), "{types:?}");
    assert_eq!(types.len(), 9, "{types:?}");
}

/// Returns the series and their values. All other lines are comments or empty.
fn parse(page: &str) -> HashMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let pair = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    };
    lines.map(|line| pair(line).unwrap_or_else(|| panic!("not a series: {line}"))).collect()
}
