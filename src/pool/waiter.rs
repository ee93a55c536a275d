//! Those who wait for a connection: their order, and how one of them sleeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// A place in the order of arrival. Kept through everything that a caller goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// The queue, oldest first. Whoever left and comes back has the old place again.
#[derive(Debug)]
pub(crate) struct WaitQueue<W> {
    waiters: BTreeMap<Ticket, Waiter<W>>,
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) waker: W,
    /// True when it may be woken up to dial on its own thread.
    pub(crate) dials: bool,
}

impl<W> WaitQueue<W> {
    pub(crate) fn new() -> WaitQueue<W> {
        WaitQueue { waiters: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(crate) fn push(&mut self, ticket: Ticket, waiter: Waiter<W>) {
        self.waiters.insert(ticket, waiter);
    }

    /// The oldest, without taking it out.
    pub(crate) fn first(&self) -> Option<(Ticket, &Waiter<W>)> {
        self.waiters.first_key_value().map(|(ticket, waiter)| (*ticket, waiter))
    }

    pub(crate) fn pop(&mut self) -> Option<(Ticket, W)> {
        self.waiters.pop_first().map(|(ticket, waiter)| (ticket, waiter.waker))
    }

    /// Takes one out, if it is still there.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<W> {
        self.waiters.remove(&ticket).map(|waiter| waiter.waker)
    }

    /// Takes everyone out.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = W> + use<W> {
        std::mem::take(&mut self.waiters).into_values().map(|waiter| waiter.waker)
    }
}

/// A place to sleep for one thread: a condition of its own on the pool's mutex, so that a
/// wake-up reaches the one it is meant for.
#[derive(Debug, Clone)]
pub(crate) struct Parker(Arc<Condvar>);

impl Parker {
    pub(crate) fn new() -> Parker {
        Parker(Arc::new(Condvar::new()))
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
            queue.push(Ticket(ticket), Waiter { waker: ticket, dials: false });
        }
        assert_eq!(queue.remove(Ticket(2)), Some(2));
        assert_eq!(queue.remove(Ticket(2)), None);
        assert_eq!(queue.first().map(|(ticket, _)| ticket), Some(Ticket(1)));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, waker)| waker).collect();
        assert_eq!(order, [1, 3, 4]);
        assert!(queue.is_empty());
    }
}
