//! The time limit of one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::context::{Context, Registration};
use crate::error::{Error, TimeoutKind};
use crate::mux::slot::Slot;

/// A caller in a system call cannot be woken without ending the connection for all callers, so a
/// caller with a cancelable context returns from it this often.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

/// The end of one call: a deadline with the name of its timeout, and a context.
#[derive(Debug, Clone)]
pub(crate) struct CallDeadline<'a> {
    at: Option<Instant>,
    kind: TimeoutKind,
    ctx: Option<&'a Context>,
    /// The connection's read timeout applies as well.
    has_read_timeout: bool,
}

impl CallDeadline<'static> {
    /// The connection's read timeout, and no other limit.
    pub(crate) fn read_timeout() -> CallDeadline<'static> {
        CallDeadline { at: None, kind: TimeoutKind::Read, ctx: None, has_read_timeout: true }
    }

    /// This time from now, instead of the read timeout.
    pub(crate) fn after(timeout: Option<Duration>) -> CallDeadline<'static> {
        let at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        CallDeadline { at, has_read_timeout: false, ..CallDeadline::read_timeout() }
    }
}

impl<'a> CallDeadline<'a> {
    /// The end of the context or the read timeout, whichever is sooner.
    pub(crate) fn of_context(ctx: &'a Context) -> CallDeadline<'a> {
        let kind = TimeoutKind::Context;
        CallDeadline { at: ctx.deadline(), kind, ctx: Some(ctx), has_read_timeout: true }
    }

    /// Starts the read timeout now.
    pub(crate) fn start(&self, read_timeout: Option<Duration>) -> CallDeadline<'a> {
        match read_timeout {
            Some(timeout) => self.start_at(Instant::now(), timeout),
            None => self.clone(),
        }
    }

    /// Starts the read timeout at `begin`.
    pub(crate) fn start_at(&self, begin: Instant, read_timeout: Duration) -> CallDeadline<'a> {
        let end = begin.checked_add(read_timeout).filter(|_| self.has_read_timeout);
        match (end, self.at) {
            (Some(end), own) if own.is_none_or(|own| end < own) => {
                CallDeadline { at: Some(end), kind: TimeoutKind::Read, ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Returns the error of the call if its time is over. Reads no clock without a deadline.
    pub(crate) fn err(&self) -> Option<Error> {
        if self.ctx.is_some_and(Context::is_canceled) {
            return Some(Error::Canceled);
        }
        let passed = self.at? <= Instant::now();
        passed.then(|| self.kind.into())
    }

    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Returns the time at which a system call of this caller must return.
    pub(crate) fn io_deadline(&self) -> Option<Instant> {
        match self.ctx {
            Some(ctx) if ctx.is_cancelable() => {
                let check = Instant::now() + CANCEL_CHECK;
                Some(self.at.map_or(check, |deadline| deadline.min(check)))
            }
            _ => self.at,
        }
    }

    /// Returns the context for a dial by this caller.
    pub(crate) fn dial_context(&self) -> Context {
        let ctx = self.ctx.cloned().unwrap_or_default();
        match self.at {
            Some(deadline) => ctx.with_deadline(deadline),
            None => ctx,
        }
    }

    /// Wakes the owner of a slot when the context is canceled, while the registration lives.
    pub(crate) fn wake_on_cancel(&self, slot: &Arc<Slot>) -> Option<Registration> {
        let ctx = self.ctx?;
        let canceled = Arc::clone(slot);
        match ctx.on_cancel(move || canceled.wake()) {
            Ok(registration) => registration,
            // The context is already canceled.
            Err(_) => {
                slot.wake();
                None
            }
        }
    }

    /// Returns the time at which a reply that was requested at `begin` is overdue, so that its
    /// absence may end the connection.
    pub(crate) fn overdue_at(&self, begin: Instant, read_timeout: Duration) -> Option<Instant> {
        let after_timeout = begin.checked_add(read_timeout)?;
        match self.has_read_timeout {
            true => Some(after_timeout),
            false => self.at.map(|deadline| deadline.max(after_timeout)),
        }
    }
}
