//! The options for the age of connections.

use std::time::Duration;

use super::{PoolBuilder, time_limit};

/// When a connection is too old.
#[derive(Debug, Default)]
pub(super) struct Lifetime {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_conn_lifetime: Option<Duration>,
    pub(super) max_conn_lifetime_jitter: Duration,
    pub(super) background_prune: bool,
}

impl PoolBuilder {
    /// Closes connections that were dialed this long ago, at checkout and at return. A connection in
    /// use stays usable.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{CloseReason, Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .max_conn_lifetime(Duration::from_secs(60))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// clock.advance(Duration::from_secs(60));
    /// conn.close()?;
    /// assert_eq!(pool.stats().closed.of(CloseReason::Lifetime), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[doc(alias = "MaxConnLifetime")]
    #[doc(alias = "ConnMaxLifetime")]
    #[doc(alias = "SetConnMaxLifetime")]
    #[doc(alias = "maxLifetime")]
    pub fn max_conn_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> PoolBuilder {
        self.lifetime.max_conn_lifetime = time_limit(lifetime);
        self
    }

    /// Shortens the lifetime of each connection by a random part of this time, so that connections
    /// that were dialed together do not expire together. Needs
    /// [`max_conn_lifetime`](PoolBuilder::max_conn_lifetime), which it must not exceed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .max_conn_lifetime(Duration::from_secs(3600))
    ///     .max_conn_lifetime_jitter(Duration::from_secs(600)) // 50 to 60 minutes each
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to 0.
    #[doc(alias = "ConnMaxLifetimeJitter")]
    pub fn max_conn_lifetime_jitter(mut self, jitter: Duration) -> PoolBuilder {
        self.lifetime.max_conn_lifetime_jitter = jitter;
        self
    }

    /// Closes idle connections as soon as they exceed [`idle_timeout`](PoolBuilder::idle_timeout) or
    /// [`max_conn_lifetime`](PoolBuilder::max_conn_lifetime), and not only at the next checkout.
    /// Needs one of the two, and the upkeep thread.
    ///
    /// A pool with [`min_idle`](PoolBuilder::min_idle) does this anyway.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .idle_timeout(Duration::from_secs(240))
    ///     .background_prune(true)
    ///     .clock(clock.clone())
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// clock.advance(Duration::from_secs(241));
    /// while pool.active_count() > 0 {
    ///     std::thread::yield_now(); // the pool closes it in the background
    /// }
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `false`.
    pub fn background_prune(mut self, prune: bool) -> PoolBuilder {
        self.lifetime.background_prune = prune;
        self
    }
}
