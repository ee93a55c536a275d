//! A handle of a mux with the methods of a connection.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::batch::Batch;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::from_value::FromValue;
use crate::mux::deadline::CallDeadline;
use crate::mux::inner::{MuxInner, Pending};
use crate::value::Value;

/// A handle of a [`Mux`](crate::Mux) with the methods of a connection, from
/// [`Mux::get`](crate::Mux::get).
///
/// A caller can [`send`](MuxConn::send) several commands first and
/// [`receive`](MuxConn::receive) their replies later. All commands use the shared connection.
/// A reply that is not received yet does not delay the replies of other callers.
///
/// If the connection is lost, the commands in flight fail with its error, and later commands use
/// the next connection. A handle itself never fails.
///
/// Dropping the handle discards the replies that are still pending, without I/O.
/// [`close`](MuxConn::close) receives them first.
///
/// ```
/// use redigo::{Dialer, Mux, testing::MemoryStream};
///
/// # let replies = "$5\r\nhello\r\n$5\r\nworld\r\n";
/// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(replies))));
/// let mut conn = mux.get();
/// conn.send("ECHO", "hello")?;
/// conn.send("ECHO", "world")?;
/// conn.flush()?;
/// assert_eq!(conn.receive()?.as_str(), Some("hello"));
/// assert_eq!(conn.receive()?.as_str(), Some("world"));
/// conn.close()?;
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "muxConn")]
pub struct MuxConn {
    inner: Arc<MuxInner>,
    /// Commands whose replies were not received, oldest first.
    pending: VecDeque<Pending>,
}

impl MuxConn {
    pub(crate) fn new(inner: Arc<MuxInner>) -> MuxConn {
        MuxConn { inner, pending: VecDeque::new() }
    }

    /// Queues a command whose reply is [received](MuxConn::receive) later. It is written by
    /// [`flush`](MuxConn::flush) or with the next write of another caller.
    ///
    /// # Errors
    /// Like [`Mux::call`](crate::Mux::call), except [`Error::Server`]. A refused command has no
    /// reply to receive.
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SET", ("a", 1)).ok();
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let mut conn = mux.get();
    /// conn.send("SET", ("a", 1))?;
    /// assert!(conn.send("MULTI", ()).is_err());
    /// assert_eq!(conn.pending(), 1);
    /// # conn.close()?;
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn send(&mut self, command: &str, args: impl ToArgs) -> Result<()> {
        let (pending, _) = self.inner.send(command, &args, &CallDeadline::read_timeout())?;
        self.pending.push_back(pending);
        Ok(())
    }

