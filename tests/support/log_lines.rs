//! What the pools of a program have written to the log, on whatever thread.

use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use log::{Level, LevelFilter, Log, Metadata, Record};

static LINES: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

struct Capture;

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "redigo::pool" && metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push((thread::current().id(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Call it first; once or more.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).expect("the only logger of this program");
        log::set_max_level(LevelFilter::Warn);
    });
}

/// The warnings so far that have these words in them. Other tests run at the same time, so one of the
/// words should be the test's own.
pub(crate) fn warnings_with(words: &[&str]) -> Vec<String> {
    warnings(|_, line| words.iter().all(|word| line.contains(word)))
}

/// The same, of this thread alone.
pub(crate) fn own_warnings_with(words: &[&str]) -> Vec<String> {
    let own = thread::current().id();
    warnings(|thread, line| thread == own && words.iter().all(|word| line.contains(word)))
}

fn warnings(fits: impl Fn(ThreadId, &str) -> bool) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = lines.iter().filter(|(thread, line)| fits(*thread, line));
    fitting.map(|(_, line)| line.clone()).collect()
}
