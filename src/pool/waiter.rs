//! Those who wait for a connection: their order, and how one of them sleeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::pool::core::registry::WaitingBorrower;
use crate::sync::{Condvar, Mutex, MutexGuard, thread_local};

/// A place in the order of arrival. Kept through everything that a caller goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// The queue, oldest first. Whoever left and comes back has the old place again.
///
/// Every step takes constant time but two, which are rare: coming back is a search, and so is
/// giving up. Who gives up leaves an empty place behind; they are cleared away when they are the
/// larger part.
#[derive(Debug)]
pub(crate) struct WaitQueue<W> {
    /// By ticket. The first is never an empty one.
    places: VecDeque<(Ticket, Option<Waiter<W>>)>,
    taken: usize,
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) waker: W,
    /// True when it may be woken up to dial on its own thread.
    pub(crate) dials: bool,
    /// Where loans are to be noted.
    pub(crate) borrower: Option<WaitingBorrower>,
}

impl<W> WaitQueue<W> {
    pub(crate) fn new() -> WaitQueue<W> {
        WaitQueue { places: VecDeque::new(), taken: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    pub(crate) fn push(&mut self, ticket: Ticket, waiter: Waiter<W>) {
        let place = match self.places.back() {
            // Somebody comes back: in front of those who came later.
            Some((last, _)) if *last > ticket => self.find(ticket).unwrap_or_else(|place| place),
            _ => self.places.len(),
        };
        self.places.insert(place, (ticket, Some(waiter)));
        self.taken += 1;
    }

    /// The oldest, without taking it out.
    pub(crate) fn first(&self) -> Option<(Ticket, &Waiter<W>)> {
        let (ticket, waiter) = self.places.front()?;
        Some((*ticket, waiter.as_ref()?))
    }

    pub(crate) fn pop(&mut self) -> Option<(Ticket, Waiter<W>)> {
        let (ticket, waiter) = self.places.pop_front()?;
        self.taken -= 1;
        self.clear_away();
        waiter.map(|waiter| (ticket, waiter))
    }

    /// Those who wait, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiter<W>> {
        self.places.iter().filter_map(|(_, waiter)| waiter.as_ref())
    }

    /// How many are older than this one.
    pub(crate) fn ahead_of(&self, ticket: Ticket) -> usize {
        let older = self.places.iter().take_while(|(older, _)| *older < ticket);
        older.filter(|(_, waiter)| waiter.is_some()).count()
    }

    /// Takes one out, if it is still there.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<W> {
        let place = self.find(ticket).ok()?;
        let waiter = self.places[place].1.take()?;
        self.taken -= 1;
        self.clear_away();
        Some(waiter.waker)
    }

    /// Takes everyone out.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.taken = 0;
        let places = std::mem::take(&mut self.places);
        places.into_iter().filter_map(|(_, waiter)| waiter).map(|waiter| waiter.waker)
    }

    fn find(&self, ticket: Ticket) -> Result<usize, usize> {
        self.places.binary_search_by_key(&ticket, |(ticket, _)| *ticket)
    }

    fn clear_away(&mut self) {
        while self.places.front().is_some_and(|(_, waiter)| waiter.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() > 2 * self.taken + 16 {
            self.places.retain(|(_, waiter)| waiter.is_some());
        }
    }
}

/// A place to sleep for one thread: a condition of its own on the pool's mutex, so that a
/// wake-up reaches the one it is meant for.
#[derive(Debug, Clone)]
pub(crate) struct Parker(Arc<Condvar>);

thread_local! {
    static PARKER: Parker = Parker::new();
}

impl Parker {
    fn new() -> Parker {
        Parker(Arc::new(Condvar::new()))
    }

    /// The one of this thread. A late wake-up that was meant for an earlier sleep does no harm:
    /// whoever is woken looks whether there is something to find.
    pub(crate) fn of_this_thread() -> Parker {
        PARKER.try_with(Parker::clone).unwrap_or_else(|_| Parker::new())
    }

    /// Sleeps until woken, or until the deadline. May wake up for no reason.
    pub(crate) fn park<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => drop(self.0.wait_until(guard, deadline)),
            None => self.0.wait(guard),
        }
    }

    /// Wakes the thread up. What it is to find must have been written under the mutex before.
    pub(crate) fn unpark(&self) {
        self.0.notify_one();
    }

    /// Wakes the thread up when what it is to find was *not* written under the mutex: passing
    /// through the mutex makes sure that the thread has either seen it or is asleep by now.
    pub(crate) fn unpark_through<T>(&self, mutex: &Mutex<T>) {
        drop(mutex.lock());
        self.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first_whenever_it_was_put_in() {
        let mut queue = WaitQueue::new();
        for ticket in [3, 1, 4, 2] {
            queue.push(Ticket(ticket), Waiter { waker: ticket, dials: false, borrower: None });
        }
        assert_eq!(queue.ahead_of(Ticket(3)), 2);
        assert_eq!(queue.remove(Ticket(2)), Some(2));
        assert_eq!(queue.remove(Ticket(2)), None);
        assert_eq!(queue.first().map(|(ticket, _)| ticket), Some(Ticket(1)));
        assert_eq!((queue.len(), queue.ahead_of(Ticket(3)), queue.ahead_of(Ticket(1))), (3, 1, 0));
        let order: Vec<_> =
            std::iter::from_fn(|| queue.pop()).map(|(_, waiter)| waiter.waker).collect();
        assert_eq!(order, [1, 3, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn those_who_gave_up_leave_no_places_behind() {
        let mut queue = WaitQueue::new();
        let waiter = || Waiter { waker: (), dials: false, borrower: None };
        (0..10_000).for_each(|ticket| queue.push(Ticket(ticket), waiter()));
        // The oldest stays, so none of the places behind it gets to the front.
        for ticket in 1..10_000 {
            assert!(queue.remove(Ticket(ticket)).is_some());
        }
        assert_eq!(queue.len(), 1);
        assert!(queue.places.len() < 20, "{} places", queue.places.len());
        assert!(queue.pop().is_some() && queue.pop().is_none());
    }
}
