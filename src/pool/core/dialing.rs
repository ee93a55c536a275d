//! The events of dialing: when a dial starts, and what its end means.

use std::time::{Duration, Instant};

use super::dials::{Dial, DialId};
use super::types::{DialReason, Dialed, Entry, Grant, Refusal, Ticket};
use super::{Actions, Core};
use crate::error::Error;

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
    /// The running probe. While it runs, the next pause lasts as long as it can take.
    probe: Option<DialId>,
}

impl<C, W> Core<C, W> {
    /// A thread begins a dial. The caller must read the dial function after this.
    pub(crate) fn begin_dial(&mut self, id: DialId, now: Instant) -> u64 {
        self.counters.dial_attempts += 1;
        self.dials.begin(id, self.generation, now);
        self.generation
    }

    /// An attempt of a dial has failed, and the next one follows after a pause.
    pub(crate) fn pause_dial(&mut self, id: DialId) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.dials.pause(id);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// The pause is over. Returns false if the dial must end with its last error, because the pool
    /// no longer wants its connection.
    pub(crate) fn retry_dial(&mut self, id: DialId) -> bool {
        let wanted = self.dials.retry(id) && !self.suspended && !self.closed;
        self.counters.dial_attempts += u64::from(wanted);
        wanted
    }

    /// A dial succeeded. The oldest waiter gets the connection; if there is none, it becomes idle.
    pub(crate) fn dial_succeeded(
        &mut self,
        id: DialId,
        dialed: Dialed<C>,
        took: Duration,
        now: Instant,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        let Some(dial) = self.dials.end(id) else { return actions };
        match dial.reason {
            DialReason::Demand => self.counters.dialed.demand += 1,
            DialReason::MinIdle => self.counters.dialed.min_idle += 1,
            DialReason::Probe => self.counters.dialed.probe += 1,
        }
        self.counters.dial_time.record(took);
        self.dials.note_duration(took);
        let entry = self.admit(dialed, dial.generation);
        if let Some(reason) = self.retire_reason(&entry, Some(now)) {
            self.close_entry(entry, reason, &mut actions);
        } else if let Some(mut entry) =
            self.hand_to_waiter(entry, Some(&dial), Some(now), &mut actions)
        {
            // Kept even beyond `max_idle`: if dials take longer than callers wait, closing the
            // connection would leave the pool empty forever.
            if dial.reason == DialReason::Demand {
                self.counters.late_dials += 1;
                entry.late = true;
            }
            entry.returned = Some(now);
            self.push_idle(entry, Some(now), &mut actions);
        }
        self.probe_ended(id);
        if !dial.evicted {
            self.forget_dial_failures();
        }
        self.dial_ended(now, &mut actions);
        actions
    }

    /// A dial failed. If it covered a waiter, the oldest waiter with a dial fails immediately.
    ///
    /// A failure of an older generation or in a suspended pool fails no waiter and does not count
    /// for the breaker.
    pub(crate) fn dial_failed(&mut self, id: DialId, error: &Error, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        let Some(dial) = self.dials.end(id) else { return actions };
        self.counters.dial_errors += 1;
        self.probe_ended(id);
        if !dial.evicted && !self.suspended {
            if dial.covers_owner {
                self.fail_oldest_covered(&dial, error, &mut actions);
            }
            self.note_dial_failure(now, &mut actions);
        }
        self.dial_ended(now, &mut actions);
        actions
    }

    /// Fails the oldest waiter that has a dial, the ended one included.
    fn fail_oldest_covered(&mut self, ended: &Dial, error: &Error, actions: &mut Actions<C, W>) {
        let covered = self.dials.oldest_covered().into_iter().chain(ended.owner);
        let Some(oldest) = covered.min() else { return };
        self.dials.pass_on(oldest, ended);
        if let Some(waker) = self.queue.remove(oldest) {
            self.granted.insert(oldest, Grant::Failed(error.clone()));
            actions.wake(waker);
        }
    }

    fn dial_ended(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.dial_health.broken {
            self.pause_dials(now, actions);
        }
        self.rebalance(actions);
        self.wake_watchers(actions);
        self.check();
    }

    /// Marks hung dials, and starts the dials that this allows.
    pub(crate) fn check_dials(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.dials.mark_hung(now);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Returns when [`Core::check_dials`] can next start a dial for a waiter.
    pub(crate) fn next_dial_check(&self, now: Instant) -> Option<Instant> {
        let max = self.settings.max_concurrent_dials;
        let at_limit = self.has_slot() && !self.dials.can_start(max);
        let blocked = at_limit && (self.lacks_dial() || self.lacks_idle());
        self.dials.next_hung_at(now, !blocked)
    }

    /// Returns when dials without a waiter can start again, if they are paused.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.dial_health.paused_until
    }

    /// Adds a dialed connection to the pool.
    fn admit(&mut self, dialed: Dialed<C>, generation: u64) -> Box<Entry<C>> {
        let Dialed { conn, handle, expires } = dialed;
        Box::new(Entry {
            conn,
            conn_id: handle.conn_id(),
            slot: self.registry.add(handle),
            generation,
            expires,
            returned: None,
            last_ping: None,
            failures: self.failures,
            suspect: false,
            late: false,
            sweeps: self.sweeps,
        })
    }

