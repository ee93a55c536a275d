//! What came out: a table, a summary for programs, a chart.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::chart;
use crate::rounds::Measured;

/// What is to be reached: our time over that of redis-rs, and over that of the raw socket.
const GOALS: [(&str, Option<f64>, Option<f64>); 19] = [
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
];

/// One line of the table; times in nanoseconds for one operation.
pub(crate) struct Line {
    pub(crate) name: String,
    ours: f64,
    peer: Option<f64>,
    raw: Option<f64>,
    pub(crate) vs_peer: Option<f64>,
    pub(crate) vs_raw: Option<f64>,
}

pub(crate) struct Report {
    /// What the names of the lines that run begin with; all when there is none.
    wanted: Vec<String>,
    lines: Vec<Line>,
    /// Lines that compare the crate with itself, ready to be printed.
    asides: Vec<String>,
}

impl Report {
    pub(crate) fn new(wanted: Vec<String>) -> Report {
        println!(
            "{:<20} {:>12} {:>12} {:>12}   {:<18} {:<18}",
            "", "ours", "redis-rs", "raw socket", "vs redis-rs (goal)", "vs raw (goal)"
        );
        Report { wanted, lines: Vec::new(), asides: Vec::new() }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| name.starts_with(wanted))
    }

    /// Measures us, the peer and the raw socket, in this order.
    pub(crate) fn beside_both(&mut self, name: &str, measure: impl FnOnce() -> Measured) {
        self.line(name, measure, Some(1), Some(2));
    }

    /// Measures us and the peer.
    pub(crate) fn beside_peer(&mut self, name: &str, measure: impl FnOnce() -> Measured) {
        self.line(name, measure, Some(1), None);
    }

    /// Measures us and the raw socket.
    pub(crate) fn beside_raw(&mut self, name: &str, measure: impl FnOnce() -> Measured) {
        self.line(name, measure, None, Some(1));
    }

    /// Measures the crate beside another use of itself.
    pub(crate) fn beside(&mut self, name: &str, other: &str, measure: impl FnOnce() -> Measured) {
        if self.wants(name) {
            let measured = measure();
            let (ours, others) = (nanos(measured.nanos(0)), nanos(measured.nanos(1)));
            let ratio = measured.ratio(1);
            let line = format!("{name:<28} {ours:>12}   {other:<14} {others:>12}   {ratio:.2}");
            self.asides.push(line);
        }
    }

    fn line(
        &mut self,
        name: &str,
        measure: impl FnOnce() -> Measured,
        peer: Option<usize>,
        raw: Option<usize>,
    ) {
        if !self.wants(name) {
            return;
        }
        let measured = measure();
        let line = Line {
            name: name.to_owned(),
            ours: measured.nanos(0),
            peer: peer.map(|at| measured.nanos(at)),
            raw: raw.map(|at| measured.nanos(at)),
            vs_peer: peer.map(|at| measured.ratio(at)),
            vs_raw: raw.map(|at| measured.ratio(at)),
        };
        line.print();
        self.lines.push(line);
    }

    /// What compares the crate with itself comes last; the files are written when all was measured.
    pub(crate) fn finish(self) {
        if !self.asides.is_empty() {
            println!("\nbeside another use of the crate");
        }
        self.asides.iter().for_each(|line| println!("{line}"));
        if self.wanted.is_empty() {
            self.write_files().expect("the summary and the chart can be written");
        }
    }

    fn write_files(&self) -> std::io::Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Beside what cargo has built: target/ may be elsewhere.
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), Into::into);
        fs::create_dir_all(target.join("bench"))?;
        let summary = format!("{:#}\n", self.summary());
        println!();
        for (path, content) in [
            (target.join("bench/summary.json"), summary.clone()),
            (root.join("docs/benchmarks.json"), summary),
            (root.join("docs/benchmarks.svg"), chart::draw(&self.lines)),
        ] {
            fs::write(&path, content)?;
            println!("wrote {}", path.display());
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        let line = |line: &Line| {
            json!({
                "ours": line.ours,
                "peer": line.peer,
                "raw": line.raw,
                "vs_peer": line.vs_peer,
                "vs_raw": line.vs_raw,
            })
        };
        let lines: Map<_, _> = self.lines.iter().map(|one| (one.name.clone(), line(one))).collect();
        Value::Object(lines)
    }
}

impl Line {
    /// The goals of this line.
    pub(crate) fn goals(&self) -> (Option<f64>, Option<f64>) {
        let goals = GOALS.iter().find(|(name, ..)| *name == self.name);
        goals.map_or((None, None), |&(_, peer, raw)| (peer, raw))
    }

    fn print(&self) {
        let (peer_goal, raw_goal) = self.goals();
        let time = |time: Option<f64>| time.map_or(String::new(), nanos);
        println!(
            "{:<20} {:>12} {:>12} {:>12}   {:<18} {:<18}",
            self.name,
            nanos(self.ours),
            time(self.peer),
            time(self.raw),
            against(self.vs_peer, peer_goal),
            against(self.vs_raw, raw_goal),
        );
    }
}

/// A ratio beside its goal.
fn against(ratio: Option<f64>, goal: Option<f64>) -> String {
    match (ratio, goal) {
        (Some(ratio), Some(goal)) if ratio <= goal => format!("{ratio:.3} ({goal})"),
        (Some(ratio), Some(goal)) => format!("{ratio:.3} ({goal}) missed"),
        (Some(ratio), None) => format!("{ratio:.3}"),
        (None, _) => String::new(),
    }
}

/// A time in the unit that suits it.
fn nanos(time: f64) -> String {
    match time {
        time if time < 1e3 => format!("{time:.0} ns"),
        time if time < 1e6 => format!("{:.1} µs", time / 1e3),
        time => format!("{:.2} ms", time / 1e6),
    }
}
