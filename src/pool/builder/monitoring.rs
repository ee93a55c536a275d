//! The options that show how connections are used, and the hooks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{PoolBuilder, time_limit};
use crate::conn::Conn;
use crate::error::Result;
use crate::pool::hooks::Hooks;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::stats::metrics::Meter;

/// The records, the reports and the hooks of a pool.
pub(super) struct Monitoring {
    pub(super) name: Option<Arc<str>>,
    /// The name for metrics, which names a pool without a name.
    pub(super) metrics_name: Option<Arc<str>>,
    pub(super) track_borrows: bool,
    pub(super) leak_threshold: Option<Duration>,
    pub(super) reclaim_leaked: bool,
    pub(super) detect_deadlock: bool,
    pub(super) meter: Meter,
    pub(super) hooks: Hooks,
}

impl Monitoring {
    /// Whether the pool records its borrows: for `track_borrows`, or because another option needs it.
    pub(super) fn tracks(&self) -> bool {
        self.track_borrows
            || self.leak_threshold.is_some()
            || self.detect_deadlock
            || self.meter.is_on()
    }
}

impl Default for Monitoring {
    fn default() -> Monitoring {
        Monitoring {
            name: None,
            metrics_name: None,
            track_borrows: false,
            leak_threshold: None,
            reclaim_leaked: false,
            detect_deadlock: false,
            meter: Meter::off(),
            hooks: Hooks::default(),
        }
    }
}

impl fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitoring")
            .field("name", &self.name)
            .field("track_borrows", &self.track_borrows)
            .field("leak_threshold", &self.leak_threshold)
            .field("reclaim_leaked", &self.reclaim_leaked)
            .field("detect_deadlock", &self.detect_deadlock)
            .field("metrics", &self.meter.is_on())
            .field("hooks", &self.hooks)
            .finish()
    }
}

impl PoolBuilder {
    /// Names the pool. The name is part of its log lines, of its errors, and of the names of its
    /// threads: `dial-orders`. An empty name means none.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool =
    ///     Pool::builder(ScriptedServer::new().dialer()).name("orders").max_active(1).build()?;
    /// let conn = pool.acquire()?;
    /// let error = pool.acquire().unwrap_err().to_string();
    /// assert!(error.starts_with("connection pool exhausted: orders: 1 in use"));
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to the name for metrics, or none.
    #[doc(alias = "poolName")]
    pub fn name(mut self, name: impl Into<String>) -> PoolBuilder {
        let name = name.into();
        self.monitoring.name = Some(name.into()).filter(|name: &Arc<str>| !name.is_empty());
        self
    }

    /// Records where in the program each connection was checked out, by which thread and when: for
    /// [`Pool::outstanding`](crate::Pool::outstanding), for the errors of callers that get no
    /// connection, and for [`PoolStats::use_time`](crate::PoolStats::use_time). Costs some 50 ns a
    /// checkout.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).track_borrows(true).build()?;
    /// let conn = pool.acquire()?;
    /// assert_eq!(pool.outstanding().len(), 1);
    /// let error = pool.acquire().unwrap_err();
    /// println!("{error}"); // …; the oldest: borrowed 0.0 s ago by thread "main" at src/main.rs:4:17
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `false`.
    pub fn track_borrows(mut self, track: bool) -> PoolBuilder {
        self.monitoring.track_borrows = track;
        self
    }

    /// Logs a warning, once, when a connection is in use for longer than this: where it was checked
    /// out, by which thread and how long ago. When the connection is returned after all, that is
    /// logged too. [Tracks borrows](PoolBuilder::track_borrows). Needs the upkeep thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .leak_threshold(Duration::from_secs(30))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// clock.advance(Duration::from_secs(30));
    /// while pool.stats().leaks < 1 {
    ///     std::thread::yield_now(); // the pool reports it in the background
    /// }
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[doc(alias = "leakDetectionThreshold")]
    pub fn leak_threshold(mut self, in_use: impl Into<Option<Duration>>) -> PoolBuilder {
        self.monitoring.leak_threshold = time_limit(in_use);
        self
    }

