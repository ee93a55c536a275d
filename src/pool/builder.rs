//! The options of a pool.

use std::fmt;
use std::time::Duration;

use crate::pool::settings::Dial;
use crate::pool::timer::Clock;

mod dialing;
mod health;
mod lifetime;
mod monitoring;
mod sizing;
mod validate;

use dialing::Dialing;
use health::Health;
use lifetime::Lifetime;
use monitoring::Monitoring;
use sizing::Sizing;
pub(crate) use validate::check_sizes;

/// Builds a [`Pool`](crate::Pool) from options.
///
/// Zero as a time or as a limit means off, as in redigo. The exceptions are `max_idle(0)`, which keeps
/// no idle connection, `max_waiters(0)`, which lets no caller wait, and `cleanup_timeout` and
/// `max_concurrent_dials`, which must not be zero. Options that contradict each other are an error of
/// [`build`](PoolBuilder::build).
///
/// ```
/// use std::time::Duration;
/// use redigo::{Dialer, Pool};
///
/// let pool = Pool::builder(Dialer::url("redis://localhost:6379/0")?)
///     .max_active(16)
///     .wait_timeout(Duration::from_secs(2))
///     .idle_timeout(Duration::from_secs(240))
///     .peek_after(Duration::from_secs(1))
///     .build()?;
/// # drop(pool);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Essential options
///
/// Set these in every service.
///
/// | Option | Default | Effect |
/// |---|---|---|
/// | [`max_active`](PoolBuilder::max_active) | no limit | limits the open connections |
/// | [`wait`](PoolBuilder::wait) | `false`; `true` with a `wait_timeout` | waits at `max_active` instead of failing |
/// | [`wait_timeout`](PoolBuilder::wait_timeout) | off | limits the time of a checkout |
/// | [`idle_timeout`](PoolBuilder::idle_timeout) | off | closes connections that are idle for longer |
/// | [`peek_after`](PoolBuilder::peek_after) | off | checks the socket of a connection before checkout if it was idle for longer |
///
/// # Frequently used options
///
/// | Option | Default | Effect |
/// |---|---|---|
/// | [`name`](PoolBuilder::name) | the name for metrics, or none | names the pool in log lines, threads and errors |
/// | [`peek_always`](PoolBuilder::peek_always) | `false` | checks the socket of every connection before checkout |
/// | [`max_idle`](PoolBuilder::max_idle) | `max_active`, or 32 without one | limits the idle connections |
/// | [`min_idle`](PoolBuilder::min_idle) ¹ | 0 | keeps this many connections idle |
/// | [`max_waiters`](PoolBuilder::max_waiters) | no limit | limits the callers that wait |
/// | [`max_conn_lifetime`](PoolBuilder::max_conn_lifetime) | off | closes connections that are older |
/// | [`max_conn_lifetime_jitter`](PoolBuilder::max_conn_lifetime_jitter) | 0 | shortens each lifetime by a random part of this |
/// | [`test_on_borrow`](PoolBuilder::test_on_borrow), [`test_on_borrow_context`](PoolBuilder::test_on_borrow_context) | none | tests an idle connection before checkout |
/// | [`breaker`](PoolBuilder::breaker) ¹ | off | fails immediately after this many failed dials |
/// | [`track_borrows`](PoolBuilder::track_borrows) | `false` | records where each connection was checked out |
/// | [`leak_threshold`](PoolBuilder::leak_threshold) ¹ | off | reports connections that are in use for longer |
#[cfg_attr(
    feature = "metrics",
    doc = " | [`metrics`](PoolBuilder::metrics) | off | publishes the statistics under this pool name |"
)]
///
/// # Infrequently used options
///
/// | Option | Default | Effect |
/// |---|---|---|
/// | [`fifo`](PoolBuilder::fifo) | `false` | checks out the connection that was idle longest |
/// | [`background_prune`](PoolBuilder::background_prune) ¹ | `false` | closes expired connections without traffic |
/// | [`keepalive`](PoolBuilder::keepalive) ¹ | off | sends a `PING` to connections that are idle for longer |
/// | [`retire_on`](PoolBuilder::retire_on) | `READONLY`, `LOADING`, `MASTERDOWN`, `NOAUTH` | closes connections that received one of these errors |
/// | [`cleanup_timeout`](PoolBuilder::cleanup_timeout) | 1 s | limits the cleanup of a returned connection |
/// | [`max_concurrent_dials`](PoolBuilder::max_concurrent_dials) | 16 | limits the dials that run at a time |
/// | [`dial_retries`](PoolBuilder::dial_retries) | 0 | repeats a failed dial |
/// | [`dial_backoff`](PoolBuilder::dial_backoff) | 100 ms to 10 s | sets the pauses between attempts |
/// | [`dial_budget`](PoolBuilder::dial_budget) | off; 30 s with `dial_retries` | limits all attempts of one dial together |
/// | [`reclaim_leaked`](PoolBuilder::reclaim_leaked) | `false` | takes back connections past `leak_threshold` |
/// | [`detect_deadlock`](PoolBuilder::detect_deadlock) | `false` | fails instead of waiting forever for itself |
/// | [`on_dial`](PoolBuilder::on_dial), [`on_borrow`](PoolBuilder::on_borrow), [`on_return`](PoolBuilder::on_return), [`on_close`](PoolBuilder::on_close) | none | calls your code |
///
/// ¹ Needs the upkeep thread. All pools of the process share it, and it sleeps until the next task is
/// due. Without these options, an idle pool has no threads.
#[must_use]
pub struct PoolBuilder {
    pub(crate) dial: Dial,
    /// Like `dial`, but fails unless the server answers.
    pub(crate) proven_dial: Option<Dial>,
    sizing: Sizing,
    lifetime: Lifetime,
    health: Health,
    dialing: Dialing,
    monitoring: Monitoring,
    clock: Clock,
}

