//! The options for the number of connections and waiters.

use std::time::Duration;

use super::PoolBuilder;

/// How many connections a pool has, and what happens when all are in use.
#[derive(Debug, Default)]
pub(super) struct Sizing {
    pub(super) max_active: Option<usize>,
    pub(super) max_idle: Option<usize>,
    pub(super) min_idle: usize,
    pub(super) fifo: bool,
    pub(super) wait: Option<bool>,
    pub(super) wait_timeout: Option<Duration>,
    pub(super) max_waiters: Option<usize>,
}

impl Sizing {
    pub(super) fn waits(&self) -> bool {
        self.wait.unwrap_or(self.wait_timeout.is_some())
    }
}

impl PoolBuilder {
    /// Limits the idle connections. When a returned connection exceeds the limit, the pool closes
    /// the connection that has been idle longest. Zero keeps no idle connection.
    ///
    /// With a limit below the usual number of connections in use, the pool closes and dials
    /// connections all the time.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_idle(1).build()?;
    /// let (first, second) = (pool.acquire()?, pool.acquire()?);
    /// drop((first, second));
    /// assert_eq!((pool.idle_count(), pool.stats().closed.of(CloseReason::Overflow)), (1, 1));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `max_active`, or 32 without one.
    #[doc(alias = "MaxIdle")]
    #[doc(alias = "MaxIdleConns")]
    #[doc(alias = "SetMaxIdleConns")]
    pub fn max_idle(mut self, connections: usize) -> PoolBuilder {
        self.sizing.max_idle = Some(connections);
        self
    }

    /// Keeps this many connections idle, with or without traffic. The pool dials them immediately
    /// after [`build`](PoolBuilder::build), and again whenever fewer are idle because callers took
    /// them, or because they expired or failed. While dials fail, it pauses between attempts, see
    /// [`dial_backoff`](PoolBuilder::dial_backoff).
    ///
    /// The pool stays within `max_active` and
    /// [`max_concurrent_dials`](PoolBuilder::max_concurrent_dials). To wait until the connections
    /// are open, use [`Pool::warm_up`](crate::Pool::warm_up). Needs the upkeep thread.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).min_idle(2).build()?;
    /// while pool.idle_count() < 2 {
    ///     std::thread::yield_now(); // the pool dials them in the background
    /// }
    /// assert_eq!(pool.stats().dialed.min_idle, 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to 0.
    #[doc(alias = "MinIdleConns")]
    #[doc(alias = "minimumIdle")]
    pub fn min_idle(mut self, connections: usize) -> PoolBuilder {
        self.sizing.min_idle = connections;
        self
    }

    /// Checks out the connection that has been idle longest, instead of the one used last.
    ///
    /// This keeps all connections in use, so `idle_timeout` rarely closes any. It spreads the load
    /// over servers behind one address.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicI64, Ordering};
    /// use redigo::{Dialer, Pool, testing::MemoryStream};
    ///
    /// let dialed = AtomicI64::new(0);
    /// let pool = Pool::builder_with(move |_| {
    ///     let id = dialed.fetch_add(1, Ordering::Relaxed) + 1;
    ///     Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(format!(":{id}\r\n"))))
    /// });
    /// let pool = pool.fifo(true).build()?;
    /// let (first, second) = (pool.acquire()?, pool.acquire()?);
    /// first.close()?;
    /// second.close()?;
    /// assert_eq!(pool.acquire()?.query::<i64>("CLIENT", "ID")?, 1); // idle longest
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `false`.
    #[doc(alias = "PoolFIFO")]
    pub fn fifo(mut self, fifo: bool) -> PoolBuilder {
        self.sizing.fifo = fifo;
        self
    }

    /// Limits the callers that wait at `max_active`. The next caller fails immediately with
    /// [`Error::PoolExhausted`](crate::Error::PoolExhausted). Callers whose dial is running or can
    /// start are not counted.
    ///
    /// Under more load than the pool can serve, an unlimited queue makes every caller late.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .max_active(1)
    ///     .wait(true)
    ///     .max_waiters(0) // 2 to 10 times `max_active` in a service
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// assert!(pool.acquire().unwrap_err().is_pool_exhausted());
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to no limit.
    pub fn max_waiters(mut self, callers: usize) -> PoolBuilder {
        self.sizing.max_waiters = Some(callers);
        self
    }
}
