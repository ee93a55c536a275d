//! [`Pool`], and how a [`PoolBuilder`] builds it.

pub(crate) mod builder;
pub mod check;
pub(crate) mod core;
pub(crate) mod executor;
pub(crate) mod hooks;
pub(crate) mod inner;
#[cfg(all(test, shuttle))]
mod models;
pub(crate) mod parker;
pub(crate) mod pooled_conn;
pub(crate) mod settings;
pub(crate) mod stats;
pub(crate) mod threads;
pub(crate) mod timer;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::conn::Conn;
use crate::context::Context;
use crate::dial::dialer::Dialer;
use crate::error::{Borrow, Result};
use crate::pool::builder::PoolBuilder;
use crate::pool::core::registry::Borrower;
use crate::pool::inner::PoolInner;
use crate::pool::inner::checkout::CheckoutLimit;
use crate::pool::inner::lifecycle::CloseReport;
use crate::pool::pooled_conn::PooledConn;
use crate::pool::stats::PoolStats;
use crate::sync;

/// A pool of connections that threads share.
///
/// [`get`](Pool::get) checks a connection out and [`PooledConn::close`] returns it. A connection is
/// used by one thread at a time. Clones of a `Pool` are handles of the same pool; dropping the last
/// one [closes](Pool::close) it.
///
/// Waiters are served first come, first served, by the next connection to become available, returned
/// or newly dialed. A newcomer cannot overtake a waiter. No dial is wasted: if its caller has left,
/// the connection goes to the next waiter or becomes idle. Dials run on
/// [dial threads](PoolBuilder::max_concurrent_dials).
///
/// After a `fork`, the child process must not use its parent's pool, because both would read the
/// replies of the same sockets. Build pools after the fork.
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

