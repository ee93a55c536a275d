//! The pool as a pure state machine: no lock, no clock, no I/O, no code of users.
//!
//! Every method is an event. What has to be done outside comes back as [`Actions`], to be
//! carried out after the lock has been given up. So the counts are exact at every instant:
//! `idle + in_use + dialing == open <= max_active`.
//!
//! This file has the events of borrowing; `dials.rs` those of dialling, `control.rs` what is said to
//! the pool as a whole, `upkeep.rs` the passing of time. Questions and answers are in `terms.rs`.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::pool::core::backoff::Jitter;
use crate::pool::stats::Counters;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::waiter::{Ticket, WaitQueue, Waiter};

mod actions;
pub(crate) mod backoff;
mod dialing;
mod idle;
mod lifecycle;
mod loans;
mod maintenance;
pub(crate) mod registry;
mod types;

pub(crate) use actions::{Actions, More, Overdue};
pub(crate) use dialing::{Fresh, JobCause};
use registry::{Borrower, Registry, SlotId};
pub(crate) use types::{
    Answer, Caller, Cause, CheckoutRequest, CoreSettings, Entry, Outcome, Refusal, Reply,
};

/// The state of a pool over connections `C`, with `W` to wake a waiter up.
#[derive(Debug)]
pub(crate) struct Core<C, W> {
    settings: CoreSettings,
    /// Newest in front.
    idle: VecDeque<Box<Entry<C>>>,
    queue: WaitQueue<W>,
    /// What waiters that were taken out of the queue will find.
    ready: HashMap<Ticket, Outcome<C>>,
    registry: Registry,
    /// CheckoutInfo, or being asked whether they live.
    in_use: usize,
    /// Those of them that are asked.
    asking: usize,
    /// Dials that callers run themselves.
    own_dials: usize,
    /// Dials for the oldest in the queue, whoever that is when they end.
    jobs: usize,
    retry: dialing::Retry,
    /// Told of every end of a dial, and when the last connection is back in a closed pool.
    watchers: Vec<W>,
    /// How many connections those want to be ready who warm the pool up.
    warm: Vec<usize>,
    /// When the upkeep is due, as far as it was told.
    alarm: Option<Instant>,
    next_ticket: u64,
    generation: u64,
    /// How many connections have turned out to be dead.
    deaths: u64,
    suspended: bool,
    closed: bool,
    /// How many were open when `max_active` was last made smaller than that; zero when it was not.
    overhang: usize,
    dice: Jitter,
    pub(crate) counters: Counters,
}

impl<C, W> Core<C, W> {
    pub(crate) fn new(settings: CoreSettings, dice: Jitter) -> Core<C, W> {
        Core {
            settings,
            idle: VecDeque::new(),
            queue: WaitQueue::new(),
            ready: HashMap::new(),
            registry: Registry::default(),
            in_use: 0,
            asking: 0,
            own_dials: 0,
            jobs: 0,
            retry: dialing::Retry::default(),
            watchers: Vec::new(),
            warm: Vec::new(),
            alarm: None,
            next_ticket: 0,
            generation: 0,
            deaths: 0,
            suspended: false,
            closed: false,
            overhang: 0,
            dice,
            counters: Counters::default(),
        }
    }

    /// Somebody wants a connection. `waker` is made only for one who has to wait.
    pub(crate) fn checkout(
        &mut self,
        asker: CheckoutRequest<'_>,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (answer, actions) = self.find(ticket, asker, waker, Actions::none());
        match answer {
            Answer::Take(..) => self.counters.hits += 1,
            Answer::Dial(_) | Answer::Wait(..) => self.counters.misses += 1,
            Answer::Refused(_) | Answer::Closed => {}
        }
        (answer, actions)
    }

