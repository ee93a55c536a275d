//! The connection: [`Conn`].

pub(crate) mod batch;
pub(crate) mod blocking;
pub(crate) mod command_buffer;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod observer;
pub(crate) mod owned;
pub(crate) mod pipeline;
pub mod raw;
pub(crate) mod reset;
pub(crate) mod scripts;
pub(crate) mod session;
pub(crate) mod split;
pub(crate) mod status;
pub(crate) mod transaction;
pub(crate) mod window;
pub(crate) mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::deadline::Deadline;
use crate::conn::observer::Observer;
use crate::conn::raw::{FailedConn, RawConn};
use crate::conn::session::Session;
use crate::conn::split::{ReceiveHalf, SendHalf};
use crate::conn::status::Status;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::from_value::FromValue;
use crate::net::stream::{Peek, ShutdownHandle};
use crate::script::loaded::LoadedScripts;
use crate::value::Value;

/// A connection to a server, for one thread at a time.
///
/// [`call`](Conn::call) sends a command and waits for the reply; [`query`](Conn::query) also
/// converts the reply. [`send`](Conn::send), [`flush`](Conn::flush) and
/// [`receive`](Conn::receive) send several commands in one round trip, and so does a
/// [`pipeline`](Conn::pipeline).
///
/// The first I/O error, timeout, cancellation or protocol error is final: the socket is closed
/// immediately, and every later call returns the same error, which [`err`](Conn::err) shows. So a
/// reply that arrives too late is never taken for the reply to another command. An error reply
/// of the server does not end the connection. If the caller's code panics in the middle of an
/// exchange (arguments, conversions, a stream, a logger), the connection has ended, too.
///
/// A [`Pool`](crate::Pool) or a [`Dialer`](crate::Dialer) returns connections. Dropping a `Conn`
/// closes it.
///
/// ```
/// use redigo::{Dialer, testing::MemoryStream};
///
/// # let server = MemoryStream::new("+OK\r\n:2\r\n");
/// let mut conn = Dialer::tcp(":6379").wrap(server); // or .dial()?
/// conn.call("SET", ("counter", 1))?;
/// let counter: i64 = conn.query("INCR", "counter")?;
/// assert_eq!(counter, 2);
/// # Ok::<(), redigo::Error>(())
/// ```
pub struct Conn {
    pub(super) raw: Box<dyn RawConn>,
    pub(super) status: Status,
    pub(super) closed: bool,
    pub(super) pooled: bool,
    pub(super) read_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    /// A deadline over all calls, such as that of a context.
    pub(super) outer_deadline: Deadline,
    /// The scripts that the server knows, as far as this connection has seen.
    pub(super) scripts: LoadedScripts,
}

/// The parts of a connection, for a mux.
pub(crate) struct Parts {
    pub(crate) raw: Box<dyn RawConn>,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) address: Option<Arc<str>>,
    pub(crate) observer: Option<Box<dyn Observer>>,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
}

impl Conn {
    /// Returns a connection over another implementation of [`RawConn`], without timeouts. The
    /// module [`raw`](crate::raw) has an example.
    pub fn new(raw: impl RawConn + 'static) -> Conn {
        Conn {
            status: Status::new(raw.shutdown_handle()),
            raw: Box::new(raw),
            closed: false,
            pooled: false,
            read_timeout: None,
            write_timeout: None,
            outer_deadline: Deadline::default(),
            scripts: LoadedScripts::default(),
        }
    }

    /// Returns a connection whose calls all fail with the error.
    #[doc(alias = "errorConn")]
    pub(crate) fn failed(error: Error) -> Conn {
        let conn = Conn::new(FailedConn::default());
        conn.status.end(error);
        conn
    }

