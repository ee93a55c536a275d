//! What is said to the pool as a whole: other limits, a pause, a new generation, the end.

use std::time::Instant;

use super::{Actions, Core, Outcome};
use crate::pool::stats::close_reason::CloseReason;

impl<C, W> Core<C, W> {
    /// Nothing is lent any more. Everyone who waits is woken up and will find out.
    pub(crate) fn close(&mut self) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.closed = true;
        self.forget_failures();
        self.alarm = None;
        self.close_idle(CloseReason::PoolClosed, &mut actions);
        let waiters = self.queue.take_all();
        actions.more().wake.extend(waiters);
        self.tell_watchers(&mut actions);
        self.check();
        actions
    }

    /// True when the pool is closed and nothing is out any more.
    pub(crate) fn is_drained(&self) -> bool {
        // Who was woken up to dial, and has not come by yet, will not.
        let woken = self.ready.values().filter(|outcome| matches!(outcome, Outcome::Dial));
        self.closed && self.open() == woken.count()
    }

    /// Other limits from now on. Idle connections beyond them are closed at once, others when they
    /// come back.
    pub(crate) fn resize(&mut self, max_active: usize, max_idle: usize) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.overhang = if self.open() > max_active { self.open() } else { 0 };
        self.settings.max_active = max_active;
        self.settings.max_idle = max_idle;
        let surplus = self.open().saturating_sub(max_active);
        let most = self.idle().saturating_sub(surplus).min(max_idle);
        self.trim_idle(most, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Nothing is lent and nothing dialled until [`Core::resume`].
    pub(crate) fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Lends again: what is idle to those who wait, and dials for the others.
    pub(crate) fn resume(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.suspended = false;
        self.expire(now, &mut actions);
        while !self.queue.is_empty() {
            let Some(member) = self.next_idle(Some(now), &mut actions) else { break };
            let left = self.hand_over(member, Some(now), &mut actions);
            debug_assert!(left.is_none(), "somebody waits");
        }
        self.end_pause(now, &mut actions);
        // Nobody looked at what was put off, in the meantime.
        if let Some(at) = self.retry.at {
            self.alarm_by(at, &mut actions);
        }
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// What was dialled before is of no use any more: idle connections are closed now, others when
    /// they come back or their dial ends.
    pub(crate) fn evict_all(&mut self) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.generation += 1;
        self.forget_failures();
        self.close_idle(CloseReason::Evicted, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Has so many dialled and idle, as far as they may be, until [`Core::cool_down`].
    pub(crate) fn warm_up(&mut self, connections: usize) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.warm.push(connections);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    pub(crate) fn cool_down(&mut self, connections: usize) {
        if let Some(at) = self.warm.iter().position(|&target| target == connections) {
            self.warm.swap_remove(at);
        }
    }

    /// Has this one woken at the next end of a dial, and when the last is back in a closed pool.
    pub(crate) fn watch(&mut self, waker: W) {
        self.watchers.push(waker);
    }

    pub(super) fn tell_watchers(&mut self, actions: &mut Actions<C, W>) {
        if !self.watchers.is_empty() {
            actions.more().wake.append(&mut self.watchers);
        }
    }

    pub(super) fn tell_watchers_if_drained(&mut self, actions: &mut Actions<C, W>) {
        if self.is_drained() {
            self.tell_watchers(actions);
        }
    }

    fn close_idle(&mut self, reason: CloseReason, actions: &mut Actions<C, W>) {
        while let Some(member) = self.idle.pop_front() {
            self.close_member(member, reason, actions);
        }
    }
}
