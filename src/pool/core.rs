//! The pool as a pure state machine: no lock, no clock, no I/O, no code of users.
//!
//! Every method is an event. What has to be done outside comes back as [`Actions`], to be
//! carried out after the lock has been given up. So the counts are exact at every instant:
//! `idle + in_use + dialing == open <= max_active`.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::stats::Counters;
use super::waiter::{Ticket, WaitQueue, Waiter};
use crate::error::Error;

/// What the core has to know of the pool's options.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) max_idle: usize,
    /// `usize::MAX`: no limit.
    pub(crate) max_active: usize,
    /// Whether to wait at `max_active`.
    pub(crate) wait: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    /// How many dials may run that are nobody's own.
    pub(crate) max_jobs: usize,
}

/// A connection with what the pool knows of it. The instants are there when a rule needs them.
/// Always boxed, so that it moves through the pool as one pointer.
#[derive(Debug)]
pub(crate) struct Member<C> {
    pub(crate) conn: C,
    pub(crate) created: Option<Instant>,
    /// When it came back last; `None` for one that was never lent.
    pub(crate) returned: Option<Instant>,
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
    in_use: usize,
    /// Dials that callers run themselves.
    own_dials: usize,
    /// Dials for the oldest in the queue, whoever that is when they end.
    jobs: usize,
    next_ticket: u64,
    closed: bool,
    pub(crate) counters: Counters,
}

/// Who asks for a connection.
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
    Exhausted,
    Closed,
}

/// Why one has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// All that may be open is.
    AtLimit,
    /// For a dial.
    Dialing,
}

/// What a waiter gets.
#[derive(Debug)]
pub(crate) enum Outcome<C> {
    Take(Box<Member<C>>),
    /// There is room now: dial.
    Dial,
    Failed(Error),
    Closed,
}

/// Why a connection does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// An error, or a state that could not be undone.
    Broken,
    /// It failed its test, and its caller has no time for another.
    FailedTest,
    /// The borrower wanted it so, or panicked.
    Discarded,
}

/// What to do after unlocking. The common cases, nothing and one to wake, are two words.
#[derive(Debug)]
#[must_use]
pub(crate) struct Actions<C, W> {
    pub(crate) wake: Option<W>,
    pub(crate) more: Option<Box<More<C, W>>>,
}

/// What is seldom to be done.
#[derive(Debug)]
pub(crate) struct More<C, W> {
    pub(crate) wake: Vec<W>,
    /// Dials to start.
    pub(crate) jobs: usize,
    pub(crate) close: Vec<Box<Member<C>>>,
}

impl<C, W> Actions<C, W> {
    fn none() -> Actions<C, W> {
        Actions { wake: None, more: None }
    }

    fn more(&mut self) -> &mut More<C, W> {
        self.more
            .get_or_insert_with(|| Box::new(More { wake: Vec::new(), jobs: 0, close: Vec::new() }))
    }

    fn wake(&mut self, waker: W) {
        match self.wake {
            None => self.wake = Some(waker),
            Some(_) => self.more().wake.push(waker),
        }
    }

    fn close(&mut self, member: Box<Member<C>>) {
        self.more().close.push(member);
    }
}

/// A connection or a place to wait was asked for: the answer, and what it entails.
pub(crate) type Reply<C, W> = (Answer<C>, Actions<C, W>);

impl<C, W> Core<C, W> {
    pub(crate) fn new(rules: Rules) -> Core<C, W> {
        Core {
            rules,
            idle: VecDeque::new(),
            queue: WaitQueue::new(),
            ready: HashMap::new(),
            in_use: 0,
            own_dials: 0,
            jobs: 0,
            next_ticket: 0,
            closed: false,
            counters: Counters::default(),
        }
    }

    /// Somebody wants a connection. `now` is needed only where a rule of age is set; `waker` is
    /// made only for one who has to wait.
    pub(crate) fn checkout(
        &mut self,
        caller: Caller,
        now: Option<Instant>,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (answer, actions) = self.find(ticket, caller, now, waker);
        match answer {
            Answer::Take(..) => self.counters.hits += 1,
            Answer::Dial(_) | Answer::Wait(..) => self.counters.misses += 1,
            Answer::Exhausted | Answer::Closed => {}
        }
        (answer, actions)
    }