    /// Writes the queued commands of all callers. If another caller is already writing, it writes
    /// them and this function returns immediately.
    ///
    /// # Errors
    /// The error that ended the connection. The commands in flight fail with the same error.
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "hits").reply(1);
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let mut conn = mux.get();
    /// conn.send("INCR", "hits")?;
    /// conn.flush()?;
    /// // … other work while the server answers …
    /// assert_eq!(conn.receive()?.as_int(), Some(1));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Flush")]
    pub fn flush(&mut self) -> Result<()> {
        self.inner.flush(&CallDeadline::read_timeout())
    }

    /// Waits for the reply to the oldest pending command of this handle, for the connection's read
    /// timeout at most.
    ///
    /// # Errors
    /// Like [`Mux::call`](crate::Mux::call). [`Error::Unsupported`] if no command is pending. After
    /// a timeout the reply is discarded, and the next `receive` waits for the next command's reply.
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let mut conn = mux.get();
    /// conn.send("GET", "a")?;
    /// assert_eq!(conn.receive()?.as_str(), Some("1"));
    /// assert!(conn.receive().is_err()); // nothing is pending
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<Value> {
        self.receive_before(&CallDeadline::read_timeout())
    }

    /// Like [`receive`](MuxConn::receive), but waits for `timeout` instead of the connection's read
    /// timeout. `None` waits forever, zero fails immediately.
    ///
    /// # Errors
    /// Like [`receive`](MuxConn::receive).
    ///
    /// ```
    /// # use redigo::{Dialer, Error, Mux, testing::MemoryStream};
    /// # use std::time::Duration;
    /// # let server = MemoryStream::silent();
    /// # let stream = server.clone();
    /// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())));
    /// let mut conn = mux.get();
    /// conn.send("GET", "a")?;
    /// let late = conn.receive_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(late.is_timeout());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Value> {
        self.receive_before(&CallDeadline::after(timeout.into()))
    }

    /// Like [`receive`](MuxConn::receive), but stops waiting when the context ends.
    ///
    /// # Errors
    /// Like [`receive`](MuxConn::receive). [`Error::Canceled`], or a timeout of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), if the context ends first.
    ///
    /// ```
    /// # use redigo::{Context, Dialer, Error, Mux, testing::MemoryStream};
    /// # let server = MemoryStream::silent();
    /// # let stream = server.clone();
    /// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())));
    /// let mut conn = mux.get();
    /// conn.send("GET", "a")?;
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// cancel.cancel();
    /// assert!(conn.receive_context(&ctx).unwrap_err().is_canceled());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.receive_before(&CallDeadline::of_context(ctx))
    }

    /// Sends a command and waits for its reply, and first for all replies that are still pending,
    /// like [`Conn::call`](crate::Conn::call).
    ///
    /// Returns the last reply. If one of the replies is an error, returns the first error instead.
    /// An empty command name sends nothing and returns all pending replies as a list, or nil if
    /// there are none. The connection's read timeout limits the whole call. After a timeout no
    /// reply is pending.
    ///
    /// # Errors
    /// Like [`Mux::call`](crate::Mux::call).
    ///
    /// ```
    /// # use redigo::{Dialer, Mux, testing::MemoryStream, Error};
    /// # let replies = "+OK\r\n:2\r\n";
    /// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(replies))));
    /// let mut conn = mux.get();
    /// conn.send("SET", ("counter", 1))?;
    /// assert_eq!(conn.call("INCR", "counter")?.as_int(), Some(2));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn call(&mut self, command: &str, args: impl ToArgs) -> Result<Value> {
        self.call_before(command, &args, &CallDeadline::read_timeout())
    }

    /// Like [`call`](MuxConn::call), but waits for `timeout` instead of the connection's read
    /// timeout. The timeout includes a dial and limits the whole call. `None` waits forever, zero
    /// fails immediately.
    ///
    /// # Errors
    /// Like [`Mux::call_timeout`](crate::Mux::call_timeout).
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.expect("SET", ("a", 1)).ok();
    /// # server.expect("GET", "a").reply("1");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let mut conn = mux.get();
    /// conn.send("SET", ("a", 1))?;
    /// let reply = conn.call_timeout(Duration::from_secs(5), "GET", "a")?; // for both replies
    /// assert_eq!(reply.as_str(), Some("1"));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn call_timeout(
        &mut self,
        timeout: impl Into<Option<Duration>>,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.call_before(command, &args, &CallDeadline::after(timeout.into()))
    }

    /// Like [`call`](MuxConn::call), but stops waiting when the context ends. If it has already
    /// ended, nothing is sent.
    ///
    /// # Errors
    /// Like [`Mux::call_context`](crate::Mux::call_context).
    ///
    /// ```
    /// # use redigo::{Context, Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// cancel.cancel();
    /// let canceled = mux.get().call_context(&ctx, "GET", "a").unwrap_err();
    /// assert!(canceled.is_canceled());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    pub fn call_context(
        &mut self,
        ctx: &Context,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.call_before(command, &args, &CallDeadline::of_context(ctx))
    }

    /// Like [`call`](MuxConn::call), but converts the reply to `T`.
    ///
    /// # Errors
    /// Like [`call`](MuxConn::call), and the errors of [`Value::convert`].
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("STRLEN", "a").reply(3);
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let length: usize = mux.get().query("STRLEN", "a")?;
    /// assert_eq!(length, 3);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn query<T: FromValue>(&mut self, command: &str, args: impl ToArgs) -> Result<T> {
        self.call(command, args)?.convert()
    }

    /// Flushes and waits for all pending replies, for the connection's read timeout at most. Error
    /// replies are elements of the list.
    ///
    /// # Errors
    /// The first error that is not an error reply of the server.
    ///
    /// ```
    /// # use redigo::{Dialer, Mux, testing::MemoryStream, Error, Value};
    /// # let replies = "+OK\r\n-ERR no\r\n";
    /// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(replies))));
    /// let mut conn = mux.get();
    /// conn.send("SET", ("a", 1))?;
    /// conn.send("NONSENSE", ())?;
    /// let replies = conn.drain()?;
    /// assert!(matches!(replies[..], [Value::Simple(_), Value::Error(_)]));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn drain(&mut self) -> Result<Vec<Value>> {
        self.drain_before(&CallDeadline::read_timeout())
    }

    /// Returns the number of replies that are still to be received.
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PING", ()).reply("PONG");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let mut conn = mux.get();
    /// conn.send("PING", ())?;
    /// assert_eq!(conn.pending(), 1);
    /// conn.drain()?;
    /// assert_eq!(conn.pending(), 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Like [`Mux::err`](crate::Mux::err).
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<Error> {
        self.inner.core().err()
    }

    /// Flushes and waits for all pending replies. The shared connection stays open.
    ///
    /// # Errors
    /// The first error among the replies, including error replies of the server.
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "text").error("ERR value is not an integer");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let mut conn = mux.get();
    /// conn.send("INCR", "text")?;
    /// assert!(conn.close().unwrap_err().as_server().is_some());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Close")]
    pub fn close(mut self) -> Result<()> {
        let error = self.drain()?.into_iter().find_map(|reply| match reply {
            Value::Error(error) => Some(Error::Server(error)),
            _ => None,
        });
        error.map_or(Ok(()), Err)
    }

    /// Receives the pending replies, then runs a batch.
    pub(super) fn run_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        let deadline = self.inner.start(&CallDeadline::read_timeout());
        for reply in self.drain_before(&deadline)? {
            if let Value::Error(error) = reply {
                return Err(Error::Server(error));
            }
        }
        self.inner.run_batch(batch, &deadline)
    }

    fn call_before(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        deadline: &CallDeadline<'_>,
    ) -> Result<Value> {
        if command.is_empty() {
            let replies = self.drain_before(deadline)?;
            return Ok(if replies.is_empty() { Value::Nil } else { Value::Array(replies) });
        }
        let (pending, deadline) = self.inner.send(command, args, deadline)?;
        self.pending.push_back(pending);
        // An error of the flush is the outcome of the replies, too.
        let _ = self.inner.flush(&deadline);
        let (mut first_error, mut last) = (None, Value::Nil);
        while !self.pending.is_empty() {
            match self.receive_before(&deadline) {
                Ok(reply) => last = reply,
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error.map_or(Ok(last), Err)
    }

    fn drain_before(&mut self, deadline: &CallDeadline<'_>) -> Result<Vec<Value>> {
        if self.pending.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = self.inner.start(deadline);
        let _ = self.inner.flush(&deadline);
        let (mut first_error, mut replies) = (None, Vec::new());
        while !self.pending.is_empty() {
            match self.receive_before(&deadline) {
                Ok(reply) => replies.push(reply),
                Err(Error::Server(error)) => replies.push(Value::Error(error)),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error.map_or(Ok(replies), Err)
    }

    fn receive_before(&mut self, deadline: &CallDeadline<'_>) -> Result<Value> {
        let Some(oldest) = self.pending.pop_front() else {
            let what = "receiving on a shared connection without a pending command";
            return Err(Error::Unsupported(what.into()));
        };
        self.inner.receive(&oldest, deadline)
    }
}

impl Drop for MuxConn {
    fn drop(&mut self) {
        for pending in self.pending.drain(..) {
            self.inner.abandon(&pending);
        }
    }
}

impl fmt::Debug for MuxConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxConn").field("pending", &self.pending()).finish_non_exhaustive()
    }
}
