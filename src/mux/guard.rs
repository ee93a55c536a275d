//! Guards that keep a mux live when code of the user panics.
//!
//! A panic in a connection, a logger or a destructor must not lose anything that other callers wait
//! for. Each lease and each call is held by a guard that reports the loss to the core.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;
use crate::mux::core::Lease;
use crate::mux::inner::{MuxInner, Pending};

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

/// Holds a lease. Ends the connection if its own code panics, because the half cannot come back.
pub(super) struct LeaseGuard<'a, T> {
    inner: &'a MuxInner,
    epoch: u64,
    lease: Option<Lease<T>>,
}

impl<'a, T> LeaseGuard<'a, T> {
    pub(super) fn new(inner: &'a MuxInner, lease: Lease<T>) -> LeaseGuard<'a, T> {
        LeaseGuard { inner, epoch: lease.epoch(), lease: Some(lease) }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn lease(&mut self) -> Option<&mut Lease<T>> {
        self.lease.as_mut()
    }

    pub(super) fn half(&mut self) -> Option<&mut T> {
        self.lease.as_mut().map(|lease| &mut lease.half)
    }

    pub(super) fn take(&mut self) -> Option<Lease<T>> {
        self.lease.take()
    }
}

impl<T> Drop for LeaseGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.inner.lose(self.epoch, Error::other("the connection's own code panicked"));
            discard(lease);
        }
    }
}

/// Holds a call whose caller is awake. Abandons the call if the caller unwinds, so that another
/// caller takes over its work.
pub(super) struct CallGuard<'a> {
    inner: &'a MuxInner,
    pending: &'a Pending,
}

impl<'a> CallGuard<'a> {
    pub(super) fn new(inner: &'a MuxInner, pending: &'a Pending) -> CallGuard<'a> {
        CallGuard { inner, pending }
    }

    pub(super) fn disarm(self) {
        mem::forget(self);
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.inner.abandon(self.pending);
    }
}
