//! How long one call is willing to wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::context::{Context, Registration};
use crate::error::{Error, TimeoutKind};
use crate::mux::slot::Slot;

/// Somebody who reads or writes the socket cannot be woken without ending the connection for
/// everybody. So one who can be cancelled looks up this often.
const LOOK_UP: Duration = Duration::from_millis(20);

/// The end of one call's waiting: a deadline with its name, and a context.
#[derive(Debug, Clone)]
pub(crate) struct Patience<'a> {
    deadline: Option<Instant>,
    kind: TimeoutKind,
    ctx: Option<&'a Context>,
    /// Whether the connection's read timeout applies as well.
    read_timeout: bool,
}

impl Patience<'static> {
    /// As long as the connection's read timeout allows.
    pub(crate) fn usual() -> Patience<'static> {
        Patience { deadline: None, kind: TimeoutKind::Read, ctx: None, read_timeout: true }
    }

    /// This long from now, whatever the read timeout.
    pub(crate) fn timeout(timeout: Option<Duration>) -> Patience<'static> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Patience { deadline, read_timeout: false, ..Patience::usual() }
    }
}

impl<'a> Patience<'a> {
    /// As long as the context lasts and the read timeout allows.
    pub(crate) fn context(ctx: &'a Context) -> Patience<'a> {
        let kind = TimeoutKind::Context;
        Patience { deadline: ctx.deadline(), kind, ctx: Some(ctx), read_timeout: true }
    }

    /// The patience for a reply that is asked for now.
    pub(crate) fn for_reply(&self, read_timeout: Option<Duration>) -> Patience<'a> {
        match read_timeout {
            Some(timeout) => self.for_reply_from(Instant::now(), timeout),
            None => self.clone(),
        }
    }

    /// The patience for a reply that was asked for at `begin`.
    pub(crate) fn for_reply_from(&self, begin: Instant, read_timeout: Duration) -> Patience<'a> {
        let end = begin.checked_add(read_timeout).filter(|_| self.read_timeout);
        match (end, self.deadline) {
            (Some(end), own) if own.is_none_or(|own| end < own) => {
                Patience { deadline: Some(end), kind: TimeoutKind::Read, ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Why it has ended; `None` while it goes on. Reads no clock without a deadline.
    pub(crate) fn over(&self) -> Option<Error> {
        if self.ctx.is_some_and(Context::is_canceled) {
            return Some(Error::Canceled);
        }
        let passed = self.deadline? <= Instant::now();
        passed.then_some(Error::Timeout(self.kind))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Until when a system call may last that nobody can wake.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self.ctx {
            Some(ctx) if ctx.is_cancelable() => {
                let look_up = Instant::now() + LOOK_UP;
                Some(self.deadline.map_or(look_up, |deadline| deadline.min(look_up)))
            }
            _ => self.deadline,
        }
    }

    /// The context under which this caller dials.
    pub(crate) fn dial_context(&self) -> Context {
        let ctx = self.ctx.cloned().unwrap_or_default();
        match self.deadline {
            Some(deadline) => ctx.with_deadline(deadline),
            None => ctx,
        }
    }

    /// Has the end of the context wake a slot's owner, as long as the registration lives.
    pub(crate) fn watch(&self, slot: &Arc<Slot>) -> Option<Registration> {
        let ctx = self.ctx?;
        let canceled = Arc::clone(slot);
        match ctx.on_cancel(move || canceled.nudge()) {
            Ok(registration) => registration,
            // It has happened already.
            Err(_) => {
                slot.nudge();
                None
            }
        }
    }

    /// When a connection may be given up because of a reply that was asked for at `begin`.
    pub(crate) fn due(&self, begin: Instant, read_timeout: Duration) -> Option<Instant> {
        let after_timeout = begin.checked_add(read_timeout)?;
        match self.read_timeout {
            true => Some(after_timeout),
            false => self.deadline.map(|deadline| deadline.max(after_timeout)),
        }
    }
}
