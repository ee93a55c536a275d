//! What the threads have seen, all together.

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
    /// A reply that was the right one.
    pub(crate) fn checked(&self, replies: usize) {
        self.checked.fetch_add(replies as u64, SeqCst);
    }

    pub(crate) fn mismatch(&self, what: String) {
        let mut mismatches = self.mismatches.lock().unwrap();
        // The first few tell it all.
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

    /// How something ended that began then. Errors are what faults are for; they are counted.
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
        // A moment's rest, or those who are turned away at once take all the time there is.
        thread::sleep(Duration::from_millis(1));
    }

    /// The same for what may fail in quiet times only because of a fault of before.
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

    /// Right replies in a second, over this time from now.
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
             {} threads panicked with a connection; the slowest answer took {:?}",
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
