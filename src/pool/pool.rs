//! The handle that users clone into their threads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::{Config, PoolBuilder};
use super::core::Rules;
use super::lending::{Patience, Shared};
use super::pooled::PooledConn;
use super::stats::PoolStats;
use crate::conn::conn::Conn;
use crate::context::Context;
use crate::dial::dialer::Dialer;
use crate::error::Result;

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

/// What the clones of a pool share. Lent connections and dial threads do not: when the last clone
/// goes, nobody can ask any more, and the pool is closed.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Pool {
    /// The options of a pool over this dialler.
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

    pub(crate) fn new(rules: Rules, config: Config) -> Pool {
        Pool { handle: Arc::new(Handle(Arc::new(Shared::new(rules, config)))) }
    }

    /// Lends a connection. This never fails: where there is none to be had, the error is in
    /// [`Conn::err`] and in every call. Use [`acquire`](Pool::acquire) for a `Result`.
    ///
    /// It takes what is idle; else it dials, on the caller's own thread; at `max_active` it waits
    /// if the pool was told to. It may take as long as that takes, unless the pool has a
    /// [`wait_timeout`](PoolBuilder::wait_timeout).
    #[doc(alias = "Get")]
    pub fn get(&self) -> PooledConn {
        self.acquire().unwrap_or_else(PooledConn::failed)
    }

    /// As [`get`](Pool::get), with the error at once.
    ///
    /// # Errors
    /// - [`Error::PoolExhausted`](crate::Error::PoolExhausted): at the maximum, and not told to wait.
    /// - [`Error::PoolTimeout`](crate::Error::PoolTimeout): the pool's `wait_timeout` has passed.
    /// - [`Error::PoolClosed`](crate::Error::PoolClosed).
    /// - The error of a dial that failed, which is one caller's only.
    #[doc(alias = "Get")]
    pub fn acquire(&self) -> Result<PooledConn> {
        self.lend(&Patience::timeout(self.shared().config().wait_timeout))
    }

    /// As [`acquire`](Pool::acquire), within this time, waiting and dialling together. Zero takes
    /// what is idle, and has a connection dialled for the next caller if there is nothing.
    ///
    /// At `max_active` it waits only if the pool was told to, as redigo's does.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire); [`Error::PoolTimeout`](crate::Error::PoolTimeout) when the time is over.
    pub fn get_timeout(&self, timeout: Duration) -> Result<PooledConn> {
        self.lend(&Patience::timeout(Some(timeout)))
    }

    /// As [`acquire`](Pool::acquire), no longer than the context lasts. The context has no say
    /// in what is done with the connection later.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire); [`Error::Canceled`](crate::Error::Canceled), or [`Error::PoolTimeout`](crate::Error::PoolTimeout) of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), when the context ends first, even when a connection is there.
    #[doc(alias = "GetContext")]
    pub fn get_context(&self, ctx: &Context) -> Result<PooledConn> {
        self.lend(&Patience::context(ctx.clone()))
    }

    /// A consistent look at the pool.
    #[doc(alias = "Stats")]
    pub fn stats(&self) -> PoolStats {
        self.shared().stats()
    }

    /// How many connections are open or being dialled.
    #[doc(alias = "ActiveCount")]
    pub fn active_count(&self) -> usize {
        self.shared().core().open()
    }

    /// How many connections wait in the pool.
    #[doc(alias = "IdleCount")]
    pub fn idle_count(&self) -> usize {
        self.shared().core().idle()
    }

    /// Closes the idle connections that are too old by `idle_timeout` or `max_conn_lifetime`, and
    /// says how many. For pools that nobody uses for long: any use does the same on its way.
    pub fn prune(&self) -> usize {
        self.shared().prune()
    }

    /// Closes the pool: whoever waits gets [`Error::PoolClosed`](crate::Error::PoolClosed) at once, dials under way are
    /// cancelled, idle connections are closed. Those in use stay usable and are closed when they
    /// are given back. Closing twice is the same as once.
    #[doc(alias = "Close")]
    pub fn close(&self) {
        self.shared().close();
    }

    /// True once it is closed.
    pub fn is_closed(&self) -> bool {
        self.shared().is_closed()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }

    fn lend(&self, patience: &Patience) -> Result<PooledConn> {
        let member = self.shared().lend(patience)?;
        Ok(PooledConn::new(Arc::clone(self.shared()), member))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
