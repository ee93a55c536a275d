//! How a thread sleeps until the pool wakes it.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, MutexGuard, thread_local};

/// A thread's own condition variable on the pool's mutex, so that a wake-up reaches exactly the
/// thread that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Parker(Arc<Condvar>);

thread_local! {
    static PARKER: Parker = Parker::new();
}

impl Parker {
    fn new() -> Parker {
        Parker(Arc::new(Condvar::new()))
    }

    /// Returns the parker of the current thread. A late wake-up from an earlier sleep does no harm:
    /// the sleeper checks its condition again.
    pub(crate) fn of_this_thread() -> Parker {
        PARKER.try_with(Parker::clone).unwrap_or_else(|_| Parker::new())
    }

    /// Sleeps until woken or until the deadline. Can wake up spuriously.
    pub(crate) fn park<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => drop(self.0.wait_until(guard, deadline)),
            None => self.0.wait(guard),
        }
    }

    /// Wakes the thread. The condition that it waits for must have changed under the mutex.
    pub(crate) fn unpark(&self) {
        self.0.notify_one();
    }

    /// Wakes the thread after a change that was *not* made under the mutex. Locking the mutex first
    /// ensures that the thread has seen the change or is asleep.
    pub(crate) fn unpark_through<T>(&self, mutex: &Mutex<T>) {
        drop(mutex.lock());
        self.unpark();
    }
}
