//! The two halves of a connection, for two threads.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::command::Session;
use super::limit::{Limit, Limits};
use super::raw::{RawReceive, RawSend};
use crate::args::ToArgs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::value::Value;

/// The half of a [`Conn`](crate::Conn) that sends; see [`Conn::split`](crate::Conn::split).
pub struct SendHalf<'a> {
    sender: &'a mut dyn RawSend,
    session: &'a mut Session,
    shared: Shared<'a>,
}

/// The half of a [`Conn`](crate::Conn) that receives; see [`Conn::split`](crate::Conn::split).
pub struct ReceiveHalf<'a> {
    receiver: &'a mut dyn RawReceive,
    shared: Shared<'a>,
}

/// What both halves know.
#[derive(Clone)]
struct Shared<'a> {
    fault: &'a OnceLock<Error>,
    pending: &'a AtomicUsize,
    limits: Limits,
    shutdown: ShutdownHandle,
}

impl<'a> SendHalf<'a> {
    pub(crate) fn pair(
        sender: &'a mut dyn RawSend,
        receiver: &'a mut dyn RawReceive,
        fault: &'a OnceLock<Error>,
        pending: &'a AtomicUsize,
        session: &'a mut Session,
        limits: Limits,
        shutdown: ShutdownHandle,
    ) -> (SendHalf<'a>, ReceiveHalf<'a>) {
        let shared = Shared { fault, pending, limits, shutdown };
        (SendHalf { sender, session, shared: shared.clone() }, ReceiveHalf { receiver, shared })
    }

    /// As [`Conn::send`](crate::Conn::send).
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn send(&mut self, command: &str, args: impl ToArgs) -> Result<()> {
        self.shared.check()?;
        self.shared.pending.fetch_add(1, Ordering::Relaxed);
        self.session.note(command, &args);
        let limit = self.shared.limits.for_write();
        let sent = self.sender.send(command, &args, limit.at);
        self.shared.settle(sent, limit)
    }

    /// As [`Conn::flush`](crate::Conn::flush).
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn flush(&mut self) -> Result<()> {
        self.shared.check()?;
        let limit = self.shared.limits.for_write();
        let flushed = self.sender.flush(limit.at);
        self.shared.settle(flushed, limit)
    }

    /// As [`Conn::err`](crate::Conn::err).
    pub fn err(&self) -> Option<&Error> {
        self.shared.fault.get()
    }
}

impl ReceiveHalf<'_> {
    /// As [`Conn::receive`](crate::Conn::receive). It may begin before the matching command is
    /// sent.
    ///
    /// # Errors
    /// [`Error::Server`] for an error reply, or a fatal error of either half.
    pub fn receive(&mut self) -> Result<Value> {
        let limit = self.shared.limits.for_read();
        self.receive_within(limit)
    }

    /// As [`Conn::receive_timeout`](crate::Conn::receive_timeout).
    ///
    /// # Errors
    /// As [`receive`](ReceiveHalf::receive).
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Value> {
        self.receive_within(Limit::after(timeout.into()).or_sooner(self.shared.limits.overall))
    }

    /// As [`Conn::receive_context`](crate::Conn::receive_context).
    ///
    /// # Errors
    /// As [`receive`](ReceiveHalf::receive), and the end of the context.
    pub fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.shared.check()?;
        if let Some(error) = ctx.err() {
            return Err(self.shared.end(error));
        }
        let handle = self.shared.shutdown.clone();
        let registration = match ctx.on_cancel(move || handle.shutdown()) {
            Ok(registration) => registration,
            Err(error) => return Err(self.shared.end(error)),
        };
        let limit = self.shared.limits.for_read().or_sooner(Limit::of(ctx));
        let received = self.receive_within(limit);
        drop(registration);
        if ctx.is_canceled() { Err(self.shared.end(Error::Canceled)) } else { received }
    }

    /// As [`Conn::poll`](crate::Conn::poll).
    ///
    /// # Errors
    /// As [`receive`](ReceiveHalf::receive).
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        self.shared.check()?;
        let limit = Limit::after(Some(timeout)).or_sooner(self.shared.limits.overall);
        let begun = self.receiver.poll(limit.at);
        match self.shared.settle(begun, limit)? {
            true => self.receive().map(Some),
            false => Ok(None),
        }
    }

    /// As [`Conn::err`](crate::Conn::err).
    pub fn err(&self) -> Option<&Error> {
        self.shared.fault.get()
    }

    fn receive_within(&mut self, limit: Limit) -> Result<Value> {
        self.shared.check()?;
        let received = self.receiver.receive(limit.at);
        let reply = self.shared.settle(received, limit)?;
        // Never below zero: a subscriber receives more than it sends.
        let _ = self
            .shared
            .pending
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pending| pending.checked_sub(1));
        match reply {
            Value::Error(error) => Err(Error::Server(error)),
            reply => Ok(reply),
        }
    }
}

impl Shared<'_> {
    fn check(&self) -> Result<()> {
        match self.fault.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn settle<T>(&self, outcome: Result<T>, limit: Limit) -> Result<T> {
        match outcome {
            Err(error) if error.is_fatal() => Err(self.end(limit.name(error))),
            outcome => outcome,
        }
    }

    /// Ends both halves with the first error of either.
    fn end(&self, error: Error) -> Error {
        let error = if self.shutdown.is_used() { Error::Canceled } else { error };
        let error = self.fault.get_or_init(|| error).clone();
        self.shutdown.cut();
        error
    }
}

impl fmt::Debug for SendHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf").field("err", &self.err()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReceiveHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveHalf").field("err", &self.err()).finish_non_exhaustive()
    }
}
