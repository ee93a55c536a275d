//! The events of dialling: who dials, for whom, and when not to.

use std::time::Instant;

use super::{Actions, Answer, Cause, CheckoutRequest, Core, Entry, Outcome, Refusal, Reply};
use crate::error::Error;
use crate::net::stream::ShutdownHandle;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::waiter::Ticket;

/// Why a dial is made that is nobody's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobCause {
    /// Somebody waits.
    Demand,
    /// Too few are idle.
    MinIdle,
    /// To see whether it works again.
    Probe,
}

/// A connection that was dialled.
#[derive(Debug)]
pub(crate) struct Fresh<C> {
    pub(crate) member: Box<Entry<C>>,
    pub(crate) handle: ShutdownHandle,
}

/// What dials that failed have come to.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// How many in a row.
    failures: u32,
    /// How many pauses in a row.
    pauses: u32,
    /// Until when nothing is dialled that nobody waits for.
    pub(super) at: Option<Instant>,
    /// The breaker is open: nothing is dialled at all, but one probe after each pause.
    pub(super) broken: bool,
    probing: bool,
}

impl<C, W> Core<C, W> {
    /// A caller's own dial succeeded: the connection is the caller's, unless somebody has been
    /// waiting for longer.
    pub(crate) fn dialed(
        &mut self,
        ticket: Ticket,
        asker: CheckoutRequest<'_>,
        fresh: Fresh<C>,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        let mut actions = Actions::none();
        self.own_dials -= 1;
        self.counters.dialed.demand += 1;
        let now = asker.now;
        let member = self.welcome(fresh);
        let answer = if self.closed {
            self.close_member(member, CloseReason::PoolClosed, &mut actions);
            Answer::Closed
        } else if member.generation != self.generation {
            // Dialled by a way that is not to be used any more.
            self.close_member(member, CloseReason::Evicted, &mut actions);
            self.own_dials += 1;
            Answer::Dial(ticket)
        } else if self.queue.first().is_some_and(|(oldest, _)| oldest < ticket) || self.suspended {
            if let Some(mut member) = self.hand_over(member, now, &mut actions) {
                member.returned = now;
                self.keep(member, now, &mut actions);
            }
            if !self.settings.wait && !self.suspended && self.queue.len() >= self.hopes() {
                // Every dial that runs, or may, is for somebody else: no more to wait for.
                self.counters.count_refusal(Refusal::Exhausted);
                Answer::Refused(Refusal::Exhausted)
            } else {
                let cause = if self.suspended { Cause::Suspended } else { Cause::Dialing };
                self.enqueue(ticket, asker, waker, &mut actions);
                Answer::Wait(ticket, cause)
            }
        } else {
            self.in_use += 1;
            self.note_loan(member.place, asker);
            if self.settings.upkeep {
                self.expect_return(now, &mut actions);
            }
            Answer::Take(ticket, member)
        };
        self.dials_work(&mut actions);
        self.check();
        (answer, actions)
    }

    /// A caller's own dial failed, which is that caller's affair; its place is free.
    pub(crate) fn dial_failed(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.own_dials -= 1;
        self.dials_fail(now, &mut actions);
        self.check();
        actions
    }

    /// A dial for the queue succeeded: the oldest waiter gets the connection.
    pub(crate) fn job_done(
        &mut self,
        cause: JobCause,
        fresh: Fresh<C>,
        now: Instant,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.end_job(cause);
        match cause {
            JobCause::Demand => self.counters.dialed.demand += 1,
            JobCause::MinIdle => self.counters.dialed.min_idle += 1,
            JobCause::Probe => self.counters.dialed.probe += 1,
        }
        let member = self.welcome(fresh);
        if let Some(reason) = self.unfit(&member, Some(now)) {
            self.close_member(member, reason, &mut actions);
        } else if let Some(mut member) = self.hand_over(member, Some(now), &mut actions) {
            // It is kept, even beyond `max_idle`: when dials take longer than callers wait, closing
            // it would leave the pool empty for good.
            if cause == JobCause::Demand {
                self.counters.late_dials += 1;
                member.late = true;
            }
            member.returned = Some(now);
            self.keep(member, Some(now), &mut actions);
        }
        self.dials_work(&mut actions);
        self.check();
        actions
    }

    /// A dial for the queue failed: so does the oldest waiter, at once.
    pub(crate) fn job_failed(
        &mut self,
        cause: JobCause,
        error: &Error,
        now: Instant,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.end_job(cause);
        if let Some((ticket, waiter)) = self.queue.pop() {
            self.ready.insert(ticket, Outcome::Failed(error.clone()));
            actions.wake(waiter.waker);
        }
        self.dials_fail(now, &mut actions);
        self.check();
        actions
    }

