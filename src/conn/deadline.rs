//! How long the parts of a call may take.

use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};

/// The moment at which an operation must end, and the kind of timeout that it is when it passes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadline {
    pub(crate) at: Option<Instant>,
    /// Replaces the kind that the wire reports (read, write).
    kind: Option<TimeoutKind>,
}

impl Deadline {
    /// The moment `timeout` from now. Without a timeout, or with one too long to be added to the
    /// clock, there is no deadline. Reads the clock only if there is a timeout.
    pub(crate) fn after(timeout: Option<Duration>) -> Deadline {
        let at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Deadline { at, kind: None }
    }

    pub(crate) fn of(ctx: &Context) -> Deadline {
        Deadline { at: ctx.deadline(), kind: Some(TimeoutKind::Context) }
    }

    /// The earlier of two deadlines.
    pub(crate) fn or_sooner(self, other: Deadline) -> Deadline {
        match (self.at, other.at) {
            (Some(own), Some(others)) if others < own => other,
            (None, Some(_)) => other,
            _ => self,
        }
    }

    /// Gives a timeout error the kind of this deadline.
    pub(crate) fn name(&self, error: Error) -> Error {
        match (error, self.kind) {
            (Error::Timeout(error), Some(kind)) => error.with_kind(kind).into(),
            (error, _) => error,
        }
    }
}

/// The timeouts of one call: one for each direction, and a deadline over both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) read: Option<Duration>,
    pub(crate) write: Option<Duration>,
    pub(crate) overall: Deadline,
}

impl Timeouts {
    /// The deadline of a read that begins now.
    pub(crate) fn for_read(&self) -> Deadline {
        Deadline::after(self.read).or_sooner(self.overall)
    }

    /// The deadline of a write that begins now.
    pub(crate) fn for_write(&self) -> Deadline {
        Deadline::after(self.write).or_sooner(self.overall)
    }
}

impl Conn {
    /// The connection's own timeouts.
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            read: self.read_timeout,
            // A server that does not read must not block a caller that set a read timeout.
            write: self.write_timeout.or(self.read_timeout),
            overall: self.outer_deadline,
        }
    }

    /// The timeouts of a call that must end within `timeout`.
    pub(crate) fn timeouts_within(&self, timeout: Option<Duration>) -> Timeouts {
        Timeouts {
            read: None,
            write: self.write_timeout,
            overall: Deadline::after(timeout).or_sooner(self.outer_deadline),
        }
    }

    /// Runs calls that end with the context. If it has ended before, the connection ends.
    pub(crate) fn run_within<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        match ctx.err() {
            Some(error) => self.record_outcome(Err(error), Deadline::default()),
            None => self.run_even_if_ended(ctx, calls),
        }
    }

    /// Like [`Conn::run_within`], but if the context has ended before, calls that need no I/O
    /// still succeed.
    pub(crate) fn run_even_if_ended<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        if !ctx.is_bounded() {
            return calls(self);
        }
        let outcome = self.status.watch(ctx).and_then(|watch| {
            let outcome = self.run_until(Deadline::of(ctx), calls);
            self.status.unwatch(watch, ctx, outcome)
        });
        self.close_if_ended();
        outcome
    }

    /// Runs calls that must end within `timeout`, which replaces the connection's timeouts.
    pub(crate) fn run_for<T>(
        &mut self,
        timeout: Duration,
        calls: impl FnOnce(&mut Conn) -> T,
    ) -> T {
        /// Restores the timeouts, also after a panic.
        struct Restore<'a> {
            conn: &'a mut Conn,
            read: Option<Duration>,
            write: Option<Duration>,
        }
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.conn.set_timeouts(self.read, self.write);
            }
        }
        self.run_until(Deadline::after(Some(timeout)), |conn| {
            let (read, write) = (conn.read_timeout.take(), conn.write_timeout.take());
            let restore = Restore { conn, read, write };
            calls(restore.conn)
        })
    }

    /// Runs calls under one more deadline.
    pub(crate) fn run_until<T>(
        &mut self,
        deadline: Deadline,
        calls: impl FnOnce(&mut Conn) -> T,
    ) -> T {
        /// Restores the outer deadline, also after a panic.
        struct Restore<'a> {
            conn: &'a mut Conn,
            outer: Deadline,
        }
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.conn.outer_deadline = self.outer;
            }
        }
        let outer = self.outer_deadline;
        self.outer_deadline = deadline.or_sooner(outer);
        let restore = Restore { conn: self, outer };
        calls(restore.conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_has_the_kind_of_the_sooner_deadline() {
        let ctx = Context::background().with_timeout(Duration::from_secs(1));
        let read = Deadline::after(Some(Duration::from_secs(60)));
        let late = Error::from(TimeoutKind::Read);
        let named = |deadline: Deadline| deadline.name(late.clone()).timeout_kind().unwrap();
        assert_eq!(named(read.or_sooner(Deadline::of(&ctx))), TimeoutKind::Context);
        assert_eq!(named(Deadline::of(&ctx).or_sooner(read)), TimeoutKind::Context);
        let short = Deadline::after(Some(Duration::from_millis(1)));
        assert_eq!(named(short.or_sooner(Deadline::of(&ctx))), TimeoutKind::Read);
        assert_eq!(named(Deadline::default().or_sooner(short)), TimeoutKind::Read);
        assert!(Deadline::after(Some(Duration::MAX)).at.is_none());
    }
}
