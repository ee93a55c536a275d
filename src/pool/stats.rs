//! What a pool has done and what it looks like now.

pub(crate) mod churn;
pub(crate) mod close_reason;
pub(crate) mod histogram;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;

use std::time::Duration;

use crate::pool::stats::close_reason::CloseCounts;
use crate::pool::stats::histogram::Histogram;

/// A consistent look at a pool, taken under its lock.
///
/// `open == idle + in_use + dialing` holds in every one, and `open <= max_active`, but for a while
/// after `max_active` was made smaller. The other numbers count from the building of the pool.
///
/// ```
/// use redigo::{Dialer, Pool, testing::MemoryStream};
///
/// let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent())))
///     .max_active(4)
///     .build()?;
/// let conn = pool.acquire()?;
/// let stats = pool.stats();
/// assert_eq!((stats.open, stats.in_use, stats.idle), (1, 1, 0));
/// # drop(conn);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// The most connections that may be open; `None`: no limit.
    #[doc(alias = "MaxOpenConnections")]
    pub max_active: Option<usize>,
    /// The most connections that are kept while nobody uses them.
    pub max_idle: usize,
    /// How many connections are to be idle.
    pub min_idle: usize,
    /// Connections that are open or being dialled.
    #[doc(alias = "ActiveCount")]
    #[doc(alias = "OpenConnections")]
    #[doc(alias = "TotalConns")]
    pub open: usize,
    /// Connections waiting in the pool.
    #[doc(alias = "IdleCount")]
    #[doc(alias = "IdleConns")]
    pub idle: usize,
    /// Connections that are lent, those under test included.
    #[doc(alias = "InUse")]
    pub in_use: usize,
    /// Connections being dialled.
    pub dialing: usize,
    /// Callers that are waiting for a connection.
    #[doc(alias = "PendingRequests")]
    #[doc(alias = "threadsAwaitingConnection")]
    pub waiting: usize,
    /// Connections that are out for longer than `leak_threshold` now.
    pub overdue: usize,
    /// Whether the pool is suspended.
    pub suspended: bool,
    /// How often [`evict_all`](crate::Pool::evict_all) was called.
    pub generation: u64,
    /// Callers that had to wait because the pool was at its maximum or suspended, and whose wait
    /// ended before their patience did: with a connection, a failed dial or the closing of the pool.
    #[doc(alias = "WaitCount")]
    pub wait_count: u64,
    /// How long these waited, all together.
    #[doc(alias = "WaitDuration")]
    pub wait_duration: Duration,
    /// Callers whose time to wait was over first, or when they came.
    #[doc(alias = "Timeouts")]
    pub wait_timeouts: u64,
    /// Callers that were cancelled while they waited, or before.
    pub wait_cancels: u64,
    /// Callers that were refused because the pool was at its maximum, or `max_waiters` waited.
    pub exhausted: u64,
    /// Callers that were refused because the breaker was open.
    pub breaker_refusals: u64,
    /// Callers that were refused because they would have waited for themselves.
    pub deadlocks: u64,
    /// Callers that found an idle connection.
    #[doc(alias = "Hits")]
    pub hits: u64,
    /// Callers that did not.
    #[doc(alias = "Misses")]
    pub misses: u64,
    /// Dials that succeeded, by what they were made for.
    pub dialed: DialCounts,
    /// Dials that failed. One that was tried again counts once.
    pub dial_errors: u64,
    /// Dials whose caller had left when they succeeded, so that the connection became idle.
    pub late_dials: u64,
    /// Connections of these that were lent after all.
    pub late_reused: u64,
    /// Connections that were closed, by reason.
    #[doc(alias = "MaxIdleClosed")]
    #[doc(alias = "MaxIdleTimeClosed")]
    #[doc(alias = "MaxLifetimeClosed")]
    #[doc(alias = "StaleConns")]
    pub closed: CloseCounts,
    /// Connections that their borrower has [detached](crate::PooledConn::detach).
    pub detached: u64,
    /// Loans that were reported because they lasted longer than `leak_threshold`.
    pub leaks: u64,
    /// How long callers waited that had to, with or without success, for whatever reason.
    pub wait_time: Histogram,
    /// How long dials took that succeeded.
    pub dial_time: Histogram,
    /// How long connections were out, those that were closed afterwards included; only in a pool that
    /// [tracks its borrows](crate::PoolBuilder::track_borrows).
    pub use_time: Histogram,
}

/// How many connections were dialled, by what for.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
/// pool.warm_up(2, Duration::from_secs(10))?;
/// let (first, second, third) = (pool.acquire()?, pool.acquire()?, pool.acquire()?);
/// let dialed = pool.stats().dialed;
/// assert_eq!((dialed.min_idle, dialed.demand, dialed.total()), (2, 1, 3));
/// # drop((first, second, third));
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DialCounts {
    /// For somebody who wanted one.
    pub demand: u64,
    /// Because fewer than `min_idle` were idle, or the pool was being warmed up.
    pub min_idle: u64,
    /// By the breaker, to see whether it works again.
    pub probe: u64,
}

impl DialCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.demand + self.min_idle + self.probe
    }
}

/// The numbers that only grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) wait_count: u64,
    pub(crate) wait_duration: Duration,
    pub(crate) wait_timeouts: u64,
    pub(crate) wait_cancels: u64,
    pub(crate) exhausted: u64,
    pub(crate) breaker_refusals: u64,
    pub(crate) deadlocks: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) dialed: DialCounts,
    pub(crate) dial_errors: u64,
    pub(crate) late_dials: u64,
    pub(crate) late_reused: u64,
    pub(crate) closed: CloseCounts,
    pub(crate) detached: u64,
    pub(crate) leaks: u64,
    pub(crate) wait_time: Histogram,
    pub(crate) dial_time: Histogram,
    pub(crate) use_time: Histogram,
}
