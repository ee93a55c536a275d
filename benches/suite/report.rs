//! The results: a table, a summary in JSON and a chart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::chart;
use crate::line::{Line, format_nanos, from_summary, to_summary};
use crate::rounds::Measured;

pub(crate) struct Report {
    /// Runs only lines whose name starts with one of these. If empty, runs all.
    wanted: Vec<String>,
    lines: Vec<Line>,
    /// Lines that compare the crate with itself, already formatted.
    self_comparisons: Vec<String>,
}

impl Report {
    pub(crate) fn new(wanted: Vec<String>) -> Report {
        Line::print_header();
        Report { wanted, lines: Vec::new(), self_comparisons: Vec::new() }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| name.starts_with(wanted))
    }

    /// Measures ours, the peer and the raw socket, in this order.
    pub(crate) fn beside_both(&mut self, name: &str, measure: impl FnOnce() -> Measured) {
        self.line(name, measure, Some(1), Some(2));
    }

    /// Measures ours and the peer.
    pub(crate) fn beside_peer(&mut self, name: &str, measure: impl FnOnce() -> Measured) {
        self.line(name, measure, Some(1), None);
    }

    /// Measures ours and the raw socket.
    pub(crate) fn beside_raw(&mut self, name: &str, measure: impl FnOnce() -> Measured) {
        self.line(name, measure, None, Some(1));
    }

    /// Measures two uses of the crate.
    pub(crate) fn beside(&mut self, name: &str, other: &str, measure: impl FnOnce() -> Measured) {
        if self.wants(name) {
            let measured = measure();
            let ours = format_nanos(measured.nanos(0));
            let others = format_nanos(measured.nanos(1));
            let ratio = measured.ratio(1);
            let line = format!("{name:<28} {ours:>12}   {other:<14} {others:>12}   {ratio:.2}");
            self.self_comparisons.push(line);
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

    /// Prints the self-comparisons. Writes the files if every line was measured.
    pub(crate) fn finish(self) {
        if !self.self_comparisons.is_empty() {
            println!("\nbeside another use of the crate");
        }
        self.self_comparisons.iter().for_each(|line| println!("{line}"));
        if self.wanted.is_empty() {
            self.write_files().expect("the summary and the chart can be written");
        }
    }

    fn write_files(&self) -> io::Result<()> {
        // Cargo's target directory may be outside of the repository.
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let target = root().join(target);
        fs::create_dir_all(target.join("bench"))?;
        let summary = format!("{:#}\n", to_summary(&self.lines));
        println!();
        write(&target.join("bench/summary.json"), &summary)?;
        write(&committed_summary(), &summary)?;
        write(&chart_file(), &chart::draw(&self.lines))
    }
}

/// Draws the chart from the committed summary, without measuring.
pub(crate) fn redraw_chart() -> io::Result<()> {
    let summary = serde_json::from_str(&fs::read_to_string(committed_summary())?)?;
    write(&chart_file(), &chart::draw(&from_summary(&summary)))
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn committed_summary() -> PathBuf {
    root().join("docs/benchmarks.json")
}

fn chart_file() -> PathBuf {
    root().join("docs/benchmarks.svg")
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    fs::write(path, content)?;
    println!("wrote {}", path.display());
    Ok(())
}
