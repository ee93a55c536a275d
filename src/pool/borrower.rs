//! The threads that borrow: a number and a name for each.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::core::roster::{Borrower, Loan, ThreadTag};
use crate::error::Borrow;

static NEXT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static TAG: Arc<ThreadTag> = ThreadTag::new();
}

impl ThreadTag {
    fn new() -> Arc<ThreadTag> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::current();
        let name = thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from);
        Arc::new(ThreadTag { number, name })
    }

    pub(crate) fn of_this_thread() -> Arc<ThreadTag> {
        TAG.try_with(Arc::clone).unwrap_or_else(|_| ThreadTag::new())
    }
}

impl Borrower {
    pub(crate) fn here(location: &'static Location<'static>) -> Borrower {
        Borrower { location, thread: ThreadTag::of_this_thread() }
    }
}

impl Loan {
    pub(crate) fn told(&self, now: Instant) -> Borrow {
        Borrow {
            location: self.borrower.location,
            thread: Arc::clone(&self.borrower.thread.name),
            age: now.saturating_duration_since(self.since),
            overdue: self.overdue,
        }
    }
}