    /// When dials may go on that nobody waits for.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry.at
    }

    /// Makes a dialled connection a member of the pool.
    fn welcome(&mut self, fresh: Fresh<C>) -> Box<Entry<C>> {
        let Fresh { mut member, handle } = fresh;
        member.place = self.registry.enter(handle);
        member.deaths = self.deaths;
        member
    }

    fn end_job(&mut self, cause: JobCause) {
        self.jobs -= 1;
        if cause == JobCause::Probe {
            self.retry.probing = false;
        }
    }

    fn dials_work(&mut self, actions: &mut Actions<C, W>) {
        self.forget_failures();
        self.rebalance(actions);
        self.tell_watchers(actions);
    }

    /// What has failed says nothing of the next dial.
    pub(super) fn forget_failures(&mut self) {
        self.retry = Retry { probing: self.retry.probing, ..Retry::default() };
    }

    fn dials_fail(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        self.counters.dial_errors += 1;
        self.retry.failures = self.retry.failures.saturating_add(1);
        if self.settings.breaker.is_some_and(|limit| self.retry.failures >= limit) {
            self.retry.broken = true;
        }
        self.pause(now, actions);
        self.rebalance(actions);
        self.tell_watchers(actions);
    }

    /// Dials that nobody waits for are put off, each time for longer, unless they are already.
    fn pause(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.closed || self.retry.at.is_some() || self.retry.probing {
            return;
        }
        if self.retry.broken || self.settings.min_idle.max(self.warm_target()) > 0 {
            let pause = self.settings.backoff.pause(self.retry.pauses, &mut self.dice);
            self.retry.pauses = self.retry.pauses.saturating_add(1);
            let at = now + pause;
            self.retry.at = Some(at);
            self.alarm_by(at, actions);
        }
    }

    /// Dials what was put off, if that is over.
    pub(crate) fn dial_again(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.end_pause(now, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// The pause is over, if it is: what was put off may be tried again.
    pub(super) fn end_pause(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.suspended || self.retry.at.is_none_or(|at| now < at) {
            return;
        }
        self.retry.at = None;
        if !self.retry.broken || self.retry.probing {
            return;
        }
        if self.has_room() && self.jobs < self.settings.max_jobs {
            self.retry.probing = true;
            self.start_job(JobCause::Probe, actions);
        } else {
            self.pause(now, actions);
        }
    }

    /// How many should be open and not being dialled any more.
    fn warm_target(&self) -> usize {
        self.warm.iter().copied().max().unwrap_or(0).min(self.settings.max_idle)
    }

    /// True when a dial is wanted that nobody waits for.
    #[inline]
    pub(super) fn lacks_idle(&self) -> bool {
        if self.settings.min_idle == 0 && self.warm.is_empty() {
            return false;
        }
        let coming = self.jobs.saturating_sub(self.queue.len());
        // One that is asked whether it lives is as good as idle.
        let idle = self.idle() + self.asking + coming;
        let out = self.in_use() - self.asking;
        let lacks = idle < self.settings.min_idle || idle + out < self.warm_target();
        lacks && self.retry.at.is_none()
    }

    /// Starts a dial for each waiter that no dial is running for, and for what should be idle, as
    /// far as there is room.
    pub(super) fn rebalance(&mut self, actions: &mut Actions<C, W>) {
        if self.closed || self.suspended {
            return;
        }
        if self.retry.broken {
            self.refuse_waiters(actions);
            return;
        }
        while self.queue.len() > self.jobs && self.has_room() {
            let oldest_dials = self.queue.first().is_some_and(|(_, waiter)| waiter.dials);
            if oldest_dials {
                let Some((ticket, waiter)) = self.queue.pop() else { return };
                self.own_dials += 1;
                self.ready.insert(ticket, Outcome::Dial);
                actions.wake(waiter.waker);
            } else if self.jobs < self.settings.max_jobs {
                self.start_job(JobCause::Demand, actions);
            } else {
                return;
            }
        }
        while self.lacks_idle() && self.has_room() && self.jobs < self.settings.max_jobs {
            self.start_job(JobCause::MinIdle, actions);
        }
    }

    fn start_job(&mut self, cause: JobCause, actions: &mut Actions<C, W>) {
        self.jobs += 1;
        actions.more().jobs.push(cause);
    }

    /// Nobody waits for a dial that is not made.
    fn refuse_waiters(&mut self, actions: &mut Actions<C, W>) {
        while self.has_room() {
            let Some((ticket, waiter)) = self.queue.pop() else { return };
            self.counters.count_refusal(Refusal::BreakerOpen);
            self.ready.insert(ticket, Outcome::BreakerOpen);
            actions.wake(waiter.waker);
        }
    }
}
