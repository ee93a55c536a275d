//! Calls under a limit: the connection's own, that of a context, or one more.

use std::time::Duration;

use crate::conn::Conn;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::context::Context;
use crate::error::Result;

impl Conn {
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            read: self.read_timeout,
            // A server that does not read must not hold a caller who asked for a read timeout.
            write: self.write_timeout.or(self.read_timeout),
            overall: self.outer_deadline,
        }
    }

    pub(crate) fn limits_within(&self, timeout: Option<Duration>) -> Timeouts {
        Timeouts {
            read: None,
            write: self.write_timeout,
            overall: Deadline::after(timeout).or_sooner(self.outer_deadline),
        }
    }

    /// Runs calls no longer than the context lasts. One that has ended ends the connection.
    pub(crate) fn run_with_context<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        match ctx.err() {
            Some(error) => self.record_fatal(Err(error), Deadline::default()),
            None => self.run_with_ended_context_allowed(ctx, calls),
        }
    }

    /// As [`Conn::run_with_context`], but what takes no time may also be done when none is left.
    pub(crate) fn run_with_ended_context_allowed<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        let outcome = self.status.watch(ctx).and_then(|watch| {
            let outcome = self.run_with_deadline(Deadline::of(ctx), calls);
            self.status.unwatch(watch, ctx, outcome)
        });
        self.close_if_ended();
        outcome
    }

    /// As [`Conn::run_with_ended_context_allowed`], at no cost for a context that never ends.
    pub(crate) fn run_with_context_if_bounded<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        if ctx.is_bounded() { self.run_with_ended_context_allowed(ctx, calls) } else { calls(self) }
    }

    /// Runs calls under one more limit.
    pub(crate) fn run_with_deadline<T>(
        &mut self,
        limit: Deadline,
        calls: impl FnOnce(&mut Conn) -> T,
    ) -> T {
        /// Puts the limit of before back, when the calls panic too.
        struct Lowered<'a> {
            conn: &'a mut Conn,
            outer: Deadline,
        }
        impl Drop for Lowered<'_> {
            fn drop(&mut self) {
                self.conn.outer_deadline = self.outer;
            }
        }
        let outer = self.outer_deadline;
        self.outer_deadline = limit.or_sooner(outer);
        let lowered = Lowered { conn: self, outer };
        calls(lowered.conn)
    }
}
