//! The results of all threads.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use redigo::{Error, Result};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    checked: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    panicked: AtomicU64,
    /// In microseconds.
    slowest: AtomicU64,
    last_failure: Mutex<Option<Instant>>,
    mismatches: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts correct replies.
    pub(crate) fn checked(&self, replies: usize) {
        self.checked.fetch_add(replies as u64, SeqCst);
    }

    pub(crate) fn mismatch(&self, what: String) {
        let mut mismatches = self.mismatches.lock().unwrap();
        // The first few are enough.
        if mismatches.len() < 20 {
            mismatches.push(what);
        }
    }

    pub(crate) fn mismatches(&self) -> Vec<String> {
        self.mismatches.lock().unwrap().clone()
    }

    pub(crate) fn panicked(&self) {
        self.panicked.fetch_add(1, SeqCst);
    }

    /// Records the end of an operation. Errors are expected under faults and only counted.
    pub(crate) fn ended(&self, began: Instant, outcome: Result<()>) {
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(micros, SeqCst);
        let Err(error) = outcome else { return };
        let count = match &error {
            Error::Server(_) => &self.refused,
            error if error.is_timeout() => &self.timed_out,
            _ => &self.failed,
        };
        count.fetch_add(1, SeqCst);
        // A pause, so that immediate refusals do not make a busy loop.
        thread::sleep(Duration::from_millis(1));
    }

    /// Like [`ended`](Tally::ended), for operations that fail only because of a fault.
    pub(crate) fn ended_or_failed(&self, began: Instant, outcome: Result<()>) {
        if outcome.is_err() {
            *self.last_failure.lock().unwrap() = Some(Instant::now());
        }
        self.ended(began, outcome);
    }

    pub(crate) fn last_failure(&self) -> Option<Instant> {
        *self.last_failure.lock().unwrap()
    }

    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.load(SeqCst))
    }

    /// Measures the correct replies per second, for this time from now.
    pub(crate) fn rate(&self, time: Duration) -> f64 {
        let (before, start) = (self.checked.load(SeqCst), Instant::now());
        thread::sleep(time);
        (self.checked.load(SeqCst) - before) as f64 / start.elapsed().as_secs_f64()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(SeqCst);
        write!(
            f,
            "replies checked {}, mismatches {}; errors: {} timeouts, {} refusals, {} others; \
             {} threads panicked with a connection; the slowest operation took {:?}",
            of(&self.checked),
            self.mismatches.lock().unwrap().len(),
            of(&self.timed_out),
            of(&self.refused),
            of(&self.failed),
            of(&self.panicked),
            self.slowest(),
        )
    }
}
