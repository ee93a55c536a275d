//! The options of a pool.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::context::Context;
use crate::error::Result;
use crate::pool::Pool;
use crate::pool::clock::Clock;
use crate::pool::core::backoff::Backoff;
use crate::pool::hooks::Hooks;
use crate::pool::meter::Meter;

mod dialing;
mod health;
mod monitoring;
mod validate;

pub(crate) use validate::{Settings, check_sizes};

pub(crate) type Dial = Arc<dyn Fn(&Context) -> Result<Conn> + Send + Sync>;
pub(crate) type Test = Arc<dyn Fn(&Context, &mut Conn, Instant) -> Result<()> + Send + Sync>;

/// The options of a [`Pool`].
///
/// | Option | Default | |
/// |---|---|---|
/// | [`max_active`](PoolBuilder::max_active) | no limit | the most connections open at a time |
/// | [`max_idle`](PoolBuilder::max_idle) | `max_active`, or 32 | the most kept while nobody uses them |
/// | [`min_idle`](PoolBuilder::min_idle) | 0 | how many are kept ready ¹ |
/// | [`fifo`](PoolBuilder::fifo) | off | lends what has been idle for longest first |
/// | [`wait`](PoolBuilder::wait) | off | at the maximum, wait instead of failing |
/// | [`wait_timeout`](PoolBuilder::wait_timeout) | off | how long a `get` may take |
/// | [`max_waiters`](PoolBuilder::max_waiters) | no limit | how many may wait at the maximum |
/// | [`idle_timeout`](PoolBuilder::idle_timeout) | off | idle connections older than this are closed |
/// | [`max_conn_lifetime`](PoolBuilder::max_conn_lifetime) | off | connections older than this are closed |
/// | [`max_conn_lifetime_jitter`](PoolBuilder::max_conn_lifetime_jitter) | 0 | by how much lifetimes differ |
/// | [`background_prune`](PoolBuilder::background_prune) | off | closes old ones without anybody asking ¹ |
/// | [`peek_after`](PoolBuilder::peek_after) | off | looks at the socket of one idle for this long before lending |
/// | [`keepalive`](PoolBuilder::keepalive) | off | asks idle connections whether they live ¹ |
/// | [`test_on_borrow`](PoolBuilder::test_on_borrow) | none | asks a connection that was idle before it is lent |
/// | [`retire_on`](PoolBuilder::retire_on) | `READONLY` `LOADING` `MASTERDOWN` `NOAUTH` | error replies that end a connection's use |
/// | [`cleanup_timeout`](PoolBuilder::cleanup_timeout) | 1 s | how long giving back may take |
/// | [`max_concurrent_dials`](PoolBuilder::max_concurrent_dials) | 16 | dial threads for callers with a deadline |
/// | [`dial_retries`](PoolBuilder::dial_retries) | 0 | further attempts of a dial that failed |
/// | [`dial_backoff`](PoolBuilder::dial_backoff) | 100 ms to 10 s | the pauses between attempts |
/// | [`dial_budget`](PoolBuilder::dial_budget) | off; 30 s with retries | the time for all attempts of one dial |
/// | [`breaker`](PoolBuilder::breaker) | off | after so many failed dials, fail at once ¹ |
/// | [`track_borrows`](PoolBuilder::track_borrows) | off | notes who has what |
/// | [`leak_threshold`](PoolBuilder::leak_threshold) | off | reports what is out for this long ¹ |
/// | [`reclaim_leaked`](PoolBuilder::reclaim_leaked) | off | and takes it back |
/// | [`detect_deadlock`](PoolBuilder::detect_deadlock) | off | an error for a thread that would wait for itself |
/// | [`on_dial`](PoolBuilder::on_dial), [`on_borrow`](PoolBuilder::on_borrow), [`on_return`](PoolBuilder::on_return), [`on_close`](PoolBuilder::on_close) | none | code of your own |
#[cfg_attr(
    feature = "metrics",
    doc = " | [`metrics`](PoolBuilder::metrics) | off | publishes the pool's numbers under this name |"
)]
///
/// ¹ Needs the upkeep thread, one for all pools, which sleeps until something is due. Without these
/// a pool whose callers have no deadline has no threads.
///
/// A time or a number of zero is the same as off, as in redigo; `max_idle(0)` keeps nothing.
/// Options that contradict each other are an error of [`build`](PoolBuilder::build).
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
#[must_use]
pub struct PoolBuilder {
    dial: Dial,
    max_idle: Option<usize>,
    max_active: Option<usize>,
    min_idle: usize,
    fifo: bool,
    wait: Option<bool>,
    wait_timeout: Option<Duration>,
    max_waiters: Option<usize>,
    idle_timeout: Option<Duration>,
    max_conn_lifetime: Option<Duration>,
    max_conn_lifetime_jitter: Duration,
    background_prune: bool,
    peek_after: Option<Duration>,
    keepalive: Option<Duration>,
    tests: Vec<Test>,
    tests_with_context: Vec<Test>,
    retire_on: Arc<[String]>,
    cleanup_timeout: Duration,
    max_concurrent_dials: usize,
    dial_retries: u32,
    backoff: Backoff,
    dial_budget: Option<Duration>,
    breaker: Option<u32>,
    track_borrows: bool,
    leak_threshold: Option<Duration>,
    reclaim_leaked: bool,
    detect_deadlock: bool,
    meter: Meter,
    hooks: Hooks,
    clock: Clock,
}

