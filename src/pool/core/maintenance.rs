//! Work that becomes due as time passes, and when it does.

use std::time::{Duration, Instant};

use super::{Actions, Core, Entry, Overdue};
use crate::pool::stats::close_reason::CloseReason;

/// A connection is past `idle_timeout` when it has been idle for longer, by at least this.
const NANO: Duration = Duration::from_nanos(1);

impl<C, W> Core<C, W> {
    /// Does what is due and sets the next alarm. If the actions hold a connection to ping, call this
    /// again after the ping.
    pub(crate) fn run_due(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        if self.closed {
            return actions;
        }
        self.expire(now, &mut actions);
        self.report_overdue(now, &mut actions);
        self.end_pause(now, &mut actions);
        self.ping_quietest(now, &mut actions);
        self.rebalance(&mut actions);
        self.alarm = self.next_due();
        actions.deferred().alarm = self.alarm;
        self.check();
        actions
    }

    /// Closes the idle connections that are too old by any rule.
    pub(crate) fn prune(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.expire(now, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// An idle connection was pinged and has answered, or not.
    pub(crate) fn ping_ended(
        &mut self,
        mut entry: Box<Entry<C>>,
        alive: bool,
        now: Instant,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.pinging -= 1;
        if alive {
            self.in_use -= 1;
            entry.last_ping = Some(now);
            entry.failures = self.failures;
            self.accept(entry, Some(now), &mut actions);
        } else {
            self.close_used(entry, CloseReason::Health, Some(now), &mut actions);
            self.slot_freed(&mut actions);
        }
        self.check();
        actions
    }

    /// Sets the alarm again, because the work that was due could not be done.
    pub(crate) fn reschedule(&mut self, at: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        if !self.closed {
            self.alarm = Some(at);
            actions.deferred().alarm = Some(at);
        }
        actions
    }

    fn report_overdue(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(threshold) = self.settings.leak_threshold else { return };
        let reclaim = self.settings.reclaim_leaked;
        let mut found = Vec::new();
        self.registry.mark_overdue(threshold, now, reclaim, |checkout, handle| {
            found.push(Overdue { checkout, shutdown: reclaim.then(|| handle.clone()) });
        });
        if found.is_empty() {
            return;
        }
        self.counters.leaks += found.len() as u64;
        if reclaim {
            self.in_use -= found.len();
            found.iter().for_each(|_| self.counters.closed.add(CloseReason::Leak));
        }
        actions.deferred().overdue = found;
    }

    /// Takes out the idle connection that has been silent longest, if that is at least `keepalive`.
    /// One at a time, so that nearly all stay available.
    fn ping_quietest(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(keepalive) = self.settings.keepalive.filter(|_| self.pinging == 0) else { return };
        let heard = self.idle.iter().map(|entry| last_heard(entry)).enumerate();
        let Some((at, Some(heard))) = heard.min_by_key(|(_, heard)| *heard) else { return };
        if now < heard + keepalive {
            return;
        }
        if let Some(entry) = self.idle.remove(at) {
            self.in_use += 1;
            self.pinging += 1;
            actions.deferred().ping = Some(entry);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let mut due = self.dial_health.paused_until.filter(|_| !self.suspended);
        let mut by = |at: Option<Instant>| due = due.into_iter().chain(at).min();
        if let Some(threshold) = self.settings.leak_threshold {
            by(self.registry.oldest_unreported().map(|since| since + threshold));
        }
        if let Some(timeout) = self.settings.idle_timeout {
            let oldest = self.idle.back().and_then(|oldest| oldest.returned);
            by(oldest.map(|returned| returned + timeout + NANO));
        }
        if let Some(keepalive) = self.settings.keepalive.filter(|_| self.pinging == 0) {
            let oldest = self.idle.iter().filter_map(|entry| last_heard(entry)).min();
            by(oldest.map(|heard| heard + keepalive));
        }
        by(self.idle.iter().filter_map(|entry| entry.expires).min());
        due
    }

    /// Schedules the leak check of a checkout that begins now.
    pub(super) fn schedule_leak_check(
        &mut self,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        if let (Some(threshold), Some(now)) = (self.settings.leak_threshold, now) {
            self.schedule(now + threshold, actions);
        }
    }

    /// Schedules the first check of a connection that becomes idle now.
    pub(super) fn schedule_idle_checks(
        &mut self,
        entry: &Entry<C>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        let Some(now) = now else { return };
        let settings = &self.settings;
        let due = [
            settings.keepalive.map(|keepalive| now + keepalive),
            settings.idle_timeout.map(|timeout| now + timeout + NANO),
            entry.expires,
        ];
        if let Some(due) = due.into_iter().flatten().min() {
            self.schedule(due, actions);
        }
    }

    /// Sets the alarm unless an earlier one is set.
    pub(super) fn schedule(&mut self, due: Instant, actions: &mut Actions<C, W>) {
        if self.settings.has_timer && self.alarm.is_none_or(|alarm| due < alarm) {
            self.alarm = Some(due);
            actions.deferred().alarm = Some(due);
        }
    }
}

/// Returns when a connection was last in use or last answered a ping.
fn last_heard<C>(entry: &Entry<C>) -> Option<Instant> {
    entry.returned.max(entry.last_ping)
}
