//! The events of dialing: when a dial starts, and what its end means.

use std::time::Instant;

use super::{
    Actions, CheckoutRequest, Core, DialReason, Dialed, Entry, Grant, Refusal, RequestDialer,
    WaitReason,
};
use crate::error::Error;
use crate::pool::core::wait_queue::Ticket;
use crate::pool::stats::close_reason::CloseReason;

/// Whether dials succeed, as of the last ones.
#[derive(Debug, Default)]
pub(super) struct DialHealth {
    /// Failed dials in a row.
    failures: u32,
    /// Pauses in a row.
    pauses: u32,
    /// Until when no dial starts without a waiter.
    pub(super) paused_until: Option<Instant>,
    /// The breaker is open: the only dials are probes, one after each pause.
    pub(super) broken: bool,
    probing: bool,
}

impl<C, W> Core<C, W> {
    /// A caller's own dial succeeded. The caller gets the connection unless an older caller waits.
    pub(crate) fn dialed(
        &mut self,
        ticket: Ticket,
        request: CheckoutRequest<'_>,
        dialed: Dialed<C>,
        waker: impl FnOnce() -> W,
        actions: &mut Actions<C, W>,
    ) -> Grant<C> {
        self.caller_dials -= 1;
        self.counters.dialed.demand += 1;
        let now = request.now;
        let entry = self.admit(dialed);
        let older_waits = self.queue.first().is_some_and(|(oldest, _)| oldest < ticket);
        let grant = if self.closed {
            self.close_entry(entry, CloseReason::PoolClosed, actions);
            Grant::Closed
        } else if entry.generation != self.generation {
            self.close_entry(entry, CloseReason::Evicted, actions);
            self.caller_dials += 1;
            Grant::Dial(ticket)
        } else if older_waits || self.suspended {
            if let Some(mut entry) = self.hand_to_waiter(entry, now, actions) {
                entry.returned = now;
                self.push_idle(entry, now, actions);
            }
            let served_by_dial = self.obtainable().is_none_or(|max| self.queue.len() < max);
            if !self.settings.wait && !self.suspended && !served_by_dial {
                self.count_refusal(Refusal::Exhausted);
                Grant::Refused(Refusal::Exhausted)
            } else {
                let reason =
                    if self.suspended { WaitReason::Suspended } else { WaitReason::Dialing };
                self.enqueue(ticket, request, waker, actions);
                Grant::Wait(ticket, reason)
            }
        } else {
            self.in_use += 1;
            self.record_checkout(entry.slot, request);
            if self.settings.has_timer {
                self.schedule_leak_check(now, actions);
            }
            Grant::Conn(ticket, entry)
        };
        self.dial_succeeded(actions);
        self.check();
        grant
    }

    /// A caller's own dial failed. Only that caller fails.
    pub(crate) fn dial_failed(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.caller_dials -= 1;
        self.note_dial_failure(now, &mut actions);
        self.check();
        actions
    }

    /// A dial on a dial thread succeeded. The oldest waiter gets the connection.
    pub(crate) fn thread_dialed(
        &mut self,
        reason: DialReason,
        dialed: Dialed<C>,
        now: Instant,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.end_dial(reason);
        match reason {
            DialReason::Demand => self.counters.dialed.demand += 1,
            DialReason::MinIdle => self.counters.dialed.min_idle += 1,
            DialReason::Probe => self.counters.dialed.probe += 1,
        }
        let entry = self.admit(dialed);
        if let Some(reason) = self.retire_reason(&entry, Some(now)) {
            self.close_entry(entry, reason, &mut actions);
        } else if let Some(mut entry) = self.hand_to_waiter(entry, Some(now), &mut actions) {
            // Kept even beyond `max_idle`: if dials take longer than callers wait, closing the
            // connection would leave the pool empty forever.
            if reason == DialReason::Demand {
                self.counters.late_dials += 1;
                entry.late = true;
            }
            entry.returned = Some(now);
            self.push_idle(entry, Some(now), &mut actions);
        }
        self.dial_succeeded(&mut actions);
        self.check();
        actions
    }

    /// A dial on a dial thread failed. The oldest waiter fails immediately.
    pub(crate) fn thread_dial_failed(
        &mut self,
        reason: DialReason,
        error: &Error,
        now: Instant,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.end_dial(reason);
        if let Some((ticket, waiter)) = self.queue.pop() {
            self.granted.insert(ticket, Grant::Failed(error.clone()));
            actions.wake(waiter.waker);
        }
        self.note_dial_failure(now, &mut actions);
        self.check();
        actions
    }

