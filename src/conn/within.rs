//! Calls under a limit: the connection's own, that of a context, or one more.

use std::time::Duration;

use super::conn::Conn;
use super::limit::{Limit, Limits};
use crate::context::Context;
use crate::error::Result;

impl Conn {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            read: self.read_timeout,
            // A server that does not read must not hold a caller who asked for a read timeout.
            write: self.write_timeout.or(self.read_timeout),
            overall: self.ceiling,
        }
    }

    pub(crate) fn limits_within(&self, timeout: Option<Duration>) -> Limits {
        Limits {
            read: None,
            write: self.write_timeout,
            overall: Limit::after(timeout).or_sooner(self.ceiling),
        }
    }

    /// Runs calls no longer than the context lasts. One that has ended ends the connection.
    pub(crate) fn within<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        match ctx.err() {
            Some(error) => self.settle(Err(error), Limit::default()),
            None => self.bounded_by(ctx, calls),
        }
    }

    /// As [`Conn::within`], but what takes no time may also be done when none is left.
    pub(crate) fn bounded_by<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        let outcome = self.status.watch(ctx).and_then(|watch| {
            let outcome = self.under(Limit::of(ctx), calls);
            self.status.unwatch(watch, ctx, outcome)
        });
        self.close_if_ended();
        outcome
    }

    /// As [`Conn::bounded_by`], at no cost for a context that never ends.
    pub(crate) fn bounded_if<T>(
        &mut self,
        ctx: &Context,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        if ctx.is_bounded() { self.bounded_by(ctx, calls) } else { calls(self) }
    }

    /// Runs calls under one more limit.
    pub(crate) fn under<T>(&mut self, limit: Limit, calls: impl FnOnce(&mut Conn) -> T) -> T {
        /// Puts the limit of before back, when the calls panic too.
        struct Lowered<'a> {
            conn: &'a mut Conn,
            outer: Limit,
        }
        impl Drop for Lowered<'_> {
            fn drop(&mut self) {
                self.conn.ceiling = self.outer;
            }
        }
        let outer = self.ceiling;
        self.ceiling = limit.or_sooner(outer);
        let lowered = Lowered { conn: self, outer };
        calls(lowered.conn)
    }
}
