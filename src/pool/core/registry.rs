//! All open connections of a pool: their borrowers, use times and shutdown handles.

use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::stream::ShutdownHandle;

/// The open connections, each in one slot from its dial to its end.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    /// The number of reclaimed connections that have not come back.
    reclaimed: usize,
}

/// The index of a slot.
pub(crate) type SlotId = usize;

#[derive(Debug)]
struct Slot {
    /// The connection has a clone, so dropping this one runs no destructor of the user's.
    handle: ShutdownHandle,
    checkout: Option<Checkout>,
    /// The last borrower. It is often the same thread again, and then its tag need not be fetched.
    thread: Option<Arc<ThreadTag>>,
    /// The pool no longer counts the connection and frees the slot when it comes back.
    reclaimed: bool,
}

/// The calling thread and the line of its checkout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Borrower {
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: u64,
    /// Whether its checkout ends at a deadline.
    pub(crate) has_deadline: bool,
    /// Returns the calling thread's tag.
    pub(crate) tag: fn() -> Arc<ThreadTag>,
}

/// A borrower that waits. Another thread records its checkout.
#[derive(Debug, Clone)]
pub(crate) struct WaitingBorrower {
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: Arc<ThreadTag>,
    pub(crate) has_deadline: bool,
}

/// A borrowing thread. Numbers are unique.
#[derive(Debug)]
pub(crate) struct ThreadTag {
    pub(crate) number: u64,
    pub(crate) name: Arc<str>,
}

#[derive(Debug, Clone, Copy)]
struct Checkout {
    location: &'static Location<'static>,
    since: Instant,
    /// The checkout was reported as a leak.
    overdue: bool,
}

/// A recorded checkout, for reports.
#[derive(Debug, Clone)]
pub(crate) struct CheckoutInfo {
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: Arc<ThreadTag>,
    pub(crate) since: Instant,
    pub(crate) overdue: bool,
}

/// A checkout that has ended.
#[derive(Debug, Default)]
pub(crate) struct EndedCheckout {
    pub(crate) lasted: Option<Duration>,
    /// The checkout, if it was reported as a leak.
    pub(crate) reported: Option<CheckoutInfo>,
}

/// An open connection, for shutting it down.
pub(crate) struct OpenConn<'a> {
    pub(crate) handle: &'a ShutdownHandle,
    pub(crate) checkout: Option<CheckoutInfo>,
}

impl Borrower {
    /// Returns the same borrower in a form that other threads can use.
    pub(crate) fn waiting(&self) -> WaitingBorrower {
        let Borrower { location, has_deadline, tag, .. } = *self;
        WaitingBorrower { location, thread: tag(), has_deadline }
    }
}

impl Slot {
    fn checkout_info(&self) -> Option<CheckoutInfo> {
        let (checkout, thread) = (self.checkout?, self.thread.as_ref()?);
        let Checkout { location, since, overdue } = checkout;
        Some(CheckoutInfo { location, thread: Arc::clone(thread), since, overdue })
    }
}

