//! One line of the table: the times, the ratios and the goals.

use serde_json::{Map, Value, json};

/// The lines in the order of the table, each with its goals: our time divided by that of redis-rs,
/// and by that of the raw socket.
const GOALS: [(&str, Option<f64>, Option<f64>); 21] = [
    ("checkout_1t", Some(0.45), None),
    ("checkout_8t", Some(0.5), None),
    ("ping_1t", Some(1.0), Some(1.03)),
    ("get_1t", Some(1.0), Some(1.03)),
    ("pool_get_8t", Some(0.85), Some(1.05)),
    ("pool_get_64t", Some(0.85), Some(1.05)),
    ("dial", Some(1.0), Some(1.1)),
    ("pool_contended", Some(0.95), Some(1.6)),
    ("wait_p99", Some(0.06), None),
    ("wait_max", Some(0.25), None),
    ("pipeline_100", Some(0.75), Some(1.1)),
    ("pipeline_10k", Some(0.7), Some(1.1)),
    ("lrange_100k", Some(0.4), Some(2.5)),
    ("hgetall_10k", Some(0.6), None),
    ("hgetall_10k_struct", Some(0.6), None),
    ("get_10mb", Some(0.9), Some(1.05)),
    ("set_10mb", Some(0.5), Some(1.05)),
    ("mux_64t", None, Some(0.6)),
    ("get_tls", None, Some(1.1)),
    ("get_tls_1mb", None, None),
    ("set_tls_1mb", None, None),
];

/// One line of the table. Times are nanoseconds for one operation.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
    pub(crate) raw: Option<f64>,
    pub(crate) vs_peer: Option<f64>,
    pub(crate) vs_raw: Option<f64>,
}

impl Line {
    /// Returns the goals against redis-rs and against the raw socket.
    pub(crate) fn goals(&self) -> (Option<f64>, Option<f64>) {
        let goals = GOALS.iter().find(|(name, ..)| *name == self.name);
        goals.map_or((None, None), |&(_, peer, raw)| (peer, raw))
    }

    pub(crate) fn print_header() {
        println!(
            "{:<20} {:>12} {:>12} {:>12}   {:<18} {:<18}",
            "", "ours", "redis-rs", "raw socket", "vs redis-rs (goal)", "vs raw (goal)"
        );
    }

    pub(crate) fn print(&self) {
        let (peer_goal, raw_goal) = self.goals();
        let time = |time: Option<f64>| time.map_or(String::new(), format_nanos);
        println!(
            "{:<20} {:>12} {:>12} {:>12}   {:<18} {:<18}",
            self.name,
            format_nanos(self.ours),
            time(self.peer),
            time(self.raw),
            ratio_and_goal(self.vs_peer, peer_goal),
            ratio_and_goal(self.vs_raw, raw_goal),
        );
    }

    fn to_json(&self) -> Value {
        json!({
            "ours": self.ours,
            "peer": self.peer,
            "raw": self.raw,
            "vs_peer": self.vs_peer,
            "vs_raw": self.vs_raw,
        })
    }

    fn from_json(name: &str, line: &Value) -> Option<Line> {
        Some(Line {
            name: name.to_owned(),
            ours: line["ours"].as_f64()?,
            peer: line["peer"].as_f64(),
            raw: line["raw"].as_f64(),
            vs_peer: line["vs_peer"].as_f64(),
            vs_raw: line["vs_raw"].as_f64(),
        })
    }
}

/// Returns the summary that `docs/benchmarks.json` holds.
pub(crate) fn to_summary(lines: &[Line]) -> Value {
    let lines: Map<_, _> = lines.iter().map(|line| (line.name.clone(), line.to_json())).collect();
    Value::Object(lines)
}

/// Reads the lines of a summary, in the order of the table.
pub(crate) fn from_summary(summary: &Value) -> Vec<Line> {
    let names = GOALS.iter().map(|(name, ..)| *name);
    names.filter_map(|name| Line::from_json(name, &summary[name])).collect()
}

/// A ratio with its goal in brackets.
fn ratio_and_goal(ratio: Option<f64>, goal: Option<f64>) -> String {
    match (ratio, goal) {
        (Some(ratio), Some(goal)) if ratio <= goal => format!("{ratio:.3} ({goal})"),
        (Some(ratio), Some(goal)) => format!("{ratio:.3} ({goal}) missed"),
        (Some(ratio), None) => format!("{ratio:.3}"),
        (None, _) => String::new(),
    }
}

/// A time in ns, µs or ms.
pub(crate) fn format_nanos(time: f64) -> String {
    match time {
        time if time < 1e3 => format!("{time:.0} ns"),
        time if time < 1e6 => format!("{:.1} µs", time / 1e3),
        time => format!("{:.2} ms", time / 1e6),
    }
}
