//! How a connection stands: what ended it, and how many replies are owed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::conn::deadline::Deadline;
use crate::context::{Context, Registration};
use crate::error::{Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::value::Value;

/// Shared by the two halves of a connection, which may fail at once.
#[derive(Debug)]
pub(crate) struct Status {
    /// The first fatal error.
    fault: OnceLock<Error>,
    /// Commands sent whose replies have not been received.
    pending: AtomicUsize,
    shutdown: ShutdownHandle,
    /// The codes of error replies after which a pool does not want it back.
    retire_on: Arc<[String]>,
    /// There was one.
    retired: AtomicBool,
}

impl Status {
    pub(crate) fn new(shutdown: ShutdownHandle) -> Status {
        Status {
            fault: OnceLock::new(),
            pending: AtomicUsize::new(0),
            shutdown,
            retire_on: Arc::default(),
            retired: AtomicBool::new(false),
        }
    }

    pub(crate) fn retire_on(&mut self, codes: Arc<[String]>) {
        self.retire_on = codes;
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Looks at a reply that has come, for what it says of the server.
    pub(crate) fn heed(&self, reply: &Value) {
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

    /// The error of before, if there was one.
    pub(crate) fn check(&self) -> Result<()> {
        match self.fault.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Makes a fatal error final.
    pub(crate) fn record_fatal<T>(&self, outcome: Result<T>, limit: Deadline) -> Result<T> {
        match outcome {
            Err(error) if error.is_fatal() => Err(self.end(limit.name(error))),
            outcome => outcome,
        }
    }

    /// Ends the connection, unless it has ended before, and gives the error that did.
    pub(crate) fn end(&self, error: Error) -> Error {
        // An error that a shutdown has caused goes by that name.
        let error = if self.shutdown.is_used() { Error::Canceled } else { error };
        let error = self.fault.get_or_init(|| {
            log::debug!(target: "redigo::conn", "connection ended: {error}");
            error
        });
        self.shutdown.cut();
        error.clone()
    }

    /// Has the cancelling of a context end the connection, as long as the registration lives.
    pub(crate) fn watch(&self, ctx: &Context) -> Result<Option<Registration>> {
        self.check()?;
        let handle = self.shutdown.clone();
        ctx.on_cancel(move || handle.shutdown()).map_err(|error| self.end(error))
    }

    /// The outcome of what was done under a watch, which is over.
    pub(crate) fn unwatch<T>(
        &self,
        watch: Option<Registration>,
        ctx: &Context,
        outcome: Result<T>,
    ) -> Result<T> {
        drop(watch);
        // The canceller may be about to shut the socket down, so what came is of no use.
        if ctx.is_canceled() { Err(self.end(Error::Canceled)) } else { outcome }
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// So many more replies are owed.
    pub(crate) fn owe(&self, replies: usize) {
        self.pending.fetch_add(replies, Ordering::Relaxed);
    }

    /// How many were owed; none are any more.
    pub(crate) fn take_pending(&mut self) -> usize {
        std::mem::take(self.pending.get_mut())
    }

    /// A reply that was received is one less that is owed, and never less than none: a subscriber
    /// receives more than it sends.
    pub(crate) fn received(&self, reply: Value) -> Result<Value> {
        let one_less = |pending: usize| pending.checked_sub(1);
        let _ = self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        match reply {
            Value::Error(error) => Err(Error::Server(error)),
            reply => Ok(reply),
        }
    }
}

/// Something that must not be left half done: a command on its way into the buffer, a reply on its
/// way out of it. If code of the user's own panics in between, that ends the connection.
pub(crate) struct HalfDone<'a> {
    status: &'a Status,
    whose: &'static str,
}

impl<'a> HalfDone<'a> {
    pub(crate) fn sending(status: &'a Status) -> HalfDone<'a> {
        HalfDone { status, whose: "the arguments of a command" }
    }

    pub(crate) fn receiving(status: &'a Status) -> HalfDone<'a> {
        HalfDone { status, whose: "the conversion of a reply" }
    }

    /// The other half is done too.
    pub(crate) fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for HalfDone<'_> {
    fn drop(&mut self) {
        self.status.end(Error::other(format!("{} panicked", self.whose)));
    }
}
