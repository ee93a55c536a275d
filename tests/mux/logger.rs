//! The logger of these tests. It captures the lines of commands and can panic.

use std::cell::Cell;
use std::sync::{Mutex, Once};

/// The captured lines of the target `redigo::commands`.
pub(crate) static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("redigo")
    }
    fn log(&self, record: &log::Record<'_>) {
        assert!(!PANICS.get(), "the logger panics");
        if record.target() == "redigo::commands" {
            LINES.lock().unwrap().push(record.args().to_string());
        }
    }
    fn flush(&self) {}
}

pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Runs `action` while the logger panics on this thread.
pub(crate) fn while_it_panics<T>(action: impl FnOnce() -> T) -> T {
    install();
    PANICS.set(true);
    let outcome = action();
    PANICS.set(false);
    outcome
}
