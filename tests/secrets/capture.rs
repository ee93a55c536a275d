//! The log of the whole program.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

/// Collects all log lines.
struct Capture;

static LINES: Mutex<String> = Mutex::new(String::new());

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        let (target, level) = (record.target(), record.level());
        let _ = writeln!(lines, "{level} {target} {}", record.args());
    }

    fn flush(&self) {}
}

/// Lets one test run at a time: the log belongs to the whole program.
pub(crate) fn listen() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    log_so_far();
    guard
}

/// The lines since the last call.
pub(crate) fn log_so_far() -> String {
    std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner))
}
