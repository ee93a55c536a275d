//! The handle that users clone.

pub(crate) mod core;
pub(crate) mod deadline;
pub(crate) mod dialing;
pub(crate) mod driver;
pub(crate) mod halves;
pub(crate) mod inner;
pub(crate) mod mux_conn;
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
use crate::mux::deadline::Patience;
use crate::mux::inner::Shared;
use crate::mux::mux_conn::MuxConn;
use crate::mux::stats::MuxStats;
use crate::value::Value;

/// One connection that many threads share: each sends its commands when it likes and gets its own
/// replies, and nobody waits for a connection.
///
/// Commands that threads send at about the same time go out in one write, and their replies come
/// in with one read. That makes a mux faster than a pool for many threads with small commands. A
/// [`Pool`](crate::Pool) is the better choice for large replies, which hold up those behind them,
/// and the only one for whatever needs a connection of its own: transactions, blocking commands,
/// subscriptions, another database. Those commands are refused by name, before anything is sent.
///
/// A handle: clones share the connection. It is dialled by the first call that needs it, and
/// again by the first after it was lost; whoever comes meanwhile waits for that dial and shares
/// its outcome. Only the calls that were under way when a connection is lost fail with it.
///
/// # Time limits
///
/// A caller whose time is over, or whose context ends, leaves at once and the others do not
/// notice: its reply is read and dropped when it comes. (One who happens to read or write for all
/// at that moment notices a cancellation within 20 ms.) The command itself may still be executed.
///
/// The dialler's [`read_timeout`](Dialer::read_timeout) is the limit of every
/// [`call`](Mux::call). It also says when a connection is dead: when the oldest reply is overdue
/// and nothing at all has come for that long, the connection is given up and the next call dials
/// another. Set one, or a server that vanishes without a word is noticed only by the system.
///
/// # No threads
///
/// A mux has none of its own. One of the waiting threads reads for all until its own reply has
/// come, and then wakes another to go on.
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
    shared: Arc<Shared>,
}

impl Mux {
    /// A mux over connections of this dialler. It dials nothing yet.
    #[doc(alias = "NewConnMux")]
    pub fn new(dialer: Dialer) -> Mux {
        Mux::with(move |ctx| dialer.dial_context(ctx))
    }

    /// A mux over connections that a function dials. The context ends with the patience of the
    /// caller who dials, or when the mux is closed. A panic of the function is an error of the
    /// calls that wait for it; it must not use the mux itself.
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
        Mux { shared: Arc::new(Shared::new(Box::new(dial))) }
    }

    /// Sends a command and waits for its reply, as long as the connection's read timeout allows.
    ///
    /// # Errors
    /// - [`Error::Server`] for an error reply.
    /// - [`Error::Unsupported`]: a command that does not belong on a shared connection, with the
    ///   reason.
    /// - [`Error::Timeout`] of kind `Read`; `Write` when the server did not even take the command.
    /// - The error that ended the connection, or that of the dial.
    /// - [`Error::ConnClosed`] when the mux is closed.
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
        self.shared.call(command, &args, &Patience::usual())
    }

    /// As [`call`](Mux::call), with the reply as a type of the caller's choice.
    ///
    /// # Errors
    /// As [`call`](Mux::call), and those of [`Value::convert`].
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

    /// As [`call`](Mux::call), within this time from now instead of the connection's read
    /// timeout; it covers dialling too. `None` waits as long as it takes; zero is over at once.
    ///
    /// # Errors
    /// As [`call`](Mux::call), and [`Error::Timeout`] of kind `Connect` when there was no
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
    /// mux.call("PING", ())?; // the connection lives on, and the late reply is nobody's
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn call_timeout(
        &self,
        timeout: impl Into<Option<Duration>>,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.shared.call(command, &args, &Patience::timeout(timeout.into()))
    }

    /// As [`call`](Mux::call), but no longer than the context lasts. One that has ended already
    /// sends nothing.
    ///
    /// # Errors
    /// As [`call`](Mux::call); [`Error::Canceled`], or a timeout of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), when the context ends first.
    #[doc(alias = "DoContext")]
    pub fn call_context(&self, ctx: &Context, command: &str, args: impl ToArgs) -> Result<Value> {
        self.shared.call(command, &args, &Patience::context(ctx))
    }

    /// A connection of one's own in appearance, to send several commands before receiving their
    /// replies, or for code that is ported from Go.
    #[doc(alias = "Get")]
    pub fn get(&self) -> MuxConn {
        MuxConn::new(Arc::clone(&self.shared))
    }

    /// Why there is no connection: the error that ended the last one or kept it from being
    /// dialled, [`Error::ConnClosed`] once the mux is closed. `None` with a connection, and before
    /// the first.
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<Error> {
        self.shared.core().err()
    }

    /// A consistent look at the mux.
    pub fn stats(&self) -> MuxStats {
        self.shared.core().stats()
    }

    /// Closes the connection, without writing what is queued: calls under way, and all that
    /// come later, fail with [`Error::ConnClosed`] at once. Closing twice is the same as once.
    #[doc(alias = "Close")]
    pub fn close(&self) {
        self.shared.close();
    }

    /// True once it is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.core().is_closed()
    }
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
