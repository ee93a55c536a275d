//! The options that keep broken connections from callers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{PoolBuilder, time_limit};
use crate::conn::Conn;
use crate::context::Context;
use crate::error::Result;
use crate::pool::settings::Test;

/// Which checks a connection must pass.
pub(super) struct Health {
    pub(super) peek_after: Option<Duration>,
    pub(super) peek_always: bool,
    pub(super) keepalive: Option<Duration>,
    pub(super) test_on_borrow: Option<Test>,
    pub(super) test_on_borrow_context: Option<Test>,
    pub(super) retire_on: Arc<[String]>,
    pub(super) cleanup_timeout: Duration,
}

impl Default for Health {
    fn default() -> Health {
        let retire_on = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH"];
        Health {
            peek_after: None,
            peek_always: false,
            keepalive: None,
            test_on_borrow: None,
            test_on_borrow_context: None,
            retire_on: retire_on.into_iter().map(String::from).collect(),
            cleanup_timeout: Duration::from_secs(1),
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("peek_after", &self.peek_after)
            .field("peek_always", &self.peek_always)
            .field("keepalive", &self.keepalive)
            .field("test_on_borrow", &self.test_on_borrow.is_some())
            .field("test_on_borrow_context", &self.test_on_borrow_context.is_some())
            .field("retire_on", &self.retire_on)
            .field("cleanup_timeout", &self.cleanup_timeout)
            .finish()
    }
}

impl PoolBuilder {
    /// Looks at the socket of every connection before checkout, however short it was idle, and also
    /// of a newly dialed one. [`peek_after`](PoolBuilder::peek_after) then has no effect.
    ///
    /// Set it if you do not trust the server or a proxy: a reply that no command has asked for, and
    /// that arrives after the connection was returned, is found only by a look at the socket.
    /// Costs some 0.4 µs a checkout, one system call.
    ///
    /// ```
    /// use redigo::{CloseReason, Dialer, Pool, testing::MemoryStream};
    ///
    /// let server = MemoryStream::silent();
    /// let stream = server.clone();
    /// let pool = Pool::builder_with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())))
    ///     .peek_always(true)
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// server.push("+FORGED\r\n");
    /// assert!(pool.acquire().is_err()); // the same stream again
    /// assert_eq!(pool.stats().closed.of(CloseReason::Health), 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `false`.
    pub fn peek_always(mut self, peek: bool) -> PoolBuilder {
        self.health.peek_always = peek;
        self
    }

    /// Sends a `PING` to connections that have been idle for this long, and again each time this
    /// much has passed, so that neither a firewall nor the server's `timeout` closes them.
    ///
    /// A connection that does not answer within [`cleanup_timeout`](PoolBuilder::cleanup_timeout) is
    /// closed. An error reply is an answer, unless its code is one of
    /// [`retire_on`](PoolBuilder::retire_on). The pool pings one connection at a time. A `PING` does
    /// not restart `idle_timeout`. Needs the upkeep thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let (server, clock) = (ScriptedServer::new(), ManualClock::new());
    /// let ping = server.expect("PING", ()).reply("PONG");
    /// let pool = Pool::builder(server.dialer())
    ///     .keepalive(Duration::from_secs(60))
    ///     .idle_timeout(Duration::from_secs(3600))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// clock.advance(Duration::from_secs(60));
    /// while ping.calls() < 1 {
    ///     std::thread::yield_now(); // the pool sends it in the background
    /// }
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[doc(alias = "keepaliveTime")]
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> PoolBuilder {
        self.health.keepalive = time_limit(idle);
        self
    }

    /// Tests an idle connection before checkout. The function also gets the time at which the
    /// connection was returned. If the test fails, the pool closes the connection and tries the
    /// next. A newly dialed connection is not tested.
    ///
    /// The time limit of the caller covers the test. [`check`](crate::check) has ready-made tests.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).reply("PONG");
    /// let pool = Pool::builder(server.dialer())
    ///     .test_on_borrow(|conn, _last_used| conn.call("PING", ()).map(drop))
    ///     .build()?;
    /// pool.acquire()?.close()?; // new: not tested
    /// pool.acquire()?.close()?;
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to none.
    #[doc(alias = "TestOnBorrow")]
    #[doc(alias = "test_on_check_out")]
    #[doc(alias = "connectionTestQuery")]
    pub fn test_on_borrow(
        mut self,
        test: impl Fn(&mut Conn, Instant) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        let test = move |_: &Context, conn: &mut Conn, last_used| test(conn, last_used);
        self.health.test_on_borrow = Some(Arc::new(test));
        self
    }

    /// Like [`test_on_borrow`](PoolBuilder::test_on_borrow), but the function also gets the context
    /// of the caller. If both are set, both run, this one last.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).reply("PONG");
    /// let pool = Pool::builder(server.dialer())
    ///     .test_on_borrow_context(|ctx, conn, _| conn.call_context(ctx, "PING", ()).map(drop))
    ///     .build()?;
    /// pool.acquire()?.close()?; // new: not tested
    /// pool.acquire()?.close()?;
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to none.
    #[doc(alias = "TestOnBorrowContext")]
    pub fn test_on_borrow_context(
        mut self,
        test: impl Fn(&Context, &mut Conn, Instant) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.health.test_on_borrow_context = Some(Arc::new(test));
        self
    }

    /// Closes a returned connection if it received one of these error replies, given by their codes:
    /// the server behind it is not, or is no longer, the intended one. The reply can also be in the
    /// list of an `EXEC`, or quoted as the reason of an `EXECABORT`.
    ///
    /// The connections that were dialed before it probably lead to the same server, so the pool
    /// closes them too: the idle ones immediately, the others when they are returned, but at most
    /// once a second. An empty list keeps every connection, except after a reply with which the
    /// server announces that it closes the connection.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("SET", ("k", 1)).error("READONLY You can't write against a read only replica.");
    /// let pool = Pool::builder(server.dialer()).retire_on(["READONLY", "UNBLOCKED"]).build()?;
    /// let mut conn = pool.acquire()?;
    /// assert!(conn.call("SET", ("k", 1)).is_err());
    /// conn.close()?;
    /// assert_eq!(pool.stats().closed.of(CloseReason::Retired), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `READONLY`, `LOADING`, `MASTERDOWN`, `NOAUTH`.
    #[doc(alias = "SQLExceptionOverride")]
    pub fn retire_on<'a>(mut self, codes: impl IntoIterator<Item = &'a str>) -> PoolBuilder {
        self.health.retire_on = codes.into_iter().map(Into::into).collect();
        self
    }

    /// Limits the time to clean a returned or dropped connection that is in a transaction, subscribed
    /// or has pending replies. A connection that is not clean by then is closed. A clean connection
    /// costs no time. Zero is an error of [`build`](PoolBuilder::build).
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("GET", "k").no_reply();
    /// let pool =
    ///     Pool::builder(server.dialer()).cleanup_timeout(Duration::from_millis(10)).build()?;
    /// let mut conn = pool.acquire()?;
    /// conn.send("GET", "k")?;
    /// assert!(conn.close().is_err()); // the pending reply does not come
    /// assert_eq!((pool.idle_count(), pool.stats().closed.total()), (0, 1));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to 1 s.
    pub fn cleanup_timeout(mut self, timeout: Duration) -> PoolBuilder {
        self.health.cleanup_timeout = timeout;
        self
    }
}