impl PoolBuilder {
    pub(crate) fn new(dial: Dial) -> PoolBuilder {
        let retire_on = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH"];
        PoolBuilder {
            dial,
            max_idle: None,
            max_active: None,
            min_idle: 0,
            fifo: false,
            wait: None,
            wait_timeout: None,
            max_waiters: None,
            idle_timeout: None,
            max_conn_lifetime: None,
            max_conn_lifetime_jitter: Duration::ZERO,
            background_prune: false,
            peek_after: None,
            keepalive: None,
            tests: Vec::new(),
            tests_with_context: Vec::new(),
            retire_on: retire_on.into_iter().map(String::from).collect(),
            cleanup_timeout: Duration::from_secs(1),
            max_concurrent_dials: 16,
            dial_retries: 0,
            backoff: Backoff {
                first: Duration::from_millis(100),
                longest: Duration::from_secs(10),
            },
            dial_budget: None,
            breaker: None,
            track_borrows: false,
            leak_threshold: None,
            reclaim_leaked: false,
            detect_deadlock: false,
            meter: Meter::off(),
            hooks: Hooks::default(),
            clock: Clock::default(),
        }
    }

    /// The most connections kept while nobody uses them; beyond it the one idle for longest is
    /// closed. With fewer than are in use at a time, connections are opened and closed all the
    /// time. Zero keeps none.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_idle(1).build()?;
    /// let (first, second) = (pool.acquire()?, pool.acquire()?);
    /// drop((first, second));
    /// assert_eq!((pool.idle_count(), pool.stats().closed.of(CloseReason::Overflow)), (1, 1));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "MaxIdle")]
    #[doc(alias = "MaxIdleConns")]
    #[doc(alias = "SetMaxIdleConns")]
    pub fn max_idle(mut self, connections: usize) -> PoolBuilder {
        self.max_idle = Some(connections);
        self
    }

