//! Who has what: the beginnings and ends of loans, and whether any of them can end.

use std::time::Instant;

use super::registry::SlotId;
use super::{Actions, CheckoutRequest, Core};
use crate::pool::stats::close_reason::CloseReason;

impl<C, W> Core<C, W> {
    #[inline]
    pub(super) fn note_loan(&mut self, place: SlotId, asker: CheckoutRequest<'_>) {
        if let (Some(borrower), Some(now)) = (asker.borrower, asker.now) {
            self.registry.lend(place, borrower, now);
        }
    }

    pub(super) fn note_return(
        &mut self,
        place: SlotId,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        let (lasted, reported) = self.registry.take_back(place, now);
        if let Some(lasted) = lasted {
            self.counters.use_time.record(lasted);
        }
        if reported.is_some() {
            actions.more().came_back = reported;
        }
    }

    /// True when the connection was given up before it came back now.
    pub(super) fn forget_reclaimed(&mut self, place: SlotId, actions: &mut Actions<C, W>) -> bool {
        let loan = self.registry.forget_reclaimed(place);
        let reclaimed = loan.is_some();
        if reclaimed {
            actions.more().came_back = loan;
        }
        reclaimed
    }

    pub(super) fn let_go(
        &mut self,
        place: SlotId,
        reason: Option<CloseReason>,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) {
        if self.settings.reclaims && self.forget_reclaimed(place, actions) {
            return;
        }
        if self.settings.tracks {
            self.note_return(place, now, actions);
        }
        self.note_end(place, reason);
    }

    /// What was lent from this place is out of the pool.
    pub(super) fn note_end(&mut self, place: SlotId, reason: Option<CloseReason>) {
        self.in_use -= 1;
        self.registry.leave(place);
        match reason {
            Some(reason) => self.counters.closed.add(reason),
            None => self.counters.detached += 1,
        }
        // Where one has died, the others may have too.
        if matches!(reason, Some(CloseReason::Io | CloseReason::Health)) {
            self.deaths += 1;
        }
    }

    /// True when every connection is held by a thread that waits for another, this one included.
    pub(super) fn is_deadlocked(&self, asker: CheckoutRequest<'_>) -> bool {
        let Some(own) = asker.borrower else { return false };
        if self.registry.oldest_loan_of(own.thread).is_none() {
            return false;
        }
        let waits = |thread: u64| {
            let mut waiting = self.queue.iter().filter_map(|waiter| waiter.borrower.as_ref());
            thread == own.thread || waiting.any(|other| other.thread.number == thread)
        };
        // Anything that is no loan, a dial for one, may still come free.
        self.registry.len() == self.open() && self.registry.all_are_lent_to(waits)
    }
}