    /// Ends the pause that lasts as long as the probe, unless the probe took longer.
    fn probe_ended(&mut self, id: DialId) {
        if self.dial_health.probe == Some(id) {
            self.dial_health.probe = None;
            self.dial_health.paused_until = None;
        }
    }

    /// Closes the breaker and ends the pause.
    pub(super) fn forget_dial_failures(&mut self) {
        self.dial_health = DialHealth::default();
    }

    fn note_dial_failure(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        self.dial_health.failures = self.dial_health.failures.saturating_add(1);
        let limit = self.settings.breaker;
        if !self.dial_health.broken && limit.is_some_and(|max| self.dial_health.failures >= max) {
            self.dial_health.broken = true;
            self.refuse_waiters(actions);
        }
        self.pause_dials(now, actions);
    }

    /// Pauses dials without a waiter, each time for longer, unless they are paused already.
    fn pause_dials(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.closed || self.dial_health.paused_until.is_some() {
            return;
        }
        if self.dial_health.broken || self.settings.min_idle.max(self.warm_up_target()) > 0 {
            let pause = self.next_pause();
            self.dial_health.pauses = self.dial_health.pauses.saturating_add(1);
            self.pause_until(now + pause, actions);
        }
    }

    fn next_pause(&mut self) -> Duration {
        self.settings.backoff.pause(self.dial_health.pauses, &mut self.jitter)
    }

    fn pause_until(&mut self, at: Instant, actions: &mut Actions<C, W>) {
        self.dial_health.paused_until = Some(at);
        self.schedule(at, actions);
    }

    /// Starts the dials that were paused, if the pause is over.
    pub(crate) fn redial(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.end_pause(now, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Ends the pause if it is over. If the breaker is open, a probe starts, also if the probe before
    /// hangs.
    pub(super) fn end_pause(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.suspended || self.dial_health.paused_until.is_none_or(|at| now < at) {
            return;
        }
        self.dial_health.paused_until = None;
        if !self.dial_health.broken {
            return;
        }
        let hangs = self.dial_health.probe.take().is_some();
        // Probes that hang must not use up `max_concurrent_dials`.
        self.dials.mark_hung(now);
        if !self.can_start_dial() {
            self.pause_dials(now, actions);
            return;
        }
        let pauses = self.dial_health.pauses;
        self.dial_health.pauses = pauses.saturating_add(u32::from(hangs));
        let pause = self.dials.hung_age().max(self.next_pause());
        self.dial_health.probe = Some(self.start_dial(DialReason::Probe, None, actions));
        self.pause_until(now + pause, actions);
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
        // A connection that comes back soon counts as idle, and so does a dial without a waiter.
        let coming_back = self.coming_back();
        let idle = self.idle() + coming_back + self.dials.spare();
        let checked_out = self.in_use() - coming_back;
        let lacks = idle < self.settings.min_idle || idle + checked_out < self.warm_up_target();
        lacks && self.dial_health.paused_until.is_none()
    }

    /// Returns true if a waiter has no dial.
    #[inline]
    fn lacks_dial(&self) -> bool {
        self.queue.len() > self.dials.covering()
    }

    /// Starts a dial for each waiter without one and for each missing idle connection, as far as
    /// slots are free and `max_concurrent_dials` allows.
    pub(super) fn rebalance(&mut self, actions: &mut Actions<C, W>) {
        if self.closed || self.suspended {
            return;
        }
        if self.dial_health.broken {
            // Otherwise a waiter can still get a connection that is returned.
            if self.in_use == 0 {
                self.refuse_waiters(actions);
            }
            return;
        }
        while self.lacks_dial() && self.can_start_dial() {
            let oldest = self.queue.tickets().find(|ticket| !self.dials.covers(*ticket));
            let Some(oldest) = oldest else { return };
            self.start_dial(DialReason::Demand, Some(oldest), actions);
        }
        while self.lacks_idle() && self.can_start_dial() {
            self.start_dial(DialReason::MinIdle, None, actions);
        }
    }

    fn can_start_dial(&self) -> bool {
        self.has_slot() && self.dials.can_start(self.settings.max_concurrent_dials)
    }

    fn start_dial(
        &mut self,
        reason: DialReason,
        waiter: Option<Ticket>,
        actions: &mut Actions<C, W>,
    ) -> DialId {
        let id = self.dials.start(reason, waiter, self.generation);
        actions.deferred().dials.push(id);
        id
    }

    /// Refuses the waiters that would need a dial, because the breaker is open.
    pub(super) fn refuse_waiters(&mut self, actions: &mut Actions<C, W>) {
        while self.has_slot() {
            let Some((ticket, waiter)) = self.queue.pop() else { return };
            self.dials.uncover(ticket);
            self.count_refusal(Refusal::BreakerOpen);
            self.granted.insert(ticket, Grant::Refused(Refusal::BreakerOpen));
            actions.wake(waiter.waker);
        }
    }
}
