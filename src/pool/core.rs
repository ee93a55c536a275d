//! The pool as a pure state machine: no lock, no clock, no I/O, no callbacks.
//!
//! Every method is an event. Work to do outside comes back as [`Actions`], which the shell performs
//! after it has released the lock. The counts are therefore exact at every instant:
//! `idle + in_use + dialing == open <= max_active`.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::pool::core::backoff::Jitter;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::stats::{Counters, PoolStats};

pub(crate) mod actions;
pub(crate) mod backoff;
pub(crate) mod cleaning;
mod dialing;
pub(crate) mod dials;
mod idle;
mod lifecycle;
mod maintenance;
pub(crate) mod registry;
pub(crate) mod types;
pub(crate) mod wait_queue;

use actions::{Actions, Overdue};
use dials::{Dial, Dials, OldestDial};
use registry::{Borrower, Registry, SlotId, WaitingBorrower};
use types::{
    CheckoutRequest, CoreSettings, Disposition, Entry, Grant, NewWaiter, Refusal, Ticket,
    WaitReason,
};
use wait_queue::{WaitQueue, Waiter};

/// The state of a pool over connections `C`, with a `W` that wakes a waiter.
#[derive(Debug)]
pub(crate) struct Core<C, W> {
    settings: CoreSettings,
    /// Newest first.
    idle: VecDeque<Box<Entry<C>>>,
    queue: WaitQueue<W>,
    /// Grants for waiters that have left the queue, until they collect them.
    granted: HashMap<Ticket, Grant<C>>,
    registry: Registry,
    /// Connections that are checked out, being pinged or being cleaned.
    in_use: usize,
    /// Connections that are being pinged, included in `in_use`.
    pinging: usize,
    /// Included in `in_use`.
    cleaning: cleaning::Cleaning<C>,
    dials: Dials,
    dial_health: dialing::DialHealth,
    /// Woken at the end of a dial and when the last connection of a closed pool is checked in.
    watchers: Vec<W>,
    /// The targets of all running warm-ups.
    warm_ups: Vec<usize>,
    /// When the timer will call `run_due`.
    alarm: Option<Instant>,
    next_ticket: u64,
    generation: u64,
    /// The number of connections that were found dead.
    failures: u64,
    /// How often the idle connections were closed because of an error reply of `retire_on`.
    sweeps: u64,
    last_sweep: Option<Instant>,
    suspended: bool,
    closed: bool,
    /// The number of open connections when `max_active` was last set below it.
    shrink_ceiling: Option<usize>,
    jitter: Jitter,
    pub(crate) counters: Counters,
}

/// A connection that its borrower keeps.
#[derive(Debug)]
pub(crate) struct Detached<C> {
    pub(crate) entry: Box<Entry<C>>,
    /// The pool had reclaimed the connection, and counted it as closed.
    pub(crate) reclaimed: bool,
}

impl<C, W> Core<C, W> {
    pub(crate) fn new(settings: CoreSettings, jitter: Jitter) -> Core<C, W> {
        Core {
            settings,
            idle: VecDeque::new(),
            queue: WaitQueue::new(),
            granted: HashMap::new(),
            registry: Registry::default(),
            in_use: 0,
            pinging: 0,
            cleaning: cleaning::Cleaning::new(),
            dials: Dials::default(),
            dial_health: dialing::DialHealth::default(),
            watchers: Vec::new(),
            warm_ups: Vec::new(),
            alarm: None,
            next_ticket: 0,
            generation: 0,
            failures: 0,
            sweeps: 0,
            last_sweep: None,
            suspended: false,
            closed: false,
            shrink_ceiling: None,
            jitter,
            counters: Counters::default(),
        }
    }

