//! Connections that were dropped in an unclean state. Cleaners return them to the pool; until then
//! they count as in use.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Actions, Core, Disposition, Entry};

/// The connections that are being cleaned, or will be.
#[derive(Debug)]
pub(super) struct Cleaning<C> {
    /// The connections that cleaners have.
    running: usize,
    /// Without a cleaner, oldest first.
    waiting: VecDeque<Unclean<C>>,
}

/// A connection for a cleaner, which must call [`Core::cleaned`] in the end.
#[derive(Debug)]
pub(crate) struct Unclean<C> {
    pub(crate) entry: Box<Entry<C>>,
    /// Set if the connection had to wait for a cleaner: since when, by the system's clock.
    pub(crate) waited_since: Option<Instant>,
}

impl<C> Cleaning<C> {
    pub(super) fn new() -> Cleaning<C> {
        Cleaning { running: 0, waiting: VecDeque::new() }
    }

    /// Returns the connections without a cleaner.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Entry<C>> {
        self.waiting.iter().map(|unclean| &*unclean.entry)
    }

    pub(super) fn len(&self) -> usize {
        self.running + self.waiting.len()
    }
}

impl<C, W> Core<C, W> {
    /// A borrow has ended with a connection that must be cleaned.
    pub(super) fn begin_cleaning(
        &mut self,
        entry: Box<Entry<C>>,
        dropped: Instant,
        actions: &mut Actions<C, W>,
    ) {
        if self.cleaning.running < self.settings.max_cleaners {
            self.cleaning.running += 1;
            actions.deferred().clean = Some(Unclean { entry, waited_since: None });
        } else {
            self.cleaning.waiting.push_back(Unclean { entry, waited_since: Some(dropped) });
        }
    }

    /// A cleaner is done with a connection. Returns the next connection for the same cleaner.
    pub(crate) fn cleaned(
        &mut self,
        entry: Box<Entry<C>>,
        disposition: Disposition,
        now: Option<Instant>,
        actions: &mut Actions<C, W>,
    ) -> Option<Unclean<C>> {
        self.cleaning.running -= 1;
        let next = self.cleaning.waiting.pop_front();
        self.cleaning.running += usize::from(next.is_some());
        self.check_in(entry, disposition, now, actions);
        next
    }

    /// Returns the number of connections that are in use without a borrower, and so come back soon.
    #[inline]
    pub(super) fn coming_back(&self) -> usize {
        self.pinging + self.cleaning.len()
    }
}
