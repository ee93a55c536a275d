//! One connection that many threads share.

pub(crate) mod backoff;
pub(crate) mod batch;
pub(crate) mod core;
pub(crate) mod deadline;
pub(crate) mod dialing;
pub(crate) mod driver;
pub(crate) mod executor;
pub(crate) mod guard;
pub(crate) mod halves;
pub(crate) mod inner;
pub(crate) mod last_reply;
pub(crate) mod mux_conn;
pub(crate) mod scripts;
pub(crate) mod slot;
pub(crate) mod stats;
pub(crate) mod unsupported;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::context::Context;
use crate::dial::dialer::Dialer;
use crate::error::{Error, Result};
use crate::from_value::FromValue;
use crate::mux::deadline::CallDeadline;
use crate::mux::inner::MuxInner;
use crate::mux::mux_conn::MuxConn;
use crate::mux::stats::MuxStats;
use crate::value::Value;

/// One connection that many threads share. Each thread sends its commands at any time and gets its
/// own replies; no thread waits for a connection.
///
/// Commands that threads send at about the same time are written together, and their replies are
/// read together. This makes a mux faster than a pool for many threads with small commands. Prefer
/// a [`Pool`](crate::Pool) for large replies, because a large reply delays all replies behind it.
/// Commands that need their own connection work only with a pool: transactions, blocking commands,
/// subscriptions, another database. A mux refuses these commands before it sends anything, and also
/// commands that stop all others, like `CLIENT PAUSE` and `SHUTDOWN`.
///
/// # Dialing
///
/// A `Mux` is a handle: clones share the connection. The first call dials it. After a loss the next
/// call dials again, and calls that arrive meanwhile wait for that dial and share its outcome. When
/// a connection is lost, only the calls in flight fail. If the server hangs up during a write, their
/// error names the server's last reply, if that was an error.
///
/// A failed dial is followed by a pause of 10 ms, and each further failure doubles the pause up to
/// 1 s. A random part, up to half of the pause, is left out. A call that arrives during a pause
/// waits for the next dial; if its own deadline is sooner, it fails immediately with the error of
/// the last dial. A connection that is lost before its first reply that is not an error counts as a
/// failed dial.
///
/// # Time limits
///
/// A caller whose timeout passes or whose context ends returns immediately. The connection stays
/// usable for the other callers: the late reply is read and dropped. (If that caller is reading or
/// writing for the others, it notices a cancellation within 20 ms.) The server may still execute
/// the command.
///
/// The dialer's [`read_timeout`](Dialer::read_timeout) limits every [`call`](Mux::call). It also
/// detects a dead connection: if the oldest reply is overdue and nothing has arrived for the read
/// timeout, the mux gives the connection up and the next call dials another. Without a read
/// timeout, only the operating system notices that a server has vanished.
///
/// # No threads
///
/// A mux starts no threads. One of the waiting callers reads for all until its own reply has
/// arrived, and then wakes another caller to continue. A caller that writes reads, too, while the
/// server waits for its replies to be read.
///
/// # Panics in your code
///
/// A panic of the dial function is an error of the calls that wait for the dial. If the connection's
/// own code panics, for example a [`Stream`](crate::Stream) or a log filter, the connection ends,
/// the calls in flight fail, and the caller that ran the code unwinds. A panic of the logger, of a
/// shutdown or of a destructor is caught. The next call works in each case. (A value with two fields
/// whose destructors both panic aborts the process, as always in Rust.)
///
/// ```
/// use redigo::{Dialer, Mux};
///
/// # let server = redigo::testing::ScriptedServer::unordered();
/// # server.expect_any("SET").ok().times(4);
/// # let mux = Mux::with(move |_| Ok(server.conn()));
/// # if false {
/// let mux = Mux::new(Dialer::url("redis://localhost:6379")?);
/// # }
/// std::thread::scope(|scope| {
///     for thread in 0..4 {
///         let mux = &mux;
///         scope.spawn(move || mux.call("SET", (format!("key:{thread}"), thread)));
///     }
/// });
/// assert_eq!(mux.stats().calls, 4);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "ConnMux")]
pub struct Mux {
    inner: Arc<MuxInner>,
}

