//! The idle connections, newest in front.

use std::time::Instant;

use super::{Actions, Core, Entry};
use crate::pool::stats::close_reason::CloseReason;

impl<C, W> Core<C, W> {
    /// The next idle connection to lend. While somebody waits there is none: what comes back goes
    /// to those who wait, so a newcomer cannot push in.
    #[inline]
    pub(super) fn take_idle(
        &mut self,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Entry<C>>> {
        if self.suspended {
            return None;
        }
        let mut member = self.next_idle(now, actions)?;
        self.in_use += 1;
        self.doubt(&mut member);
        Some(member)
    }

    /// The one whose turn it is, out of the idle ones.
    #[inline]
    pub(super) fn next_idle(
        &mut self,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Box<Entry<C>>> {
        loop {
            let next =
                if self.settings.fifo { self.idle.pop_back() } else { self.idle.pop_front() };
            let mut member = next?;
            if has_outlived(&member, now) {
                self.close_member(member, CloseReason::Lifetime, actions);
                continue;
            }
            if member.late {
                member.late = false;
                self.counters.late_reused += 1;
            }
            return Some(member);
        }
    }

    /// Who is about to lend it is to look at it, if others have died since it was known to live.
    pub(super) fn doubt(&self, member: &mut Entry<C>) {
        member.doubtful = member.deaths < self.deaths;
        member.deaths = self.deaths;
    }

    /// Has it idle until somebody asks for it, or it is due.
    #[inline]
    pub(super) fn keep(
        &mut self,
        member: Box<Entry<C>>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        if self.settings.upkeep {
            self.expect_idle(&member, now, actions);
        }
        self.push_idle(member);
    }

    /// Makes it the newest of the idle ones. One that was out for a check has its old place.
    #[inline]
    fn push_idle(&mut self, member: Box<Entry<C>>) {
        if self.idle.front().is_none_or(|front| front.returned <= member.returned) {
            self.idle.push_front(member);
            return;
        }
        let newer = self.idle.iter().take_while(|idle| idle.returned > member.returned).count();
        self.idle.insert(newer, member);
    }

    /// Closes the oldest of those that are too many.
    #[inline]
    pub(super) fn trim_idle(&mut self, most: usize, actions: &mut Actions<C, W>) {
        while self.idle.len() > most {
            let Some(oldest) = self.idle.pop_back() else { break };
            self.close_member(oldest, CloseReason::Overflow, actions);
        }
    }

    /// Takes out what has been idle for too long. The oldest are at the back.
    #[inline]
    pub(super) fn expire_idle(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        let Some(timeout) = self.settings.idle_timeout else { return };
        let too_old = |returned| now.saturating_duration_since(returned) > timeout;
        while self.idle.back().is_some_and(|oldest| oldest.returned.is_some_and(too_old)) {
            let Some(oldest) = self.idle.pop_back() else { break };
            self.close_member(oldest, CloseReason::IdleTimeout, actions);
        }
    }

    #[cold]
    pub(super) fn close_member(
        &mut self,
        member: Box<Entry<C>>,
        reason: CloseReason,
        actions: &mut Actions<C, W>,
    ) {
        self.registry.leave(member.place);
        self.counters.closed.add(reason);
        actions.more().close.push((member, reason));
    }

    /// Why it may not be lent again.
    #[inline]
    pub(super) fn unfit(&self, member: &Entry<C>, now: Option<Instant>) -> Option<CloseReason> {
        if self.closed {
            Some(CloseReason::PoolClosed)
        } else if member.generation != self.generation {
            Some(CloseReason::Evicted)
        } else if has_outlived(member, now) {
            Some(CloseReason::Lifetime)
        } else if self.overhang > 0 && self.open() >= self.settings.max_active {
            Some(CloseReason::Overflow)
        } else {
            None
        }
    }
}

pub(super) fn has_outlived<C>(member: &Entry<C>, now: Option<Instant>) -> bool {
    match (member.expires, now) {
        (Some(expires), Some(now)) => now >= expires,
        _ => false,
    }
}
