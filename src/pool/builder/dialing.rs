//! The options for dials.

use std::time::Duration;

use super::{PoolBuilder, time_limit};
use crate::pool::core::backoff::Backoff;

/// How a pool dials, and what it does when dials fail.
#[derive(Debug)]
pub(super) struct Dialing {
    pub(super) max_concurrent_dials: usize,
    pub(super) dial_retries: u32,
    pub(super) dial_backoff: Backoff,
    pub(super) dial_budget: Option<Duration>,
    pub(super) breaker: Option<u32>,
}

impl Default for Dialing {
    fn default() -> Dialing {
        Dialing {
            max_concurrent_dials: 16,
            dial_retries: 0,
            dial_backoff: Backoff {
                first: Duration::from_millis(100),
                longest: Duration::from_secs(10),
            },
            dial_budget: None,
            breaker: None,
        }
    }
}

impl PoolBuilder {
    /// Limits the dials that run at a time. Zero is an error of [`build`](PoolBuilder::build).
    ///
    /// Every dial runs on a dial thread, and its caller waits in the queue for the first connection
    /// that becomes available, returned or newly dialed. Dial threads are started on demand, so the
    /// first dial costs the start of a thread, and end after 5 s without work. See
    /// [`Pool::builder_with`](crate::Pool::builder_with) for what this means for a dial function.
    ///
    /// A dial that hangs does not count against the limit forever: only until it is older than one
    /// second and older than the pool's typical dial. Including such dials, the pool runs at most four
    /// times as many, and never more than it has free slots. A caller that comes after a hung dial gets
    /// a dial of its own.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let dialer = ScriptedServer::new().dialer();
    /// let pool = Pool::builder_with(move |ctx| {
    ///     assert_eq!(std::thread::current().name(), Some("redigo-dial"));
    ///     dialer.dial_context(ctx)
    /// });
    /// let pool = pool.max_concurrent_dials(4).build()?;
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to 16.
    #[doc(alias = "MaxConcurrentDials")]
    pub fn max_concurrent_dials(mut self, dials: usize) -> PoolBuilder {
        self.dialing.max_concurrent_dials = dials;
        self
    }

    /// Repeats a failed dial up to this many times before it counts as failed, after the pauses of
    /// [`dial_backoff`](PoolBuilder::dial_backoff) and within
    /// [`dial_budget`](PoolBuilder::dial_budget). A user name or password that the
    /// server refuses is not tried again, nor is an invalid option.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Error, Pool, TimeoutKind, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.fail_dial(TimeoutKind::Connect);
    /// let pool = Pool::builder(server.dialer())
    ///     .dial_retries(2)
    ///     .dial_backoff(Duration::from_millis(1), Duration::from_millis(5))
    ///     .build()?;
    /// assert!(pool.acquire().is_ok());
    /// assert_eq!(pool.stats().dial_errors, 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to 0.
    #[doc(alias = "DialerRetries")]
    pub fn dial_retries(mut self, retries: u32) -> PoolBuilder {
        self.dialing.dial_retries = retries;
        self
    }

    /// Sets the pauses after failed dials. Each pause is twice the one before, up to the longest,
    /// and is shortened by a random part of up to a half.
    ///
    /// They apply between the attempts of one dial, between attempts to keep
    /// [`min_idle`](PoolBuilder::min_idle), and between those of an open
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
    ///
    /// Defaults to 100 ms to 10 s.
    #[doc(alias = "DialerRetryBackoff")]
    pub fn dial_backoff(mut self, first: Duration, longest: Duration) -> PoolBuilder {
        self.dialing.dial_backoff = Backoff { first, longest };
        self
    }

    /// Limits the time of all attempts of one dial together, including their pauses. The context
    /// that the dial function gets ends at this limit. When off, only the limits of the dial function
    /// itself apply.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Error, Pool};
    ///
    /// let pool = Pool::builder_with(|ctx| {
    ///     assert!(ctx.remaining().unwrap() <= Duration::from_secs(5));
    ///     Err(Error::other("no route"))
    /// });
    /// let pool = pool.dial_budget(Duration::from_secs(5)).build()?;
    /// assert!(pool.acquire().is_err());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off; 30 s with `dial_retries`.
    pub fn dial_budget(mut self, budget: impl Into<Option<Duration>>) -> PoolBuilder {
        self.dialing.dial_budget = time_limit(budget);
        self
    }

    /// Stops dialing on demand after this many failed dials in a row. While this breaker is open, a
    /// caller that finds no idle connection immediately gets
    /// [`Error::BreakerOpen`](crate::Error::BreakerOpen), which has the error of the last dial and
    /// its age.
    ///
    /// In the background the pool tries one dial at a time, after the pauses of
    /// [`dial_backoff`](PoolBuilder::dial_backoff). The first dial that succeeds closes the breaker,
    /// and its connection is kept. Zero means off. Needs the upkeep thread.
    ///
    /// ```
    /// use redigo::{Dialer, Error, Pool};
    ///
    /// let pool = Pool::builder_with(|_| Dialer::unix("/nowhere/redis.sock").dial())
    ///     .breaker(2)
    ///     .build()?;
    /// assert!(matches!(pool.acquire(), Err(Error::Io(_))));
    /// assert!(matches!(pool.acquire(), Err(Error::Io(_))));
    /// let error = pool.acquire().unwrap_err(); // from now on without a dial
    /// assert!(matches!(error, Error::BreakerOpen(_)));
    /// println!("{error}"); // …; a dial failed 0.1 ms ago: connecting to /nowhere/redis.sock: …
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    pub fn breaker(mut self, failures: u32) -> PoolBuilder {
        self.dialing.breaker = Some(failures).filter(|&failures| failures > 0);
        self
    }
}