    /// Takes back a connection that is in use for longer than
    /// [`leak_threshold`](PoolBuilder::leak_threshold), which this option needs. The pool shuts the
    /// connection down, so that every further call of its borrower fails with
    /// [`Error::Canceled`](crate::Error::Canceled), and its slot becomes free.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{CloseReason, Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .max_active(1)
    ///     .wait(true)
    ///     .leak_threshold(Duration::from_secs(60))
    ///     .reclaim_leaked(true)
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let leaked = pool.acquire()?;
    /// clock.advance(Duration::from_secs(60));
    /// pool.acquire()?.close()?; // waits until the slot is free
    /// assert_eq!(pool.stats().closed.of(CloseReason::Leak), 1);
    /// # drop(leaked);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `false`.
    pub fn reclaim_leaked(mut self, reclaim: bool) -> PoolBuilder {
        self.monitoring.reclaim_leaked = reclaim;
        self
    }

    /// Fails with [`Error::PoolDeadlock`](crate::Error::PoolDeadlock) if a thread that holds a
    /// connection asks for another and would wait forever, because every connection is held by
    /// threads that wait as well. The error names the thread's first borrow.
    ///
    /// A thread whose wait has a deadline is not stuck: it will leave the queue and can return its
    /// connection. So a deadlock in which only such threads hold the other connections is not
    /// reported.
    ///
    /// A connection counts as held by the thread that checked it out, even after it was sent to
    /// another. [Tracks borrows](PoolBuilder::track_borrows). Needs [`wait`](PoolBuilder::wait) and
    /// `max_active`.
    ///
    /// ```
    /// use redigo::{Error, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .max_active(1)
    ///     .wait(true)
    ///     .detect_deadlock(true)
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// let error = pool.acquire().unwrap_err(); // would wait forever without the option
    /// assert!(matches!(error, Error::PoolDeadlock(_)));
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `false`.
    pub fn detect_deadlock(mut self, detect: bool) -> PoolBuilder {
        self.monitoring.detect_deadlock = detect;
        self
    }

    /// Publishes the statistics of the pool through the `metrics` facade, to the recorder that the
    /// program has installed: Prometheus, OpenTelemetry, statsd.
    ///
    /// All metrics have the label `db.client.connection.pool.name` with this name, which must be
    /// unique among pools. [Tracks borrows](PoolBuilder::track_borrows). Exists with the feature
    /// `metrics`.
    ///
    /// | Metric | Kind | Meaning |
    /// |---|---|---|
    /// | `db.client.connection.create_time` | histogram, seconds | successful dials |
    /// | `db.client.connection.wait_time` | histogram, seconds | successful checkouts, with or without a wait |
    /// | `db.client.connection.use_time` | histogram, seconds | from checkout to return |
    /// | `db.client.connection.count` | gauge | by `db.client.connection.state`: `idle`, `used` |
    /// | `db.client.connection.idle.max`, `.idle.min`, `.max` | gauges | the limits; `.max` is infinite without a limit |
    /// | `db.client.connection.pending_requests` | gauge | callers that wait |
    /// | `db.client.connection.timeouts` | counter | callers that timed out |
    /// | `redigo.pool.dialing`, `.cleaning`, `.overdue` | gauges | connections being dialed; dropped and being cleaned; in use for longer than `leak_threshold` |
    /// | `redigo.pool.checkouts` | counter | by `found`: `idle`, `none` |
    /// | `redigo.pool.waits` | counter | by `outcome`: `served`, `timed_out`, `canceled` |
    /// | `redigo.pool.refused` | counter | by `reason`: `exhausted`, `breaker_open`, `deadlock` |
    /// | `redigo.pool.dialed` | counter | by `cause`: `demand`, `min_idle`, `probe` |
    /// | `redigo.pool.dial_errors`, `.late_dials`, `.late_reused`, `.detached`, `.leaks` | counters | as in [`PoolStats`](crate::PoolStats) |
    /// | `redigo.pool.closed` | counter | by `reason`: see [`CloseReason`] |
    ///
    /// The histograms are recorded as events happen, never under the pool's lock. Everything else
    /// is set by [`Pool::publish_metrics`](crate::Pool::publish_metrics), which the program calls
    /// before the metrics are read, and costs nothing until then.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379")).metrics("sessions").build()?;
    /// pool.publish_metrics();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[cfg(feature = "metrics")]
    pub fn metrics(mut self, name: impl Into<String>) -> PoolBuilder {
        let name = name.into();
        self.monitoring.metrics_name = Some(name.as_str().into());
        self.monitoring.meter = Meter::named(name);
        self
    }