    /// A caller wants a connection. `waiter` is called only if no connection is idle.
    pub(crate) fn check_out(
        &mut self,
        request: CheckoutRequest<'_>,
        waiter: impl FnOnce() -> NewWaiter<W>,
        actions: &mut Actions<C, W>,
    ) -> Grant<C> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let grant = self.acquire_or_wait(ticket, request, waiter, actions);
        match grant {
            Grant::Conn(..) => self.counters.hits += 1,
            Grant::Wait(..) => self.counters.misses += 1,
            Grant::Failed(_) | Grant::Refused(_) | Grant::Closed => {}
        }
        grant
    }

    /// A caller returns a connection that failed its validation, and asks again. It keeps its place
    /// in the queue.
    pub(crate) fn replace(
        &mut self,
        ticket: Ticket,
        invalid: Box<Entry<C>>,
        reason: CloseReason,
        request: CheckoutRequest<'_>,
        waiter: impl FnOnce() -> NewWaiter<W>,
        actions: &mut Actions<C, W>,
    ) -> Grant<C> {
        self.end_borrow(invalid, Disposition::Close(reason), None, actions);
        let grant = self.acquire_or_wait(ticket, request, waiter, actions);
        // Another waiter can use the slot if this caller does not.
        self.slot_freed(actions);
        self.check();
        grant
    }

    #[inline]
    fn acquire_or_wait(
        &mut self,
        ticket: Ticket,
        request: CheckoutRequest<'_>,
        waiter: impl FnOnce() -> NewWaiter<W>,
        actions: &mut Actions<C, W>,
    ) -> Grant<C> {
        if self.closed {
            return Grant::Closed;
        }
        if let Some(now) = request.now {
            self.expire_idle(now, actions);
        }
        if let Some(entry) = self.take_idle(request.now, actions) {
            self.record_checkout(entry.slot, request);
            if self.lacks_idle() {
                self.rebalance(actions);
            }
            if self.settings.has_timer {
                self.schedule_leak_check(request.now, actions);
            }
            return Grant::Conn(ticket, entry);
        }
        let NewWaiter { waker, now } = waiter();
        self.dials.mark_hung(now);
        let grant = if let Some(refusal) = self.refusal(request) {
            self.count_refusal(refusal);
            Grant::Refused(refusal)
        } else {
            let borrower = request.borrower.map(Borrower::waiting);
            let reason = match self.has_slot() {
                _ if self.suspended => WaitReason::Suspended,
                true => WaitReason::Dialing,
                false => WaitReason::AtLimit,
            };
            self.queue.push(ticket, Waiter { waker, borrower });
            self.dials.cover_again(ticket);
            Grant::Wait(ticket, reason)
        };
        // Also after a refusal, because an expired connection may have freed a slot.
        self.rebalance(actions);
        self.check();
        grant
    }

    /// Returns why a caller for which no connection is idle cannot wait.
    fn refusal(&self, request: CheckoutRequest<'_>) -> Option<Refusal> {
        let over_max_waiters = |extra| {
            self.settings
                .max_waiters
                .is_some_and(|max| self.queue.len() >= max.saturating_add(extra))
        };
        if self.suspended {
            return over_max_waiters(0).then_some(Refusal::Exhausted);
        }
        if self.has_slot() && self.dial_health.broken {
            return Some(Refusal::BreakerOpen);
        }
        if let Some(obtainable) = self.obtainable() {
            let expected = obtainable + self.coming_back();
            if over_max_waiters(obtainable) || !self.settings.wait && self.queue.len() >= expected {
                return Some(Refusal::Exhausted);
            }
        }
        let stuck =
            self.settings.detect_deadlock && !self.has_slot() && self.is_deadlocked(request);
        stuck.then_some(Refusal::Deadlock)
    }

    /// Returns how many waiters can be served by dials that run or can start; `None` means all.
    fn obtainable(&self) -> Option<usize> {
        Some(self.settings.max_active?.saturating_sub(self.open()) + self.dials.promising())
    }

    /// Returns true if every connection is held by a thread that waits for another one without a
    /// deadline, or by the caller's thread.
    fn is_deadlocked(&self, request: CheckoutRequest<'_>) -> bool {
        let Some(own) = request.borrower else { return false };
        if self.registry.oldest_checkout_of(own.thread).is_none() {
            return false;
        }
        let waits = |thread: u64| {
            let mut waiting = self.queue.iter().filter_map(|waiter| waiter.borrower.as_ref());
            let is_stuck =
                |other: &WaitingBorrower| other.thread.number == thread && !other.has_deadline;
            thread == own.thread || waiting.any(is_stuck)
        };
        // A dial may still end with a connection.
        self.registry.len() == self.open() && self.registry.all_checked_out_by(waits)
    }

    /// Returns the grant of a waiter that woke up, if there is one yet.
    pub(crate) fn collect(&mut self, ticket: Ticket) -> Option<Grant<C>> {
        let grant = self.granted.remove(&ticket);
        grant.or_else(|| self.closed.then_some(Grant::Closed))
    }

    /// A waiter leaves the queue. Returns how many waiters were ahead of it. Call this only if there
    /// was no grant to collect.
    pub(crate) fn leave_queue(&mut self, ticket: Ticket) -> usize {
        let ahead = self.queue.ahead_of(ticket);
        drop(self.queue.remove(ticket));
        self.dials.uncover(ticket);
        self.check();
        ahead
    }

    /// A borrow ends. The use time is recorded if `now` is set. Returns a detached connection.
    #[inline]
    pub(crate) fn check_in(
        &mut self,
        entry: Box<Entry<C>>,
        disposition: Disposition,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Detached<C>> {
        let detached = self.end_borrow(entry, disposition, now, actions);
        match disposition {
            Disposition::Return | Disposition::Clean { .. } => {}
            Disposition::Close(_) | Disposition::Detach => self.slot_freed(actions),
        }
        self.check();
        detached
    }

    #[inline]
    fn end_borrow(
        &mut self,
        mut entry: Box<Entry<C>>,
        disposition: Disposition,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Detached<C>> {
        if self.settings.reclaim_leaked && self.registry.is_reclaimed(entry.slot) {
            actions.deferred().late_return = self.registry.remove_reclaimed(entry.slot);
            if disposition == Disposition::Detach {
                return Some(Detached { entry, reclaimed: true });
            }
            actions.close(entry, CloseReason::Leak);
            return None;
        }
        if self.settings.track_borrows {
            self.record_check_in(entry.slot, now, actions);
        }
        match disposition {
            Disposition::Return => {
                self.in_use -= 1;
                entry.returned = now;
                entry.last_ping = None;
                self.accept(entry, now, actions);
                None
            }
            Disposition::Clean { dropped } => {
                self.begin_cleaning(entry, dropped, actions);
                None
            }
            Disposition::Close(reason) => {
                self.close_used(entry, reason, now, actions);
                None
            }
            Disposition::Detach => {
                self.in_use -= 1;
                self.registry.remove(entry.slot);
                self.counters.detached += 1;
                Some(Detached { entry, reclaimed: false })
            }
        }
    }

    /// Gives an unused connection to the oldest waiter, makes it idle, or closes it.
    #[inline(always)]
    fn accept(&mut self, entry: Box<Entry<C>>, now: Option<Instant>, actions: &mut Actions<C, W>) {
        if let Some(reason) = self.retire_reason(&entry, now) {
            self.close_entry(entry, reason, actions);
            self.slot_freed(actions);
            return;
        }
        if let Some(entry) = self.hand_to_waiter(entry, None, now, actions) {
            self.push_idle(entry, now, actions);
            self.trim_idle(self.settings.max_idle, actions);
        }
        if self.lacks_idle() {
            self.rebalance(actions);
        }
    }

    /// Closes a connection that is in use.
    fn close_used(
        &mut self,
        entry: Box<Entry<C>>,
        reason: CloseReason,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        self.in_use -= 1;
        // If one connection has failed, the others may have too.
        if matches!(reason, CloseReason::Io | CloseReason::Health) {
            self.failures += 1;
        }
        if reason == CloseReason::Retired {
            self.sweep(&entry, now, actions);
        }
        self.close_entry(entry, reason, actions);
    }

    /// A slot may have become free.
    fn slot_freed(&mut self, actions: &mut Actions<C, W>) {
        self.rebalance(actions);
        self.wake_watchers_if_drained(actions);
    }

    /// Grants the connection to the oldest waiter, or returns it if there is none. `ended` is the dial
    /// that the connection comes from.
    #[inline]
    fn hand_to_waiter(
        &mut self,
        mut entry: Box<Entry<C>>,
        ended: Option<&Dial>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Entry<C>>> {
        if self.queue.is_empty() || self.suspended {
            return Some(entry);
        }
        let Some((ticket, waiter)) = self.queue.pop() else { return Some(entry) };
        match ended {
            Some(ended) => self.dials.pass_on(ticket, ended),
            None => self.dials.uncover(ticket),
        }
        self.in_use += 1;
        self.mark_suspect(&mut entry);
        if let (Some(borrower), Some(now)) = (waiter.borrower, now) {
            self.registry.check_out_to(entry.slot, borrower, now);
        }
        if self.settings.has_timer {
            self.schedule_leak_check(now, actions);
        }
        self.granted.insert(ticket, Grant::Conn(ticket, entry));
        actions.wake(waiter.waker);
        None
    }

    #[inline]
    fn record_checkout(&mut self, slot: SlotId, request: CheckoutRequest<'_>) {
        if let (Some(borrower), Some(now)) = (request.borrower, request.now) {
            self.registry.check_out(slot, borrower, now);
        }
    }

    fn record_check_in(&mut self, slot: SlotId, now: Option<Instant>, actions: &mut Actions<C, W>) {
        let ended = self.registry.check_in(slot, now);
        if let Some(lasted) = ended.lasted {
            self.counters.use_time.record(lasted);
        }
        if ended.reported.is_some() {
            actions.deferred().late_return = ended.reported;
        }
    }

    fn count_refusal(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Exhausted => self.counters.exhausted += 1,
            Refusal::BreakerOpen => self.counters.breaker_refusals += 1,
            Refusal::Deadlock => self.counters.deadlocks += 1,
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
        self.dials.len()
    }

    pub(crate) fn oldest_dial(&self, now: Instant) -> Option<OldestDial> {
        self.dials.oldest(now)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn open(&self) -> usize {
        self.idle() + self.in_use() + self.dialing()
    }

    fn has_slot(&self) -> bool {
        self.settings.max_active.is_none_or(|max| self.open() < max)
    }

    /// Returns the statistics. `now` is the system's time.
    pub(crate) fn stats(&self, now: Instant) -> PoolStats {
        let (settings, counters) = (&self.settings, &self.counters);
        let oldest_dial = self.oldest_dial(now);
        PoolStats {
            max_active: settings.max_active,
            max_idle: settings.max_idle,
            min_idle: settings.min_idle,
            open: self.open(),
            idle: self.idle(),
            in_use: self.in_use(),
            cleaning: self.cleaning.len(),
            dialing: self.dialing(),
            oldest_dial_age: oldest_dial.map(|dial| dial.age),
            oldest_dial_attempts: oldest_dial.map_or(0, |dial| dial.attempts),
            waiting: self.waiting(),
            overdue: self.registry.overdue(),
            suspended: self.suspended,
            generation: self.generation,
            wait_count: counters.wait_count,
            wait_duration: counters.wait_duration,
            wait_timeouts: counters.wait_timeouts,
            wait_cancels: counters.wait_cancels,
            exhausted: counters.exhausted,
            breaker_refusals: counters.breaker_refusals,
            deadlocks: counters.deadlocks,
            hits: counters.hits,
            misses: counters.misses,
            dialed: counters.dialed,
            dial_attempts: counters.dial_attempts,
            dial_errors: counters.dial_errors,
            late_dials: counters.late_dials,
            late_reused: counters.late_reused,
            closed: counters.closed,
            detached: counters.detached,
            leaks: counters.leaks,
            wait_time: counters.wait_time.clone(),
            dial_time: counters.dial_time.clone(),
            use_time: counters.use_time.clone(),
        }
    }

    /// Checks the invariants after every event.
    fn check(&self) {
        let ceiling = self.settings.max_active.max(self.shrink_ceiling);
        let unlimited = self.settings.max_active.is_none();
        debug_assert!(unlimited || Some(self.open()) <= ceiling, "too many open");
        debug_assert!(
            self.suspended || self.queue.is_empty() || self.idle.is_empty(),
            "a connection is idle while a caller waits"
        );
        debug_assert!(self.dials.covering() <= self.queue.len(), "a dial covers no waiter");
        debug_assert!(self.coming_back() <= self.in_use, "a connection is not in use");
        debug_assert_eq!(self.registry.len(), self.idle() + self.in_use(), "registry");
        debug_assert!(!self.closed || self.idle.is_empty() && self.queue.is_empty(), "closed");
    }
}

#[cfg(test)]
mod tests;
