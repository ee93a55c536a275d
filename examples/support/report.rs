//! The report of `demo.rs`: the table, the recovery time and the failed checks.

use std::time::{Duration, Instant};

use crate::load::{Outcome, Route, Sample};

/// Requests may fail from the kill until this time after the restart.
const GRACE: Duration = Duration::from_millis(250);

/// The times at which Redis was killed and answered again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) killed: Instant,
    pub(crate) back: Instant,
}

impl Outage {
    fn concerns(&self, sample: &Sample) -> bool {
        sample.end >= self.killed && sample.start <= self.back + GRACE
    }
}

/// One line of the table.
#[derive(Debug, Default)]
struct Row {
    requests: usize,
    errors_in_outage: usize,
    errors_outside: usize,
    wrong_bodies: usize,
    /// The latencies of successful requests, in ascending order.
    latencies: Vec<Duration>,
}

impl Row {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>, outage: Outage) -> Self {
        let mut row = Self::default();
        for sample in samples {
            row.requests += 1;
            match sample.outcome {
                Outcome::Ok => row.latencies.push(sample.end - sample.start),
                Outcome::WrongBody(_) => row.wrong_bodies += 1,
                Outcome::Error(_) if outage.concerns(sample) => row.errors_in_outage += 1,
                Outcome::Error(_) => row.errors_outside += 1,
            }
        }
        row.latencies.sort_unstable();
        row
    }

    fn print(&self, name: &str) {
        let [p50, p90, p99, max] =
            [0.50, 0.90, 0.99, 1.0].map(|part| percentile(&self.latencies, part));
        println!(
            "  {name:<15}{:>9}{:>15}{:>9}{:>9}{p50:>11}{p90:>9}{p99:>9}{max:>9}",
            self.requests, self.errors_in_outage, self.errors_outside, self.wrong_bodies
        );
    }
}

/// Prints the table. Returns the failed checks.
pub(crate) fn print(samples: &[Sample], outage: Outage) -> Vec<String> {
    let routes = [
        ("PUT /users/ID", Route::PutUser),
        ("GET /users/ID", Route::GetUser),
        ("GET /healthz", Route::Health),
    ];
    // Each column is right-aligned, as in `Row::print`.
    println!(
        "  {:<15}{:>9}{:>15}{:>9}{:>9}{:>38}",
        "", "", "errors while", "other", "wrong", "latency of successes, in ms"
    );
    println!(
        "  {:<15}{:>9}{:>15}{:>9}{:>9}{:>11}{:>9}{:>9}{:>9}",
        "route", "requests", "Redis was down", "errors", "bodies", "p50", "p90", "p99", "max"
    );
    for (name, route) in routes {
        let of_route = samples.iter().filter(|sample| sample.route == route);
        Row::of(of_route, outage).print(name);
    }
    let total = Row::of(samples.iter(), outage);
    total.print("all");

    let mut faults = Vec::new();
    if total.errors_in_outage == 0 {
        faults.push("no request failed during the outage, so it was not tested".to_owned());
    }
    if total.errors_outside + total.wrong_bodies > 0 {
        faults.push("wrong bodies, or errors while Redis was up:".to_owned());
        faults.extend(samples.iter().filter_map(|sample| fault(sample, outage)).take(5));
    }
    faults
}

fn fault(sample: &Sample, outage: Outage) -> Option<String> {
    match &sample.outcome {
        Outcome::Ok => None,
        Outcome::Error(_) if outage.concerns(sample) => None,
        Outcome::Error(text) | Outcome::WrongBody(text) => {
            Some(format!("{:?}: {text}", sample.route))
        }
    }
}

/// Returns the times from the restart until the first success and until the last error.
pub(crate) fn recovery(samples: &[Sample], outage: Outage) -> (Option<Duration>, Option<Duration>) {
    let after = || samples.iter().filter(|sample| sample.end > outage.back);
    let successes =
        after().filter(|sample| matches!(sample.outcome, Outcome::Ok)).map(|sample| sample.end);
    let errors = after()
        .filter(|sample| matches!(sample.outcome, Outcome::Error(_)))
        .map(|sample| sample.end);
    (successes.min().map(|end| end - outage.back), errors.max().map(|end| end - outage.back))
}

/// Formats a percentile in milliseconds. `latencies` is sorted.
fn percentile(latencies: &[Duration], part: f64) -> String {
    let index = (latencies.len() as f64 * part).ceil() as usize;
    match latencies.get(index.saturating_sub(1)) {
        Some(time) => format!("{:.2}", time.as_secs_f64() * 1e3),
        None => "-".to_owned(),
    }
}
