//! The options of a pool.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::core::Rules;
use super::pool::Pool;
use crate::conn::conn::Conn;
use crate::context::Context;
use crate::error::{Error, Result};

/// How many connections are kept when neither `max_idle` nor `max_active` is said.
const DEFAULT_MAX_IDLE: usize = 32;

pub(crate) type Dial = Arc<dyn Fn(&Context) -> Result<Conn> + Send + Sync>;
pub(crate) type Test = Arc<dyn Fn(&Context, &mut Conn, Instant) -> Result<()> + Send + Sync>;

/// The options of a [`Pool`].
///
/// | Option | Default | |
/// |---|---|---|
/// | [`max_active`](PoolBuilder::max_active) | no limit | the most connections open at a time |
/// | [`max_idle`](PoolBuilder::max_idle) | `max_active`, or 32 | the most kept while nobody uses them |
/// | [`wait`](PoolBuilder::wait) | off | at the maximum, wait instead of failing |
/// | [`wait_timeout`](PoolBuilder::wait_timeout) | off | how long a `get` may take |
/// | [`idle_timeout`](PoolBuilder::idle_timeout) | off | idle connections older than this are closed |
/// | [`max_conn_lifetime`](PoolBuilder::max_conn_lifetime) | off | connections older than this are closed |
/// | [`test_on_borrow`](PoolBuilder::test_on_borrow) | none | asks a connection that was idle before it is lent |
/// | [`cleanup_timeout`](PoolBuilder::cleanup_timeout) | 1 s | how long giving back may take |
/// | [`max_concurrent_dials`](PoolBuilder::max_concurrent_dials) | 16 | dial threads for callers with a deadline |
///
/// A time or a number of zero is the same as off, as in redigo; `max_idle(0)` keeps nothing.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Dialer, Pool, check};
///
/// let pool = Pool::builder(Dialer::url("redis://localhost:6379/0")?)
///     .max_active(16)
///     .wait_timeout(Duration::from_secs(2))
///     .idle_timeout(Duration::from_secs(240))
///     .test_on_borrow(check::peek())
///     .build()?;
/// # drop(pool);
/// # Ok::<(), redigo::Error>(())
/// ```
#[must_use]
pub struct PoolBuilder {
    dial: Dial,
    max_idle: Option<usize>,
    max_active: Option<usize>,
    wait: Option<bool>,
    wait_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    max_conn_lifetime: Option<Duration>,
    tests: Vec<Test>,
    tests_with_context: Vec<Test>,
    cleanup_timeout: Duration,
    max_concurrent_dials: usize,
    clock: Clock,
}

/// The options after they have been checked, as far as the core does not have them.
pub(crate) struct Config {
    pub(crate) dial: Dial,
    pub(crate) max_active: Option<usize>,
    pub(crate) wait_timeout: Option<Duration>,
    pub(crate) tests: Vec<Test>,
    pub(crate) cleanup_timeout: Duration,
    pub(crate) clock: Clock,
    /// Whether the rules need the time of a checkout, and of a return.
    pub(crate) clock_on_get: bool,
    pub(crate) clock_on_put: bool,
}

impl PoolBuilder {
    pub(crate) fn new(dial: Dial) -> PoolBuilder {
        PoolBuilder {
            dial,
            max_idle: None,
            max_active: None,
            wait: None,
            wait_timeout: None,
            idle_timeout: None,
            max_conn_lifetime: None,
            tests: Vec::new(),
            tests_with_context: Vec::new(),
            cleanup_timeout: Duration::from_secs(1),
            max_concurrent_dials: 16,
            clock: Clock::default(),
        }
    }

    /// The most connections kept while nobody uses them; beyond it the one idle for longest is
    /// closed. With fewer than are in use at a time, connections are opened and closed all the
    /// time. Zero keeps none.
    #[doc(alias = "MaxIdle")]
    pub fn max_idle(mut self, connections: usize) -> PoolBuilder {
        self.max_idle = Some(connections);
        self
    }

    /// The most connections open at a time: idle, in use and being dialled together. Zero is no
    /// limit.
    #[doc(alias = "MaxActive")]
    pub fn max_active(mut self, connections: usize) -> PoolBuilder {
        self.max_active = Some(connections).filter(|&connections| connections > 0);
        self
    }

    /// Whether a caller waits for a connection when `max_active` are open, instead of getting
    /// [`Error::PoolExhausted`]. Those who wait are served in the order in which they came.
    #[doc(alias = "Wait")]
    pub fn wait(mut self, wait: bool) -> PoolBuilder {
        self.wait = Some(wait);
        self
    }

    /// How long a plain [`get`](Pool::get) or [`acquire`](Pool::acquire) may take, waiting and
    /// dialling together; [`Error::PoolTimeout`] after that. With `max_active` it implies
    /// [`wait`](PoolBuilder::wait).
    ///
    /// Connections are then dialled on dial threads; see
    /// [`max_concurrent_dials`](PoolBuilder::max_concurrent_dials).
    pub fn wait_timeout(mut self, timeout: impl Into<Option<Duration>>) -> PoolBuilder {
        self.wait_timeout = unless_zero(timeout);
        self
    }

