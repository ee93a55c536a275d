//! The two halves of a connection, for two threads.

use std::fmt;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::conn::exchange::whole;
use crate::conn::raw::{RawReceive, RawSend};
use crate::conn::status::Status;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::Value;

/// The sending half of a [`Conn`](crate::Conn), returned by [`Conn::split`](crate::Conn::split).
pub struct SendHalf<'a> {
    raw: &'a mut dyn RawSend,
    status: &'a Status,
    timeouts: Timeouts,
}

/// The receiving half of a [`Conn`](crate::Conn), returned by [`Conn::split`](crate::Conn::split).
pub struct ReceiveHalf<'a> {
    raw: &'a mut dyn RawReceive,
    status: &'a Status,
    timeouts: Timeouts,
}

impl<'a> SendHalf<'a> {
    pub(super) fn new(
        raw: &'a mut dyn RawSend,
        status: &'a Status,
        timeouts: Timeouts,
    ) -> SendHalf<'a> {
        SendHalf { raw, status, timeouts }
    }

    pub(crate) fn reborrow(&mut self) -> SendHalf<'_> {
        SendHalf::new(self.raw, self.status, self.timeouts)
    }

    /// Queues a command, like [`Conn::send`](crate::Conn::send).
    ///
    /// # Errors
    /// A fatal error of either half.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n:2\r\n"));
    /// let (mut sender, mut receiver) = conn.split();
    /// sender.send("SET", ("counter", 1))?;
    /// sender.send("INCR", "counter")?;
    /// sender.flush()?;
    /// receiver.receive()?;
    /// assert_eq!(receiver.receive()?.as_int(), Some(2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn send(&mut self, command: &str, args: impl ToArgs) -> Result<()> {
        let deadline = self.timeouts.for_write();
        self.status.check()?;
        let sent = self.status.send(self.raw, command, &args, deadline);
        self.status.record_fatal(sent, deadline)
    }

    /// Writes the queued commands, like [`Conn::flush`](crate::Conn::flush).
    ///
    /// # Errors
    /// A fatal error of either half.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::silent();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server.clone());
    /// let (mut sender, _receiver) = conn.split();
    /// sender.send("PING", ())?;
    /// sender.flush()?;
    /// # assert_eq!(server.written(), b"*1\r\n$4\r\nPING\r\n");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn flush(&mut self) -> Result<()> {
        self.status.check()?;
        let deadline = self.timeouts.for_write();
        let flushed = self.status.flush(self.raw, deadline);
        self.status.record_fatal(flushed, deadline)
    }

    /// Returns the error that ended the connection, like [`Conn::err`](crate::Conn::err).
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # let server = MemoryStream::silent();
    /// # server.end();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let (sender, mut receiver) = conn.split();
    /// assert!(sender.err().is_none());
    /// assert!(receiver.receive().is_err()); // the server has closed the connection
    /// assert!(sender.err().is_some());
    /// ```
    pub fn err(&self) -> Option<&Error> {
        self.status.err()
    }
}