    /// The connection that this caller was lent did not pass its test: it gets another, in its
    /// old place in the order.
    pub(crate) fn retry(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        now: Option<Instant>,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        self.in_use -= 1;
        self.counters.closed_test += 1;
        self.find(ticket, caller, now, waker)
    }

    fn find(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        now: Option<Instant>,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        let mut actions = Actions::none();
        if self.closed {
            return (Answer::Closed, actions);
        }
        if let Some(now) = now {
            self.expire_idle(now, &mut actions);
        }
        if let Some(member) = self.take_idle(now, &mut actions) {
            return (Answer::Take(ticket, member), actions);
        }
        let at_limit = self.open() >= self.rules.max_active;
        let answer = if at_limit && !self.rules.wait {
            self.counters.exhausted += 1;
            Answer::Exhausted
        } else if !at_limit && caller == Caller::Dials {
            self.own_dials += 1;
            Answer::Dial(ticket)
        } else {
            self.enqueue(ticket, caller, waker, &mut actions);
            Answer::Wait(ticket, if at_limit { Cause::AtLimit } else { Cause::Dialing })
        };
        self.check();
        (answer, actions)
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

    /// A waiter leaves without a connection. Only for one that found nothing to collect.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> Option<W> {
        self.queue.remove(ticket)
    }

    /// A caller's own dial succeeded: the connection is the caller's, unless somebody has been
    /// waiting for longer.
    pub(crate) fn dialed(
        &mut self,
        ticket: Ticket,
        member: Box<Member<C>>,
        waker: impl FnOnce() -> W,
    ) -> Reply<C, W> {
        let mut actions = Actions::none();
        self.counters.dials += 1;
        self.own_dials -= 1;
        let answer = if self.closed {
            actions.close(member);
            Answer::Closed
        } else if self.queue.first().is_some_and(|(oldest, _)| oldest < ticket) {
            self.hand_over(member, &mut actions);
            let room = self.rules.max_active - self.open();
            if !self.rules.wait && self.queue.len() >= room.saturating_add(self.jobs) {
                // Every dial that runs, or may, is for somebody else: no more to wait for.
                self.counters.exhausted += 1;
                Answer::Exhausted
            } else {
                self.enqueue(ticket, Caller::Dials, waker, &mut actions);
                Answer::Wait(ticket, Cause::Dialing)
            }
        } else {
            self.in_use += 1;
            Answer::Take(ticket, member)
        };
        self.check();
        (answer, actions)
    }

