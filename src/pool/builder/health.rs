//! The options that keep bad connections from being lent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{PoolBuilder, unless_never};
use crate::conn::Conn;
use crate::context::Context;
use crate::error::Result;

impl PoolBuilder {
    /// Closes connections that have been idle for longer than this. Looked at whenever a
    /// connection is asked for, and by [`Pool::prune`](crate::Pool::prune). Keep it below the
    /// server's own `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .idle_timeout(Duration::from_secs(240)) // the server's `timeout` is 300
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "IdleTimeout")]
    #[doc(alias = "ConnMaxIdleTime")]
    #[doc(alias = "SetConnMaxIdleTime")]
    #[doc(alias = "idleTimeout")]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> PoolBuilder {
        self.idle_timeout = unless_never(timeout);
        self
    }

    /// Closes connections that were dialled this long ago, when they are about to be lent and when
    /// they are given back. One in use is left alone.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{CloseReason, Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
    ///     .max_conn_lifetime(Duration::from_secs(60))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// clock.advance(Duration::from_secs(60));
    /// conn.close()?;
    /// assert_eq!(pool.stats().closed.of(CloseReason::Lifetime), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "MaxConnLifetime")]
    #[doc(alias = "ConnMaxLifetime")]
    #[doc(alias = "SetConnMaxLifetime")]
    #[doc(alias = "maxLifetime")]
    pub fn max_conn_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> PoolBuilder {
        self.max_conn_lifetime = unless_never(lifetime);
        self
    }

    /// By how much lifetimes differ: each connection's is shorter than `max_conn_lifetime` by a
    /// random part of this. So connections that were dialled together do not end together.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .max_conn_lifetime(Duration::from_secs(3600))
    ///     .max_conn_lifetime_jitter(Duration::from_secs(600)) // each lives 50 to 60 minutes
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "ConnMaxLifetimeJitter")]
    pub fn max_conn_lifetime_jitter(mut self, jitter: Duration) -> PoolBuilder {
        self.max_conn_lifetime_jitter = jitter;
        self
    }

    /// Closes idle connections that are too old when they are, and not only when somebody asks for
    /// one. Needs the upkeep thread, which a pool has anyway that keeps [`min_idle`] ready.
    ///
    /// [`min_idle`]: PoolBuilder::min_idle
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .idle_timeout(Duration::from_secs(240))
    ///     .background_prune(true)
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn background_prune(mut self, prune: bool) -> PoolBuilder {
        self.background_prune = prune;
        self
    }

    /// Before a connection is lent that has been idle for longer than this, a look at its socket:
    /// when the server has closed it, or has sent what nobody asked for, it is closed and the next
    /// one tried. One system call, no round trip. So the first command after a restart of the server
    /// succeeds. One second is a good value.
    ///
    /// Once a connection has turned out to be dead, all the others are looked at too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .peek_after(Duration::from_secs(1))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn peek_after(mut self, idle: impl Into<Option<Duration>>) -> PoolBuilder {
        self.peek_after = unless_never(idle);
        self
    }

    /// Sends a `PING` to connections that have been idle for this long, and again each time that
    /// much has passed, so that neither a firewall nor the server's own `timeout` cuts them. One that
    /// does not answer within [`cleanup_timeout`](PoolBuilder::cleanup_timeout) is closed. They are
    /// asked one at a time; `idle_timeout` counts on. Needs the upkeep thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .keepalive(Duration::from_secs(60))
    ///     .idle_timeout(Duration::from_secs(3600))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "keepaliveTime")]
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> PoolBuilder {
        self.keepalive = unless_never(idle);
        self
    }

    /// Asks a connection that has been idle before it is lent. The instant is when it was given
    /// back. One that fails is closed, and the next is tried. A new connection is not asked.
    ///
    /// See [`check`](crate::check) for ready-made ones. The time limit of the caller covers the
    /// test.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .test_on_borrow(|conn, last_used| {
    ///         if last_used.elapsed().as_secs() < 60 {
    ///             return Ok(());
    ///         }
    ///         conn.call("PING", ()).map(drop)
    ///     })
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "TestOnBorrow")]
    #[doc(alias = "test_on_check_out")]
    #[doc(alias = "connectionTestQuery")]
    pub fn test_on_borrow(
        mut self,
        test: impl Fn(&mut Conn, Instant) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.tests = vec![Arc::new(move |_, conn, last_used| test(conn, last_used))];
        self
    }

    /// As [`test_on_borrow`](PoolBuilder::test_on_borrow), with the context of the caller. With
    /// both, both are asked, this one last.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .test_on_borrow_context(|ctx, conn, _| conn.call_context(ctx, "PING", ()).map(drop))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "TestOnBorrowContext")]
    pub fn test_on_borrow_context(
        mut self,
        test: impl Fn(&Context, &mut Conn, Instant) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.tests_with_context = vec![Arc::new(test)];
        self
    }

    /// The error replies after which a connection is closed when it comes back, by their codes:
    /// `READONLY`, `LOADING`, `MASTERDOWN` and `NOAUTH` unless set. The server behind it is not, or
    /// no more, the one that was wanted. An empty list keeps every connection.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379")).retire_on(["READONLY", "UNBLOCKED"]).build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "SQLExceptionOverride")]
    pub fn retire_on(mut self, codes: impl IntoIterator<Item = impl Into<String>>) -> PoolBuilder {
        self.retire_on = codes.into_iter().map(Into::into).collect();
        self
    }

    /// How long it may take to clean a connection that is given back in a transaction, subscribed
    /// or with replies pending. One that is not clean by then is closed. A clean connection costs
    /// nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .cleanup_timeout(Duration::from_millis(200))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn cleanup_timeout(mut self, timeout: Duration) -> PoolBuilder {
        self.cleanup_timeout = timeout;
        self
    }
}
