//! The passing of time: what it makes due, and when that is.

use std::time::Instant;

use super::idle::has_outlived;
use super::{Actions, Core, Entry, Overdue};
use crate::pool::stats::close_reason::CloseReason;

impl<C, W> Core<C, W> {
    /// Does what is due, and says when there will be something again. With a connection to ask in
    /// the actions, there may be more to do after that one.
    pub(crate) fn tick(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        if self.closed {
            return actions;
        }
        self.expire(now, &mut actions);
        self.report_overdue(now, &mut actions);
        self.end_pause(now, &mut actions);
        self.ask_oldest(now, &mut actions);
        self.rebalance(&mut actions);
        self.alarm = self.next_due();
        actions.more().alarm = self.alarm;
        self.check();
        actions
    }

    /// Takes out the idle connections that are too old by any rule.
    pub(crate) fn prune(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.expire(now, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// A connection that was asked whether it lives has answered, or not.
    pub(crate) fn checked(
        &mut self,
        mut member: Box<Entry<C>>,
        alive: bool,
        now: Instant,
    ) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.asking -= 1;
        if alive {
            self.in_use -= 1;
            member.asked = Some(now);
            member.deaths = self.deaths;
            self.take_in(member, Some(now), &mut actions);
        } else {
            self.note_end(member.place, Some(CloseReason::Health));
            actions.more().close.push((member, CloseReason::Health));
            self.rebalance(&mut actions);
            self.tell_watchers_if_drained(&mut actions);
        }
        self.check();
        actions
    }

    /// Nobody could come by when the upkeep was due.
    pub(crate) fn put_off(&mut self, until: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        if !self.closed {
            self.alarm = Some(until);
            actions.more().alarm = Some(until);
        }
        actions
    }

    pub(super) fn expire(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        self.expire_idle(now, actions);
        for _ in 0..self.idle.len() {
            let Some(member) = self.idle.pop_front() else { break };
            match has_outlived(&member, Some(now)) {
                true => self.close_member(member, CloseReason::Lifetime, actions),
                false => self.idle.push_back(member),
            }
        }
    }

    fn report_overdue(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(threshold) = self.settings.leak_threshold else { return };
        let reclaims = self.settings.reclaims;
        let mut found = Vec::new();
        self.registry.become_overdue(threshold, now, reclaims, |loan, handle| {
            found.push(Overdue { loan, cut: reclaims.then(|| handle.clone()) });
        });
        if found.is_empty() {
            return;
        }
        self.counters.leaks += found.len() as u64;
        if reclaims {
            self.in_use -= found.len();
            found.iter().for_each(|_| self.counters.closed.add(CloseReason::Leak));
        }
        actions.more().overdue = found;
    }

    /// Takes out the idle connection that has said nothing for longest, if that is too long. One at
    /// a time, so that hardly any is missing for those who want one.
    fn ask_oldest(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(keepalive) = self.settings.keepalive.filter(|_| self.asking == 0) else { return };
        let heard = self.idle.iter().map(|member| last_heard(member)).enumerate();
        let Some((at, Some(heard))) = heard.min_by_key(|(_, heard)| *heard) else { return };
        if now < heard + keepalive {
            return;
        }
        if let Some(member) = self.idle.remove(at) {
            self.in_use += 1;
            self.asking += 1;
            actions.more().ask = Some(member);
        }
    }

    /// When the next thing is due, if anything will be.
    fn next_due(&self) -> Option<Instant> {
        let mut due = self.retry.at.filter(|_| !self.suspended);
        let mut by = |at: Option<Instant>| due = due.into_iter().chain(at).min();
        if let Some(threshold) = self.settings.leak_threshold {
            by(self.registry.oldest_unreported().map(|since| since + threshold));
        }
        if let Some(timeout) = self.settings.idle_timeout {
            // Only what has been idle for longer than the timeout is too old.
            let oldest = self.idle.back().and_then(|oldest| oldest.returned);
            by(oldest.map(|returned| returned + timeout + std::time::Duration::from_nanos(1)));
        }
        if let Some(keepalive) = self.settings.keepalive.filter(|_| self.asking == 0) {
            let oldest = self.idle.iter().filter_map(|member| last_heard(member)).min();
            by(oldest.map(|heard| heard + keepalive));
        }
        by(self.idle.iter().filter_map(|member| member.expires).min());
        due
    }

    /// A loan has begun.
    pub(super) fn expect_return(&mut self, now: Option<Instant>, actions: &mut Actions<C, W>) {
        if let (Some(threshold), Some(now)) = (self.settings.leak_threshold, now) {
            self.alarm_by(now + threshold, actions);
        }
    }

    /// This one is about to become idle.
    pub(super) fn expect_idle(
        &mut self,
        member: &Entry<C>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        let Some(now) = now else { return };
        let settings = &self.settings;
        let due = [
            settings.keepalive.map(|keepalive| now + keepalive),
            settings.idle_timeout.map(|timeout| now + timeout + std::time::Duration::from_nanos(1)),
            member.expires,
        ];
        if let Some(due) = due.into_iter().flatten().min() {
            self.alarm_by(due, actions);
        }
    }

    /// Something will be due then.
    pub(super) fn alarm_by(&mut self, due: Instant, actions: &mut Actions<C, W>) {
        if self.settings.upkeep && self.alarm.is_none_or(|alarm| due < alarm) {
            self.alarm = Some(due);
            actions.more().alarm = Some(due);
        }
    }
}

/// When it was last in use, or last answered.
fn last_heard<C>(member: &Entry<C>) -> Option<Instant> {
    member.returned.max(member.asked)
}