    /// The most connections open at a time: idle, in use and being dialled together. Zero is no
    /// limit.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(1).build()?;
    /// let conn = pool.acquire()?;
    /// assert!(pool.acquire().unwrap_err().is_pool_exhausted());
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "MaxActive")]
    #[doc(alias = "PoolSize")]
    #[doc(alias = "MaxActiveConns")]
    #[doc(alias = "SetMaxOpenConns")]
    #[doc(alias = "maximumPoolSize")]
    #[doc(alias = "max_size")]
    pub fn max_active(mut self, connections: usize) -> PoolBuilder {
        self.max_active = Some(connections).filter(|&connections| connections > 0);
        self
    }

    /// Whether a caller waits for a connection when `max_active` are open, instead of getting
    /// [`Error::PoolExhausted`](crate::Error::PoolExhausted). Those who wait are served in the order in which they came.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(1).wait(true).build()?;
    /// let conn = pool.acquire()?;
    /// let waiter = std::thread::spawn({
    ///     let pool = pool.clone();
    ///     move || pool.acquire().map(drop)
    /// });
    /// conn.close()?;
    /// waiter.join().unwrap()?; // it had it next
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Wait")]
    pub fn wait(mut self, wait: bool) -> PoolBuilder {
        self.wait = Some(wait);
        self
    }

    /// How many connections are kept ready while nobody uses them: dialled right after
    /// [`build`](PoolBuilder::build), and again whenever fewer are idle, be it that some were lent,
    /// became too old or died, with or without traffic. While dials fail, the next attempt is made
    /// after a pause, see [`dial_backoff`](PoolBuilder::dial_backoff).
    ///
    /// It stays within `max_active` and [`max_concurrent_dials`](PoolBuilder::max_concurrent_dials).
    /// To wait until they are there, use [`Pool::warm_up`]. Needs the upkeep thread.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).min_idle(2).build()?;
    /// while pool.idle_count() < 2 {
    ///     std::thread::yield_now(); // they are dialled in the background
    /// }
    /// assert_eq!(pool.stats().dialed.min_idle, 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "MinIdleConns")]
    #[doc(alias = "minimumIdle")]
    pub fn min_idle(mut self, connections: usize) -> PoolBuilder {
        self.min_idle = connections;
        self
    }

    /// Lends the connection that has been idle for longest instead of the one used last. It keeps
    /// all of them in use, so that `idle_timeout` hardly ever finds any: good for spreading load over
    /// servers behind one address.
    #[doc(alias = "PoolFIFO")]
    pub fn fifo(mut self, fifo: bool) -> PoolBuilder {
        self.fifo = fifo;
        self
    }

    /// How long a plain [`get`](Pool::get) or [`acquire`](Pool::acquire) may take, waiting and
    /// dialling together; [`Error::PoolTimeout`](crate::Error::PoolTimeout) after that. With `max_active` it implies
    /// [`wait`](PoolBuilder::wait).
    ///
    /// Connections are then dialled on dial threads; see
    /// [`max_concurrent_dials`](PoolBuilder::max_concurrent_dials).
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
    ///     .max_active(1)
    ///     .wait_timeout(Duration::from_millis(10))
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// assert!(pool.acquire().unwrap_err().is_timeout());
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "PoolTimeout")]
    #[doc(alias = "connectionTimeout")]
    #[doc(alias = "connection_timeout")]
    pub fn wait_timeout(mut self, timeout: impl Into<Option<Duration>>) -> PoolBuilder {
        self.wait_timeout = unless_never(timeout);
        self
    }

    /// How many callers may wait at `max_active`; the next gets [`Error::PoolExhausted`](crate::Error::PoolExhausted) at once.
    /// Under more load than a pool can bear, a queue without end makes everybody late. Those for whom
    /// a dial runs, or may, do not count.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// // Sixteen at work, a hundred who wait; the next is told at once.
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(16).wait(true).max_waiters(100).build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn max_waiters(mut self, callers: usize) -> PoolBuilder {
        self.max_waiters = Some(callers);
        self
    }

    /// Takes the time for idle timeouts and lifetimes from a clock that a test sets by hand.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
    ///     .max_conn_lifetime(Duration::from_secs(3600))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// clock.advance(Duration::from_secs(3600));
    /// pool.acquire()?.close()?;
    /// assert_eq!(pool.stats().dialed.total(), 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[cfg(feature = "testing")]
    pub fn clock(mut self, clock: crate::pool::clock::ManualClock) -> PoolBuilder {
        self.clock = Clock::Manual(clock);
        self
    }

    /// Checks the options and makes the pool. It dials nothing yet.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) for options that contradict each other; it names them.
    ///
    /// ```
    /// use redigo::{Dialer, Error, Pool};
    ///
    /// let error = Pool::builder(Dialer::tcp(":6379")).wait(true).build().unwrap_err();
    /// assert!(matches!(error, Error::InvalidConfig(_)));
    /// assert!(error.to_string().contains("max_active"));
    /// ```
    pub fn build(self) -> Result<Pool> {
        let dial = Arc::clone(&self.dial);
        let (core_settings, settings) = self.checked()?;
        Ok(Pool::new(core_settings, settings, dial))
    }
}

/// Zero is off, and so is what lies centuries ahead.
fn unless_never(time: impl Into<Option<Duration>>) -> Option<Duration> {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    time.into().filter(|time| !time.is_zero() && *time < CENTURY)
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("max_idle", &self.max_idle)
            .field("max_active", &self.max_active)
            .field("min_idle", &self.min_idle)
            .field("fifo", &self.fifo)
            .field("wait", &self.wait)
            .field("wait_timeout", &self.wait_timeout)
            .field("max_waiters", &self.max_waiters)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_conn_lifetime", &self.max_conn_lifetime)
            .field("max_conn_lifetime_jitter", &self.max_conn_lifetime_jitter)
            .field("background_prune", &self.background_prune)
            .field("peek_after", &self.peek_after)
            .field("keepalive", &self.keepalive)
            .field("tests", &(self.tests.len() + self.tests_with_context.len()))
            .field("retire_on", &self.retire_on)
            .field("cleanup_timeout", &self.cleanup_timeout)
            .field("max_concurrent_dials", &self.max_concurrent_dials)
            .field("dial_retries", &self.dial_retries)
            .field("dial_backoff", &self.backoff)
            .field("dial_budget", &self.dial_budget)
            .field("breaker", &self.breaker)
            .field("track_borrows", &self.track_borrows)
            .field("leak_threshold", &self.leak_threshold)
            .field("reclaim_leaked", &self.reclaim_leaked)
            .field("detect_deadlock", &self.detect_deadlock)
            .finish_non_exhaustive()
    }
}
