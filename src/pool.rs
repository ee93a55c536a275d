//! The handle that users clone into their threads.

pub(crate) mod builder;
pub mod check;
pub(crate) mod clock;
pub(crate) mod closing;
pub(crate) mod core;
pub(crate) mod hooks;
pub(crate) mod inner;
pub(crate) mod meter;
#[cfg(all(test, shuttle))]
mod models;
pub(crate) mod pooled_conn;
pub(crate) mod stats;
pub(crate) mod threads;
pub(crate) mod upkeep;
pub(crate) mod waiter;
pub(crate) mod warming;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::conn::Conn;
use crate::context::Context;
use crate::dial::dialer::Dialer;
use crate::error::{Borrow, Result};
use crate::pool::builder::{Dial, PoolBuilder, Settings};
use crate::pool::closing::CloseReport;
use crate::pool::core::CoreSettings;
use crate::pool::core::registry::Borrower;
use crate::pool::inner::PoolInner;
use crate::pool::inner::checkout::Patience;
use crate::pool::pooled_conn::PooledConn;
use crate::pool::stats::PoolStats;

/// Connections that threads share, one at a time each.
///
/// [`get`](Pool::get) lends a connection and [`PooledConn::close`] gives it back. Clones are the
/// same pool. Dropping the last one [closes](Pool::close) it.
///
/// Those who wait are served in the order in which they came, each by the first connection that
/// there is: one given back or a new one. A dial is never wasted: when its caller has left, the
/// connection goes to the next or becomes idle.
///
/// ```
/// use redigo::{Dialer, Pool, testing::MemoryStream};
///
/// // Pool::builder(Dialer::url("redis://localhost")?) for a real server
/// let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("$1\r\nv\r\n"))))
///     .max_active(8)
///     .wait(true)
///     .build()?;
///
/// let mut conn = pool.get();
/// let value: String = conn.query("GET", "key")?;
/// conn.close()?;
/// assert_eq!((value.as_str(), pool.idle_count()), ("v", 1));
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "redis.Pool")]
pub struct Pool {
    handle: Arc<Handle>,
}

