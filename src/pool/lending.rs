//! The shell around the core: one mutex, and everything that must not happen under it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Config;
use super::core::{Actions, Answer, Caller, Cause, Core, Member, More, Outcome, Removal, Rules};
use super::dialing::DialThreads;
use super::waiter::{Parker, Ticket};
use crate::conn::conn::Conn;
use crate::context::{CancelHandle, Context};
use crate::error::{Error, PoolReport, Result, TimeoutKind};
use crate::sync::{Mutex, MutexGuard};

type PoolCore = Core<Conn, Parker>;
type PoolActions = Actions<Conn, Parker>;

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

/// How long one caller is willing to wait, by what name the end of it goes.
pub(crate) struct Patience {
    ctx: Context,
    limit: TimeoutKind,
    began: Option<Instant>,
}

impl Patience {
    pub(crate) fn timeout(timeout: Option<Duration>) -> Patience {
        let background = Context::background();
        let ctx = timeout.map_or(background.clone(), |timeout| background.with_timeout(timeout));
        Patience::new(ctx, TimeoutKind::PoolWait)
    }

    pub(crate) fn context(ctx: Context) -> Patience {
        Patience::new(ctx, TimeoutKind::Context)
    }

    fn new(ctx: Context, limit: TimeoutKind) -> Patience {
        let began = ctx.is_bounded().then(Instant::now);
        Patience { ctx, limit, began }
    }

    fn caller(&self) -> Caller {
        if self.ctx.is_bounded() { Caller::Waits } else { Caller::Dials }
    }
}

impl Shared {
    pub(crate) fn new(rules: Rules, config: Config) -> Shared {
        let (lifetime, end_lifetime) = Context::background().with_cancel();
        Shared {
            core: Mutex::new(Core::new(rules)),
            config,
            dial_threads: DialThreads::new(),
            lifetime,
            end_lifetime,
            last_dial_error: Mutex::new(None),
        }
    }

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
    pub(crate) fn lend(self: &Arc<Self>, patience: &Patience) -> Result<Box<Member<Conn>>> {
        // A zero timeout still takes what is there; a context that has ended gets nothing.
        if patience.limit == TimeoutKind::Context {
            if let Some(error) = patience.ctx.err() {
                return Err(self.refuse(error, patience));
            }
        }
        let now = self.now_on_get();
        let (mut answer, actions) =
            self.core().checkout(patience.caller(), now, Parker::of_this_thread);
        self.carry_out(actions);
        loop {
            answer = match answer {
                Answer::Take(ticket, member) => match self.test(member, patience) {
                    Ok(member) => return Ok(member),
                    Err(failed) => self.replace(ticket, failed, patience)?,
                },
                Answer::Dial(ticket) => self.dial_for(ticket)?,
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
        mut member: Box<Member<Conn>>,
        patience: &Patience,
    ) -> Result<Box<Member<Conn>>, Box<Member<Conn>>> {
        let tests = &self.config.tests;
        // One that comes straight from a dial is not tested.
        let (false, Some(returned)) = (tests.is_empty(), member.returned) else {
            return Ok(member);
        };
        let conn = &mut member.conn;
        let ask =
            |conn: &mut Conn| tests.iter().try_for_each(|test| test(&patience.ctx, conn, returned));
        // The connection may be of the user's making too, so it is looked at in here as well.
        let asked = catch_unwind(AssertUnwindSafe(|| {
            match patience.ctx.is_bounded() {
                true => conn.bounded_by(&patience.ctx, ask)?,
                false => ask(conn)?,
            }
            Ok(conn.is_clean())
        }));
        let asked = asked.unwrap_or_else(|panic| Err(Error::panicked("the borrow test", &*panic)));
        match asked {
            Ok(true) => return Ok(member),
            Ok(false) => {
                log::debug!(target: "redigo::pool", "the borrow test left a connection unclean")
            }
            Err(error) => {
                log::debug!(target: "redigo::pool", "a connection failed its test: {error}")
            }
        }
        Err(member)
    }

    /// Another connection for a caller whose first failed its test.
    fn replace(
        self: &Arc<Self>,
        ticket: Ticket,
        failed: Box<Member<Conn>>,
        patience: &Patience,
    ) -> Result<Answer<Conn>> {
        if let Some(error) = patience.ctx.err() {
            let actions = self.core().remove(Removal::FailedTest);
            self.carry_out(actions);
            return Err(self.refuse(error, patience));
        }
        let now = self.now_on_get();
        let (answer, actions) =
            self.core().retry(ticket, patience.caller(), now, Parker::of_this_thread);
        self.carry_out(actions);
        drop(failed);
        Ok(answer)
    }

    /// Dials on the caller's thread.
    fn dial_for(self: &Arc<Self>, ticket: Ticket) -> Result<Answer<Conn>> {
        match self.dial() {
            Ok(member) => {
                let (answer, actions) = self.core().dialed(ticket, member, Parker::of_this_thread);
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
    ) -> Result<Answer<Conn>> {
        let since = Instant::now();
        let parker = Parker::of_this_thread();
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
    pub(crate) fn put(self: &Arc<Self>, member: Box<Member<Conn>>) {
        let now = self.now_on_put();
        let actions = self.core().put(member, now);
        self.carry_out(actions);
    }

    /// Lets a connection go that does not come back.
    pub(crate) fn remove(self: &Arc<Self>, cause: Removal) {
        let actions = self.core().remove(cause);
        self.carry_out(actions);
    }

    pub(crate) fn prune(self: &Arc<Self>) -> usize {
        let now = self.config.clock.now();
        let actions = self.core().prune(now);
        let pruned = actions.more.as_ref().map_or(0, |more| more.close.len());
        self.carry_out(actions);
        pruned
    }

    pub(crate) fn close(self: &Arc<Self>) {
        let actions = self.core().close();
        self.end_lifetime.cancel();
        log::debug!(target: "redigo::pool", "pool closed");
        self.carry_out(actions);
    }

    /// Does what the core has decided. Waking comes before closing, for nobody is to wait until
    /// a socket is closed.
    pub(crate) fn carry_out(self: &Arc<Self>, actions: PoolActions) {
        if let Some(parker) = &actions.wake {
            parker.unpark();
        }
        if let Some(more) = actions.more {
            self.carry_out_more(*more);
        }
    }

    fn carry_out_more(self: &Arc<Self>, mut more: More<Conn, Parker>) {
        more.wake.iter().for_each(Parker::unpark);
        while more.jobs > 0 {
            more.jobs -= 1;
            if let Err(error) = self.dial_threads.start_job(self) {
                // No thread to be had is a failed dial, which may ask for another.
                let actions = self.core().job_failed(&error);
                self.note_dial_error(Some(error));
                actions.wake.iter().for_each(Parker::unpark);
                if let Some(again) = actions.more {
                    more.jobs += again.jobs;
                    again.wake.iter().for_each(Parker::unpark);
                }
            }
        }
        drop(more.close);
    }
}
