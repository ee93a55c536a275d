//! Events of the pool as a whole: resize, suspend, evict, warm up, close.

use std::time::Instant;

use super::{Actions, Core};
use crate::pool::stats::close_reason::CloseReason;

impl<C, W> Core<C, W> {
    /// Closes the pool and wakes every waiter.
    pub(crate) fn close(&mut self) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.closed = true;
        self.forget_dial_failures();
        self.alarm = None;
        self.close_idle(CloseReason::PoolClosed, &mut actions);
        self.dials.uncover_all();
        let wakers = self.queue.take_all();
        actions.deferred().wake.extend(wakers);
        self.wake_watchers(&mut actions);
        self.check();
        actions
    }

    /// Returns true when the pool is closed and no connection is in use. A dial can still be running:
    /// its connection will be closed.
    pub(crate) fn is_drained(&self) -> bool {
        self.closed && self.in_use == 0
    }

    /// Changes the limits. Idle connections beyond them are closed immediately, others at check-in.
    pub(crate) fn resize(&mut self, max_active: Option<usize>, max_idle: usize) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.settings.max_active = max_active;
        self.settings.max_idle = max_idle;
        let surplus = max_active.map_or(0, |max| self.open().saturating_sub(max));
        self.shrink_ceiling = (surplus > 0).then(|| self.open());
        let keep = self.idle().saturating_sub(surplus).min(max_idle);
        self.trim_idle(keep, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Stops checkouts and dials until [`Core::resume`].
    pub(crate) fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Gives the idle connections to the waiters and dials for the remaining ones.
    pub(crate) fn resume(&mut self, now: Instant) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.suspended = false;
        self.expire(now, &mut actions);
        while !self.queue.is_empty() {
            let Some(entry) = self.pop_idle(Some(now), &mut actions) else { break };
            let left = self.hand_to_waiter(entry, None, Some(now), &mut actions);
            debug_assert!(left.is_none(), "a caller waits");
        }
        if self.dial_health.broken {
            self.refuse_waiters(&mut actions);
        }
        self.end_pause(now, &mut actions);
        // While the pool was suspended, no alarm was set for the end of the pause.
        if let Some(at) = self.dial_health.paused_until {
            self.schedule(at, &mut actions);
        }
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Begins a new generation: connections dialed before are closed, idle ones immediately, others
    /// at check-in or when their dial ends. Waiters get new dials.
    pub(crate) fn evict_all(&mut self) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.generation += 1;
        self.dials.evict();
        self.forget_dial_failures();
        self.close_idle(CloseReason::Evicted, &mut actions);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    /// Keeps this many connections open, within the limits, until [`Core::end_warm_up`].
    pub(crate) fn begin_warm_up(&mut self, connections: usize) -> Actions<C, W> {
        let mut actions = Actions::none();
        self.warm_ups.push(connections);
        self.rebalance(&mut actions);
        self.check();
        actions
    }

    pub(crate) fn end_warm_up(&mut self, connections: usize) {
        if let Some(at) = self.warm_ups.iter().position(|&target| target == connections) {
            self.warm_ups.swap_remove(at);
        }
    }

    /// Wakes this thread at the next end of a dial, and when a closed pool is drained.
    pub(crate) fn watch(&mut self, waker: W) {
        self.watchers.push(waker);
    }

    pub(super) fn wake_watchers(&mut self, actions: &mut Actions<C, W>) {
        if !self.watchers.is_empty() {
            actions.deferred().wake.append(&mut self.watchers);
        }
    }

    pub(super) fn wake_watchers_if_drained(&mut self, actions: &mut Actions<C, W>) {
        if self.is_drained() {
            self.wake_watchers(actions);
        }
    }
}
