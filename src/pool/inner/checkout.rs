//! One checkout: request a connection from the core, and follow its grants until there is one.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::context::Context;
use crate::error::{Error, PoolReport, Result, TimeoutKind};
use crate::pool::check;
use crate::pool::core::actions::Actions;
use crate::pool::core::registry::Borrower;
use crate::pool::core::types::{
    CheckoutRequest, Disposition, Entry, Grant, NewWaiter, Refusal, Ticket, WaitReason,
};
use crate::pool::hooks;
use crate::pool::inner::{PoolEntry, PoolInner};
use crate::pool::parker::Parker;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::stats::metrics::Timing;
use crate::sync;

/// How long one caller waits, and who the caller is.
pub(crate) struct CheckoutLimit {
    ctx: Context,
    /// The kind of the timeout error.
    kind: TimeoutKind,
    /// When the checkout began if it has a limit, otherwise when the caller began to wait.
    began: Cell<Option<Instant>>,
    /// Set if checkouts are recorded.
    borrower: Option<Borrower>,
}

impl CheckoutLimit {
    #[inline]
    pub(crate) fn timeout(timeout: Option<Duration>, borrower: Option<Borrower>) -> CheckoutLimit {
        let ctx = Context::background();
        let Some(timeout) = timeout else {
            return CheckoutLimit::new(ctx, TimeoutKind::PoolWait, None, borrower);
        };
        // One reading of the clock, so that a wait is never reported shorter than its limit.
        let began = Instant::now();
        let ctx = match began.checked_add(timeout) {
            Some(deadline) => ctx.with_deadline(deadline),
            None => ctx,
        };
        CheckoutLimit::new(ctx, TimeoutKind::PoolWait, Some(began), borrower)
    }

    pub(crate) fn context(ctx: Context, borrower: Option<Borrower>) -> CheckoutLimit {
        let began = ctx.is_bounded().then(Instant::now);
        CheckoutLimit::new(ctx, TimeoutKind::Context, began, borrower)
    }

    #[inline]
    fn new(
        ctx: Context,
        kind: TimeoutKind,
        began: Option<Instant>,
        borrower: Option<Borrower>,
    ) -> CheckoutLimit {
        let has_deadline = ctx.deadline().is_some();
        let borrower = borrower.map(|borrower| Borrower { has_deadline, ..borrower });
        CheckoutLimit { ctx, kind, began: Cell::new(began), borrower }
    }
}

/// Looks at the socket of a connection on which no reply is due.
///
/// # Errors
/// If the connection cannot be used.
fn peek(conn: &Conn) -> Result<()> {
    if conn.is_alive() { Ok(()) } else { Err(check::dead()) }
}

/// A connection that failed its validation.
struct Invalid {
    entry: PoolEntry,
    reason: CloseReason,
    error: Error,
}

/// A wait that ended at the caller's limit.
struct Expired {
    error: Error,
    ahead: usize,
}

fn new_waiter() -> NewWaiter<Parker> {
    NewWaiter { waker: Parker::of_this_thread(), now: sync::now() }
}

impl PoolInner {
    /// # Errors
    /// The reasons why a checkout fails; see [`Pool::acquire`](crate::Pool::acquire).
    pub(crate) fn check_out(self: &Arc<Self>, limit: &CheckoutLimit) -> Result<PoolEntry> {
        // With a timeout of zero an idle connection is still granted; with an ended context, none.
        if limit.kind == TimeoutKind::Context {
            if let Some(error) = limit.ctx.err() {
                return Err(self.limit_error(error, 0, limit));
            }
        }
        let request = self.request(limit);
        let mut now = request.now;
        let mut actions = Actions::none();
        let mut grant = self.core().check_out(request, new_waiter, &mut actions);
        self.perform_for_caller(actions);
        loop {
            grant = match grant {
                Grant::Conn(ticket, entry) => match self.validate(entry, now, limit) {
                    Ok(entry) => return Ok(entry),
                    Err(invalid) => self.replace(ticket, invalid, limit)?,
                },
                Grant::Wait(ticket, reason) => {
                    let grant = self.wait(ticket, reason, limit)?;
                    now = self.now_on_check_out();
                    grant
                }
                Grant::Failed(error) => return Err(error),
                Grant::Refused(refusal) => return Err(self.refusal_error(refusal, limit)),
                Grant::Closed => return Err(Error::PoolClosed),
            };
        }
    }