impl Mux {
    /// Creates a mux that dials with `dialer`. It dials when the first command needs a connection.
    ///
    /// If a dial has nothing else to send, it sends `PING`, so that a server that accepts connections
    /// and serves none fails the dial.
    ///
    /// ```
    /// use redigo::{Dialer, Mux};
    ///
    /// let mux = Mux::new(Dialer::tcp("localhost:6379"));
    /// assert!(!mux.stats().connected); // not dialed yet
    /// ```
    #[doc(alias = "NewConnMux")]
    pub fn new(dialer: Dialer) -> Mux {
        Mux::with(move |ctx| dialer.dial_proven(ctx))
    }

    /// Creates a mux that dials with a function.
    ///
    /// The function's context ends with the deadline of the calling thread, or when the mux is
    /// closed. If the function panics, the calls that wait for it fail with an error. The function
    /// must not use the mux itself. A connection over a [`RawConn`](crate::raw::RawConn) must have
    /// [`halves`](crate::raw::RawConn::halves): without them, calls fail with
    /// [`Error::Unsupported`].
    ///
    /// ```
    /// use redigo::{Dialer, Mux};
    ///
    /// let mux = Mux::with(|ctx| {
    ///     let mut conn = Dialer::tcp(":6379").dial_context(ctx)?;
    ///     conn.call_context(ctx, "CLIENT", ("SETNAME", "shared"))?;
    ///     Ok(conn)
    /// });
    /// # drop(mux);
    /// ```
    #[doc(alias = "NewConnMux")]
    pub fn with(dial: impl Fn(&Context) -> Result<Conn> + Send + Sync + 'static) -> Mux {
        Mux { inner: Arc::new(MuxInner::new(Box::new(dial))) }
    }

