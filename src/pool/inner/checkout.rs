//! The way of one checkout: ask the core, and follow its answers until there is a connection.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::context::Context;
use crate::error::{Error, PoolReport, Result, TimeoutKind};
use crate::pool::core::registry::Borrower;
use crate::pool::core::{Answer, Caller, Cause, CheckoutRequest, Entry, Outcome, Refusal};
use crate::pool::hooks;
use crate::pool::inner::{PoolCore, PoolInner};
use crate::pool::meter::Timing;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::waiter::{Parker, Ticket};

/// How long one caller is willing to wait, by what name the end of it goes, and who it is.
pub(crate) struct Patience {
    ctx: Context,
    limit: TimeoutKind,
    /// When it came, if it has a limit, or else when it began to wait.
    began: Cell<Option<Instant>>,
    /// Where loans are noted.
    borrower: Option<Borrower>,
}

impl Patience {
    #[inline]
    pub(crate) fn timeout(timeout: Option<Duration>, borrower: Option<Borrower>) -> Patience {
        let mut ctx = Context::background();
        if let Some(timeout) = timeout {
            ctx = ctx.with_timeout(timeout);
        }
        Patience::new(ctx, TimeoutKind::PoolWait, borrower)
    }

    pub(crate) fn context(ctx: Context, borrower: Option<Borrower>) -> Patience {
        Patience::new(ctx, TimeoutKind::Context, borrower)
    }

    #[inline]
    fn new(ctx: Context, limit: TimeoutKind, borrower: Option<Borrower>) -> Patience {
        let began = Cell::new(ctx.is_bounded().then(Instant::now));
        Patience { ctx, limit, began, borrower }
    }

    fn caller(&self) -> Caller {
        if self.ctx.is_bounded() { Caller::Waits } else { Caller::Dials }
    }
}

/// A connection that cannot be lent, and why.
struct Unfit {
    member: Box<Entry<Conn>>,
    reason: CloseReason,
    error: Error,
}

impl PoolInner {
    pub(crate) fn lend(self: &Arc<Self>, patience: &Patience) -> Result<Box<Entry<Conn>>> {
        // A zero timeout still takes what is there; a context that has ended gets nothing.
        if patience.limit == TimeoutKind::Context {
            if let Some(error) = patience.ctx.err() {
                return Err(self.refuse(error, 0, patience));
            }
        }
        let asker = self.asker(patience);
        let mut now = asker.now;
        let (mut answer, actions) = self.core().checkout(asker, Parker::of_this_thread);
        self.carry_out(actions);
        loop {
            answer = match answer {
                Answer::Take(ticket, member) => match self.vet(member, now, patience) {
                    Ok(member) => return Ok(member),
                    Err(unfit) => self.replace(ticket, unfit, patience)?,
                },
                Answer::Dial(ticket) => self.dial_for(ticket, patience)?,
                Answer::Wait(ticket, cause) => {
                    let answer = self.wait(ticket, cause, patience)?;
                    now = self.now_on_get();
                    answer
                }
                Answer::Refused(refusal) => return Err(self.refused(refusal, patience)),
                Answer::Closed => return Err(Error::PoolClosed),
            };
        }
    }

    /// As [`lend`](PoolInner::lend), and the meter is told how long it took. A function of its own, so
    /// that the way of those who have no meter is as short as it was.
    #[inline(never)]
    pub(crate) fn lend_and_tell(self: &Arc<Self>, patience: &Patience) -> Result<Box<Entry<Conn>>> {
        let began = Instant::now();
        let member = self.lend(patience)?;
        self.settings().meter.record(Timing::Wait, began.elapsed());
        Ok(member)
    }