    /// Like [`check_out`](PoolInner::check_out), but records the duration. A separate function, to
    /// keep the common path short.
    ///
    /// # Errors
    /// As for `check_out`.
    #[inline(never)]
    pub(crate) fn check_out_metered(self: &Arc<Self>, limit: &CheckoutLimit) -> Result<PoolEntry> {
        let began = Instant::now();
        let entry = self.check_out(limit)?;
        self.settings().meter.record(Timing::Wait, began.elapsed());
        Ok(entry)
    }

    fn request<'a>(&self, limit: &'a CheckoutLimit) -> CheckoutRequest<'a> {
        let borrower = limit.borrower.as_ref();
        CheckoutRequest { now: self.now_on_check_out(), borrower }
    }

    /// Checks a connection before the caller gets it: the socket, the borrow tests, `on_borrow`.
    #[inline]
    fn validate(
        &self,
        mut entry: PoolEntry,
        now: Option<Instant>,
        limit: &CheckoutLimit,
    ) -> Result<PoolEntry, Invalid> {
        if self.settings().validates {
            if let Err((reason, error)) = self.run_checks(&mut entry, now, limit) {
                return Err(Invalid { entry, reason, error });
            }
        }
        Ok(entry)
    }

    fn run_checks(
        &self,
        entry: &mut Entry<Conn>,
        now: Option<Instant>,
        limit: &CheckoutLimit,
    ) -> Result<(), (CloseReason, Error)> {
        // A newly dialed connection is not tested.
        if let Some(returned) = entry.returned {
            self.run_tests(entry, returned, now, limit)
                .map_err(|error| (CloseReason::Health, error))?;
        } else if self.settings().peek_always {
            peek(&entry.conn).map_err(|error| (CloseReason::Health, error))?;
        }
        let Some(hook) = &self.settings().hooks.borrow else { return Ok(()) };
        let conn = &mut entry.conn;
        conn.run_even_if_ended(&limit.ctx, |conn| hooks::run(hook, "on_borrow", conn))
            .map_err(|error| (CloseReason::Hook, error))
    }

    fn run_tests(
        &self,
        entry: &mut Entry<Conn>,
        returned: Instant,
        now: Option<Instant>,
        limit: &CheckoutLimit,
    ) -> Result<()> {
        let tests = &self.settings().tests;
        let idle_for = now.map(|now| now.saturating_duration_since(returned));
        let peeks = match (self.settings().peek_after, idle_for) {
            _ if self.settings().peek_always => true,
            (Some(peek_after), Some(idle_for)) => entry.suspect || idle_for >= peek_after,
            _ => false,
        };
        entry.suspect = false;
        if !peeks && tests.is_empty() {
            return Ok(());
        }
        let conn = &mut entry.conn;
        // The connection's type may be the user's, so every call to it can panic.
        let tested = catch_unwind(AssertUnwindSafe(|| {
            if peeks {
                peek(conn)?;
            }
            if tests.is_empty() {
                return Ok(());
            }
            let mut run = || {
                conn.run_even_if_ended(&limit.ctx, |conn| {
                    tests.iter().try_for_each(|test| test(&limit.ctx, conn, returned))
                })
            };
            match self.settings().clock.manual_now() {
                Some(now) => check::with_now(now, run),
                None => run(),
            }?;
            match conn.is_clean() {
                true => Ok(()),
                false => Err(Error::other("the borrow test left the connection unclean")),
            }
        }));
        tested.unwrap_or_else(|panic| Err(Error::panicked("the borrow test", &*panic)))
    }

    /// Asks for another connection after the first one was invalid.
    fn replace(
        self: &Arc<Self>,
        ticket: Ticket,
        invalid: Invalid,
        limit: &CheckoutLimit,
    ) -> Result<Grant<Conn>> {
        let Invalid { entry, reason, error } = invalid;
        log::debug!(
            target: "redigo::pool", "{}a connection failed its checks: {error}", self.prefix()
        );
        let ended = limit.ctx.err();
        // If `on_borrow` refuses a newly dialed connection, it would refuse the next one too.
        if ended.is_some() || entry.returned.is_none() {
            let mut actions = Actions::none();
            self.core().check_in(entry, Disposition::Close(reason), None, &mut actions);
            self.perform_for_caller(actions);
            return Err(ended.map_or(error, |ended| self.limit_error(ended, 0, limit)));
        }
        let request = self.request(limit);
        let mut actions = Actions::none();
        let grant = self.core().replace(ticket, entry, reason, request, new_waiter, &mut actions);
        self.perform_for_caller(actions);
        Ok(grant)
    }

    /// Sleeps until the core has a grant or the caller's limit passes.
    fn wait(
        self: &Arc<Self>,
        ticket: Ticket,
        reason: WaitReason,
        limit: &CheckoutLimit,
    ) -> Result<Grant<Conn>> {
        let since = sync::now();
        limit.began.set(limit.began.get().or(Some(since)));
        let parker = Parker::of_this_thread();
        let (pool, canceled) = (Arc::clone(self), parker.clone());
        // If the context is already canceled, the loop returns in its first round.
        let watch = limit.ctx.on_cancel(move || canceled.unpark_through(pool.core_mutex()));
        let mut core = self.core();
        let outcome = loop {
            if let Some(grant) = core.collect(ticket) {
                break Ok(grant);
            }
            if let Some(error) = limit.ctx.err() {
                break Err(Expired { error, ahead: core.leave_queue(ticket) });
            }
            let now = sync::now();
            let actions = core.check_dials(now);
            if !actions.is_none() {
                drop(core);
                self.perform_for_caller(actions);
                core = self.core();
                continue;
            }
            let wake = limit.ctx.deadline().into_iter().chain(core.next_dial_check(now)).min();
            parker.park(&mut core, wake);
        };
        let waited = sync::now().saturating_duration_since(since);
        core.counters.wait_time.record(waited);
        if reason != WaitReason::Dialing && outcome.is_ok() {
            core.counters.wait_count += 1;
            core.counters.wait_duration += waited;
        }
        drop(core);
        drop(watch);
        match outcome {
            // A canceled caller gets no connection, even if one came at the same moment.
            Ok(Grant::Conn(_, entry)) if limit.ctx.is_canceled() => {
                self.check_in(entry, Disposition::Return);
                Err(self.limit_error(Error::Canceled, 0, limit))
            }
            Ok(grant) => Ok(grant),
            Err(Expired { error, ahead }) => Err(self.limit_error(error, ahead, limit)),
        }
    }

    /// Counts a checkout whose limit has passed, and returns its error.
    fn limit_error(&self, error: Error, ahead: usize, limit: &CheckoutLimit) -> Error {
        if error.is_canceled() {
            self.core().counters.wait_cancels += 1;
            return error;
        }
        self.core().counters.wait_timeouts += 1;
        Error::PoolTimeout(Arc::new(self.report(Some(ahead), limit)))
    }

    /// Returns the error of a caller that failed without waiting.
    fn refusal_error(&self, refusal: Refusal, limit: &CheckoutLimit) -> Error {
        let mut report = self.report(None, limit);
        if let (Refusal::Deadlock, Some(own)) = (refusal, &limit.borrower) {
            let now = self.now();
            let checkout = self.core().registry().oldest_checkout_of(own.thread);
            report.own_borrow = checkout.map(|checkout| checkout.to_borrow(now));
        }
        let report = Arc::new(report);
        match refusal {
            Refusal::Exhausted => Error::PoolExhausted(report),
            Refusal::BreakerOpen => Error::BreakerOpen(report),
            Refusal::Deadlock => Error::PoolDeadlock(report),
        }
    }

    /// Returns the state of the pool for an error. Without `ahead`, all waiters count as ahead of
    /// the caller.
    pub(in crate::pool) fn report(
        &self,
        ahead: Option<usize>,
        limit: &CheckoutLimit,
    ) -> PoolReport {
        let last_dial_error = self.last_dial_error();
        let now = self.now();
        let core = self.core();
        let waiting = core.waiting();
        let oldest_dial = core.oldest_dial(sync::now());
        let oldest = core.registry().oldest_checkout();
        PoolReport {
            pool: self.settings().name.clone(),
            waited: limit.began.get().map_or(Duration::ZERO, |began| began.elapsed()),
            limit: limit.kind,
            max_active: core.settings().max_active,
            idle: core.idle(),
            in_use: core.in_use(),
            dialing: core.dialing(),
            oldest_dial_age: oldest_dial.map(|dial| dial.age),
            oldest_dial_attempts: oldest_dial.map_or(0, |dial| dial.attempts),
            waiting,
            waiters_ahead: ahead.map_or(waiting, |ahead| ahead.min(waiting)),
            suspended: core.is_suspended(),
            oldest_borrow: oldest.map(|checkout| checkout.to_borrow(now)),
            own_borrow: None,
            last_dial_error_age: last_dial_error
                .as_ref()
                .map(|failure| now.saturating_duration_since(failure.at)),
            last_dial_error: last_dial_error.map(|failure| failure.error),
        }
    }
}