// The essential options; the modules have the others.
impl PoolBuilder {
    pub(crate) fn new(dial: Dial) -> PoolBuilder {
        PoolBuilder {
            dial,
            proven_dial: None,
            sizing: Sizing::default(),
            lifetime: Lifetime::default(),
            health: Health::default(),
            dialing: Dialing::default(),
            monitoring: Monitoring::default(),
            clock: Clock::default(),
        }
    }

    /// Limits the connections that are open at a time: idle, in use and being dialed together.
    /// Zero means no limit.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).build()?;
    /// let conn = pool.acquire()?;
    /// assert!(pool.acquire().unwrap_err().is_pool_exhausted());
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to no limit.
    #[doc(alias = "MaxActive")]
    #[doc(alias = "PoolSize")]
    #[doc(alias = "MaxActiveConns")]
    #[doc(alias = "SetMaxOpenConns")]
    #[doc(alias = "maximumPoolSize")]
    #[doc(alias = "max_size")]
    pub fn max_active(mut self, connections: usize) -> PoolBuilder {
        self.sizing.max_active = Some(connections).filter(|&connections| connections > 0);
        self
    }

    /// Makes callers wait for a connection when `max_active` are open, instead of failing with
    /// [`Error::PoolExhausted`](crate::Error::PoolExhausted). Waiters are served first come, first
    /// served. Needs `max_active`.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).wait(true).build()?;
    /// let conn = pool.acquire()?;
    /// let waiter = std::thread::spawn({
    ///     let pool = pool.clone();
    ///     move || pool.acquire().map(drop)
    /// });
    /// conn.close()?; // the waiter gets it
    /// waiter.join().unwrap()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `false`; `true` with a `wait_timeout`.
    #[doc(alias = "Wait")]
    pub fn wait(mut self, wait: bool) -> PoolBuilder {
        self.sizing.wait = Some(wait);
        self
    }

    /// Limits the time of a plain [`get`](crate::Pool::get) or [`acquire`](crate::Pool::acquire),
    /// waiting and dialing together. After that it fails with
    /// [`Error::PoolTimeout`](crate::Error::PoolTimeout). Implies [`wait`](PoolBuilder::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .max_active(1)
    ///     .wait_timeout(Duration::from_millis(10))
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// assert!(pool.acquire().unwrap_err().is_timeout());
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[doc(alias = "PoolTimeout")]
    #[doc(alias = "connectionTimeout")]
    #[doc(alias = "connection_timeout")]
    pub fn wait_timeout(mut self, timeout: impl Into<Option<Duration>>) -> PoolBuilder {
        self.sizing.wait_timeout = time_limit(timeout);
        self
    }

    /// Closes connections that have been idle for longer than this. Each checkout looks for them,
    /// and so does [`Pool::prune`](crate::Pool::prune). Keep it below the server's own `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{CloseReason, Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .idle_timeout(Duration::from_secs(240)) // the server's `timeout` is 300
    ///     .clock(clock.clone())
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// clock.advance(Duration::from_secs(241));
    /// pool.acquire()?.close()?;
    /// assert_eq!(pool.stats().closed.of(CloseReason::IdleTimeout), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[doc(alias = "IdleTimeout")]
    #[doc(alias = "ConnMaxIdleTime")]
    #[doc(alias = "SetConnMaxIdleTime")]
    #[doc(alias = "idleTimeout")]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> PoolBuilder {
        self.lifetime.idle_timeout = time_limit(timeout);
        self
    }

    /// Checks the socket of a connection before checkout if it has been idle for this long.
    ///
    /// If the server has closed the connection or has sent unexpected data, the pool closes it and
    /// tries the next. The check is one system call and no round trip, and the first command after a
    /// server restart succeeds. One second is a good value.
    ///
    /// Once a connection has turned out to be dead, the pool checks all the others too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{CloseReason, Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let (server, clock) = (ScriptedServer::new(), ManualClock::new());
    /// let pool = Pool::builder(server.dialer())
    ///     .peek_after(Duration::from_secs(1))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// server.disconnect();
    /// clock.advance(Duration::from_secs(1));
    /// pool.acquire()?.close()?; // a new connection
    /// assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    pub fn peek_after(mut self, idle: impl Into<Option<Duration>>) -> PoolBuilder {
        self.health.peek_after = time_limit(idle);
        self
    }

    /// Takes the time from a clock that a test sets by hand: for idle timeouts, lifetimes and the
    /// other options that measure how long a connection is idle or in use.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .max_conn_lifetime(Duration::from_secs(3600))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// clock.advance(Duration::from_secs(3600));
    /// pool.acquire()?.close()?;
    /// assert_eq!(pool.stats().dialed.total(), 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to the system's clock.
    #[cfg(feature = "testing")]
    pub fn clock(mut self, clock: crate::pool::timer::ManualClock) -> PoolBuilder {
        self.clock = Clock::Manual(clock);
        self
    }
}

/// Returns the time as a limit: zero and times beyond a century mean none.
fn time_limit(time: impl Into<Option<Duration>>) -> Option<Duration> {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    time.into().filter(|time| !time.is_zero() && *time < CENTURY)
}

/// Shows the options by group. Of your functions it shows only whether they are set.
impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("sizing", &self.sizing)
            .field("lifetime", &self.lifetime)
            .field("health", &self.health)
            .field("dialing", &self.dialing)
            .field("monitoring", &self.monitoring)
            .finish_non_exhaustive()
    }
}