/// Shared by the clones of a `Pool`, but not by its connections and threads, so that dropping the
/// last clone closes the pool.
struct Handle(Arc<PoolInner>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl PoolBuilder {
    /// Checks the options and builds the pool.
    ///
    /// Dials nothing, except in the background for [`min_idle`](PoolBuilder::min_idle).
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if options contradict each other. The
    /// error names them.
    ///
    /// ```
    /// use redigo::{Dialer, Error, Pool};
    ///
    /// let error = Pool::builder(Dialer::tcp(":6379")).wait(true).build().unwrap_err();
    /// assert!(matches!(error, Error::InvalidConfig(_)));
    /// assert!(error.to_string().contains("max_active"));
    /// ```
    pub fn build(self) -> Result<Pool> {
        let proven = self.proven_dial.as_ref().filter(|_| self.needs_proof());
        let dial = Arc::clone(proven.unwrap_or(&self.dial));
        let (core_settings, settings) = self.checked()?;
        let inner = Arc::new(PoolInner::new(core_settings, settings, dial));
        inner.begin();
        Ok(Pool { handle: Arc::new(Handle(inner)) })
    }
}

impl Pool {
    /// Returns the options of a pool that dials with this dialer.
    ///
    /// In a pool with a [`breaker`](PoolBuilder::breaker), [`min_idle`](PoolBuilder::min_idle),
    /// [`keepalive`](PoolBuilder::keepalive) or [`dial_retries`](PoolBuilder::dial_retries), a dial
    /// that has nothing else to send sends `PING`. A server that accepts connections and serves none
    /// therefore fails the dial.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let dialer = Dialer::url("redis://localhost:6379/2")?;
    /// let pool = Pool::builder(dialer).max_active(8).wait(true).build()?;
    /// assert_eq!(pool.active_count(), 0); // nothing is dialed yet
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "NewPool")]
    pub fn builder(dialer: Dialer) -> PoolBuilder {
        let proving = dialer.clone();
        let mut builder = Pool::builder_with(move |ctx| dialer.dial_context(ctx));
        builder.proven_dial = Some(Arc::new(move |ctx| proving.dial_proven(ctx)));
        builder
    }

    /// Returns the options of a pool that dials with this function.
    ///
    /// The function's context ends when the pool is closed and when the
    /// [`dial_budget`](PoolBuilder::dial_budget) is used up. Apart from that, the function limits its
    /// own time: one that never returns occupies a slot of the pool forever, which
    /// [`PoolStats::oldest_dial_age`] and the pool's errors show.
    ///
    /// It runs on a [dial thread](PoolBuilder::max_concurrent_dials) and not for a particular caller,
    /// so it sees neither a caller's thread-local values nor a caller's context.
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

    /// Checks out a connection. Never fails: if none is available, the returned connection carries
    /// the error, which [`Conn::err`] and every call return.
    ///
    /// Use [`acquire`](Pool::acquire) to get a `Result` instead.
    ///
    /// Takes an idle connection if there is one. Otherwise a connection is dialed, or, at
    /// `max_active`, the caller waits if [`wait`](PoolBuilder::wait) is set. In both cases the caller
    /// gets the first connection that becomes available. The only time limit is the pool's
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

    /// Checks out a connection, like [`get`](Pool::get), but returns the error if none is available.
    ///
    /// # Errors
    /// - [`Error::PoolExhausted`](crate::Error::PoolExhausted): `max_active` connections are open and
    ///   the pool does not wait, or `max_waiters` callers already wait.
    /// - [`Error::PoolTimeout`](crate::Error::PoolTimeout): the pool's `wait_timeout` has passed.
    /// - [`Error::PoolClosed`](crate::Error::PoolClosed): the pool is closed.
    /// - [`Error::BreakerOpen`](crate::Error::BreakerOpen) and
    ///   [`Error::PoolDeadlock`](crate::Error::PoolDeadlock), in a pool with these options.
    /// - The error of a failed dial. Each failed dial fails at most one caller: the oldest waiter with
    ///   a dial.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).build()?;
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
        self.check_out(&CheckoutLimit::timeout(timeout, self.borrower(Location::caller())))
    }

    /// Checks out a connection, like [`acquire`](Pool::acquire), within this time.
    ///
    /// The timeout covers waiting and dialing together. With a timeout of zero, the caller gets an
    /// idle connection or an error, and in the second case a connection is dialed for the next
    /// caller.
    ///
    /// As in redigo, the caller waits at `max_active` only if [`wait`](PoolBuilder::wait) is set.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire), and [`Error::PoolTimeout`](crate::Error::PoolTimeout) if
    /// the time has passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).wait(true).build()?;
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
        self.check_out(&CheckoutLimit::timeout(Some(timeout), self.borrower(Location::caller())))
    }

    /// Checks out a connection, like [`acquire`](Pool::acquire), unless the context ends first.
    ///
    /// The context limits only the checkout, not the use of the connection.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire). If the context ends first,
    /// [`Error::Canceled`](crate::Error::Canceled), or
    /// [`Error::PoolTimeout`](crate::Error::PoolTimeout) of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), even if a connection is idle.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Context, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// let (ctx, handle) = Context::background().with_timeout(Duration::from_secs(5)).with_cancel();
    /// assert!(pool.get_context(&ctx).is_ok());
    /// handle.cancel(); // from any thread, also while a caller waits
    /// assert!(pool.get_context(&ctx).unwrap_err().is_canceled());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "GetContext")]
    #[track_caller]
    pub fn get_context(&self, ctx: &Context) -> Result<PooledConn> {
        self.check_out(&CheckoutLimit::context(ctx.clone(), self.borrower(Location::caller())))
    }

    /// Returns the pool's statistics, all from the same moment.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
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
        self.inner().core().stats(sync::now())
    }

    /// Publishes the [statistics](Pool::stats) to the recorder of the `metrics` facade.
    ///
    /// Does nothing in a pool without a [`metrics`](PoolBuilder::metrics) name. Call it just before
    /// the numbers are read: before a scrape is answered, or at the interval of a pushing exporter.
    /// All numbers of one call are from the same moment.
    ///
    /// ```no_run
    /// # fn render() -> String { String::new() }
    /// # fn page(pool: &redigo::Pool) -> String {
    /// pool.publish_metrics();
    /// render() // of a PrometheusHandle, for example
    /// # }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn publish_metrics(&self) {
        let meter = &self.inner().settings().meter;
        if meter.is_on() {
            // A separate statement, because the recorder must not run under the pool's lock.
            let stats = self.stats();
            meter.publish(&stats);
        }
    }

    /// Returns the number of connections that are open or being dialed.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
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

    /// Returns the number of idle connections, which [`active_count`](Pool::active_count) includes.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// let conn = pool.acquire()?;
    /// assert_eq!(pool.idle_count(), 0);
    /// conn.close()?;
    /// assert_eq!(pool.idle_count(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "IdleCount")]
    pub fn idle_count(&self) -> usize {
        self.inner().core().idle()
    }

    /// Closes the idle connections that are past `idle_timeout` or `max_conn_lifetime`, and returns
    /// their number.
    ///
    /// Useful in a pool without traffic: every checkout closes expired connections too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
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

    /// Returns the connections in use, the longest borrow first: the borrowing thread, the line of
    /// the checkout and its age.
    ///
    /// Empty unless the pool [tracks its borrows](PoolBuilder::track_borrows).
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).track_borrows(true).build()?;
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

    /// Blocks until `connections` connections are open, dialing them as needed. Useful at startup.
    ///
    /// Connections in use count, connections being dialed do not. Failed dials are repeated after
    /// the pauses of [`dial_backoff`](PoolBuilder::dial_backoff).
    ///
    /// # Errors
    /// - [`Error::PoolTimeout`](crate::Error::PoolTimeout), with the last dial's error, if the time
    ///   has passed.
    /// - [`Error::InvalidConfig`](crate::Error::InvalidConfig) if `connections` is above `max_idle`
    ///   or `max_active`.
    /// - [`Error::PoolClosed`](crate::Error::PoolClosed).
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

    /// Changes the limits of a pool that is in use. A `max_active` of zero means no limit.
    ///
    /// Idle connections beyond the new limits are closed immediately, connections in use when they
    /// are returned. Until then more than `max_active` connections can be open, but never more than
    /// before the call. If there are free slots now, waiters are served immediately.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig), as from
    /// [`build`](PoolBuilder::build), if a limit is below `min_idle`, or if there is no limit and the
    /// pool was built with `wait(true)`, `max_waiters` or `detect_deadlock`. Nothing changes then.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).build()?;
    /// let first = pool.acquire()?;
    /// assert!(pool.acquire().is_err());
    /// pool.resize(2, 2)?;
    /// let second = pool.acquire()?;
    /// pool.resize(1, 1)?;
    /// drop(second); // beyond the limit, so it is closed
    /// assert_eq!((pool.active_count(), pool.idle_count()), (1, 0));
    /// # drop(first);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "SetMaxOpenConns")]
    #[doc(alias = "SetMaxIdleConns")]
    pub fn resize(&self, max_active: usize, max_idle: usize) -> Result<()> {
        self.inner().resize(Some(max_active).filter(|&max| max > 0), max_idle)
    }

    /// Stops checkouts and dials until [`resume`](Pool::resume), for example during a switch to
    /// another server.
    ///
    /// Callers wait, up to their time limit, even without [`wait`](PoolBuilder::wait). Connections in
    /// use stay usable and can be returned.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
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

    /// Ends [`suspend`](Pool::suspend) and serves the waiters, oldest first.
    ///
    /// Does nothing if the pool is not suspended.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.suspend();
    /// let waiter = std::thread::spawn({
    ///     let pool = pool.clone();
    ///     move || pool.acquire().map(drop)
    /// });
    /// pool.resume();
    /// waiter.join().unwrap()?;
    /// assert!(!pool.stats().suspended);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "resumePool")]
    pub fn resume(&self) {
        self.inner().resume();
    }

    /// Closes all connections that are open now, for example after a failover or when a host name
    /// points to another server.
    ///
    /// Idle connections are closed immediately, connections in use when they are returned.
    /// Connections dialed from now on are not affected. An open breaker is closed.
    ///
    /// ```
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
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

    /// Replaces the dialer, for example to change the password or the server, and
    /// [evicts](Pool::evict_all) the connections that the old one has dialed.
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

    /// Replaces the dialer, like [`replace_dialer`](Pool::replace_dialer), by a function as for
    /// [`builder_with`](Pool::builder_with).
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let (old, new) = (ScriptedServer::new(), ScriptedServer::new());
    /// let pool = Pool::builder(old.dialer()).build()?;
    /// pool.acquire()?.close()?;
    /// let replacement = new.clone();
    /// pool.replace_dial_function(move |_ctx| Ok(replacement.conn()));
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

    /// [Closes](Pool::close) the pool and waits until the connections in use are returned, and dropped
    /// ones are clean.
    ///
    /// After the timeout, the connections still in use are shut down: their calls fail with
    /// [`Error::Canceled`](crate::Error::Canceled). The report has the numbers of returned and of
    /// aborted connections, and, if the pool [tracks its borrows](PoolBuilder::track_borrows), where
    /// the aborted ones were borrowed.
    ///
    /// A thread that calls this while it holds a connection waits for itself until the timeout, and
    /// loses the connection.
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
    /// assert_eq!((report.returned, report.aborted), (0, 1));
    /// assert!(worker.join().unwrap().unwrap_err().is_canceled());
    /// println!("{report}"); // … 1 aborted; borrowed 0.0 s ago by thread "main" at src/main.rs:8:21
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn close_and_wait(&self, timeout: Duration) -> CloseReport {
        self.inner().close_and_wait(timeout)
    }

    /// Closes the pool.
    ///
    /// Waiters fail immediately with [`Error::PoolClosed`](crate::Error::PoolClosed), running dials
    /// are canceled and idle connections are closed. Connections in use stay usable and are closed
    /// when they are returned. Closing a closed pool does nothing.
    ///
    /// ```
    /// use redigo::{Error, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
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

    /// Returns true if the pool is closed.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// assert!(!pool.is_closed());
    /// pool.close();
    /// assert!(pool.is_closed());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.inner().is_closed()
    }

    pub(super) fn inner(&self) -> &Arc<PoolInner> {
        &self.handle.0
    }

    /// Returns the calling thread, if checkouts are recorded.
    fn borrower(&self, location: &'static Location<'static>) -> Option<Borrower> {
        self.inner().settings().track_borrows.then(|| Borrower::here(location))
    }

    fn check_out(&self, limit: &CheckoutLimit) -> Result<PooledConn> {
        let inner = self.inner();
        let entry = match inner.settings().meter.is_on() {
            false => inner.check_out(limit)?,
            true => inner.check_out_metered(limit)?,
        };
        Ok(PooledConn::new(Arc::clone(inner), entry))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