    /// Returns when dials without a waiter can start again, if they are paused.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.dial_health.paused_until
    }

    /// Adds a dialed connection to the pool.
    fn admit(&mut self, dialed: Dialed<C>) -> Box<Entry<C>> {
        let Dialed { conn, handle, generation, expires } = dialed;
        Box::new(Entry {
            conn,
            slot: self.registry.add(handle),
            generation,
            expires,
            returned: None,
            last_ping: None,
            failures: self.failures,
            suspect: false,
            late: false,
        })
    }

    fn end_dial(&mut self, reason: DialReason) {
        self.dials -= 1;
        if reason == DialReason::Probe {
            self.dial_health.probing = false;
        }
    }

    fn dial_succeeded(&mut self, actions: &mut Actions<C, W>) {
        self.forget_dial_failures();
        self.rebalance(actions);
        self.wake_watchers(actions);
    }

    /// Closes the breaker and ends the pause. A running probe stays the only one.
    pub(super) fn forget_dial_failures(&mut self) {
        self.dial_health =
            DialHealth { probing: self.dial_health.probing, ..DialHealth::default() };
    }

    fn note_dial_failure(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        self.counters.dial_errors += 1;
        self.dial_health.failures = self.dial_health.failures.saturating_add(1);
        if self.settings.breaker.is_some_and(|limit| self.dial_health.failures >= limit) {
            self.dial_health.broken = true;
        }
        self.pause_dials(now, actions);
        self.rebalance(actions);
        self.wake_watchers(actions);
    }

    /// Pauses dials without a waiter, each time for longer, unless they are paused already.
    fn pause_dials(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.closed || self.dial_health.paused_until.is_some() || self.dial_health.probing {
            return;
        }
        if self.dial_health.broken || self.settings.min_idle.max(self.warm_up_target()) > 0 {
            let pause = self.settings.backoff.pause(self.dial_health.pauses, &mut self.jitter);
            self.dial_health.pauses = self.dial_health.pauses.saturating_add(1);
            let at = now + pause;
            self.dial_health.paused_until = Some(at);
            self.schedule(at, actions);
        }
    }

    /// Starts the dials that were paused, if the pause is over.
    pub(crate) fn redial(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.end_pause(now, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Ends the pause if it is over. If the breaker is open, a probe starts.
    pub(super) fn end_pause(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.suspended || self.dial_health.paused_until.is_none_or(|at| now < at) {
            return;
        }
        self.dial_health.paused_until = None;
        if !self.dial_health.broken || self.dial_health.probing {
            return;
        }
        if self.has_slot() && self.can_start_dial() {
            self.dial_health.probing = true;
            self.start_dial(DialReason::Probe, actions);
        } else {
            self.pause_dials(now, actions);
        }
    }

    /// Returns how many connections the warm-ups want open and not dialing.
    fn warm_up_target(&self) -> usize {
        self.warm_ups.iter().copied().max().unwrap_or(0).min(self.settings.max_idle)
    }

    /// Returns true if `min_idle` or a warm-up needs another dial.
    #[inline]
    pub(super) fn lacks_idle(&self) -> bool {
        if self.settings.min_idle == 0 && self.warm_ups.is_empty() {
            return false;
        }
        let coming = self.dials.saturating_sub(self.queue.len());
        // A connection that comes back soon counts as idle.
        let coming_back = self.coming_back();
        let idle = self.idle() + coming_back + coming;
        let checked_out = self.in_use() - coming_back;
        let lacks = idle < self.settings.min_idle || idle + checked_out < self.warm_up_target();
        lacks && self.dial_health.paused_until.is_none()
    }

    /// Starts a dial for each waiter without one and for each missing idle connection, as far as
    /// slots are free.
    pub(super) fn rebalance(&mut self, actions: &mut Actions<C, W>) {
        if self.closed || self.suspended {
            return;
        }
        if self.dial_health.broken {
            self.refuse_waiters(actions);
            return;
        }
        while self.queue.len() > self.dials && self.has_slot() {
            let Some((ticket, oldest)) = self.queue.first() else { return };
            if oldest.dialer == RequestDialer::Caller {
                let Some((_, waiter)) = self.queue.pop() else { return };
                self.caller_dials += 1;
                self.granted.insert(ticket, Grant::Dial(ticket));
                actions.wake(waiter.waker);
            } else if self.can_start_dial() {
                self.start_dial(DialReason::Demand, actions);
            } else {
                return;
            }
        }
        while self.lacks_idle() && self.has_slot() && self.can_start_dial() {
            self.start_dial(DialReason::MinIdle, actions);
        }
    }

    fn can_start_dial(&self) -> bool {
        self.dials < self.settings.max_concurrent_dials
    }

    fn start_dial(&mut self, reason: DialReason, actions: &mut Actions<C, W>) {
        self.dials += 1;
        actions.deferred().dials.push(reason);
    }

    /// Refuses the waiters that would need a dial, because the breaker is open.
    fn refuse_waiters(&mut self, actions: &mut Actions<C, W>) {
        while self.has_slot() {
            let Some((ticket, waiter)) = self.queue.pop() else { return };
            self.count_refusal(Refusal::BreakerOpen);
            self.granted.insert(ticket, Grant::Refused(Refusal::BreakerOpen));
            actions.wake(waiter.waker);
        }
    }
}
