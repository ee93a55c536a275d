//! The options for those who want to know who has what, and to have a say.

use std::sync::Arc;
use std::time::Duration;

use super::{PoolBuilder, unless_never};
use crate::conn::Conn;
use crate::error::Result;
#[cfg(feature = "metrics")]
use crate::pool::meter::Meter;
use crate::pool::stats::close_reason::CloseReason;

impl PoolBuilder {
    /// Notes for each connection that is out where in the program it was borrowed, by which thread
    /// and when: for [`Pool::outstanding`](crate::Pool::outstanding), for the errors of those who
    /// get none, and for [`PoolStats::use_time`](crate::PoolStats::use_time). It costs some 50 ns a
    /// checkout.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(1).track_borrows(true).build()?;
    /// let conn = pool.acquire()?;
    /// assert_eq!(pool.outstanding().len(), 1);
    /// let error = pool.acquire().unwrap_err();
    /// println!("{error}"); // …; the oldest: borrowed 0.0 s ago by thread "main" at src/main.rs:4:17
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn track_borrows(mut self, track: bool) -> PoolBuilder {
        self.track_borrows = track;
        self
    }

    /// A connection that is out for longer than this is reported once in the log, as a warning: where
    /// it was borrowed, by which thread, how long ago. When it comes back after all, that is too.
    /// [Tracks borrows](PoolBuilder::track_borrows). Needs the upkeep thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .leak_threshold(Duration::from_secs(30))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "leakDetectionThreshold")]
    pub fn leak_threshold(mut self, out: impl Into<Option<Duration>>) -> PoolBuilder {
        self.leak_threshold = unless_never(out);
        self
    }

