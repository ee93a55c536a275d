//! The shell around the core: one mutex, and everything that must not happen under it.

use std::cell::OnceCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{Config, PoolBuilder};
use super::core::{Actions, Answer, Caller, Cause, Core, Member, Outcome, Removal, Rules};
use super::dialing::DialThreads;
use super::pooled::PooledConn;
use super::stats::PoolStats;
use super::waiter::{Parker, Ticket};
use crate::conn::conn::Conn;
use crate::context::{CancelHandle, Context};
use crate::dial::dialer::Dialer;
use crate::error::{Error, PoolReport, Result, TimeoutKind};
use crate::sync::{Mutex, MutexGuard};

/// Connections that threads share, one at a time each.
///
/// [`get`](Pool::get) lends a connection and [`PooledConn::close`] gives it back. Clones are the
/// same pool. When the last one is dropped the idle connections are closed; those in use are
/// closed when they are given back.
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
    shared: Arc<Shared>,
}

type PoolCore = Core<Box<Conn>, Parker>;
type PoolActions = Actions<Box<Conn>, Parker>;

/// What the handles, the lent connections and the dial threads of a pool share.
pub(crate) struct Shared {
    core: Mutex<PoolCore>,
    config: Config,
    dial_threads: DialThreads,
    /// Every dial runs under a context that ends when the pool is closed.
    lifetime: Context,
    end_lifetime: CancelHandle,
    last_dial_error: Mutex<Option<Error>>,
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
        let (lifetime, end_lifetime) = Context::background().with_cancel();
        let shared = Shared {
            core: Mutex::new(Core::new(rules)),
            config,
            dial_threads: DialThreads::new(),
            lifetime,
            end_lifetime,
            last_dial_error: Mutex::new(None),
        };
        Pool { shared: Arc::new(shared) }
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
    /// - [`Error::PoolExhausted`]: at the maximum, and not told to wait.
    /// - [`Error::PoolTimeout`]: the pool's `wait_timeout` has passed.
    /// - [`Error::PoolClosed`].
    /// - The error of a dial that failed, which is one caller's only.
    #[doc(alias = "Get")]
    pub fn acquire(&self) -> Result<PooledConn> {
        self.lend(&Patience::timeout(self.shared.config.wait_timeout))
    }

    /// As [`acquire`](Pool::acquire), within this time, waiting and dialling together. Zero takes
    /// what is idle, and has a connection dialled for the next caller if there is nothing.
    ///
    /// At `max_active` it waits only if the pool was told to, as redigo's does.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire); [`Error::PoolTimeout`] when the time is over.
    pub fn get_timeout(&self, timeout: Duration) -> Result<PooledConn> {
        self.lend(&Patience::timeout(Some(timeout)))
    }

    /// As [`acquire`](Pool::acquire), no longer than the context lasts. The context has no say
    /// in what is done with the connection later.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire); [`Error::Canceled`], or [`Error::PoolTimeout`] of kind
    /// [`TimeoutKind::Context`], when the context ends first, even when a connection is there.
    #[doc(alias = "GetContext")]
    pub fn get_context(&self, ctx: &Context) -> Result<PooledConn> {
        self.lend(&Patience::context(ctx.clone()))
    }

    /// A consistent look at the pool.
    #[doc(alias = "Stats")]
    pub fn stats(&self) -> PoolStats {
        let core = self.shared.core();
        let counters = &core.counters;
        PoolStats {
            max_active: self.shared.config.max_active,
            open: core.open(),
            idle: core.idle(),
            in_use: core.in_use(),
            dialing: core.dialing(),
            waiting: core.waiting(),
            wait_count: counters.wait_count,
            wait_duration: counters.wait_duration,
            wait_timeouts: counters.wait_timeouts,
            wait_cancels: counters.wait_cancels,
            exhausted: counters.exhausted,
            hits: counters.hits,
            misses: counters.misses,
            dials: counters.dials,
            dial_errors: counters.dial_errors,
            late_dials: counters.late_dials,
            closed_idle_timeout: counters.closed_idle_timeout,
            closed_lifetime: counters.closed_lifetime,
            closed_max_idle: counters.closed_max_idle,
            closed_test: counters.closed_test,
            closed_broken: counters.closed_broken,
            discarded: counters.discarded,
        }
    }

    /// How many connections are open or being dialled.
    #[doc(alias = "ActiveCount")]
    pub fn active_count(&self) -> usize {
        self.shared.core().open()
    }

    /// How many connections wait in the pool.
    #[doc(alias = "IdleCount")]
    pub fn idle_count(&self) -> usize {
        self.shared.core().idle()
    }

    /// Closes the idle connections that are too old by `idle_timeout` or `max_conn_lifetime`, and
    /// says how many. For pools that nobody uses for long: any use does the same on its way.
    pub fn prune(&self) -> usize {
        let now = self.shared.config.clock.now();
        let actions = self.shared.core().prune(now);
        let pruned = actions.close.len();
        self.shared.carry_out(actions);
        pruned
    }