    /// The connection at this place, that the caller was lent, is of no use: it gets another, in
    /// its old place in the order.
    pub(crate) fn retry(
        &mut self,
        ticket: Ticket,
        asker: CheckoutRequest<'_>,
        place: SlotId,
        reason: CloseReason,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        let mut actions = Actions::none();
        self.let_go(place, Some(reason), None, &mut actions);
        let (answer, mut actions) = self.find(ticket, asker, waker, actions);
        // Where this caller does not use the place that is free now, another may.
        self.rebalance(&mut actions);
        self.tell_watchers_if_drained(&mut actions);
        self.check();
        (answer, actions)
    }

    #[inline]
    fn find(
        &mut self,
        ticket: Ticket,
        asker: CheckoutRequest<'_>,
        waker: impl FnOnce() -> W,
        mut actions: Actions<C, W>,
    ) -> Reply<C, W> {
        if self.closed {
            return (Answer::Closed, actions);
        }
        if let Some(now) = asker.now {
            self.expire_idle(now, &mut actions);
        }
        if let Some(member) = self.take_idle(asker.now, &mut actions) {
            self.note_loan(member.place, asker);
            if self.lacks_idle() {
                self.rebalance(&mut actions);
            }
            if self.settings.upkeep {
                self.expect_return(asker.now, &mut actions);
            }
            return (Answer::Take(ticket, member), actions);
        }
        let answer = if let Some(refusal) = self.refusal(asker) {
            self.counters.count_refusal(refusal);
            // What it gave up for another may be of use to who waits.
            self.rebalance(&mut actions);
            Answer::Refused(refusal)
        } else if asker.caller == Caller::Dials && self.has_room() && !self.suspended {
            self.own_dials += 1;
            Answer::Dial(ticket)
        } else {
            let cause = match self.has_room() {
                _ if self.suspended => Cause::Suspended,
                true => Cause::Dialing,
                false => Cause::AtLimit,
            };
            self.enqueue(ticket, asker, waker, &mut actions);
            Answer::Wait(ticket, cause)
        };
        self.check();
        (answer, actions)
    }

    /// Why one who finds nothing idle can neither dial nor wait.
    fn refusal(&self, asker: CheckoutRequest<'_>) -> Option<Refusal> {
        if self.suspended {
            let too_many = self.queue.len() >= self.settings.max_waiters;
            return too_many.then_some(Refusal::Exhausted);
        }
        if self.has_room() {
            if self.retry.broken {
                return Some(Refusal::BreakerOpen);
            }
            if asker.caller == Caller::Dials {
                return None;
            }
        } else if !self.settings.wait {
            // One that is being asked whether it lives is back in no time, for whoever is next.
            let none_to_come =
                self.asking == 0 || self.queue.len() >= self.asking.saturating_add(self.jobs);
            return none_to_come.then_some(Refusal::Exhausted);
        }
        if self.queue.len() >= self.settings.max_waiters.saturating_add(self.hopes()) {
            return Some(Refusal::Exhausted);
        }
        let stuck = self.settings.refuses_deadlock && !self.has_room() && self.is_deadlocked(asker);
        stuck.then_some(Refusal::Deadlock)
    }

    /// How many of those who wait can be served by dials that run, or may.
    fn hopes(&self) -> usize {
        self.settings.max_active.saturating_sub(self.open()).saturating_add(self.jobs)
    }

    /// A waiter woke up: what it gets, if anything yet.
    pub(crate) fn collect(&mut self, ticket: Ticket) -> Option<Outcome<C>> {
        match self.ready.remove(&ticket) {
            Some(Outcome::Dial) if self.closed => {
                self.own_dials -= 1;
                Some(Outcome::Closed)
            }
            None if self.closed => Some(Outcome::Closed),
            outcome => outcome,
        }
    }