    /// Takes a connection back that is out for longer than
    /// [`leak_threshold`](PoolBuilder::leak_threshold): it is shut down, so that whatever its
    /// borrower does with it fails with [`Error::Canceled`](crate::Error::Canceled), and its place is
    /// free for another.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{CloseReason, Pool, testing::{ManualClock, ScriptedServer}};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
    ///     .max_active(1)
    ///     .wait(true)
    ///     .leak_threshold(Duration::from_secs(60))
    ///     .reclaim_leaked(true)
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let leaked = pool.acquire()?;
    /// clock.advance(Duration::from_secs(60));
    /// pool.acquire()?.close()?; // waits for the upkeep, and then there is room
    /// assert_eq!(pool.stats().closed.of(CloseReason::Leak), 1);
    /// # drop(leaked);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn reclaim_leaked(mut self, reclaim: bool) -> PoolBuilder {
        self.reclaim_leaked = reclaim;
        self
    }

    /// A thread that holds a connection, asks for another and would wait for ever, because every
    /// connection is held by threads that wait like itself, gets
    /// [`Error::PoolDeadlock`](crate::Error::PoolDeadlock), which names its first borrow. A
    /// connection counts as held by the thread that has borrowed it, wherever it was sent.
    /// [Tracks borrows](PoolBuilder::track_borrows).
    ///
    /// ```
    /// use redigo::{Error, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
    ///     .max_active(1)
    ///     .wait(true)
    ///     .detect_deadlock(true)
    ///     .build()?;
    /// let conn = pool.acquire()?;
    /// let error = pool.acquire().unwrap_err(); // would never come back otherwise
    /// assert!(matches!(error, Error::PoolDeadlock(_)));
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn detect_deadlock(mut self, refuse: bool) -> PoolBuilder {
        self.detect_deadlock = refuse;
        self
    }

    /// Publishes the pool's numbers through the `metrics` facade, for whatever recorder the program
    /// has installed: Prometheus, OpenTelemetry, statsd. Each has the label
    /// `db.client.connection.pool.name` with this name, which no other pool should have.
    /// [Tracks borrows](PoolBuilder::track_borrows). Exists with the feature `metrics`.
    ///
    /// | name | kind | |
    /// |---|---|---|
    /// | `db.client.connection.create_time` | histogram, seconds | dials that succeeded |
    /// | `db.client.connection.wait_time` | histogram, seconds | from asking to having a connection, waiting or not |
    /// | `db.client.connection.use_time` | histogram, seconds | from having it to giving it back |
    /// | `db.client.connection.count` | gauge | by `db.client.connection.state`: `idle`, `used` |
    /// | `db.client.connection.idle.max`, `.idle.min`, `.max` | gauges | the limits; `.max` is infinite where there is none |
    /// | `db.client.connection.pending_requests` | gauge | callers that wait |
    /// | `db.client.connection.timeouts` | counter | callers whose time was over first |
    /// | `redigo.pool.dialing`, `.overdue` | gauges | being dialled; out for longer than `leak_threshold` |
    /// | `redigo.pool.checkouts` | counter | by `found`: `idle`, `none` |
    /// | `redigo.pool.waits` | counter | by `outcome`: `served`, `timed_out`, `cancelled` |
    /// | `redigo.pool.refused` | counter | by `reason`: `exhausted`, `breaker_open`, `deadlock` |
    /// | `redigo.pool.dialed` | counter | by `cause`: `demand`, `min_idle`, `probe` |
    /// | `redigo.pool.dial_errors`, `.late_dials`, `.late_reused`, `.detached`, `.leaks` | counters | as in [`PoolStats`](crate::PoolStats) |
    /// | `redigo.pool.closed` | counter | by `reason`: see [`CloseReason`] |
    ///
    /// The histograms are recorded as things happen, never under the pool's lock. The rest costs
    /// nothing until [`Pool::publish_metrics`](crate::Pool::publish_metrics) is called, which the
    /// program does when the numbers are about to be read.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379")).metrics("sessions").build()?;
    /// pool.publish_metrics();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn metrics(mut self, name: impl Into<String>) -> PoolBuilder {
        self.meter = Meter::named(name.into());
        self
    }

    /// Runs this on each new connection, after its set-up. When it fails or panics, the dial has
    /// failed.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .on_dial(|conn| conn.call("CLIENT", ("NO-EVICT", "ON")).map(drop))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "OnConnect")]
    #[doc(alias = "connectionInitSql")]
    pub fn on_dial(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.hooks.dial = Some(Arc::new(hook));
        self
    }

    /// Runs this on each connection that is about to be lent. When it fails or panics, the
    /// connection is closed, and the caller gets another; one that was just dialled is not
    /// replaced, and the caller gets the hook's error. The time limit of the caller covers it.
    ///
    /// ```
    /// use redigo::{Error, Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
    ///     .on_borrow(|conn| match conn.is_alive() {
    ///         true => Ok(()),
    ///         false => Err(Error::other("not this one")),
    ///     })
    ///     .build()?;
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "OnGet")]
    pub fn on_borrow(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.hooks.borrow = Some(Arc::new(hook));
        self
    }

    /// Runs this on each connection that comes back clean, also when it is dropped. When it fails or
    /// panics, the connection is closed.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let returned = Arc::new(AtomicUsize::new(0));
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer())
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
    #[doc(alias = "OnPut")]
    pub fn on_return(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.hooks.give_back = Some(Arc::new(hook));
        self
    }

    /// Runs this whenever the pool closes a connection, with the reason: once for each that
    /// [`PoolStats::closed`](crate::PoolStats::closed) counts, and for one that was taken back as a
    /// leak when it comes. One that [`on_dial`](PoolBuilder::on_dial) has refused never was the
    /// pool's. It may run on any thread that uses the pool, so it should be quick.
    ///
    /// ```
    /// use redigo::{CloseReason, Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .on_close(|reason| {
    ///         if reason == CloseReason::Leak {
    ///             eprintln!("who has kept a connection?");
    ///         }
    ///     })
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "OnRemove")]
    pub fn on_close(mut self, hook: impl Fn(CloseReason) + Send + Sync + 'static) -> PoolBuilder {
        self.hooks.close = Some(Arc::new(hook));
        self
    }
}