/// What the clones of a pool share. CheckoutInfo connections and dial threads do not: when the last clone
/// goes, nobody can ask any more, and the pool is closed.
struct Handle(Arc<PoolInner>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Pool {
    /// The options of a pool over this dialler.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let dialer = Dialer::url("redis://localhost:6379/2")?;
    /// let pool = Pool::builder(dialer).max_active(8).wait(true).build()?;
    /// assert_eq!(pool.active_count(), 0); // nothing is dialled yet
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "NewPool")]
    pub fn builder(dialer: Dialer) -> PoolBuilder {
        Pool::builder_with(move |ctx| dialer.dial_context(ctx))
    }

    /// The options of a pool over a function that dials. The context that it gets ends when the
    /// pool is closed; how long a dial may take is the function's own affair.
    ///
    /// ```no_run
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder_with(|ctx| {
    ///     let password = std::fs::read_to_string("/run/secrets/redis")?;
    ///     Dialer::tcp("redis:6379").password(password.trim()).dial_context(ctx)
    /// });
    /// # drop(pool);
    /// ```
    #[doc(alias = "Dial")]
    #[doc(alias = "DialContext")]
    pub fn builder_with(
        dial: impl Fn(&Context) -> Result<Conn> + Send + Sync + 'static,
    ) -> PoolBuilder {
        PoolBuilder::new(Arc::new(dial))
    }

    pub(crate) fn new(core_settings: CoreSettings, settings: Settings, dial: Dial) -> Pool {
        let inner = Arc::new(PoolInner::new(core_settings, settings, dial));
        inner.begin();
        Pool { handle: Arc::new(Handle(inner)) }
    }

    /// Lends a connection. This never fails: where there is none to be had, the error is in
    /// [`Conn::err`] and in every call. Use [`acquire`](Pool::acquire) for a `Result`.
    ///
    /// It takes what is idle; else it dials, on the caller's own thread; at `max_active` it waits
    /// if the pool was told to. It may take as long as that takes, unless the pool has a
    /// [`wait_timeout`](PoolBuilder::wait_timeout).
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder_with(|_| Dialer::unix("/nowhere/redis.sock").dial()).build()?;
    /// let mut conn = pool.get();
    /// assert!(conn.err().is_some());
    /// assert!(conn.call("GET", "key").is_err());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Get")]
    #[track_caller]
    pub fn get(&self) -> PooledConn {
        self.acquire().unwrap_or_else(PooledConn::failed)
    }

    /// As [`get`](Pool::get), with the error at once.
    ///
    /// # Errors
    /// - [`Error::PoolExhausted`](crate::Error::PoolExhausted): at the maximum, and not told to wait,
    ///   or `max_waiters` wait already.
    /// - [`Error::PoolTimeout`](crate::Error::PoolTimeout): the pool's `wait_timeout` has passed.
    /// - [`Error::PoolClosed`](crate::Error::PoolClosed).
    /// - [`Error::BreakerOpen`](crate::Error::BreakerOpen) and
    ///   [`Error::PoolDeadlock`](crate::Error::PoolDeadlock), where the pool has these options.
    /// - The error of a dial that failed, which is one caller's only.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(1).build()?;
    /// let conn = pool.acquire()?;
    /// let error = pool.acquire().unwrap_err();
    /// assert!(error.is_pool_exhausted());
    /// println!("{error}"); // connection pool exhausted: 1 in use, 0 idle, 0 dialing of at most 1 …
    /// drop(conn);
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Get")]
    #[doc(alias = "getConnection")]
    #[track_caller]
    pub fn acquire(&self) -> Result<PooledConn> {
        let timeout = self.inner().settings().wait_timeout;
        self.lend(&Patience::timeout(timeout, self.borrower(Location::caller())))
    }

    /// As [`acquire`](Pool::acquire), within this time, waiting and dialling together. Zero takes
    /// what is idle, and has a connection dialled for the next caller if there is nothing.
    ///
    /// At `max_active` it waits only if the pool was told to, as redigo's does.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire); [`Error::PoolTimeout`](crate::Error::PoolTimeout) when the time is over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(1).wait(true).build()?;
    /// let conn = pool.get_timeout(Duration::from_secs(1))?;
    /// let error = pool.get_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert_eq!(error.pool_report().map(|report| report.in_use), Some(1));
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "timeout_get")]
    #[track_caller]
    pub fn get_timeout(&self, timeout: Duration) -> Result<PooledConn> {
        self.lend(&Patience::timeout(Some(timeout), self.borrower(Location::caller())))
    }

    /// As [`acquire`](Pool::acquire), no longer than the context lasts. The context has no say
    /// in what is done with the connection later.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire); [`Error::Canceled`](crate::Error::Canceled), or [`Error::PoolTimeout`](crate::Error::PoolTimeout) of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), when the context ends first, even when a connection is there.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Context, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// let (ctx, handle) = Context::background().with_timeout(Duration::from_secs(5)).with_cancel();
    /// assert!(pool.get_context(&ctx).is_ok());
    /// handle.cancel(); // from any thread, also while somebody waits
    /// assert!(pool.get_context(&ctx).unwrap_err().is_canceled());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "GetContext")]
    #[track_caller]
    pub fn get_context(&self, ctx: &Context) -> Result<PooledConn> {
        self.lend(&Patience::context(ctx.clone(), self.borrower(Location::caller())))
    }

    /// A consistent look at the pool.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.close()?;
    /// pool.acquire()?.discard();
    /// let stats = pool.stats();
    /// assert_eq!((stats.misses, stats.hits), (1, 1));
    /// assert_eq!((stats.dialed.demand, stats.closed.of(CloseReason::Discarded)), (1, 1));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Stats")]
    #[doc(alias = "PoolStats")]
    pub fn stats(&self) -> PoolStats {
        self.inner().stats()
    }

    /// Gives the numbers of [`stats`](Pool::stats) to the recorder of the `metrics` facade, in a pool
    /// that has a name there: see [`PoolBuilder::metrics`]. To be called when they are about to be
    /// read, before a scrape is answered or at the interval of an exporter that pushes; all numbers
    /// of one call are of the same moment.
    ///
    /// ```no_run
    /// # fn render() -> String { String::new() }
    /// # fn page(pool: &redigo::Pool) -> String {
    /// pool.publish_metrics();
    /// render() // of a PrometheusHandle, say
    /// # }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn publish_metrics(&self) {
        let inner = self.inner();
        if inner.settings().meter.is_on() {
            inner.settings().meter.publish(&inner.stats());
        }
    }

    /// How many connections are open or being dialled.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// let (first, second) = (pool.acquire()?, pool.acquire()?);
    /// drop(first);
    /// assert_eq!((pool.active_count(), pool.idle_count()), (2, 1));
    /// # drop(second);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "ActiveCount")]
    pub fn active_count(&self) -> usize {
        self.inner().core().open()
    }

    /// How many connections wait in the pool.
    /// It is part of [`active_count`](Pool::active_count).
    #[doc(alias = "IdleCount")]
    pub fn idle_count(&self) -> usize {
        self.inner().core().idle()
    }

    /// Closes the idle connections that are too old by `idle_timeout` or `max_conn_lifetime`, and
    /// says how many. For pools that nobody uses for long: any use does the same on its way.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
    ///     .idle_timeout(Duration::from_secs(240))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// clock.advance(Duration::from_secs(300));
    /// assert_eq!((pool.prune(), pool.idle_count()), (1, 0));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn prune(&self) -> usize {
        self.inner().prune()
    }

    /// The connections that are out, the longest first: who has them, and where they were borrowed.
    /// Only in a pool that [tracks its borrows](PoolBuilder::track_borrows).
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).track_borrows(true).build()?;
    /// let conn = pool.acquire()?;
    /// for borrow in pool.outstanding() {
    ///     println!("{borrow}"); // borrowed 0.0 s ago by thread "main" at src/main.rs:5:17
    ///     assert_eq!(borrow.location.file(), file!());
    /// }
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn outstanding(&self) -> Vec<Borrow> {
        self.inner().outstanding()
    }

    /// Dials until so many connections are open and not being dialled any more, for those who want to
    /// wait for it before they begin. Dials that fail are tried again after the pauses of
    /// [`dial_backoff`](PoolBuilder::dial_backoff).
    ///
    /// # Errors
    /// [`Error::PoolTimeout`](crate::Error::PoolTimeout), with the last dial's error, when they are
    /// not there in time; [`Error::InvalidConfig`](crate::Error::InvalidConfig) for more than
    /// `max_idle` or `max_active`; [`Error::PoolClosed`](crate::Error::PoolClosed).
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool, testing::MemoryStream};
    ///
    /// let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent())))
    ///     .build()?;
    /// pool.warm_up(4, Duration::from_secs(10))?;
    /// assert_eq!(pool.idle_count(), 4);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "initializationFailTimeout")]
    pub fn warm_up(&self, connections: usize, timeout: Duration) -> Result<()> {
        self.inner().warm_up(connections, timeout)
    }

    /// Sets other limits for a pool that is in use. Idle connections beyond them are closed at once,
    /// others when they come back; until then there may be more than `max_active`, but no more than
    /// before. Callers that wait are served at once where there is room now. A `max_active` of zero
    /// is no limit.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) for limits below `min_idle`, and for none
    /// where the pool was built with `wait(true)`, `max_waiters` or `detect_deadlock`, which
    /// [`build`](PoolBuilder::build) refuses as well. Nothing is changed then.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(1).build()?;
    /// let first = pool.acquire()?;
    /// assert!(pool.acquire().is_err());
    /// pool.resize(2, 2)?;
    /// let second = pool.acquire()?;
    /// pool.resize(1, 1)?;
    /// drop(second); // one too many: it is closed
    /// assert_eq!((pool.active_count(), pool.idle_count()), (1, 0));
    /// # drop(first);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "SetMaxOpenConns")]
    #[doc(alias = "SetMaxIdleConns")]
    pub fn resize(&self, max_active: usize, max_idle: usize) -> Result<()> {
        self.inner().resize(if max_active == 0 { usize::MAX } else { max_active }, max_idle)
    }

    /// Lends nothing and dials nothing until [`resume`](Pool::resume): for the time of a switch to
    /// another server, say. Callers wait, as long as they are willing to, whatever
    /// [`wait`](PoolBuilder::wait) says; connections in use stay usable and come back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// pool.suspend();
    /// let error = pool.get_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert!(error.pool_report().is_some_and(|report| report.suspended));
    /// pool.resume();
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "suspendPool")]
    pub fn suspend(&self) {
        self.inner().core().suspend();
    }

    /// Lends again after [`suspend`](Pool::suspend): first to those who have waited longest.
    /// See [`suspend`](Pool::suspend) for an example. Resuming a pool that is not suspended does nothing.
    #[doc(alias = "resumePool")]
    pub fn resume(&self) {
        self.inner().resume();
    }

    /// Closes all connections there are, idle ones now and those in use when they come back: after a
    /// failover, or when a name points to another server. What is dialled from now on is not
    /// affected. An open breaker is closed.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// let (first, second) = (pool.acquire()?, pool.acquire()?);
    /// drop(first);
    /// pool.evict_all();
    /// assert_eq!((pool.idle_count(), pool.active_count()), (0, 1));
    /// drop(second);
    /// assert_eq!(pool.stats().closed.of(CloseReason::Evicted), 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "softEvictConnections")]
    pub fn evict_all(&self) {
        self.inner().evict_all();
    }

    /// Dials in another way from now on, with new credentials or to another server, and
    /// [evicts](Pool::evict_all) what was dialled before.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let dialer = Dialer::tcp("redis:6379").username("web");
    /// let pool = Pool::builder(dialer.clone().password("summer")).build()?;
    /// // later, when the password is changed
    /// pool.replace_dialer(dialer.password("winter"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "setPassword")]
    pub fn replace_dialer(&self, dialer: Dialer) {
        self.replace_dial_function(move |ctx| dialer.dial_context(ctx));
    }

    /// As [`replace_dialer`](Pool::replace_dialer), with a function as for
    /// [`builder_with`](Pool::builder_with).
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let (old, new) = (ScriptedServer::new(), ScriptedServer::new());
    /// let pool = Pool::builder_with(old.dialer()).build()?;
    /// pool.acquire()?.close()?;
    /// pool.replace_dial_function(new.dialer());
    /// pool.acquire()?.close()?;
    /// assert_eq!((old.open_conns(), new.open_conns()), (0, 1));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn replace_dial_function(
        &self,
        dial: impl Fn(&Context) -> Result<Conn> + Send + Sync + 'static,
    ) {
        self.inner().replace_dial(Arc::new(dial));
    }

    /// [Closes](Pool::close) the pool and waits until the connections in use have come back. Those
    /// that have not in this time are shut down: whatever their borrowers do with them fails with
    /// [`Error::Canceled`](crate::Error::Canceled). The report says how many finished, how many were
    /// cut, and where these had been borrowed if the pool
    /// [tracks its borrows](PoolBuilder::track_borrows).
    ///
    /// A thread that holds a connection itself waits for itself, and loses it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool, testing::MemoryStream};
    ///
    /// let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent())))
    ///     .track_borrows(true)
    ///     .build()?;
    /// let mut conn = pool.acquire()?;
    /// let worker = std::thread::spawn(move || conn.call("BLPOP", ("queue", 0)));
    /// let report = pool.close_and_wait(Duration::from_millis(20));
    /// assert_eq!((report.finished, report.cut), (0, 1));
    /// assert!(worker.join().unwrap().unwrap_err().is_canceled());
    /// println!("{report}"); // … 1 cut; borrowed 0.0 s ago by thread "main" at src/main.rs:8:21
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn close_and_wait(&self, timeout: Duration) -> CloseReport {
        self.inner().close_and_wait(timeout)
    }

    /// Closes the pool: whoever waits gets [`Error::PoolClosed`](crate::Error::PoolClosed) at once, dials under way are
    /// cancelled, idle connections are closed. Those in use stay usable and are closed when they
    /// are given back. Closing twice is the same as once.
    ///
    /// ```
    /// use redigo::{Error, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// let conn = pool.acquire()?;
    /// pool.close();
    /// assert!(matches!(pool.acquire(), Err(Error::PoolClosed)));
    /// drop(conn); // closed here, not before
    /// assert!(pool.is_closed() && pool.active_count() == 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Close")]
    pub fn close(&self) {
        self.inner().close();
    }

    /// True once it is closed.
    pub fn is_closed(&self) -> bool {
        self.inner().is_closed()
    }

    pub(super) fn inner(&self) -> &Arc<PoolInner> {
        &self.handle.0
    }

    /// Who asks, where that is noted.
    fn borrower(&self, location: &'static Location<'static>) -> Option<Borrower> {
        self.inner().settings().tracks.then(|| Borrower::here(location))
    }

    fn lend(&self, patience: &Patience) -> Result<PooledConn> {
        let inner = self.inner();
        let member = match inner.settings().meter.is_on() {
            false => inner.lend(patience)?,
            true => inner.lend_and_tell(patience)?,
        };
        Ok(PooledConn::new(Arc::clone(inner), member))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
