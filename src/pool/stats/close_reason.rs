//! The reasons why a pool closes a connection, and their counts.

use std::fmt;

/// Why a pool closed a connection. [`PoolBuilder::on_close`] gets the reason, and
/// [`PoolStats::closed`] has the counts.
///
/// [`PoolBuilder::on_close`]: crate::PoolBuilder::on_close
/// [`PoolStats::closed`]: crate::PoolStats::closed
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Idle for longer than `idle_timeout`.
    IdleTimeout,
    /// Dialed longer ago than `max_conn_lifetime`.
    Lifetime,
    /// More connections were idle than `max_idle`, or open than a `max_active` that was lowered.
    Overflow,
    /// Failed its test or peek before checkout, or its keepalive.
    Health,
    /// Returned after an I/O error, a timeout or a canceled call, or when the server had closed it.
    Io,
    /// The server sent invalid data.
    Protocol,
    /// Returned or dropped in a state that cannot be undone, or that no thread could undo.
    Dirty,
    /// Received an error reply of [`retire_on`](crate::PoolBuilder::retire_on), such as `READONLY`.
    Retired,
    /// Dialed before the last [`evict_all`](crate::Pool::evict_all).
    Evicted,
    /// A hook failed or panicked.
    Hook,
    /// The pool was closed.
    PoolClosed,
    /// In use for longer than `leak_threshold` and
    /// [reclaimed](crate::PoolBuilder::reclaim_leaked).
    Leak,
    /// Discarded by its borrower.
    Discarded,
    /// Dropped while the thread of its borrower was panicking.
    Panicked,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [CloseReason; 14] = [
        CloseReason::IdleTimeout,
        CloseReason::Lifetime,
        CloseReason::Overflow,
        CloseReason::Health,
        CloseReason::Io,
        CloseReason::Protocol,
        CloseReason::Dirty,
        CloseReason::Retired,
        CloseReason::Evicted,
        CloseReason::Hook,
        CloseReason::PoolClosed,
        CloseReason::Leak,
        CloseReason::Discarded,
        CloseReason::Panicked,
    ];

    /// Returns the reason as a label for metrics: `idle_timeout`, `io`, and so on.
    ///
    /// ```
    /// use redigo::CloseReason;
    ///
    /// assert_eq!(CloseReason::IdleTimeout.as_str(), "idle_timeout");
    /// assert_eq!(CloseReason::IdleTimeout.to_string(), "idle_timeout");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::IdleTimeout => "idle_timeout",
            CloseReason::Lifetime => "lifetime",
            CloseReason::Overflow => "overflow",
            CloseReason::Health => "health",
            CloseReason::Io => "io",
            CloseReason::Protocol => "protocol",
            CloseReason::Dirty => "dirty",
            CloseReason::Retired => "retired",
            CloseReason::Evicted => "evicted",
            CloseReason::Hook => "hook",
            CloseReason::PoolClosed => "pool_closed",
            CloseReason::Leak => "leak",
            CloseReason::Discarded => "discarded",
            CloseReason::Panicked => "panicked",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Counts closed connections by reason.
///
/// ```
/// use redigo::{CloseReason, Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder(ScriptedServer::new().dialer()).max_idle(0).build()?;
/// pool.acquire()?.close()?;
/// pool.acquire()?.discard();
/// let closed = pool.stats().closed;
/// assert_eq!((closed.of(CloseReason::Overflow), closed.total()), (1, 2));
/// assert_eq!(format!("{closed:?}"), "CloseCounts { overflow: 1, discarded: 1 }");
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct CloseCounts([u64; CloseReason::ALL.len()]);

impl CloseCounts {
    /// Returns how many connections were closed for this reason.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.discard();
    /// assert_eq!(pool.stats().closed.of(CloseReason::Discarded), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn of(&self, reason: CloseReason) -> u64 {
        self.0[reason as usize]
    }

    /// Returns how many connections were closed.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.discard();
    /// assert_eq!(pool.stats().closed.total(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: CloseReason) {
        self.0[reason as usize] += 1;
    }
}

/// Shows the counts that are not zero.
impl fmt::Debug for CloseCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = f.debug_struct("CloseCounts");
        for reason in CloseReason::ALL.into_iter().filter(|&reason| self.of(reason) > 0) {
            counts.field(reason.as_str(), &self.of(reason));
        }
        counts.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_count_and_label() {
        let mut counts = CloseCounts::default();
        let mut labels = std::collections::HashSet::new();
        for (at, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert!(labels.insert(reason.to_string()), "{reason}");
            counts.add(reason);
            assert_eq!((counts.of(reason), counts.total()), (1, at as u64 + 1));
        }
    }
}
