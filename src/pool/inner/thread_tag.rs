//! A number and a name for each borrowing thread.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::error::Borrow;
use crate::pool::core::registry::{Borrower, CheckoutInfo, ThreadTag};

static NEXT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    static TAG: Arc<ThreadTag> = ThreadTag::new();
}

/// The number of a thread whose thread-local values are already destroyed.
const UNKNOWN: u64 = u64::MAX;

impl ThreadTag {
    fn new() -> Arc<ThreadTag> {
        let thread = std::thread::current();
        let name = thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from);
        Arc::new(ThreadTag { number: NUMBER.try_with(|number| *number).unwrap_or(UNKNOWN), name })
    }

    fn of_this_thread() -> Arc<ThreadTag> {
        TAG.try_with(Arc::clone).unwrap_or_else(|_| ThreadTag::new())
    }
}

impl Borrower {
    #[inline]
    pub(crate) fn here(location: &'static Location<'static>) -> Borrower {
        let thread = NUMBER.try_with(|number| *number).unwrap_or(UNKNOWN);
        Borrower { location, thread, has_deadline: false, tag: ThreadTag::of_this_thread }
    }
}

impl CheckoutInfo {
    pub(crate) fn to_borrow(&self, now: Instant) -> Borrow {
        Borrow {
            location: self.location,
            thread: Arc::clone(&self.thread.name),
            age: now.saturating_duration_since(self.since),
            overdue: self.overdue,
        }
    }
}
