//! The pool as a pure state machine: no lock, no clock, no I/O, no code of users.
//!
//! Every method is an event. What has to be done outside comes back as [`Actions`], to be
//! carried out after the lock has been given up. So the counts are exact at every instant:
//! `idle + in_use + dialing == open <= max_active`.
//!
//! This file has the events of borrowing; `dials.rs` those of dialling, `control.rs` what is said to
//! the pool as a whole, `upkeep.rs` the passing of time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::backoff::{Backoff, Dice};
use super::reason::CloseReason;
use super::stats::Counters;
use super::waiter::{Ticket, WaitQueue, Waiter};
use crate::error::Error;

mod actions;
mod control;
mod dials;
pub(crate) mod roster;
mod upkeep;

pub(crate) use actions::{Actions, More, Overdue};
pub(crate) use dials::{Fresh, JobCause};
use roster::{Borrower, Place, Roster};

/// What the core has to know of the pool's options.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) max_idle: usize,
    /// `usize::MAX`: no limit.
    pub(crate) max_active: usize,
    pub(crate) min_idle: usize,
    /// Whether to wait at `max_active`.
    pub(crate) wait: bool,
    /// How many may wait for what others hold.
    pub(crate) max_waiters: usize,
    /// Lends what has been idle for longest first.
    pub(crate) fifo: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) leak_threshold: Option<Duration>,
    /// Whether a connection out for that long is given up.
    pub(crate) reclaims: bool,
    /// Whether a thread that would wait for itself is told so.
    pub(crate) refuses_deadlock: bool,
    /// How many dials may run that are nobody's own.
    pub(crate) max_jobs: usize,
    /// How many dials in a row may fail before there are no more.
    pub(crate) breaker: Option<u32>,
    pub(crate) backoff: Backoff,
    /// Whether loans are noted.
    pub(crate) tracks: bool,
    /// Whether somebody comes by when the upkeep is due.
    pub(crate) upkeep: bool,
}

/// A connection with what the pool knows of it. The instants are there when a rule needs them.
/// Always boxed, so that it moves through the pool as one pointer.
#[derive(Debug)]
pub(crate) struct Member<C> {
    pub(crate) conn: C,
    /// Where the roster has it, from when it has become a member.
    pub(crate) place: Place,
    /// The generation of the pool when its dial began.
    pub(crate) generation: u64,
    pub(crate) expires: Option<Instant>,
    /// When it came back last; `None` for one that was never lent.
    pub(crate) returned: Option<Instant>,
    /// When it was last asked whether it lives.
    pub(crate) asked: Option<Instant>,
    /// How many had turned out to be dead when it was known to live.
    pub(crate) deaths: u64,
    /// There were more by the time when it was lent.
    pub(crate) doubtful: bool,
    /// Nobody waited for it when it was dialled for somebody.
    pub(crate) late: bool,
}

/// The state of a pool over connections `C`, with `W` to wake a waiter up.
#[derive(Debug)]
pub(crate) struct Core<C, W> {
    rules: Rules,
    /// Newest in front.
    idle: VecDeque<Box<Member<C>>>,
    queue: WaitQueue<W>,
    /// What waiters that were taken out of the queue will find.
    ready: HashMap<Ticket, Outcome<C>>,
    roster: Roster,
    /// Lent, or being asked whether they live.
    in_use: usize,
    /// Those of them that are asked.
    asking: usize,
    /// Dials that callers run themselves.
    own_dials: usize,
    /// Dials for the oldest in the queue, whoever that is when they end.
    jobs: usize,
    retry: dials::Retry,
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
    dice: Dice,
    pub(crate) counters: Counters,
}

/// Who asks for a connection, and when if a rule of time is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) caller: Caller,
    pub(crate) now: Option<Instant>,
    /// Where loans are to be noted.
    pub(crate) borrower: Option<&'a Borrower>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Will dial on its own thread when there is nothing to lend.
    Dials,
    /// Has a deadline, or can be cancelled: somebody else has to dial.
    Waits,
}

