//! Guards that keep a mux live when code of the user panics.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the user and stops its panic, which the panic hook has already reported.
pub(super) fn catch<T>(action: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(value) => Some(value),
        Err(payload) => {
            discard(payload);
            None
        }
    }
}

/// Drops a value of the user and stops a panic of its destructor. (A value with two fields whose
/// destructors panic aborts the process: Rust has no way to catch the second panic.)
pub(super) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(value))) {
        // The destructor of the payload could panic as well.
        mem::forget(payload);
    }
}

/// Writes a log line. A panic of the logger does not reach the caller.
pub(super) fn debug(message: fmt::Arguments<'_>) {
    catch(|| log::debug!(target: "redigo::mux", "{message}"));
}

/// Runs an action unless it is disarmed, so that the action runs if the caller unwinds.
pub(super) struct OnUnwind<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnUnwind<F> {
    pub(super) fn new(action: F) -> OnUnwind<F> {
        OnUnwind(Some(action))
    }

    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnUnwind<F> {
    fn drop(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}