    fn asker<'a>(&self, patience: &'a Patience) -> CheckoutRequest<'a> {
        let borrower = patience.borrower.as_ref();
        CheckoutRequest { caller: patience.caller(), now: self.now_on_get(), borrower }
    }

    /// Looks at a connection before it is lent: whether it lives, the borrow tests, the hook.
    #[inline]
    fn vet(
        &self,
        mut member: Box<Entry<Conn>>,
        now: Option<Instant>,
        patience: &Patience,
    ) -> Result<Box<Entry<Conn>>, Unfit> {
        if self.settings().vets {
            if let Err((reason, error)) = self.examine(&mut member, now, patience) {
                return Err(Unfit { member, reason, error });
            }
        }
        Ok(member)
    }

    fn examine(
        &self,
        member: &mut Entry<Conn>,
        now: Option<Instant>,
        patience: &Patience,
    ) -> Result<(), (CloseReason, Error)> {
        // One that comes straight from a dial is not tested.
        if let Some(returned) = member.returned {
            self.test(member, returned, now, patience)
                .map_err(|error| (CloseReason::Health, error))?;
        }
        let Some(hook) = &self.settings().hooks.borrow else { return Ok(()) };
        let conn = &mut member.conn;
        conn.run_even_if_ended(&patience.ctx, |conn| hooks::run(hook, "on_borrow", conn))
            .map_err(|error| (CloseReason::Hook, error))
    }

    fn test(
        &self,
        member: &mut Entry<Conn>,
        returned: Instant,
        now: Option<Instant>,
        patience: &Patience,
    ) -> Result<()> {
        let tests = &self.settings().tests;
        let idle_for = now.map(|now| now.saturating_duration_since(returned));
        let peeks = match (self.settings().peek_after, idle_for) {
            (Some(limit), Some(idle_for)) => member.doubtful || idle_for >= limit,
            _ => false,
        };
        member.doubtful = false;
        if !peeks && tests.is_empty() {
            return Ok(());
        }
        let conn = &mut member.conn;
        // The connection may be of the user's making, so it is only ever looked at in here.
        let asked = catch_unwind(AssertUnwindSafe(|| {
            if peeks && !conn.is_alive() {
                return Err(crate::pool::check::dead());
            }
            if tests.is_empty() {
                return Ok(());
            }
            conn.run_even_if_ended(&patience.ctx, |conn| {
                tests.iter().try_for_each(|test| test(&patience.ctx, conn, returned))
            })?;
            match conn.is_clean() {
                true => Ok(()),
                false => Err(Error::other("the borrow test left a connection unclean")),
            }
        }));
        asked.unwrap_or_else(|panic| Err(Error::panicked("the borrow test", &*panic)))
    }

    /// Another connection for a caller whose first was of no use.
    fn replace(
        self: &Arc<Self>,
        ticket: Ticket,
        unfit: Unfit,
        patience: &Patience,
    ) -> Result<Answer<Conn>> {
        let Unfit { member, reason, error } = unfit;
        log::debug!(target: "redigo::pool", "a connection is not fit to be lent: {error}");
        if let Some(error) = patience.ctx.err() {
            self.close_unlent(member, reason);
            return Err(self.refuse(error, 0, patience));
        }
        // Where a new one is refused by the hook, the next would be too.
        if member.returned.is_none() {
            self.close_unlent(member, reason);
            return Err(error);
        }
        let asker = self.asker(patience);
        let (answer, actions) =
            self.core().retry(ticket, asker, member.place, reason, Parker::of_this_thread);
        self.carry_out(actions);
        self.close_conn(member, reason);
        Ok(answer)
    }

    /// Dials on the caller's thread.
    fn dial_for(self: &Arc<Self>, ticket: Ticket, patience: &Patience) -> Result<Answer<Conn>> {
        match self.dial() {
            Ok(fresh) => {
                let asker = self.asker(patience);
                let (answer, actions) =
                    self.core().dialed(ticket, asker, fresh, Parker::of_this_thread);
                self.carry_out(actions);
                Ok(answer)
            }
            Err(error) => {
                let now = self.now();
                let actions = self.core().dial_failed(now);
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
        patience.began.set(patience.began.get().or(Some(since)));
        let parker = Parker::of_this_thread();
        let (pool, canceled) = (Arc::clone(self), parker.clone());
        // When it is cancelled already, the loop will see.
        let watch = patience.ctx.on_cancel(move || canceled.unpark_through(pool.core_mutex()));
        let mut core = self.core();
        let outcome = loop {
            if let Some(outcome) = core.collect(ticket) {
                break Ok(outcome);
            }
            if let Some(error) = patience.ctx.err() {
                break Err((error, core.give_up(ticket)));
            }
            parker.park(&mut core, patience.ctx.deadline());
        };
        let waited = since.elapsed();
        core.counters.wait_time.record(waited);
        if cause != Cause::Dialing && outcome.is_ok() {
            core.counters.wait_count += 1;
            core.counters.wait_duration += waited;
        }
        drop(core);
        drop(watch);
        let outcome = outcome.map_err(|(error, (ahead, actions))| {
            self.carry_out(actions);
            self.refuse(error, ahead, patience)
        });
        match outcome? {
            // Who has cancelled wants no connection, even when one came at the same moment.
            Outcome::Take(member) if patience.ctx.is_canceled() => {
                self.put(member);
                Err(self.refuse(Error::Canceled, 0, patience))
            }
            Outcome::Take(member) => Ok(Answer::Take(ticket, member)),
            Outcome::Dial => Ok(Answer::Dial(ticket)),
            Outcome::Failed(error) => Err(error),
            Outcome::BreakerOpen => Ok(Answer::Refused(Refusal::BreakerOpen)),
            Outcome::Closed => Ok(Answer::Closed),
        }
    }

    /// The error of a caller whose patience has ended.
    fn refuse(&self, error: Error, ahead: usize, patience: &Patience) -> Error {
        if error.is_canceled() {
            self.core().counters.wait_cancels += 1;
            return error;
        }
        let report = self.report(ahead, patience, |core| core.counters.wait_timeouts += 1);
        Error::PoolTimeout(Arc::new(report))
    }

    /// The error of a caller that could not even wait.
    fn refused(&self, refusal: Refusal, patience: &Patience) -> Error {
        let mut report = self.report(usize::MAX, patience, |_| {});
        if let (Refusal::Deadlock, Some(own)) = (refusal, &patience.borrower) {
            let now = self.now();
            let core = self.core();
            report.own_borrow =
                core.registry().oldest_loan_of(own.thread).map(|loan| loan.told(now));
        }
        let report = Arc::new(report);
        match refusal {
            Refusal::Exhausted => Error::PoolExhausted(report),
            Refusal::BreakerOpen => Error::BreakerOpen(report),
            Refusal::Deadlock => Error::PoolDeadlock(report),
        }
    }

    /// What the pool looks like, while something is counted; `ahead` is at most all who wait.
    pub(in crate::pool) fn report(
        &self,
        ahead: usize,
        patience: &Patience,
        count: impl FnOnce(&mut PoolCore),
    ) -> PoolReport {
        let last_dial_error = self.last_dial_error();
        let now = self.now();
        let mut core = self.core();
        count(&mut core);
        PoolReport {
            waited: patience.began.get().map_or(Duration::ZERO, |began| began.elapsed()),
            limit: patience.limit,
            max_active: core.max_active(),
            idle: core.idle(),
            in_use: core.in_use(),
            dialing: core.dialing(),
            waiting: core.waiting(),
            waiters_ahead: ahead.min(core.waiting()),
            suspended: core.is_suspended(),
            oldest_borrow: core.registry().oldest_loan().map(|loan| loan.told(now)),
            own_borrow: None,
            last_dial_error_age: last_dial_error
                .as_ref()
                .map(|(_, at)| now.saturating_duration_since(*at)),
            last_dial_error: last_dial_error.map(|(error, _)| error),
        }
    }
}