    /// Sends a command and waits for its reply, for the connection's read timeout at most.
    ///
    /// # Errors
    /// - [`Error::Server`] for an error reply.
    /// - [`Error::Unsupported`] for a command that a shared connection cannot send, with the
    ///   reason, and for a connection that cannot be shared.
    /// - [`Error::Timeout`] of kind `Read`, or `Write` if the server did not read the command.
    /// - The error that ended the connection, or the error of the last dial.
    /// - [`Error::ConnClosed`] if the mux is closed.
    ///
    /// ```
    /// # use redigo::{Dialer, Mux, testing::MemoryStream, Error};
    /// # let mux = Mux::with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n"))));
    /// mux.call("SET", ("name", "x", "EX", 60))?;
    ///
    /// let refused = mux.call("BLPOP", ("queue", 0)).unwrap_err();
    /// assert!(refused.to_string().contains("BLPOP"));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn call(&self, command: &str, args: impl ToArgs) -> Result<Value> {
        self.inner.call(command, &args, &CallDeadline::read_timeout())
    }

    /// Like [`call`](Mux::call), but converts the reply to `T`.
    ///
    /// # Errors
    /// Like [`call`](Mux::call), and the errors of [`Value::convert`].
    ///
    /// ```
    /// # use redigo::{Dialer, Mux, testing::MemoryStream, Error};
    /// # let mux = Mux::with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(":2\r\n"))));
    /// let counter: i64 = mux.query("INCR", "counter")?;
    /// # assert_eq!(counter, 2);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn query<T: FromValue>(&self, command: &str, args: impl ToArgs) -> Result<T> {
        self.call(command, args)?.convert()
    }

    /// Like [`call`](Mux::call), but waits for `timeout` instead of the connection's read timeout.
    /// The timeout includes a dial. `None` waits forever, zero fails immediately.
    ///
    /// # Errors
    /// Like [`call`](Mux::call), and [`Error::Timeout`] of kind `Connect` if there was no
    /// connection in time.
    ///
    /// ```
    /// # use redigo::{Dialer, Mux, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let server = MemoryStream::silent();
    /// # let stream = server.clone();
    /// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())));
    /// let slow = mux.call_timeout(Duration::from_millis(5), "GET", "a").unwrap_err();
    /// assert!(slow.is_timeout());
    /// # server.push("$4\r\nlate\r\n+PONG\r\n");
    /// mux.call("PING", ())?; // the connection stays usable; the late reply is dropped
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn call_timeout(
        &self,
        timeout: impl Into<Option<Duration>>,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.inner.call(command, &args, &CallDeadline::after(timeout.into()))
    }

    /// Like [`call`](Mux::call), but stops waiting when the context ends. If it has already ended,
    /// nothing is sent.
    ///
    /// # Errors
    /// Like [`call`](Mux::call). [`Error::Canceled`], or a timeout of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), if the context ends first.
    ///
    /// ```
    /// # use redigo::{Context, Error, Mux, testing::ScriptedServer};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let ctx = Context::background().with_timeout(Duration::from_secs(5));
    /// assert_eq!(mux.call_context(&ctx, "GET", "a")?.as_str(), Some("1"));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    pub fn call_context(&self, ctx: &Context, command: &str, args: impl ToArgs) -> Result<Value> {
        self.inner.call(command, &args, &CallDeadline::of_context(ctx))
    }

    /// Returns a handle with the methods of a connection. Use it to send several commands before
    /// receiving their replies, or for code that is ported from Go. Does no I/O.
    ///
    /// ```
    /// # use redigo::{Error, Mux, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SET", ("a", 1)).ok();
    /// # server.expect("GET", "a").reply("1");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let mut conn = mux.get();
    /// conn.send("SET", ("a", 1))?;
    /// assert_eq!(conn.query::<i64>("GET", "a")?, 1);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Get")]
    pub fn get(&self) -> MuxConn {
        MuxConn::new(Arc::clone(&self.inner))
    }

    /// Returns why there is no connection: the error that ended the last connection, the error of
    /// the last dial, or [`Error::ConnClosed`] after [`close`](Mux::close). Returns `None` while
    /// there is a connection, during a dial, and before the first dial.
    ///
    /// ```
    /// use redigo::{Error, Mux};
    ///
    /// let mux = Mux::with(|_| Err(Error::other("no such host")));
    /// assert!(mux.err().is_none());
    /// let error = mux.call("PING", ()).unwrap_err();
    /// assert_eq!(mux.err().unwrap().to_string(), error.to_string());
    /// ```
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<Error> {
        self.inner.core().err()
    }

    /// Returns a snapshot of the mux and its counters.
    ///
    /// ```
    /// # use redigo::{Dialer, Error, Mux, testing::MemoryStream};
    /// # let mux = Mux::with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n"))));
    /// mux.call("PING", ())?;
    /// assert_eq!(mux.stats().dials, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stats(&self) -> MuxStats {
        self.inner.core().stats()
    }

    /// Closes the connection immediately, without writing queued commands. Calls in flight and all
    /// later calls fail with [`Error::ConnClosed`]. Closing again does nothing.
    ///
    /// ```
    /// # use redigo::{Dialer, Error, Mux};
    /// # let mux = Mux::new(Dialer::tcp(":6379"));
    /// mux.close();
    /// assert!(matches!(mux.call("PING", ()), Err(Error::ConnClosed)));
    /// ```
    #[doc(alias = "Close")]
    pub fn close(&self) {
        self.inner.close();
    }

    /// Returns true if the mux is closed.
    ///
    /// ```
    /// # use redigo::{Dialer, Mux};
    /// # let mux = Mux::new(Dialer::tcp(":6379"));
    /// assert!(!mux.is_closed());
    /// mux.close();
    /// assert!(mux.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.inner.core().is_closed()
    }
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
