//! Why a pool closes a connection.

use std::fmt;

/// Why a pool has closed one of its connections; [`PoolBuilder::on_close`] is told, and
/// [`PoolStats::closed`] counts.
///
/// [`PoolBuilder::on_close`]: crate::PoolBuilder::on_close
/// [`PoolStats::closed`]: crate::PoolStats::closed
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Idle for longer than `idle_timeout`.
    IdleTimeout,
    /// As old as `max_conn_lifetime`.
    Lifetime,
    /// More were idle than `max_idle`, or open than a `max_active` that was made smaller.
    Overflow,
    /// It did not pass its test, its peek or its keepalive before it was lent.
    Health,
    /// It came back with an I/O error, a timeout or a cancelled call.
    Io,
    /// The server sent what is no reply.
    Protocol,
    /// It came back in a state that could not be undone in time.
    Dirty,
    /// The server answered with an error that retires a connection, `READONLY` for one.
    Retired,
    /// It was dialled before the last [`evict_all`](crate::Pool::evict_all).
    Evicted,
    /// A hook of the user's has failed or panicked.
    Hook,
    /// The pool was closed.
    PoolClosed,
    /// It was out for longer than `leak_threshold`, and the pool was told to take it back.
    Leak,
    /// Its borrower said so.
    Discarded,
    /// Its borrower's thread panicked.
    Panicked,
}

impl CloseReason {
    /// Every reason there is.
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

    /// One word for it, for labels of metrics: `idle_timeout`, `io` …
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

/// How many connections were closed, by reason.
///
/// ```
/// use redigo::{CloseReason, Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_idle(0).build()?;
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
    /// How many for this reason.
    pub fn of(&self, reason: CloseReason) -> u64 {
        self.0[reason as usize]
    }

    /// How many altogether.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: CloseReason) {
        self.0[reason as usize] += 1;
    }
}

/// Those that are not zero.
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
    fn every_reason_has_a_count_and_a_word_of_its_own() {
        let mut counts = CloseCounts::default();
        let mut words = std::collections::HashSet::new();
        for (at, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert!(words.insert(reason.to_string()), "{reason}");
            counts.add(reason);
            assert_eq!((counts.of(reason), counts.total()), (1, at as u64 + 1));
        }
    }
}