impl Registry {
    pub(crate) fn add(&mut self, handle: ShutdownHandle) -> SlotId {
        let slot = Some(Slot { handle, checkout: None, thread: None, reclaimed: false });
        match self.free.pop() {
            Some(id) => {
                self.slots[id] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    pub(crate) fn remove(&mut self, id: SlotId) {
        if self.slots[id].take().is_some() {
            self.free.push(id);
        }
    }

    /// Records a checkout by the calling thread.
    pub(crate) fn check_out(&mut self, id: SlotId, borrower: &Borrower, since: Instant) {
        if let Some(slot) = &mut self.slots[id] {
            slot.checkout = Some(Checkout { location: borrower.location, since, overdue: false });
            if slot.thread.as_ref().is_none_or(|tag| tag.number != borrower.thread) {
                slot.thread = Some((borrower.tag)());
            }
        }
    }

    /// Records a checkout by a waiting thread.
    pub(crate) fn check_out_to(&mut self, id: SlotId, borrower: WaitingBorrower, since: Instant) {
        if let Some(slot) = &mut self.slots[id] {
            slot.checkout = Some(Checkout { location: borrower.location, since, overdue: false });
            slot.thread = Some(borrower.thread);
        }
    }

    /// Returns how long a connection has been in use, if its checkout is recorded and it is not
    /// reclaimed.
    pub(crate) fn used_for(&self, id: SlotId, now: Instant) -> Option<Duration> {
        let slot = self.slots[id].as_ref().filter(|slot| !slot.reclaimed)?;
        slot.checkout.map(|checkout| now.saturating_duration_since(checkout.since))
    }

    /// Ends the checkout of a connection. Its duration is known only if `now` is.
    pub(crate) fn check_in(&mut self, id: SlotId, now: Option<Instant>) -> EndedCheckout {
        let Some(slot) = &mut self.slots[id] else { return EndedCheckout::default() };
        let reported = match slot.checkout {
            Some(Checkout { overdue: true, .. }) => slot.checkout_info(),
            _ => None,
        };
        let Some(checkout) = slot.checkout.take() else { return EndedCheckout::default() };
        let lasted = now.map(|now| now.saturating_duration_since(checkout.since));
        EndedCheckout { lasted, reported }
    }

    pub(crate) fn is_reclaimed(&self, id: SlotId) -> bool {
        self.slots[id].as_ref().is_some_and(|slot| slot.reclaimed)
    }

    /// Frees the slot of a connection that was reclaimed, and returns its checkout.
    pub(crate) fn remove_reclaimed(&mut self, id: SlotId) -> Option<CheckoutInfo> {
        let checkout = self.slots[id].as_ref().filter(|slot| slot.reclaimed)?.checkout_info();
        self.reclaimed -= 1;
        self.remove(id);
        checkout
    }

    /// Returns the recorded checkouts in no particular order.
    pub(crate) fn checkouts(&self) -> impl Iterator<Item = CheckoutInfo> {
        self.counted_slots().filter_map(Slot::checkout_info)
    }

    pub(crate) fn oldest_checkout(&self) -> Option<CheckoutInfo> {
        self.oldest(|_| true)
    }

    pub(crate) fn oldest_checkout_of(&self, thread: u64) -> Option<CheckoutInfo> {
        self.oldest(|slot| slot.thread.as_ref().is_some_and(|tag| tag.number == thread))
    }

    /// Returns the number of checkouts that were reported as leaks.
    pub(crate) fn overdue(&self) -> usize {
        let overdue = |slot: &&Slot| slot.checkout.is_some_and(|checkout| checkout.overdue);
        self.counted_slots().filter(overdue).count()
    }

    /// Returns true if every connection is checked out by a thread for which `holds` is true.
    pub(crate) fn all_checked_out_by(&self, holds: impl Fn(u64) -> bool) -> bool {
        self.counted_slots().all(|slot| {
            let thread = slot.thread.as_ref().filter(|_| slot.checkout.is_some());
            thread.is_some_and(|tag| holds(tag.number))
        })
    }

    /// Marks the checkouts that have lasted at least `threshold` and calls `found` once for each.
    /// With `reclaim`, the connections no longer count.
    pub(crate) fn mark_overdue(
        &mut self,
        threshold: Duration,
        now: Instant,
        reclaim: bool,
        mut found: impl FnMut(CheckoutInfo, &ShutdownHandle),
    ) {
        for slot in self.slots.iter_mut().flatten() {
            let Some(checkout) = &mut slot.checkout else { continue };
            if checkout.overdue || now.saturating_duration_since(checkout.since) < threshold {
                continue;
            }
            checkout.overdue = true;
            if let Some(checkout) = slot.checkout_info() {
                found(checkout, &slot.handle);
            }
            if reclaim {
                slot.reclaimed = true;
                self.reclaimed += 1;
            }
        }
    }

    /// Returns when the oldest checkout that was not reported as a leak began.
    pub(crate) fn oldest_unreported(&self) -> Option<Instant> {
        let checkouts = self.counted_slots().filter_map(|slot| slot.checkout);
        checkouts.filter(|checkout| !checkout.overdue).map(|checkout| checkout.since).min()
    }

    pub(crate) fn open_conns(&self) -> impl Iterator<Item = OpenConn<'_>> {
        self.counted_slots()
            .map(|slot| OpenConn { handle: &slot.handle, checkout: slot.checkout_info() })
    }

    /// Returns the number of open connections without the reclaimed ones.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.reclaimed
    }

    fn oldest(&self, holds: impl Fn(&Slot) -> bool) -> Option<CheckoutInfo> {
        let found = self.counted_slots().filter(|slot| slot.checkout.is_some() && holds(slot));
        found.min_by_key(|slot| slot.checkout.map(|checkout| checkout.since))?.checkout_info()
    }

    /// Returns all slots but the reclaimed ones.
    fn counted_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten().filter(|slot| !slot.reclaimed)
    }
}
