//! The statistics of a pool.

pub(crate) mod churn;
pub(crate) mod close_reason;
pub(crate) mod discards;
pub(crate) mod histogram;
pub(crate) mod metrics;

use std::time::Duration;

use crate::pool::stats::close_reason::CloseCounts;
use crate::pool::stats::histogram::Histogram;

/// A consistent snapshot of a pool, taken under its lock.
///
/// `open == idle + in_use + dialing` holds in each snapshot, and `open <= max_active` unless
/// `max_active` was lowered recently. The counters start at zero when the pool is built.
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
    /// The limit of open connections; `None` is no limit.
    #[doc(alias = "MaxOpenConnections")]
    pub max_active: Option<usize>,
    /// The limit of idle connections.
    pub max_idle: usize,
    /// The number of connections that the pool keeps idle.
    pub min_idle: usize,
    /// Connections that are open or being dialed.
    #[doc(alias = "ActiveCount")]
    #[doc(alias = "OpenConnections")]
    #[doc(alias = "TotalConns")]
    pub open: usize,
    /// Connections that are idle.
    #[doc(alias = "IdleCount")]
    #[doc(alias = "IdleConns")]
    pub idle: usize,
    /// Connections that are checked out, including those under test and those being cleaned.
    #[doc(alias = "InUse")]
    pub in_use: usize,
    /// Connections that were dropped in an unclean state and are being cleaned, or wait for a thread
    /// that cleans them. They count as in use.
    pub cleaning: usize,
    /// Connections being dialed.
    pub dialing: usize,
    /// How long the oldest running dial has taken until now, all its attempts together; `None` if no
    /// dial is running.
    pub oldest_dial_age: Option<Duration>,
    /// The number of attempts that the oldest running dial has begun. More than one only with
    /// [`dial_retries`](crate::PoolBuilder::dial_retries).
    pub oldest_dial_attempts: u32,
    /// Callers that wait for a connection.
    #[doc(alias = "PendingRequests")]
    #[doc(alias = "threadsAwaitingConnection")]
    pub waiting: usize,
    /// Connections that are in use for longer than `leak_threshold`.
    pub overdue: usize,
    /// Whether the pool is suspended.
    pub suspended: bool,
    /// How often [`evict_all`](crate::Pool::evict_all) was called.
    pub generation: u64,
    /// Waits at `max_active` or in a suspended pool that ended before the caller timed out or was
    /// canceled: with a connection, a failed dial or the closing of the pool.
    #[doc(alias = "WaitCount")]
    pub wait_count: u64,
    /// The total time of these waits.
    #[doc(alias = "WaitDuration")]
    pub wait_duration: Duration,
    /// Callers that timed out while they waited, or before.
    #[doc(alias = "Timeouts")]
    pub wait_timeouts: u64,
    /// Callers that were canceled while they waited, or before.
    pub wait_cancels: u64,
    /// Callers that failed because the pool was at `max_active`, or `max_waiters` waited.
    pub exhausted: u64,
    /// Callers that failed because the breaker was open.
    pub breaker_refusals: u64,
    /// Callers that failed because they would have waited for themselves.
    pub deadlocks: u64,
    /// Callers that found an idle connection.
    #[doc(alias = "Hits")]
    pub hits: u64,
    /// Callers that found none.
    #[doc(alias = "Misses")]
    pub misses: u64,
    /// Successful dials, by cause.
    pub dialed: DialCounts,
    /// Attempts to dial, including those of [`dial_retries`](crate::PoolBuilder::dial_retries).
    pub dial_attempts: u64,
    /// Failed dials. A dial counts once, however often it was tried again.
    pub dial_errors: u64,
    /// Dials that succeeded after their caller had left, so that the connection became idle.
    pub late_dials: u64,
    /// Connections of such dials that were checked out later.
    pub late_reused: u64,
    /// Closed connections, by reason.
    #[doc(alias = "MaxIdleClosed")]
    #[doc(alias = "MaxIdleTimeClosed")]
    #[doc(alias = "MaxLifetimeClosed")]
    #[doc(alias = "StaleConns")]
    pub closed: CloseCounts,
    /// Connections that their borrowers [detached](crate::PooledConn::detach).
    pub detached: u64,
    /// Borrows that were reported because they exceeded `leak_threshold`.
    pub leaks: u64,
    /// The time of each wait, for any reason, with or without success.
    pub wait_time: Histogram,
    /// The time of each successful dial.
    pub dial_time: Histogram,
    /// The time of each borrow, including those whose connection was closed afterwards. Recorded
    /// only in a pool that [tracks its borrows](crate::PoolBuilder::track_borrows).
    pub use_time: Histogram,
}

/// Counts successful dials by cause.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
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
    /// Dials for a caller.
    pub demand: u64,
    /// Dials for `min_idle` or a warm-up.
    pub min_idle: u64,
    /// Dials of an open breaker, which find out whether the server is back.
    pub probe: u64,
}

impl DialCounts {
    /// Returns how many dials succeeded.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.close()?;
    /// assert_eq!(pool.stats().dialed.total(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn total(&self) -> u64 {
        self.demand + self.min_idle + self.probe
    }
}

/// The counters and histograms of a pool.
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
    pub(crate) dial_attempts: u64,
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
