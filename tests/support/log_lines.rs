//! The log lines of the program's pools, from all threads.

use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use log::{Level, LevelFilter, Log, Metadata, Record};

static LINES: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

struct Capture;

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "redigo::pool" && metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push((thread::current().id(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Installs the logger. Must be called first; repeated calls do nothing.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).expect("no other logger is set");
        log::set_max_level(LevelFilter::Info);
    });
}

/// Returns the warnings, and the lines at info level, so far that contain all these words. Other tests run at the same time, so
/// one of the words should be unique to the test.
pub(crate) fn warnings_with(words: &[&str]) -> Vec<String> {
    warnings(|_, line| words.iter().all(|word| line.contains(word)))
}

/// Returns the warnings of this thread that contain all these words.
pub(crate) fn own_warnings_with(words: &[&str]) -> Vec<String> {
    let own = thread::current().id();
    warnings(|thread, line| thread == own && words.iter().all(|word| line.contains(word)))
}

fn warnings(fits: impl Fn(ThreadId, &str) -> bool) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = lines.iter().filter(|(thread, line)| fits(*thread, line));
    fitting.map(|(_, line)| line.clone()).collect()
}
