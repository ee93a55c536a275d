//! Dialing: one caller dials, all others wait for it, and failed dials are followed by a pause.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::mux::core::SplitConn;
use crate::mux::deadline::CallDeadline;
use crate::mux::guard::{debug, discard};
use crate::mux::halves::split;
use crate::mux::inner::{MuxInner, Reader, Writer, as_connect_timeout, wake};

/// The pause after the first failure. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the end of the pause after this many earlier failures. A random part, up to half of the
/// pause, is left out, so that clients that failed together do not dial together.
pub(super) fn retry_at(failures: u32) -> Instant {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
    Instant::now() + pause.mul_f64(1.0 - fastrand::f64() / 2.0)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_omit_at_most_half() {
        for (failures, whole) in [(0, 10), (1, 20), (4, 160), (7, 1000), (u32::MAX, 1000)] {
            let whole = Duration::from_millis(whole);
            for _ in 0..100 {
                let before = Instant::now();
                let end = retry_at(failures);
                assert!(end >= before + whole / 2, "after {failures}");
                assert!(end <= Instant::now() + whole, "after {failures}");
            }
        }
    }
}