    /// Calls the function with each new connection, after its setup. If the function fails or
    /// panics, the dial has failed.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("CLIENT", ("NO-EVICT", "ON")).ok();
    /// let pool = Pool::builder(server.dialer())
    ///     .on_dial(|conn| conn.call("CLIENT", ("NO-EVICT", "ON")).map(drop))
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to none.
    #[doc(alias = "OnConnect")]
    #[doc(alias = "connectionInitSql")]
    pub fn on_dial(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.monitoring.hooks.dial = Some(Arc::new(hook));
        self
    }

    /// Calls the function with each connection before checkout. If it fails or panics, the pool
    /// closes the connection and tries the next. A newly dialed connection is not replaced: the
    /// caller gets the error of the function.
    ///
    /// The time limit of the caller covers the function.
    ///
    /// ```
    /// use redigo::{Error, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .on_borrow(|conn| match conn.is_alive() {
    ///         true => Ok(()),
    ///         false => Err(Error::other("not this connection")),
    ///     })
    ///     .build()?;
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to none.
    #[doc(alias = "OnGet")]
    pub fn on_borrow(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.monitoring.hooks.borrow = Some(Arc::new(hook));
        self
    }

    /// Calls the function with each connection that is returned clean, also when it is dropped. If
    /// the function fails or panics, the pool closes the connection.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let returned = Arc::new(AtomicUsize::new(0));
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .on_return({
    ///         let returned = Arc::clone(&returned);
    ///         move |_| {
    ///             returned.fetch_add(1, Ordering::Relaxed);
    ///             Ok(())
    ///         }
    ///     })
    ///     .build()?;
    /// pool.acquire()?.close()?;
    /// assert_eq!(returned.load(Ordering::Relaxed), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to none.
    #[doc(alias = "OnPut")]
    pub fn on_return(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.monitoring.hooks.give_back = Some(Arc::new(hook));
        self
    }

    /// Calls the function with the reason when the pool closes a connection: once for each that
    /// [`PoolStats::closed`](crate::PoolStats::closed) counts. For a reclaimed leak, the call comes
    /// when the borrower returns the connection. A connection that failed
    /// [`on_dial`](PoolBuilder::on_dial) never belonged to the pool, so there is no call for it.
    ///
    /// The function can run on any thread that uses the pool, so it must be quick.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use redigo::{CloseReason, Pool, testing::ScriptedServer};
    ///
    /// let reasons = Arc::new(Mutex::new(Vec::new()));
    /// let pool = Pool::builder(ScriptedServer::new().dialer())
    ///     .on_close({
    ///         let reasons = Arc::clone(&reasons);
    ///         move |reason| reasons.lock().unwrap().push(reason)
    ///     })
    ///     .build()?;
    /// pool.acquire()?.discard();
    /// assert_eq!(*reasons.lock().unwrap(), [CloseReason::Discarded]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to none.
    #[doc(alias = "OnRemove")]
    pub fn on_close(mut self, hook: impl Fn(CloseReason) + Send + Sync + 'static) -> PoolBuilder {
        self.monitoring.hooks.close = Some(Arc::new(hook));
        self
    }
}
