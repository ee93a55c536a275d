//! The error that ended a connection, and the number of replies that are due.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::conn::deadline::Deadline;
use crate::conn::observer::Observer;
use crate::context::{Context, Registration};
use crate::error::{Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::value::Value;

/// The condition of a connection. Both of its halves share it, and both may fail at once.
pub(crate) struct Status {
    /// The first fatal error.
    fault: OnceLock<Error>,
    /// The number of commands sent whose replies have not been received.
    pending: AtomicUsize,
    shutdown: ShutdownHandle,
    /// The codes of error replies after which a pool closes the connection.
    retire_on: Arc<[String]>,
    /// Such an error reply has arrived.
    retired: AtomicBool,
    pub(super) observer: Option<Box<dyn Observer>>,
}

impl Status {
    pub(crate) fn new(shutdown: ShutdownHandle) -> Status {
        Status {
            fault: OnceLock::new(),
            pending: AtomicUsize::new(0),
            shutdown,
            retire_on: Arc::default(),
            retired: AtomicBool::new(false),
            observer: None,
        }
    }

    pub(crate) fn retire_on(&mut self, codes: Arc<[String]>) {
        self.retire_on = codes;
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Reports a reply to the observer, and looks at its error code.
    pub(super) fn note_reply(&self, reply: &Value) {
        self.observer.received(reply);
        if let Value::Error(error) = reply {
            if self.retire_on.iter().any(|code| code == error.code()) {
                self.retired.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn err(&self) -> Option<&Error> {
        self.fault.get()
    }

    pub(crate) fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    /// Fails with the error that ended the connection, if it has ended.
    pub(crate) fn check(&self) -> Result<()> {
        match self.fault.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Ends the connection if the outcome is a fatal error.
    pub(crate) fn record_fatal<T>(&self, outcome: Result<T>, deadline: Deadline) -> Result<T> {
        let outcome = match outcome {
            Err(error) if error.is_fatal() => Err(self.end(deadline.name(error))),
            outcome => outcome,
        };
        if let Err(error) = &outcome {
            self.observer.failed(error);
        }
        outcome
    }

    /// Ends the connection unless it has ended before, and returns the error that did.
    pub(crate) fn end(&self, error: Error) -> Error {
        // A shutdown makes waiting calls fail with errors of many kinds.
        let error = if self.shutdown.is_used() { Error::Canceled } else { error };
        let error = self.fault.get_or_init(|| {
            log::debug!(target: "redigo::conn", "connection ended: {error}");
            error
        });
        self.shutdown.cut();
        error.clone()
    }

    /// Ends the connection when the context is canceled, while the registration lives.
    pub(crate) fn watch(&self, ctx: &Context) -> Result<Option<Registration>> {
        self.check()?;
        let handle = self.shutdown.clone();
        ctx.on_cancel(move || handle.shutdown()).map_err(|error| self.end(error))
    }

    /// Returns the outcome of calls that ran under a watch, which ends.
    pub(crate) fn unwatch<T>(
        &self,
        watch: Option<Registration>,
        ctx: &Context,
        outcome: Result<T>,
    ) -> Result<T> {
        drop(watch);
        // The canceling thread may be about to shut the socket down.
        if ctx.is_canceled() { Err(self.end(Error::Canceled)) } else { outcome }
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn add_pending(&self, replies: usize) {
        self.pending.fetch_add(replies, Ordering::Relaxed);
    }

    /// Returns the number of replies that were due and resets it.
    pub(crate) fn take_pending(&mut self) -> usize {
        std::mem::take(self.pending.get_mut())
    }

    /// Counts a reply that was received. A subscriber receives more replies than it sent
    /// commands, so the count stops at zero.
    pub(crate) fn received(&self, reply: Value) -> Result<Value> {
        let one_less = |pending: usize| pending.checked_sub(1);
        let _ = self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        match reply {
            Value::Error(error) => Err(Error::Server(error)),
            reply => Ok(reply),
        }
    }
}

/// Ends the connection if the caller's code panics in the middle of a command or of a reply.
pub(super) struct PoisonOnPanic<'a> {
    status: &'a Status,
    culprit: &'static str,
}

impl<'a> PoisonOnPanic<'a> {
    pub(super) fn sending(status: &'a Status) -> PoisonOnPanic<'a> {
        PoisonOnPanic { status, culprit: "the arguments of a command" }
    }

    pub(super) fn receiving(status: &'a Status) -> PoisonOnPanic<'a> {
        PoisonOnPanic { status, culprit: "the conversion of a reply" }
    }

    /// The command or the reply is complete.
    pub(super) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        self.status.end(Error::other(format!("{} panicked", self.culprit)));
    }
}