    /// A caller's own dial failed, which is that caller's affair; its place is free.
    pub(crate) fn dial_failed(&mut self) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.counters.dial_errors += 1;
        self.own_dials -= 1;
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// A dial for the queue succeeded: the oldest waiter gets the connection.
    pub(crate) fn job_done(
        &mut self,
        member: Box<Member<C>>,
        now: Option<Instant>,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.counters.dials += 1;
        self.jobs -= 1;
        if self.closed {
            actions.close(member);
        } else if let Some(mut member) = self.hand_over(member, &mut actions) {
            // Everyone has left. It is kept, even beyond `max_idle`: when dials take longer than
            // callers wait, closing it would leave the pool empty for good.
            self.counters.late_dials += 1;
            member.returned = now;
            self.idle.push_front(member);
        }
        // One dial less is running: there may be room for the next.
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// A dial for the queue failed: so does the oldest waiter, at once.
    pub(crate) fn job_failed(&mut self, error: &Error) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.counters.dial_errors += 1;
        self.jobs -= 1;
        if let Some((ticket, waker)) = self.queue.pop() {
            self.ready.insert(ticket, Outcome::Failed(error.clone()));
            actions.wake(waker);
        }
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// A connection comes back, fit to be lent again.
    pub(crate) fn put(
        &mut self,
        mut member: Box<Member<C>>,
        now: Option<Instant>,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.in_use -= 1;
        member.returned = now;
        if self.closed {
            actions.close(member);
        } else if now.is_some_and(|now| self.has_outlived(&member, now)) {
            self.close_outlived(member, &mut actions);
            self.rebalance(&mut actions);
        } else if let Some(member) = self.hand_over(member, &mut actions) {
            self.idle.push_front(member);
            while self.idle.len() > self.rules.max_idle {
                let Some(oldest) = self.idle.pop_back() else { break };
                self.counters.closed_max_idle += 1;
                actions.close(oldest);
            }
        }
        self.check();
        actions
    }

    /// A connection that was lent does not come back.
    pub(crate) fn remove(&mut self, cause: Removal) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.in_use -= 1;
        match cause {
            Removal::Broken => self.counters.closed_broken += 1,
            Removal::FailedTest => self.counters.closed_test += 1,
            Removal::Discarded => self.counters.discarded += 1,
        }
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Takes out the idle connections that are too old by any rule.
    pub(crate) fn prune(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.expire_idle(now, &mut actions);
        let mut kept = VecDeque::with_capacity(self.idle.len());
        while let Some(member) = self.idle.pop_front() {
            match self.has_outlived(&member, now) {
                true => self.close_outlived(member, &mut actions),
                false => kept.push_back(member),
            }
        }
        self.idle = kept;
        self.check();
        actions
    }

    /// Nothing is lent any more. Everyone who waits is woken up and will find out.
    pub(crate) fn close(&mut self) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.closed = true;
        actions.more().close.extend(self.idle.drain(..));
        actions.more().wake.extend(self.queue.take_all());
        self.check();
        actions
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
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

    /// The newest idle connection. While somebody waits there is none: what comes back goes to
    /// those who wait, so a newcomer cannot push in.
    fn take_idle(
        &mut self,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Member<C>>> {
        while let Some(member) = self.idle.pop_front() {
            if now.is_some_and(|now| self.has_outlived(&member, now)) {
                self.close_outlived(member, actions);
                continue;
            }
            self.in_use += 1;
            return Some(member);
        }
        None
    }

    /// Takes out what has been idle for too long. The oldest are at the back.
    fn expire_idle(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(timeout) = self.rules.idle_timeout else { return };
        let too_old = |returned| now.saturating_duration_since(returned) > timeout;
        while self.idle.back().is_some_and(|oldest| oldest.returned.is_some_and(too_old)) {
            let Some(oldest) = self.idle.pop_back() else { break };
            self.counters.closed_idle_timeout += 1;
            actions.close(oldest);
        }
    }

    fn has_outlived(&self, member: &Member<C>, now: Instant) -> bool {
        match (self.rules.max_lifetime, member.created) {
            (Some(lifetime), Some(created)) => now.saturating_duration_since(created) >= lifetime,
            _ => false,
        }
    }

    fn close_outlived(&mut self, member: Box<Member<C>>, actions: &mut Actions<C, W>) {
        self.counters.closed_lifetime += 1;
        actions.close(member);
    }

    fn enqueue(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        waker: impl FnOnce() -> W,
        actions: &mut Actions<C, W>,
    ) {
        self.queue.push(ticket, Waiter { waker: waker(), dials: caller == Caller::Dials });
        self.rebalance(actions);
    }

    /// Lends the connection to the oldest waiter, or gives it back.
    fn hand_over(
        &mut self,
        member: Box<Member<C>>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Member<C>>> {
        let Some((ticket, waker)) = self.queue.pop() else { return Some(member) };
        self.in_use += 1;
        self.ready.insert(ticket, Outcome::Take(member));
        actions.wake(waker);
        None
    }

    /// Starts a dial for each waiter that no dial is running for, as far as there is room.
    fn rebalance(&mut self, actions: &mut Actions<C, W>) {
        while self.queue.len() > self.jobs && self.open() < self.rules.max_active {
            let oldest_dials = self.queue.first().is_some_and(|(_, waiter)| waiter.dials);
            if oldest_dials {
                let Some((ticket, waker)) = self.queue.pop() else { return };
                self.own_dials += 1;
                self.ready.insert(ticket, Outcome::Dial);
                actions.wake(waker);
            } else if self.jobs < self.rules.max_jobs {
                self.jobs += 1;
                actions.more().jobs += 1;
            } else {
                return;
            }
        }
    }

    /// What holds after every event.
    fn check(&self) {
        debug_assert!(self.open() <= self.rules.max_active, "too many open");
        debug_assert!(self.queue.is_empty() || self.idle.is_empty(), "idle while somebody waits");
        debug_assert!(self.jobs <= self.rules.max_jobs, "too many dials");
        debug_assert!(!self.closed || self.idle.is_empty() && self.queue.is_empty(), "closed");
    }
}

#[cfg(test)]
mod tests;
