//! A recorder for the `metrics` facade that stores all values for the test to read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// Clones are the same recorder.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// By series: the name, then the labels in alphabetical order, `name{label=value,…}`.
    values: HashMap<String, Vec<f64>>,
    /// By name.
    described: HashMap<String, (Option<Unit>, String)>,
}

impl Notes {
    /// Returns the recorder of this process. The first call installs it.
    pub(crate) fn of_the_process() -> &'static Notes {
        static NOTES: OnceLock<Notes> = OnceLock::new();
        NOTES.get_or_init(|| {
            let notes = Notes::default();
            metrics::set_global_recorder(notes.clone()).expect("no other recorder");
            notes
        })
    }

    /// Returns the last value of the series, if it was ever set.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        self.0.lock().unwrap().values.get(series)?.last().copied()
    }

    /// Returns all values of a histogram, in order.
    pub(crate) fn times(&self, series: &str) -> Vec<f64> {
        self.0.lock().unwrap().values.get(series).cloned().unwrap_or_default()
    }

    /// Returns the names of all series.
    pub(crate) fn series(&self) -> Vec<String> {
        self.0.lock().unwrap().values.keys().cloned().collect()
    }

    /// Returns the unit and the description of a metric.
    pub(crate) fn description(&self, name: &str) -> Option<(Option<Unit>, String)> {
        self.0.lock().unwrap().described.get(name).cloned()
    }

    fn at(&self, key: &Key) -> Arc<Series> {
        let mut labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::new(Series { notes: self.clone(), name })
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>, words: SharedString) {
        let described = &mut self.0.lock().unwrap().described;
        described.insert(name.as_str().to_owned(), (unit, words.into_owned()));
    }
}

impl Recorder for Notes {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, words: SharedString) {
        self.describe(name, unit, words);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, words: SharedString) {
        self.describe(name, unit, words);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, words: SharedString) {
        self.describe(name, unit, words);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.at(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.at(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.at(key))
    }
}

struct Series {
    notes: Notes,
    name: String,
}

impl Series {
    fn push(&self, value: f64) {
        self.notes.0.lock().unwrap().values.entry(self.name.clone()).or_default().push(value);
    }
}

// The pool sets its counters and gauges, and never increments them.

impl CounterFn for Series {
    fn increment(&self, _: u64) {
        panic!("{} is incremented", self.name)
    }

    fn absolute(&self, value: u64) {
        self.push(value as f64);
    }
}

impl GaugeFn for Series {
    fn increment(&self, _: f64) {
        panic!("{} is incremented", self.name)
    }

    fn decrement(&self, _: f64) {
        panic!("{} is decremented", self.name)
    }

    fn set(&self, value: f64) {
        self.push(value);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.push(value);
    }
}