    /// Closes the pool: whoever waits gets [`Error::PoolClosed`] at once, dials under way are
    /// cancelled, idle connections are closed. Those in use stay usable and are closed when they
    /// are given back. Closing twice is the same as once.
    #[doc(alias = "Close")]
    pub fn close(&self) {
        let actions = self.shared.core().close();
        self.shared.end_lifetime.cancel();
        log::debug!(target: "redigo::pool", "pool closed, {} idle connections", actions.close.len());
        self.shared.carry_out(actions);
    }

    /// True once it is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    fn lend(&self, patience: &Patience) -> Result<PooledConn> {
        let member = self.shared.lend(patience)?;
        Ok(PooledConn::new(Arc::clone(&self.shared), member))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// How long one caller is willing to wait, by what name the end of it goes, and where it sleeps.
struct Patience {
    ctx: Context,
    limit: TimeoutKind,
    began: Option<Instant>,
    parker: OnceCell<Parker>,
}

impl Patience {
    fn timeout(timeout: Option<Duration>) -> Patience {
        let background = Context::background();
        let ctx = timeout.map_or(background.clone(), |timeout| background.with_timeout(timeout));
        Patience::new(ctx, TimeoutKind::PoolWait)
    }

    fn context(ctx: Context) -> Patience {
        Patience::new(ctx, TimeoutKind::Context)
    }

    fn new(ctx: Context, limit: TimeoutKind) -> Patience {
        let began = ctx.is_bounded().then(Instant::now);
        Patience { ctx, limit, began, parker: OnceCell::new() }
    }

    fn caller(&self) -> Caller {
        if self.ctx.is_bounded() { Caller::Waits } else { Caller::Dials }
    }

    fn parker(&self) -> Parker {
        self.parker.get_or_init(Parker::new).clone()
    }
}

impl Shared {
    pub(crate) fn core(&self) -> MutexGuard<'_, PoolCore> {
        self.core.lock()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn lifetime(&self) -> &Context {
        &self.lifetime
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.core().is_closed()
    }

    pub(crate) fn now_on_put(&self) -> Option<Instant> {
        self.config.clock_on_put.then(|| self.config.clock.now())
    }

    pub(crate) fn now_on_get(&self) -> Option<Instant> {
        self.config.clock_on_get.then(|| self.config.clock.now())
    }

    /// Remembers why the last dial failed, or that it did not.
    pub(crate) fn note_dial_error(&self, error: Option<Error>) {
        let before = std::mem::replace(&mut *self.last_dial_error.lock(), error);
        // Its destructor may be a user's, and runs here without the lock.
        drop(before);
    }

    /// The way of one checkout: ask, and follow the answers until there is a connection.
    fn lend(self: &Arc<Self>, patience: &Patience) -> Result<Member<Box<Conn>>> {
        // A zero timeout still takes what is there; a context that has ended gets nothing.
        if patience.limit == TimeoutKind::Context {
            if let Some(error) = patience.ctx.err() {
                return Err(self.refuse(error, patience));
            }
        }
        let now = self.now_on_get();
        let (mut answer, actions) =
            self.core().checkout(patience.caller(), now, || patience.parker());
        self.carry_out(actions);
        loop {
            answer = match answer {
                Answer::Take(ticket, member) => match self.test(member, patience) {
                    Ok(member) => return Ok(member),
                    Err(failed) => self.replace(ticket, failed, patience)?,
                },
                Answer::Dial(ticket) => self.dial_for(ticket, patience)?,
                Answer::Wait(ticket, cause) => self.wait(ticket, cause, patience)?,
                Answer::Exhausted => {
                    return Err(Error::PoolExhausted(Arc::new(self.report(patience))));
                }
                Answer::Closed => return Err(Error::PoolClosed),
            };
        }
    }

    /// Runs the borrow tests on a connection that was idle; gives it back if it fails.
    fn test(
        &self,
        mut member: Member<Box<Conn>>,
        patience: &Patience,
    ) -> Result<Member<Box<Conn>>, Box<Conn>> {
        let tests = &self.config.tests;
        // One that comes straight from a dial is not tested.
        let (false, Some(returned)) = (tests.is_empty(), member.returned) else {
            return Ok(member);
        };
        let conn = &mut *member.conn;
        let ask =
            |conn: &mut Conn| tests.iter().try_for_each(|test| test(&patience.ctx, conn, returned));
        let asked = catch_unwind(AssertUnwindSafe(|| match patience.ctx.is_bounded() {
            true => conn.within(&patience.ctx, ask),
            false => ask(conn),
        }));
        let asked = asked.unwrap_or_else(|panic| Err(Error::panicked("the borrow test", &*panic)));
        match asked {
            Ok(()) if conn.is_clean() => return Ok(member),
            Ok(()) => {
                log::debug!(target: "redigo::pool", "the borrow test left a connection unclean")
            }
            Err(error) => {
                log::debug!(target: "redigo::pool", "a connection failed its test: {error}")
            }
        }
        Err(member.conn)
    }