    /// A waiter leaves without a connection: how many were ahead of it. Only for one that found
    /// nothing to collect.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> (usize, Actions<C, W>) {
        let mut actions = Actions::none();
        let ahead = self.queue.ahead_of(ticket);
        drop(self.queue.remove(ticket));
        // The next may be one who dials, where this one waited for a dial thread.
        self.rebalance(&mut actions);
        self.check();
        (ahead, actions)
    }

    /// A connection comes back, fit to be lent again.
    pub(crate) fn put(&mut self, mut member: Box<Entry<C>>, now: Option<Instant>) -> Actions<C, W> {
        let mut actions = Actions::none();
        if self.settings.reclaims && self.forget_reclaimed(member.place, &mut actions) {
            actions.more().close.push((member, CloseReason::Leak));
            return actions;
        }
        self.in_use -= 1;
        if self.settings.tracks {
            self.note_return(member.place, now, &mut actions);
        }
        member.returned = now;
        member.asked = None;
        self.take_in(member, now, &mut actions);
        self.check();
        actions
    }

    /// A connection that is nobody's: for the oldest waiter, or to be idle, or closed.
    #[inline(always)]
    fn take_in(
        &mut self,
        member: Box<Entry<C>>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        if let Some(reason) = self.unfit(&member, now) {
            self.close_member(member, reason, actions);
            self.rebalance(actions);
            self.tell_watchers_if_drained(actions);
        } else if let Some(member) = self.hand_over(member, now, actions) {
            self.keep(member, now, actions);
            self.trim_idle(self.settings.max_idle, actions);
        } else {
            // The next may be one who dials, where this one waited for a dial thread.
            self.rebalance(actions);
        }
    }

    /// The connection that was lent from this place does not come back: why it is closed, if it is,
    /// and when its loan ended, if it was used.
    pub(crate) fn remove(
        &mut self,
        place: SlotId,
        reason: Option<CloseReason>,
        now: Option<Instant>,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.let_go(place, reason, now, &mut actions);
        self.rebalance(&mut actions);
        self.tell_watchers_if_drained(&mut actions);
        self.check();
        actions
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn settings(&self) -> &CoreSettings {
        &self.settings
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    pub(crate) fn dialing(&self) -> usize {
        self.own_dials + self.jobs
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn open(&self) -> usize {
        self.idle() + self.in_use() + self.dialing()
    }

    /// The most that may be open; `None`: no limit.
    pub(crate) fn max_active(&self) -> Option<usize> {
        Some(self.settings.max_active).filter(|&max| max < usize::MAX)
    }

    fn has_room(&self) -> bool {
        self.open() < self.settings.max_active
    }

    fn enqueue(
        &mut self,
        ticket: Ticket,
        asker: CheckoutRequest<'_>,
        waker: impl FnOnce() -> W,
        actions: &mut Actions<C, W>,
    ) {
        let dials = asker.caller == Caller::Dials;
        let borrower = asker.borrower.map(Borrower::absent);
        self.queue.push(ticket, Waiter { waker: waker(), dials, borrower });
        self.rebalance(actions);
    }

    /// Lends the connection to the oldest waiter, or gives it back.
    #[inline]
    fn hand_over(
        &mut self,
        mut member: Box<Entry<C>>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Entry<C>>> {
        if self.queue.is_empty() || self.suspended {
            return Some(member);
        }
        let Some((ticket, waiter)) = self.queue.pop() else { return Some(member) };
        self.in_use += 1;
        self.doubt(&mut member);
        if let (Some(borrower), Some(now)) = (waiter.borrower, now) {
            self.registry.lend_to(member.place, borrower, now);
        }
        if self.settings.upkeep {
            self.expect_return(now, actions);
        }
        self.ready.insert(ticket, Outcome::Take(member));
        actions.wake(waiter.waker);
        None
    }

    /// What holds after every event.
    fn check(&self) {
        debug_assert!(self.open() <= self.settings.max_active.max(self.overhang), "too many open");
        debug_assert!(
            self.suspended || self.queue.is_empty() || self.idle.is_empty(),
            "idle while somebody waits"
        );
        debug_assert!(self.jobs <= self.settings.max_jobs, "too many dials");
        debug_assert!(self.asking <= self.in_use, "asked and not in use");
        debug_assert_eq!(self.registry.len(), self.idle() + self.in_use(), "registry");
        debug_assert!(!self.closed || self.idle.is_empty() && self.queue.is_empty(), "closed");
    }
}

#[cfg(test)]
mod tests;
