//! The two halves of a connection, for two threads.

use std::fmt;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::conn::observer::Observer;
use crate::conn::raw::{RawReceive, RawSend};
use crate::conn::session::Session;
use crate::conn::status::{HalfDone, Status};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::Value;

/// The half of a [`Conn`](crate::Conn) that sends; see [`Conn::split`](crate::Conn::split).
pub struct SendHalf<'a> {
    sender: &'a mut dyn RawSend,
    session: &'a mut Session,
    status: &'a Status,
    observer: &'a dyn Observer,
    timeouts: Timeouts,
}

/// The half of a [`Conn`](crate::Conn) that receives; see [`Conn::split`](crate::Conn::split).
pub struct ReceiveHalf<'a> {
    receiver: &'a mut dyn RawReceive,
    status: &'a Status,
    observer: &'a dyn Observer,
    timeouts: Timeouts,
}

impl<'a> SendHalf<'a> {
    pub(crate) fn new(
        sender: &'a mut dyn RawSend,
        session: &'a mut Session,
        status: &'a Status,
        observer: &'a dyn Observer,
        timeouts: Timeouts,
    ) -> SendHalf<'a> {
        SendHalf { sender, session, status, observer, timeouts }
    }

    /// As [`Conn::send`](crate::Conn::send).
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn send(&mut self, command: &str, args: impl ToArgs) -> Result<()> {
        self.status.check()?;
        self.status.owe(1);
        self.session.note(command, &args);
        self.observer.sending(command, &args);
        let limit = self.timeouts.for_write();
        let half_done = HalfDone::sending(self.status);
        let sent = self.sender.send(command, &args, limit.at);
        half_done.end();
        self.record_fatal(sent, limit)
    }

    /// As [`Conn::flush`](crate::Conn::flush).
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn flush(&mut self) -> Result<()> {
        self.status.check()?;
        let limit = self.timeouts.for_write();
        let flushed = self.sender.flush(limit.at);
        self.record_fatal(flushed, limit)
    }

    /// As [`Conn::err`](crate::Conn::err).
    pub fn err(&self) -> Option<&Error> {
        self.status.err()
    }

    fn record_fatal<T>(&self, outcome: Result<T>, limit: Deadline) -> Result<T> {
        self.status.record_fatal(outcome, limit).inspect_err(|error| self.observer.failed(error))
    }
}

impl<'a> ReceiveHalf<'a> {
    pub(crate) fn new(
        receiver: &'a mut dyn RawReceive,
        status: &'a Status,
        observer: &'a dyn Observer,
        timeouts: Timeouts,
    ) -> ReceiveHalf<'a> {
        ReceiveHalf { receiver, status, observer, timeouts }
    }

    /// As [`Conn::receive`](crate::Conn::receive). It may begin before the matching command is
    /// sent.
    ///
    /// # Errors
    /// [`Error::Server`] for an error reply, or a fatal error of either half.
    pub fn receive(&mut self) -> Result<Value> {
        let limit = self.timeouts.for_read();
        self.receive_within(limit)
    }

    /// As [`Conn::receive_timeout`](crate::Conn::receive_timeout).
    ///
    /// # Errors
    /// As [`receive`](ReceiveHalf::receive).
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Value> {
        self.receive_within(Deadline::after(timeout.into()).or_sooner(self.timeouts.overall))
    }

    /// As [`Conn::receive_context`](crate::Conn::receive_context).
    ///
    /// # Errors
    /// As [`receive`](ReceiveHalf::receive), and the end of the context.
    pub fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.status.check()?;
        if let Some(error) = ctx.err() {
            return Err(self.status.end(error));
        }
        let watch = self.status.watch(ctx)?;
        let limit = self.timeouts.for_read().or_sooner(Deadline::of(ctx));
        let received = self.receive_within(limit);
        self.status.unwatch(watch, ctx, received)
    }

    /// As [`Conn::poll`](crate::Conn::poll).
    ///
    /// # Errors
    /// As [`receive`](ReceiveHalf::receive).
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        self.status.check()?;
        let limit = Deadline::after(Some(timeout)).or_sooner(self.timeouts.overall);
        let begun = self.receiver.poll(limit.at);
        match self.record_fatal(begun, limit)? {
            true => self.receive().map(Some),
            false => Ok(None),
        }
    }

    /// As [`Conn::err`](crate::Conn::err).
    pub fn err(&self) -> Option<&Error> {
        self.status.err()
    }

    fn receive_within(&mut self, limit: Deadline) -> Result<Value> {
        self.status.check()?;
        let received = self.receiver.receive(limit.at);
        let reply = self.record_fatal(received, limit)?;
        self.observer.received(&reply);
        self.status.heed(&reply);
        self.status.received(reply)
    }

    fn record_fatal<T>(&self, outcome: Result<T>, limit: Deadline) -> Result<T> {
        self.status.record_fatal(outcome, limit).inspect_err(|error| self.observer.failed(error))
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