    /// Another connection for a caller whose first failed its test.
    fn replace(
        self: &Arc<Self>,
        ticket: Ticket,
        failed: Box<Conn>,
        patience: &Patience,
    ) -> Result<Answer<Box<Conn>>> {
        if let Some(error) = patience.ctx.err() {
            let actions = self.core().remove(Removal::FailedTest);
            self.carry_out(actions);
            return Err(self.refuse(error, patience));
        }
        let now = self.now_on_get();
        let (answer, actions) =
            self.core().retry(ticket, patience.caller(), now, || patience.parker());
        self.carry_out(actions);
        drop(failed);
        Ok(answer)
    }

    /// Dials on the caller's thread.
    fn dial_for(
        self: &Arc<Self>,
        ticket: Ticket,
        patience: &Patience,
    ) -> Result<Answer<Box<Conn>>> {
        match self.dial() {
            Ok(member) => {
                let (answer, actions) = self.core().dialed(ticket, member, || patience.parker());
                self.carry_out(actions);
                Ok(answer)
            }
            Err(error) => {
                let actions = self.core().dial_failed();
                self.carry_out(actions);
                Err(error)
            }
        }
    }

    /// Sleeps until there is something for this caller, or its patience has an end.
    fn wait(
        self: &Arc<Self>,
        ticket: Ticket,
        cause: Cause,
        patience: &Patience,
    ) -> Result<Answer<Box<Conn>>> {
        let since = Instant::now();
        let parker = patience.parker();
        let (pool, canceled) = (Arc::clone(self), parker.clone());
        // When it is cancelled already, the loop will see.
        let watch = patience.ctx.on_cancel(move || canceled.unpark_through(&pool.core));
        let mut core = self.core();
        let outcome = loop {
            if let Some(outcome) = core.collect(ticket) {
                break Ok(outcome);
            }
            if let Some(error) = patience.ctx.err() {
                drop(core.give_up(ticket));
                break Err(error);
            }
            parker.park(&mut core, patience.ctx.deadline());
        };
        if cause == Cause::AtLimit && outcome.is_ok() {
            core.counters.wait_count += 1;
            core.counters.wait_duration += since.elapsed();
        }
        drop(core);
        drop(watch);
        match outcome.map_err(|error| self.refuse(error, patience))? {
            // Who has cancelled wants no connection, even when one came at the same moment.
            Outcome::Take(member) if patience.ctx.is_canceled() => {
                self.put(member);
                Err(self.refuse(Error::Canceled, patience))
            }
            Outcome::Take(member) => Ok(Answer::Take(ticket, member)),
            Outcome::Dial => Ok(Answer::Dial(ticket)),
            Outcome::Failed(error) => Err(error),
            Outcome::Closed => Ok(Answer::Closed),
        }
    }

    /// The error of a caller whose patience has ended.
    fn refuse(&self, error: Error, patience: &Patience) -> Error {
        if error.is_canceled() {
            self.core().counters.wait_cancels += 1;
            return error;
        }
        self.core().counters.wait_timeouts += 1;
        Error::PoolTimeout(Arc::new(self.report(patience)))
    }

    fn report(&self, patience: &Patience) -> PoolReport {
        let last_dial_error = self.last_dial_error.lock().clone();
        let core = self.core();
        PoolReport {
            waited: patience.began.map_or(Duration::ZERO, |began| began.elapsed()),
            limit: patience.limit,
            max_active: self.config.max_active,
            idle: core.idle(),
            in_use: core.in_use(),
            dialing: core.dialing(),
            waiting: core.waiting(),
            last_dial_error,
        }
    }

    /// Takes a clean connection back.
    pub(crate) fn put(self: &Arc<Self>, member: Member<Box<Conn>>) {
        let now = self.now_on_put();
        let actions = self.core().put(member, now);
        self.carry_out(actions);
    }

    /// Lets a connection go that does not come back.
    pub(crate) fn remove(self: &Arc<Self>, cause: Removal) {
        let actions = self.core().remove(cause);
        self.carry_out(actions);
    }

    /// Does what the core has decided. Waking comes before closing, for nobody is to wait until
    /// a socket is closed.
    pub(crate) fn carry_out(self: &Arc<Self>, actions: PoolActions) {
        let mut jobs = self.wake_and_close(actions);
        while jobs > 0 {
            jobs -= 1;
            if let Err(error) = self.dial_threads.start_job(self) {
                // No thread to be had is a failed dial, which may ask for another.
                let actions = self.core().job_failed(&error);
                self.note_dial_error(Some(error));
                jobs += self.wake_and_close(actions);
            }
        }
    }

    /// Says how many dials are still to be started.
    fn wake_and_close(&self, actions: PoolActions) -> usize {
        actions.wake.iter().chain(&actions.wake_more).for_each(Parker::unpark);
        drop(actions.close);
        actions.jobs
    }
}