    /// Closes connections that have been idle for longer than this. Looked at whenever a
    /// connection is asked for, and by [`prune`](Pool::prune). Keep it below the server's own
    /// `timeout`.
    #[doc(alias = "IdleTimeout")]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> PoolBuilder {
        self.idle_timeout = unless_zero(timeout);
        self
    }

    /// Closes connections that were dialled this long ago, when they are about to be lent and when
    /// they are given back. One in use is left alone.
    #[doc(alias = "MaxConnLifetime")]
    pub fn max_conn_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> PoolBuilder {
        self.max_conn_lifetime = unless_zero(lifetime);
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
    pub fn test_on_borrow(
        mut self,
        test: impl Fn(&mut Conn, Instant) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.tests = vec![Arc::new(move |_, conn, last_used| test(conn, last_used))];
        self
    }

    /// As [`test_on_borrow`](PoolBuilder::test_on_borrow), with the context of the caller. With
    /// both, both are asked, this one last.
    #[doc(alias = "TestOnBorrowContext")]
    pub fn test_on_borrow_context(
        mut self,
        test: impl Fn(&Context, &mut Conn, Instant) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.tests_with_context = vec![Arc::new(test)];
        self
    }

    /// How long it may take to clean a connection that is given back in a transaction, subscribed
    /// or with replies pending. One that is not clean by then is closed. A clean connection costs
    /// nothing.
    pub fn cleanup_timeout(mut self, timeout: Duration) -> PoolBuilder {
        self.cleanup_timeout = timeout;
        self
    }

    /// How many dials may run at a time on dial threads, for callers that have a deadline. The
    /// threads are started when they are needed and end after some seconds without work. A pool
    /// whose callers have no deadline has no thread at all: they dial themselves.
    pub fn max_concurrent_dials(mut self, dials: usize) -> PoolBuilder {
        self.max_concurrent_dials = dials;
        self
    }

    /// Takes the time for idle timeouts and lifetimes from a clock that a test sets by hand.
    #[cfg(feature = "testing")]
    pub fn clock(mut self, clock: super::clock::ManualClock) -> PoolBuilder {
        self.clock = Clock::Manual(clock);
        self
    }

    /// Checks the options and makes the pool. It dials nothing yet.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for options that contradict each other; it names them.
    ///
    /// ```
    /// use redigo::{Dialer, Error, Pool};
    ///
    /// let error = Pool::builder(Dialer::tcp(":6379")).wait(true).build().unwrap_err();
    /// assert!(matches!(error, Error::InvalidConfig(_)));
    /// assert!(error.to_string().contains("max_active"));
    /// ```
    pub fn build(self) -> Result<Pool> {
        let invalid = |why: &'static str| Err(Error::InvalidConfig(why.into()));
        if self.wait == Some(true) && self.max_active.is_none() {
            return invalid("wait(true) without max_active: nobody would ever wait");
        }
        if self.wait == Some(false) && self.wait_timeout.is_some() {
            return invalid("wait_timeout contradicts wait(false)");
        }
        if self.cleanup_timeout.is_zero() {
            return invalid("cleanup_timeout is zero: no connection could be cleaned");
        }
        if self.max_concurrent_dials == 0 {
            return invalid("max_concurrent_dials is zero: nobody could dial");
        }
        let rules = Rules {
            max_idle: self.max_idle.or(self.max_active).unwrap_or(DEFAULT_MAX_IDLE),
            max_active: self.max_active.unwrap_or(usize::MAX),
            wait: self.wait.unwrap_or(self.wait_timeout.is_some()),
            idle_timeout: self.idle_timeout,
            max_lifetime: self.max_conn_lifetime,
            max_jobs: self.max_concurrent_dials,
        };
        let mut tests = self.tests;
        tests.extend(self.tests_with_context);
        let config = Config {
            dial: self.dial,
            max_active: self.max_active,
            wait_timeout: self.wait_timeout,
            clock_on_get: rules.idle_timeout.is_some() || rules.max_lifetime.is_some(),
            clock_on_put: rules.idle_timeout.is_some()
                || rules.max_lifetime.is_some()
                || !tests.is_empty(),
            tests,
            cleanup_timeout: self.cleanup_timeout,
            clock: self.clock,
        };
        Ok(Pool::new(rules, config))
    }
}

fn unless_zero(time: impl Into<Option<Duration>>) -> Option<Duration> {
    time.into().filter(|time| !time.is_zero())
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("max_idle", &self.max_idle)
            .field("max_active", &self.max_active)
            .field("wait", &self.wait)
            .field("wait_timeout", &self.wait_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_conn_lifetime", &self.max_conn_lifetime)
            .field("tests", &(self.tests.len() + self.tests_with_context.len()))
            .field("cleanup_timeout", &self.cleanup_timeout)
            .field("max_concurrent_dials", &self.max_concurrent_dials)
            .finish_non_exhaustive()
    }
}
