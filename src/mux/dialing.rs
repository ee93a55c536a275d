//! Dialing: one caller dials, all others wait for it, and failed dials are followed by a pause.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};
use crate::mux::backoff::retry_at;
use crate::mux::core::SplitConn;
use crate::mux::deadline::CallDeadline;
use crate::mux::guard::{debug, discard};
use crate::mux::halves::split;
use crate::mux::inner::{MuxInner, Reader, Writer, as_connect_timeout, wake};

impl MuxInner {
    /// Dials on the caller's thread, until the caller's deadline at most. The core waits for this
    /// dial from now on.
    pub(super) fn dial(
        &self,
        last_error: Option<Error>,
        deadline: &CallDeadline<'_>,
    ) -> Result<()> {
        let guard = DialGuard { inner: self, is_reported: false };
        discard(last_error);
        let (ctx, cancel) = deadline.dial_context().with_cancel();
        let link = self.lifetime.on_cancel(move || cancel.cancel());
        let dialed = link.and_then(|link| {
            let dialed = catch_unwind(AssertUnwindSafe(|| (self.dial)(&ctx).and_then(split)));
            drop(link);
            dialed.unwrap_or_else(|payload| {
                let error = Error::panicked("the dial function", &*payload);
                discard(payload);
                Err(error)
            })
        });
        match dialed {
            Ok(conn) => {
                guard.succeed(conn);
                Ok(())
            }
            Err(error) => Err(guard.fail(error, deadline)),
        }
    }
}

/// Reports the end of a dial to the core, also if the dialing caller unwinds.
struct DialGuard<'a> {
    inner: &'a MuxInner,
    is_reported: bool,
}

impl DialGuard<'_> {
    fn succeed(mut self, conn: SplitConn<Writer, Reader>) {
        self.is_reported = true;
        let (stale, wakeups) = self.inner.core().dialed(conn);
        wake(wakeups);
        match stale {
            None => debug(format_args!("dialed a connection")),
            Some(SplitConn { writer, reader, shutdown, .. }) => {
                discard(writer);
                discard(reader);
                discard(shutdown);
            }
        }
    }

    /// Returns the error of the dialing caller.
    fn fail(mut self, error: Error, deadline: &CallDeadline<'_>) -> Error {
        self.is_reported = true;
        let mut core = self.inner.core();
        let end = match core.is_closed() {
            true => Some(Error::ConnClosed),
            // The end of this caller does not end the others.
            false => deadline.err().map(as_connect_timeout),
        };
        let own = match end {
            Some(end) => {
                let wakeups = core.dial_abandoned();
                drop(core);
                wake(wakeups);
                end
            }
            None => {
                drop(core);
                self.inner.dial_failed(&error);
                error.clone()
            }
        };
        debug(format_args!("dial failed: {error}"));
        discard(error);
        own
    }
}

impl Drop for DialGuard<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            self.inner.dial_failed(&Error::other("the dial panicked"));
        }
    }
}

impl MuxInner {
    fn dial_failed(&self, error: &Error) {
        let waiters = self.core().dial_failed(error, retry_at);
        waiters.iter().for_each(|(_, slot)| slot.finish(Err(error.clone())));
    }
}
