//! The idle connections, newest first.

use std::time::{Duration, Instant};

use super::{Actions, Core, Entry};
use crate::pool::stats::close_reason::CloseReason;

/// The shortest time between two sweeps, so that a server that stays the wrong one does not cost
/// all connections with each command.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl<C, W> Core<C, W> {
    /// Checks an idle connection out. None is idle while a caller waits, so a newcomer cannot
    /// overtake a waiter.
    #[inline]
    pub(super) fn take_idle(
        &mut self,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Entry<C>>> {
        if self.suspended {
            return None;
        }
        let mut entry = self.pop_idle(now, actions)?;
        self.in_use += 1;
        self.mark_suspect(&mut entry);
        Some(entry)
    }

    /// Removes the idle connection that is next to be checked out.
    #[inline]
    pub(super) fn pop_idle(
        &mut self,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Entry<C>>> {
        loop {
            let next =
                if self.settings.fifo { self.idle.pop_back() } else { self.idle.pop_front() };
            let mut entry = next?;
            if has_expired(&entry, now) {
                self.close_entry(entry, CloseReason::Lifetime, actions);
                continue;
            }
            if entry.late {
                entry.late = false;
                self.counters.late_reused += 1;
            }
            return Some(entry);
        }
    }

    /// Marks a connection that must be tested at checkout, because others have failed since it was
    /// last known to be alive.
    pub(super) fn mark_suspect(&self, entry: &mut Entry<C>) {
        entry.suspect = entry.failures < self.failures;
        entry.failures = self.failures;
    }

    #[inline]
    pub(super) fn push_idle(
        &mut self,
        entry: Box<Entry<C>>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        if self.settings.has_timer {
            self.schedule_idle_checks(&entry, now, actions);
        }
        self.insert_idle(entry);
    }

    /// Inserts a connection by the time of its return. A pinged connection gets its old position.
    #[inline]
    fn insert_idle(&mut self, entry: Box<Entry<C>>) {
        if self.idle.front().is_none_or(|front| front.returned <= entry.returned) {
            self.idle.push_front(entry);
            return;
        }
        let newer = self.idle.iter().take_while(|idle| idle.returned > entry.returned).count();
        self.idle.insert(newer, entry);
    }

    /// Closes the oldest connections until at most `max` are idle.
    #[inline]
    pub(super) fn trim_idle(&mut self, max: usize, actions: &mut Actions<C, W>) {
        while self.idle.len() > max {
            let Some(oldest) = self.idle.pop_back() else { break };
            self.close_entry(oldest, CloseReason::Overflow, actions);
        }
    }

    /// Closes the connections that are past `idle_timeout`. The oldest are at the back.
    #[inline]
    pub(super) fn expire_idle(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(timeout) = self.settings.idle_timeout else { return };
        let too_old = |returned| now.saturating_duration_since(returned) > timeout;
        while self.idle.back().is_some_and(|oldest| oldest.returned.is_some_and(too_old)) {
            let Some(oldest) = self.idle.pop_back() else { break };
            self.close_entry(oldest, CloseReason::IdleTimeout, actions);
        }
    }

    /// Closes the idle connections that are past `idle_timeout` or their lifetime.
    pub(super) fn expire(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        self.expire_idle(now, actions);
        for _ in 0..self.idle.len() {
            let Some(entry) = self.idle.pop_front() else { break };
            match has_expired(&entry, Some(now)) {
                true => self.close_entry(entry, CloseReason::Lifetime, actions),
                false => self.idle.push_back(entry),
            }
        }
    }

    pub(super) fn close_idle(&mut self, reason: CloseReason, actions: &mut Actions<C, W>) {
        while let Some(entry) = self.idle.pop_front() {
            self.close_entry(entry, reason, actions);
        }
    }

    /// A connection received an error reply of `retire_on`, so the connections dialed before it
    /// probably lead to the same wrong server. Closes the idle ones now and the others at check-in.
    pub(super) fn sweep(
        &mut self,
        retired: &Entry<C>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        let is_recent = |last: Instant, now| now < last + SWEEP_INTERVAL;
        let too_soon = self.last_sweep.zip(now).is_some_and(|(last, now)| is_recent(last, now));
        // A connection dialed before the last sweep shows nothing new.
        if retired.sweeps < self.sweeps || too_soon {
            return;
        }
        self.sweeps += 1;
        self.last_sweep = now;
        self.close_idle(CloseReason::Retired, actions);
    }

    /// Closes a connection that is not in use.
    #[cold]
    pub(super) fn close_entry(
        &mut self,
        entry: Box<Entry<C>>,
        reason: CloseReason,
        actions: &mut Actions<C, W>,
    ) {
        self.registry.remove(entry.slot);
        self.counters.closed.add(reason);
        actions.close(entry, reason);
    }

    /// Returns why a connection that is not in use must be closed.
    #[inline]
    pub(super) fn retire_reason(
        &self,
        entry: &Entry<C>,
        now: Option<Instant>,
    ) -> Option<CloseReason> {
        if self.closed {
            Some(CloseReason::PoolClosed)
        } else if entry.generation != self.generation {
            Some(CloseReason::Evicted)
        } else if entry.sweeps < self.sweeps {
            Some(CloseReason::Retired)
        } else if has_expired(entry, now) {
            Some(CloseReason::Lifetime)
        } else if self.shrink_ceiling.is_some() && !self.has_slot() {
            Some(CloseReason::Overflow)
        } else {
            None
        }
    }
}

fn has_expired<C>(entry: &Entry<C>, now: Option<Instant>) -> bool {
    match (entry.expires, now) {
        (Some(expires), Some(now)) => now >= expires,
        _ => false,
    }
}