/// The answer to one who asks for a connection.
#[derive(Debug)]
pub(crate) enum Answer<C> {
    Take(Ticket, Box<Member<C>>),
    /// Dial, and come back with [`Core::dialed`] or [`Core::dial_failed`].
    Dial(Ticket),
    /// Sleep until woken, then [`Core::collect`].
    Wait(Ticket, Cause),
    Refused(Refusal),
    Closed,
}

/// Why one gets nothing, at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All that may be open is, or enough wait for it already.
    Exhausted,
    /// Dials fail, and no more are made for now.
    BreakerOpen,
    /// Every connection is held by a thread that waits for another.
    Deadlock,
}

/// Why one has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// All that may be open is.
    AtLimit,
    /// For a dial.
    Dialing,
    /// The pool is suspended.
    Suspended,
}

/// What a waiter gets.
#[derive(Debug)]
pub(crate) enum Outcome<C> {
    Take(Box<Member<C>>),
    /// There is room now: dial.
    Dial,
    Failed(Error),
    BreakerOpen,
    Closed,
}

/// A connection or a place to wait was asked for: the answer, and what it entails.
pub(crate) type Reply<C, W> = (Answer<C>, Actions<C, W>);

impl<C, W> Core<C, W> {
    pub(crate) fn new(rules: Rules, dice: Dice) -> Core<C, W> {
        Core {
            rules,
            idle: VecDeque::new(),
            queue: WaitQueue::new(),
            ready: HashMap::new(),
            roster: Roster::default(),
            in_use: 0,
            asking: 0,
            own_dials: 0,
            jobs: 0,
            retry: dials::Retry::default(),
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
    pub(crate) fn checkout(&mut self, asker: Asker<'_>, waker: impl FnOnce() -> W) -> Reply<C, W> {
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
        asker: Asker<'_>,
        place: Place,
        reason: CloseReason,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        let mut actions = Actions::none();
        self.let_go(place, Some(reason), None, &mut actions);
        let (answer, mut actions) = self.find(ticket, asker, waker, actions);
        // Where this caller does not use the place that is free now, another may.
        self.rebalance(&mut actions);
        self.check();
        (answer, actions)
    }

    #[inline]
    fn find(
        &mut self,
        ticket: Ticket,
        asker: Asker<'_>,
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
            if self.rules.upkeep {
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
    fn refusal(&self, asker: Asker<'_>) -> Option<Refusal> {
        if self.suspended {
            let too_many = self.queue.len() >= self.rules.max_waiters;
            return too_many.then_some(Refusal::Exhausted);
        }
        if self.has_room() {
            if self.retry.broken {
                return Some(Refusal::BreakerOpen);
            }
            if asker.caller == Caller::Dials {
                return None;
            }
        } else if !self.rules.wait {
            // One that is being asked whether it lives is back in no time, for whoever is next.
            let none_to_come =
                self.asking == 0 || self.queue.len() >= self.asking.saturating_add(self.jobs);
            return none_to_come.then_some(Refusal::Exhausted);
        }
        if self.queue.len() >= self.rules.max_waiters.saturating_add(self.hopes()) {
            return Some(Refusal::Exhausted);
        }
        let stuck = self.rules.refuses_deadlock && !self.has_room() && self.is_deadlocked(asker);
        stuck.then_some(Refusal::Deadlock)
    }

    /// How many of those who wait can be served by dials that run, or may.
    fn hopes(&self) -> usize {
        self.rules.max_active.saturating_sub(self.open()).saturating_add(self.jobs)
    }

    /// True when every connection is held by a thread that waits for another, this one included.
    fn is_deadlocked(&self, asker: Asker<'_>) -> bool {
        let Some(own) = asker.borrower else { return false };
        if self.roster.oldest_loan_of(own.thread).is_none() {
            return false;
        }
        let waits = |thread: u64| {
            let mut waiting = self.queue.iter().filter_map(|waiter| waiter.borrower.as_ref());
            thread == own.thread || waiting.any(|other| other.thread.number == thread)
        };
        // Anything that is no loan, a dial for one, may still come free.
        self.roster.len() == self.open() && self.roster.all_are_lent_to(waits)
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
    pub(crate) fn put(
        &mut self,
        mut member: Box<Member<C>>,
        now: Option<Instant>,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        if self.rules.reclaims && self.forget_reclaimed(member.place, &mut actions) {
            actions.more().close.push((member, CloseReason::Leak));
            return actions;
        }
        self.in_use -= 1;
        if self.rules.tracks {
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
        member: Box<Member<C>>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        if let Some(reason) = self.unfit(&member, now) {
            self.close_member(member, reason, actions);
            self.rebalance(actions);
            self.tell_watchers_if_drained(actions);
        } else if let Some(member) = self.hand_over(member, now, actions) {
            if self.rules.upkeep {
                self.expect_idle(&member, now, actions);
            }
            self.push_idle(member);
            self.trim_idle(self.rules.max_idle, actions);
        } else {
            // The next may be one who dials, where this one waited for a dial thread.
            self.rebalance(actions);
        }
    }

    /// Why it may not be lent again.
    #[inline]
    fn unfit(&self, member: &Member<C>, now: Option<Instant>) -> Option<CloseReason> {
        if self.closed {
            Some(CloseReason::PoolClosed)
        } else if member.generation != self.generation {
            Some(CloseReason::Generation)
        } else if has_outlived(member, now) {
            Some(CloseReason::Lifetime)
        } else if self.overhang > 0 && self.open() >= self.rules.max_active {
            Some(CloseReason::Overflow)
        } else {
            None
        }
    }

    /// The connection that was lent from this place does not come back: why it is closed, if it is,
    /// and when its loan ended, if it was used.
    pub(crate) fn remove(
        &mut self,
        place: Place,
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

    fn let_go(
        &mut self,
        place: Place,
        reason: Option<CloseReason>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        if self.rules.reclaims && self.forget_reclaimed(place, actions) {
            return;
        }
        if self.rules.tracks {
            self.note_return(place, now, actions);
        }
        self.note_end(place, reason);
    }

    /// What was lent from this place is out of the pool.
    fn note_end(&mut self, place: Place, reason: Option<CloseReason>) {
        self.in_use -= 1;
        self.roster.leave(place);
        match reason {
            Some(reason) => self.counters.closed.add(reason),
            None => self.counters.detached += 1,
        }
        // Where one has died, the others may have too.
        if matches!(reason, Some(CloseReason::Io | CloseReason::Health)) {
            self.deaths += 1;
        }
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

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
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
        Some(self.rules.max_active).filter(|&max| max < usize::MAX)
    }

    fn has_room(&self) -> bool {
        self.open() < self.rules.max_active
    }

    /// The next idle connection to lend. While somebody waits there is none: what comes back goes
    /// to those who wait, so a newcomer cannot push in.
    #[inline]
    fn take_idle(
        &mut self,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Member<C>>> {
        if self.suspended {
            return None;
        }
        loop {
            let next = if self.rules.fifo { self.idle.pop_back() } else { self.idle.pop_front() };
            let mut member = next?;
            if has_outlived(&member, now) {
                self.close_member(member, CloseReason::Lifetime, actions);
                continue;
            }
            if member.late {
                member.late = false;
                self.counters.late_reused += 1;
            }
            self.in_use += 1;
            self.doubt(&mut member);
            return Some(member);
        }
    }

    /// Who is about to lend it is to look at it, if others have died since it was known to live.
    fn doubt(&self, member: &mut Member<C>) {
        member.doubtful = member.deaths < self.deaths;
        member.deaths = self.deaths;
    }

    /// Makes it the newest of the idle ones. One that was out for a check has its old place.
    #[inline]
    fn push_idle(&mut self, member: Box<Member<C>>) {
        if self.idle.front().is_none_or(|front| front.returned <= member.returned) {
            self.idle.push_front(member);
            return;
        }
        let newer = self.idle.iter().take_while(|idle| idle.returned > member.returned).count();
        self.idle.insert(newer, member);
    }

    /// Closes the oldest of those that are too many.
    #[inline]
    fn trim_idle(&mut self, most: usize, actions: &mut Actions<C, W>) {
        while self.idle.len() > most {
            let Some(oldest) = self.idle.pop_back() else { break };
            self.close_member(oldest, CloseReason::Overflow, actions);
        }
    }

    /// Takes out what has been idle for too long. The oldest are at the back.
    #[inline]
    fn expire_idle(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(timeout) = self.rules.idle_timeout else { return };
        let too_old = |returned| now.saturating_duration_since(returned) > timeout;
        while self.idle.back().is_some_and(|oldest| oldest.returned.is_some_and(too_old)) {
            let Some(oldest) = self.idle.pop_back() else { break };
            self.close_member(oldest, CloseReason::IdleTimeout, actions);
        }
    }

    #[cold]
    fn close_member(
        &mut self,
        member: Box<Member<C>>,
        reason: CloseReason,
        actions: &mut Actions<C, W>,
    ) {
        self.roster.leave(member.place);
        self.counters.closed.add(reason);
        actions.more().close.push((member, reason));
    }

    fn enqueue(
        &mut self,
        ticket: Ticket,
        asker: Asker<'_>,
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
        mut member: Box<Member<C>>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Member<C>>> {
        if self.queue.is_empty() || self.suspended {
            return Some(member);
        }
        let Some((ticket, waiter)) = self.queue.pop() else { return Some(member) };
        self.in_use += 1;
        self.doubt(&mut member);
        if let (Some(borrower), Some(now)) = (waiter.borrower, now) {
            self.roster.lend_to(member.place, borrower, now);
        }
        if self.rules.upkeep {
            self.expect_return(now, actions);
        }
        self.ready.insert(ticket, Outcome::Take(member));
        actions.wake(waiter.waker);
        None
    }

    #[inline]
    fn note_loan(&mut self, place: Place, asker: Asker<'_>) {
        if let (Some(borrower), Some(now)) = (asker.borrower, asker.now) {
            self.roster.lend(place, borrower, now);
        }
    }

    fn note_return(&mut self, place: Place, now: Option<Instant>, actions: &mut Actions<C, W>) {
        let (lasted, reported) = self.roster.take_back(place, now);
        if let Some(lasted) = lasted {
            self.counters.use_time.record(lasted);
        }
        if reported.is_some() {
            actions.more().came_back = reported;
        }
    }

    /// True when the connection was given up before it came back now.
    fn forget_reclaimed(&mut self, place: Place, actions: &mut Actions<C, W>) -> bool {
        let loan = self.roster.forget_reclaimed(place);
        let reclaimed = loan.is_some();
        if reclaimed {
            actions.more().came_back = loan;
        }
        reclaimed
    }

    /// What holds after every event.
    fn check(&self) {
        debug_assert!(self.open() <= self.rules.max_active.max(self.overhang), "too many open");
        debug_assert!(
            self.suspended || self.queue.is_empty() || self.idle.is_empty(),
            "idle while somebody waits"
        );
        debug_assert!(self.jobs <= self.rules.max_jobs, "too many dials");
        debug_assert!(self.asking <= self.in_use, "asked and not in use");
        debug_assert_eq!(self.roster.len(), self.idle() + self.in_use(), "roster");
        debug_assert!(!self.closed || self.idle.is_empty() && self.queue.is_empty(), "closed");
    }
}

fn has_outlived<C>(member: &Member<C>, now: Option<Instant>) -> bool {
    match (member.expires, now) {
        (Some(expires), Some(now)) => now >= expires,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