    pub(crate) fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) {
        self.read_timeout = read;
        self.write_timeout = write;
    }

    /// Sends a command and waits for its reply.
    ///
    /// If replies to earlier [`send`](Conn::send)s are pending, receives those first. The first
    /// error among all replies is returned as the error.
    ///
    /// With an empty command name, sends nothing and does what [`drain`](Conn::drain) does: the
    /// value is the list of replies, or nil if none was pending.
    ///
    /// # Errors
    /// [`Error::Server`] for an error reply. A fatal error ends the connection.
    /// [`Error::Unsupported`] for `SUBSCRIBE` and its variants, which have several replies: use
    /// [`PubSubConn`](crate::PubSubConn), or [`send`](Conn::send) and [`receive`](Conn::receive).
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("-ERR wrong type\r\n+OK\r\n"));
    /// let refused = conn.call("INCR", "name").unwrap_err();
    /// assert_eq!(refused.as_server().unwrap().code(), "ERR");
    /// conn.call("SET", ("name", "x", "EX", 60))?; // the connection is still usable
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn call(&mut self, command: &str, args: impl ToArgs) -> Result<Value> {
        let timeouts = self.timeouts();
        self.exchange(command, &args, &timeouts)
    }

    /// Sends a command, waits for its reply and converts it.
    ///
    /// Like [`call`](Conn::call), but returns a type that the caller chooses; the table is at
    /// [`FromValue`]. The elements of a list are converted as they arrive, so a long list needs
    /// little more memory than its result.
    ///
    /// # Errors
    /// Those of [`call`](Conn::call), and those of [`Value::convert`], which are not fatal.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("$-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let missing: Option<String> = conn.query("GET", "nothing")?;
    /// assert_eq!(missing, None);
    /// let members = conn.query::<Vec<String>>("SMEMBERS", "letters")?;
    /// assert_eq!(members, ["a", "b"]);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn query<T: FromValue>(&mut self, command: &str, args: impl ToArgs) -> Result<T> {
        if command.is_empty() {
            return self.call(command, args)?.convert();
        }
        let timeouts = self.timeouts();
        let (first_error, deadline) = self.send_command(command, &args, &timeouts)?;
        match first_error {
            Some(error) => self.receive_raw(deadline).and(Err(error)),
            None => self.receive_as(command, deadline),
        }
    }

    /// Sends a command and waits at most `timeout` for its reply.
    ///
    /// Like [`call`](Conn::call), but the timeout replaces the connection's read timeout. It
    /// includes writing. `None` waits forever; zero fails immediately.
    ///
    /// # Errors
    /// Those of [`call`](Conn::call). A timeout is fatal.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("*-1\r\n"));
    /// // The server answers after at most 5 s; the network has one more.
    /// let item = conn.call_timeout(Duration::from_secs(6), "BLPOP", ("queue", 5))?;
    /// # assert!(item.is_nil());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn call_timeout(
        &mut self,
        timeout: impl Into<Option<Duration>>,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        let timeouts = self.timeouts_within(timeout.into());
        self.exchange(command, &args, &timeouts)
    }

    /// Sends a command and waits for its reply until the context ends.
    ///
    /// Like [`call`](Conn::call), but the deadline of the context is one more limit, and
    /// canceling the context interrupts the call.
    ///
    /// # Errors
    /// Those of [`call`](Conn::call). [`Error::Canceled`] if the context is canceled, and a
    /// timeout of kind [`TimeoutKind::Context`](crate::TimeoutKind::Context) if its deadline
    /// passes. Both are fatal. If the context has ended before the call, nothing is sent and the
    /// connection ends, too.
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("$1\r\n1\r\n"));
    /// let ctx = Context::background().with_timeout(Duration::from_secs(2));
    /// assert_eq!(conn.call_context(&ctx, "GET", "a")?.as_str(), Some("1"));
    ///
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// cancel.cancel();
    /// assert!(conn.call_context(&ctx, "GET", "a").unwrap_err().is_canceled());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    pub fn call_context(
        &mut self,
        ctx: &Context,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.run_within(ctx, |conn| {
            let timeouts = conn.timeouts();
            conn.exchange(command, &args, &timeouts)
        })
    }

    /// Queues a command. [`receive`](Conn::receive) returns its reply.
    ///
    /// The command is written by [`flush`](Conn::flush), or earlier when 64 KiB are queued.
    ///
    /// # Errors
    /// A fatal error of this call or of an earlier one.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n$1\r\n1\r\n"));
    /// conn.send("SET", ("a", 1))?;
    /// conn.send("GET", "a")?;
    /// conn.flush()?;
    /// conn.receive()?;
    /// assert_eq!(conn.receive()?.as_str(), Some("1"));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn send(&mut self, command: &str, args: impl ToArgs) -> Result<()> {
        let deadline = self.timeouts().for_write();
        self.send_until(command, &args, deadline)
    }

    /// Writes the queued commands.
    ///
    /// # Errors
    /// A fatal error of this call or of an earlier one.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::silent();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server.clone());
    /// conn.send("PING", ())?;
    /// assert!(server.written().is_empty());
    /// conn.flush()?;
    /// assert_eq!(server.written(), b"*1\r\n$4\r\nPING\r\n");
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Flush")]
    pub fn flush(&mut self) -> Result<()> {
        let deadline = self.timeouts().for_write();
        self.flush_until(deadline)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// [`Error::Server`] for an error reply. A fatal error ends the connection.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n"));
    /// conn.send("PING", ())?;
    /// conn.flush()?;
    /// assert_eq!(conn.receive()?.as_str(), Some("PONG"));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<Value> {
        let deadline = self.timeouts().for_read();
        self.receive_until(deadline)
    }

    /// Waits at most `timeout` for the next reply.
    ///
    /// Like [`receive`](Conn::receive), but the timeout replaces the connection's read timeout.
    /// `None` waits forever; zero fails immediately.
    ///
    /// # Errors
    /// Those of [`receive`](Conn::receive). A timeout is fatal; with [`poll`](Conn::poll) it is
    /// not.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let error = conn.receive_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert!(conn.err().is_some());
    /// ```
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Value> {
        let deadline = self.timeouts_within(timeout.into()).for_read();
        self.receive_until(deadline)
    }

    /// Waits for the next reply until the context ends.
    ///
    /// # Errors
    /// Those of [`call_context`](Conn::call_context).
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let ctx = Context::background().with_timeout(Duration::from_millis(1));
    /// assert!(conn.receive_context(&ctx).unwrap_err().is_timeout());
    /// ```
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.run_within(ctx, Conn::receive)
    }

    /// Waits at most `timeout` for the next reply to begin.
    ///
    /// Returns `None` if no reply begins; the connection is unchanged. A reply that has begun is
    /// received to its end within the read timeout.
    ///
    /// # Errors
    /// Those of [`receive`](Conn::receive).
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// assert!(conn.poll(Duration::from_millis(1))?.is_none());
    /// assert!(conn.err().is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        self.poll_until(Deadline::after(Some(timeout)))
    }

    /// Waits for the next reply to begin, at most `timeout` and until the context ends.
    ///
    /// Like [`poll`](Conn::poll), but another thread can cancel the wait. `None` as the timeout
    /// waits until the context ends.
    ///
    /// # Errors
    /// Those of [`receive`](Conn::receive). The end of the context is fatal; the timeout is not.
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// assert!(conn.poll_context(&ctx, Duration::from_millis(1))?.is_none());
    /// cancel.cancel();
    /// assert!(conn.poll_context(&ctx, None).unwrap_err().is_canceled());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn poll_context(
        &mut self,
        ctx: &Context,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Option<Value>> {
        let wait = Deadline::after(timeout.into());
        self.run_within(ctx, |conn| match (conn.poll_until(wait)?, ctx.err()) {
            (None, Some(ended)) => conn.record_outcome(Err(ended), Deadline::default()),
            (polled, _) => Ok(polled),
        })
    }

    /// Waits until the deadline for a reply to begin.
    pub(crate) fn poll_until(&mut self, wait: Deadline) -> Result<Option<Value>> {
        let timeouts = self.timeouts();
        let wait = wait.or_sooner(self.outer_deadline);
        self.poll_within(wait, &timeouts)
    }

    /// Writes the queued commands and receives all pending replies.
    ///
    /// An error reply is an element of the list. With nothing pending, does nothing and succeeds,
    /// also on a connection that has failed.
    ///
    /// # Errors
    /// A fatal error of this call or of an earlier one.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Value};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n-ERR no\r\n"));
    /// conn.send("SET", ("a", 1))?;
    /// conn.send("NONSENSE", ())?;
    /// let replies = conn.drain()?;
    /// assert!(matches!(replies[..], [Value::Simple(_), Value::Error(_)]));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn drain(&mut self) -> Result<Vec<Value>> {
        let timeouts = self.timeouts();
        self.drain_within(&timeouts)
    }

    /// Splits the connection so that one thread can send while another receives.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::silent();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server.clone());
    /// let (mut sender, mut receiver) = conn.split();
    /// std::thread::scope(|scope| {
    ///     let reply = scope.spawn(move || receiver.receive());
    ///     sender.send("PING", ())?;
    ///     sender.flush()?;
    /// #   server.push("+PONG\r\n");
    ///     assert_eq!(reply.join().unwrap()?.as_str(), Some("PONG"));
    ///     Ok::<(), Error>(())
    /// })?;
    /// assert!(conn.drain()?.is_empty()); // nothing is pending
    /// # Ok::<(), Error>(())
    /// ```
    pub fn split(&mut self) -> (SendHalf<'_>, ReceiveHalf<'_>) {
        let timeouts = self.timeouts();
        let (sender, receiver) = self.raw.split();
        (
            SendHalf::new(sender, &self.status, timeouts),
            ReceiveHalf::new(receiver, &self.status, timeouts),
        )
    }

    /// Returns the error that ended the connection, or `None` while it is usable.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # let server = MemoryStream::silent();
    /// # server.end();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// assert!(conn.err().is_none());
    /// conn.call("PING", ()).unwrap_err(); // the server has closed the connection
    /// assert!(conn.err().is_some());
    /// ```
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<&Error> {
        self.status.err()
    }

    /// Returns false when the connection is known to be unusable: it has ended with an error,
    /// the server has closed it, or the socket has bytes that belong to no pending reply. Sends
    /// nothing and does not wait.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # let server = MemoryStream::silent();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server.clone());
    /// assert!(conn.is_alive());
    /// # server.end();
    /// // … the server closes the connection …
    /// assert!(!conn.is_alive());
    /// ```
    pub fn is_alive(&self) -> bool {
        if self.err().is_some() {
            return false;
        }
        let expects_replies = self.status.pending() > 0;
        match self.raw.peek() {
            Ok(Peek::Quiet | Peek::Unknown) => expects_replies || !self.raw.has_unread(),
            Ok(Peek::Readable) => expects_replies,
            Ok(Peek::Closed) | Err(_) => false,
        }
    }

    /// Returns a handle with which another thread can end the connection. A call that waits on
    /// it returns [`Error::Canceled`]. On a connection of a [`Pool`](crate::Pool), the handle belongs
    /// to this checkout.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let handle = conn.shutdown_handle();
    /// let waiting = std::thread::spawn(move || conn.call("BLPOP", ("queue", 0)));
    /// handle.shutdown();
    /// assert!(waiting.join().unwrap().unwrap_err().is_canceled());
    /// ```
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.status.shutdown().of_checkout()
    }

    /// Closes the connection without waiting. Queued commands are not written.
    ///
    /// # Errors
    /// The error that ended the connection before.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::silent();
    /// # let conn = Dialer::tcp(":6379").wrap(server.clone());
    /// conn.close()?;
    /// assert!(server.is_closed());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Close")]
    pub fn close(mut self) -> Result<()> {
        self.status.check()?;
        self.raw.close();
        Ok(())
    }

    pub(crate) fn status(&mut self) -> &mut Status {
        &mut self.status
    }

    /// Sets the codes of error replies after which a pool closes the connection.
    pub(crate) fn retire_on(&mut self, codes: Arc<[String]>) {
        self.status.retire_on(codes);
    }

    /// Returns true after an error reply with such a code.
    pub(crate) fn is_retired(&self) -> bool {
        self.status.is_retired()
    }

    /// Returns true if the connection was shut down through a handle.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.status.shutdown().is_used()
    }

    /// Returns the handle of the connection, which is valid in every checkout.
    pub(crate) fn own_shutdown_handle(&self) -> ShutdownHandle {
        self.status.shutdown().clone()
    }

    /// Ends the validity of the handles that borrowers have. Returns false if the connection was
    /// shut down before.
    #[inline]
    pub(crate) fn end_checkout(&self) -> bool {
        self.status.shutdown().end_checkout()
    }

    /// Returns a number that no other connection has while this one exists.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.status.shutdown().conn_id()
    }

    /// A pool's read timeout is meant for commands, so a subscriber does not use it for silence.
    pub(crate) fn set_pooled(&mut self, pooled: bool) {
        self.pooled = pooled;
    }

    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        self.status.session()
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.raw.has_unread()
    }

    /// Takes the connection apart for a mux, which does its own bookkeeping.
    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            shutdown: self.status.shutdown().clone(),
            address: self.status.address().cloned(),
            raw: self.raw,
            observer: self.status.observer,
            read_timeout: self.read_timeout,
            write_timeout: self.write_timeout,
        }
    }

    pub(crate) fn observer(&mut self) -> &mut Option<Box<dyn Observer>> {
        &mut self.status.observer
    }
}

impl AsRef<Conn> for Conn {
    fn as_ref(&self) -> &Conn {
        self
    }
}

impl AsMut<Conn> for Conn {
    fn as_mut(&mut self) -> &mut Conn {
        self
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("err", &self.err())
            .field("pending", &self.status.pending())
            .finish_non_exhaustive()
    }
}
