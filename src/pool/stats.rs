//! What a pool has done and what it looks like now.

use std::time::Duration;

use super::lending::Shared;

/// A consistent look at a pool, taken under its lock.
///
/// `open == idle + in_use + dialing` and `open <= max_active` hold in every one. The other numbers
/// count from the building of the pool.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// The most connections that may be open; `None`: no limit.
    pub max_active: Option<usize>,
    /// Connections that are open or being dialled.
    #[doc(alias = "ActiveCount")]
    pub open: usize,
    /// Connections waiting in the pool.
    #[doc(alias = "IdleCount")]
    pub idle: usize,
    /// Connections that are lent, those under test included.
    pub in_use: usize,
    /// Connections being dialled.
    pub dialing: usize,
    /// Callers that are waiting for a connection.
    pub waiting: usize,
    /// Callers that had to wait because the pool was at its maximum, and whose wait ended before
    /// their patience did: with a connection, a failed dial or the closing of the pool.
    #[doc(alias = "WaitCount")]
    pub wait_count: u64,
    /// How long these waited, all together.
    #[doc(alias = "WaitDuration")]
    pub wait_duration: Duration,
    /// Callers whose time to wait was over first, or when they came.
    pub wait_timeouts: u64,
    /// Callers that were cancelled while they waited, or before.
    pub wait_cancels: u64,
    /// Callers that were refused because the pool was at its maximum.
    pub exhausted: u64,
    /// Callers that found an idle connection.
    pub hits: u64,
    /// Callers that did not.
    pub misses: u64,
    /// Dials that succeeded.
    pub dials: u64,
    /// Dials that failed.
    pub dial_errors: u64,
    /// Dials whose caller had left when they succeeded, so that the connection became idle.
    pub late_dials: u64,
    /// Idle connections closed because of `idle_timeout`.
    pub closed_idle_timeout: u64,
    /// Idle connections closed because of `max_conn_lifetime`.
    pub closed_lifetime: u64,
    /// Idle connections closed because there were more than `max_idle`.
    pub closed_max_idle: u64,
    /// Connections closed because their test before lending failed.
    pub closed_test: u64,
    /// Connections closed because they came back broken, or in a state that could not be undone.
    pub closed_broken: u64,
    /// Connections that their borrower discarded or detached, or lost in a panic.
    pub discarded: u64,
}

/// The numbers that only grow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) wait_count: u64,
    pub(crate) wait_duration: Duration,
    pub(crate) wait_timeouts: u64,
    pub(crate) wait_cancels: u64,
    pub(crate) exhausted: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) dials: u64,
    pub(crate) dial_errors: u64,
    pub(crate) late_dials: u64,
    pub(crate) closed_idle_timeout: u64,
    pub(crate) closed_lifetime: u64,
    pub(crate) closed_max_idle: u64,
    pub(crate) closed_test: u64,
    pub(crate) closed_broken: u64,
    pub(crate) discarded: u64,
}

impl Shared {
    pub(crate) fn stats(&self) -> PoolStats {
        let core = self.core();
        let counters = &core.counters;
        PoolStats {
            max_active: self.config().max_active,
            open: core.open(),
            idle: core.idle(),
            in_use: core.in_use(),
            dialing: core.dialing(),
            waiting: core.waiting(),
            wait_count: counters.wait_count,
            wait_duration: counters.wait_duration,
            wait_timeouts: counters.wait_timeouts,
            wait_cancels: counters.wait_cancels,
            exhausted: counters.exhausted,
            hits: counters.hits,
            misses: counters.misses,
            dials: counters.dials,
            dial_errors: counters.dial_errors,
            late_dials: counters.late_dials,
            closed_idle_timeout: counters.closed_idle_timeout,
            closed_lifetime: counters.closed_lifetime,
            closed_max_idle: counters.closed_max_idle,
            closed_test: counters.closed_test,
            closed_broken: counters.closed_broken,
            discarded: counters.discarded,
        }
    }
}
