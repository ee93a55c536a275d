//! The options about dialling.

use std::time::Duration;

use super::{PoolBuilder, unless_never};
use crate::pool::core::backoff::Backoff;

impl PoolBuilder {
    /// How many dials may run at a time on dial threads, for callers that have a deadline. The
    /// threads are started when they are needed and end after some seconds without work. A pool
    /// whose callers have no deadline has no thread at all: they dial themselves.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .wait_timeout(Duration::from_secs(2))
    ///     .max_concurrent_dials(4)
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "MaxConcurrentDials")]
    pub fn max_concurrent_dials(mut self, dials: usize) -> PoolBuilder {
        self.max_concurrent_dials = dials;
        self
    }

    /// How often a dial that failed is tried again before it counts as failed, after the pauses of
    /// [`dial_backoff`](PoolBuilder::dial_backoff) and within
    /// [`dial_budget`](PoolBuilder::dial_budget). A wrong password or option is not tried again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Error, Pool, TimeoutKind, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.fail_dial(TimeoutKind::Connect);
    /// let pool = Pool::builder_with(server.dialer())
    ///     .dial_retries(2)
    ///     .dial_backoff(Duration::from_millis(1), Duration::from_millis(5))
    ///     .build()?;
    /// assert!(pool.acquire().is_ok());
    /// assert_eq!(pool.stats().dial_errors, 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DialerRetries")]
    pub fn dial_retries(mut self, retries: u32) -> PoolBuilder {
        self.dial_retries = retries;
        self
    }

    /// The pauses after failed dials: the first, doubled each time up to the longest, each shortened
    /// by a random part of up to a half. They are made between the attempts of one dial, between
    /// attempts to keep [`min_idle`](PoolBuilder::min_idle), and between those of an open
    /// [`breaker`](PoolBuilder::breaker).
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .dial_retries(3)
    ///     .dial_backoff(Duration::from_millis(50), Duration::from_secs(1))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DialerRetryBackoff")]
    pub fn dial_backoff(mut self, first: Duration, longest: Duration) -> PoolBuilder {
        self.backoff = Backoff { first, longest };
        self
    }

    /// The time for all attempts of one dial, their pauses included; it ends the context of the dial
    /// function. 30 s when there are [`dial_retries`](PoolBuilder::dial_retries), else no limit but
    /// the dial function's own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .dial_retries(3)
    ///     .dial_budget(Duration::from_secs(5))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn dial_budget(mut self, budget: impl Into<Option<Duration>>) -> PoolBuilder {
        self.dial_budget = unless_never(budget);
        self
    }

    /// After so many dials in a row have failed, the pool makes no more on demand: who finds nothing
    /// idle gets [`Error::BreakerOpen`](crate::Error::BreakerOpen) at once, with the last dial's
    /// error and its age. One dial is tried in the background, after the pauses of
    /// [`dial_backoff`](PoolBuilder::dial_backoff); the connection that it makes is kept, and all is
    /// as before. Any dial that succeeds does that. Needs the upkeep thread.
    ///
    /// ```
    /// use redigo::{Dialer, Error, Pool};
    ///
    /// let pool = Pool::builder_with(|_| Dialer::unix("/nowhere/redis.sock").dial())
    ///     .breaker(2)
    ///     .build()?;
    /// assert!(matches!(pool.acquire(), Err(Error::Io(_))));
    /// assert!(matches!(pool.acquire(), Err(Error::Io(_))));
    /// // From now on nobody waits for a dial that is not going to succeed.
    /// let error = pool.acquire().unwrap_err();
    /// assert!(matches!(error, Error::BreakerOpen(_)));
    /// println!("{error}"); // …; a dial failed 0.1 ms ago: connecting to /nowhere/redis.sock: …
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn breaker(mut self, failures: u32) -> PoolBuilder {
        self.breaker = Some(failures).filter(|&failures| failures > 0);
        self
    }
}
