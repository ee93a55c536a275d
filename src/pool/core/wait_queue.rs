//! The queue of waiters.

use std::collections::VecDeque;

use super::registry::WaitingBorrower;
use super::types::Ticket;

/// The waiters, oldest first. A waiter that left and comes back gets its old position again.
///
/// Every operation takes constant time except two rare ones: coming back and leaving are searches.
/// A waiter that leaves makes its position vacant; vacant positions are removed when they are the
/// majority.
#[derive(Debug)]
pub(crate) struct WaitQueue<W> {
    /// Sorted by ticket. The first position is never vacant.
    positions: VecDeque<(Ticket, Option<Waiter<W>>)>,
    occupied: usize,
}

#[derive(Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) waker: W,
    /// Set if checkouts are recorded.
    pub(crate) borrower: Option<WaitingBorrower>,
}

impl<W> WaitQueue<W> {
    pub(crate) fn new() -> WaitQueue<W> {
        WaitQueue { positions: VecDeque::new(), occupied: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.occupied
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    pub(crate) fn push(&mut self, ticket: Ticket, waiter: Waiter<W>) {
        let at = match self.positions.back() {
            // A waiter comes back, ahead of the waiters with later tickets.
            Some((last, _)) if *last > ticket => self.find(ticket).unwrap_or_else(|at| at),
            _ => self.positions.len(),
        };
        self.positions.insert(at, (ticket, Some(waiter)));
        self.occupied += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<(Ticket, Waiter<W>)> {
        let (ticket, waiter) = self.positions.pop_front()?;
        self.occupied -= 1;
        self.remove_vacant();
        waiter.map(|waiter| (ticket, waiter))
    }

    /// Returns the waiters, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiter<W>> {
        self.positions.iter().filter_map(|(_, waiter)| waiter.as_ref())
    }

    /// Returns the tickets of the waiters, oldest first.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.positions.iter().filter(|(_, waiter)| waiter.is_some()).map(|(ticket, _)| *ticket)
    }

    /// Returns the number of waiters with an earlier ticket.
    pub(crate) fn ahead_of(&self, ticket: Ticket) -> usize {
        let older = self.positions.iter().take_while(|(older, _)| *older < ticket);
        older.filter(|(_, waiter)| waiter.is_some()).count()
    }

    /// Removes a waiter, if it is still in the queue.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<W> {
        let at = self.find(ticket).ok()?;
        let waiter = self.positions[at].1.take()?;
        self.occupied -= 1;
        self.remove_vacant();
        Some(waiter.waker)
    }

    /// Removes all waiters.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.occupied = 0;
        let positions = std::mem::take(&mut self.positions);
        positions.into_iter().filter_map(|(_, waiter)| waiter).map(|waiter| waiter.waker)
    }

    fn find(&self, ticket: Ticket) -> Result<usize, usize> {
        self.positions.binary_search_by_key(&ticket, |(ticket, _)| *ticket)
    }

    fn remove_vacant(&mut self) {
        while self.positions.front().is_some_and(|(_, waiter)| waiter.is_none()) {
            self.positions.pop_front();
        }
        if self.positions.len() > 2 * self.occupied + 16 {
            self.positions.retain(|(_, waiter)| waiter.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter<W>(waker: W) -> Waiter<W> {
        Waiter { waker, borrower: None }
    }

    #[test]
    fn the_oldest_ticket_comes_first_in_any_order_of_insertion() {
        let mut queue = WaitQueue::new();
        for ticket in [3, 1, 4, 2] {
            queue.push(Ticket(ticket), waiter(ticket));
        }
        assert_eq!(queue.ahead_of(Ticket(3)), 2);
        assert_eq!(queue.remove(Ticket(2)), Some(2));
        assert_eq!(queue.remove(Ticket(2)), None);
        assert!(queue.tickets().eq([1, 3, 4].map(Ticket)));
        assert_eq!((queue.len(), queue.ahead_of(Ticket(3)), queue.ahead_of(Ticket(1))), (3, 1, 0));
        let order: Vec<_> =
            std::iter::from_fn(|| queue.pop()).map(|(_, waiter)| waiter.waker).collect();
        assert_eq!(order, [1, 3, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn positions_of_waiters_that_left_are_removed() {
        let mut queue = WaitQueue::new();
        (0..10_000).for_each(|ticket| queue.push(Ticket(ticket), waiter(())));
        // The oldest stays, so no position behind it gets to the front.
        for ticket in 1..10_000 {
            assert!(queue.remove(Ticket(ticket)).is_some());
        }
        assert_eq!(queue.len(), 1);
        assert!(queue.positions.len() < 20, "{} positions", queue.positions.len());
        assert!(queue.pop().is_some() && queue.pop().is_none());
    }
}