impl<'a> ReceiveHalf<'a> {
    pub(super) fn new(
        raw: &'a mut dyn RawReceive,
        status: &'a Status,
        timeouts: Timeouts,
    ) -> ReceiveHalf<'a> {
        ReceiveHalf { raw, status, timeouts }
    }

    pub(crate) fn reborrow(&mut self) -> ReceiveHalf<'_> {
        ReceiveHalf::new(self.raw, self.status, self.timeouts)
    }

    /// Waits for the next reply, like [`Conn::receive`](crate::Conn::receive). May be called
    /// before the matching command is sent.
    ///
    /// # Errors
    /// [`Error::Server`] for an error reply, or a fatal error of either half.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n"));
    /// let (mut sender, mut receiver) = conn.split();
    /// sender.send("PING", ())?;
    /// sender.flush()?;
    /// assert_eq!(receiver.receive()?.as_str(), Some("PONG"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn receive(&mut self) -> Result<Value> {
        self.receive_until(self.timeouts.for_read())
    }

    /// Waits at most `timeout` for the next reply, like
    /// [`Conn::receive_timeout`](crate::Conn::receive_timeout).
    ///
    /// # Errors
    /// Those of [`receive`](ReceiveHalf::receive). A timeout is fatal.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let (_sender, mut receiver) = conn.split();
    /// let error = receiver.receive_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert!(receiver.err().is_some());
    /// ```
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Value> {
        let deadline = Deadline::after(timeout.into()).or_sooner(self.timeouts.overall);
        self.receive_until(deadline)
    }

    /// Waits for the next reply until the context ends, like
    /// [`Conn::receive_context`](crate::Conn::receive_context).
    ///
    /// # Errors
    /// Those of [`receive`](ReceiveHalf::receive), and the end of the context, which is fatal.
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let (_sender, mut receiver) = conn.split();
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// std::thread::scope(|scope| {
    ///     let reply = scope.spawn(move || receiver.receive_context(&ctx));
    ///     cancel.cancel();
    ///     assert!(reply.join().unwrap().unwrap_err().is_canceled());
    /// });
    /// ```
    pub fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.status.check()?;
        if let Some(error) = ctx.err() {
            return Err(self.status.end(error));
        }
        let watch = self.status.watch(ctx)?;
        let deadline = self.timeouts.for_read().or_sooner(Deadline::of(ctx));
        let received = self.receive_until(deadline);
        self.status.unwatch(watch, ctx, received)
    }

    /// Waits at most `timeout` for the next reply to begin, like
    /// [`Conn::poll`](crate::Conn::poll). Returns `None` if none does; that is not an error.
    ///
    /// # Errors
    /// Those of [`receive`](ReceiveHalf::receive).
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let server = MemoryStream::silent();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server.clone());
    /// let (_sender, mut receiver) = conn.split();
    /// assert!(receiver.poll(Duration::from_millis(1))?.is_none());
    /// # server.push("+PONG\r\n");
    /// // … the reply arrives …
    /// assert!(receiver.poll(Duration::from_millis(1))?.is_some());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        self.poll_until(Deadline::after(Some(timeout)))
    }

    /// Waits for the next reply to begin, at most `timeout` and until the context ends, like
    /// [`Conn::poll_context`](crate::Conn::poll_context).
    ///
    /// # Errors
    /// Those of [`receive`](ReceiveHalf::receive). The end of the context is fatal; the timeout is
    /// not.
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let (_sender, mut receiver) = conn.split();
    /// let ctx = Context::background();
    /// assert!(receiver.poll_context(&ctx, Duration::from_millis(1))?.is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn poll_context(
        &mut self,
        ctx: &Context,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Option<Value>> {
        self.status.check()?;
        if let Some(error) = ctx.err() {
            return Err(self.status.end(error));
        }
        let watch = self.status.watch(ctx)?;
        let own_timeouts = self.timeouts;
        self.timeouts.overall = Deadline::of(ctx).or_sooner(own_timeouts.overall);
        let polled = self.poll_until(Deadline::after(timeout.into()));
        self.timeouts = own_timeouts;
        let polled = match (polled, ctx.err()) {
            (Ok(None), Some(ended)) => Err(self.status.end(ended)),
            (polled, _) => polled,
        };
        self.status.unwatch(watch, ctx, polled)
    }

    /// Ends the connection, and returns the error that ended it.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        self.status.end(error)
    }

    /// Waits until the deadline for a reply to begin.
    pub(crate) fn poll_until(&mut self, wait: Deadline) -> Result<Option<Value>> {
        let wait = wait.or_sooner(self.timeouts.overall);
        self.status.check()?;
        let begun = self.status.poll(self.raw, wait);
        match self.status.record_fatal(begun, wait)? {
            true => self.receive().map(Some),
            false => Ok(None),
        }
    }

    /// Returns the error that ended the connection, like [`Conn::err`](crate::Conn::err).
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let (_sender, receiver) = conn.split();
    /// assert!(receiver.err().is_none());
    /// ```
    pub fn err(&self) -> Option<&Error> {
        self.status.err()
    }
}

impl ReceiveHalf<'_> {
    fn receive_until(&mut self, deadline: Deadline) -> Result<Value> {
        self.status.check()?;
        let received = self.status.receive(self.raw, deadline);
        whole(self.status.record_fatal(received, deadline)?)
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
