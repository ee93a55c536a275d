//! All open connections of a pool: how to reach one that is lent, and who has it.

use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::stream::ShutdownHandle;

/// The open connections, each in a place of its own from its dial to its end.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    places: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    /// How many have been given up and not come back.
    reclaimed: usize,
}

/// Where a connection stands in the registry.
pub(crate) type SlotId = usize;

#[derive(Debug)]
struct Slot {
    /// Never the last to hold what it holds: the connection itself has it too.
    handle: ShutdownHandle,
    loan: Option<Checkout>,
    /// Who had it last: most often it is the same thread again, and its tag need not be fetched.
    thread: Option<Arc<ThreadTag>>,
    /// The pool has given it up; what is left to do is to forget it when it comes back.
    reclaimed: bool,
}

/// Who borrows, and where in the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Borrower {
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: u64,
    /// Gives the tag of this thread. To be called on it.
    pub(crate) tag: fn() -> Arc<ThreadTag>,
}

/// A borrower that waits, for whom other threads act.
#[derive(Debug, Clone)]
pub(crate) struct WaitingBorrower {
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: Arc<ThreadTag>,
}

/// A thread that borrows. No two have the same number.
#[derive(Debug)]
pub(crate) struct ThreadTag {
    pub(crate) number: u64,
    pub(crate) name: Arc<str>,
}

/// One time that a connection is out.
#[derive(Debug, Clone, Copy)]
struct Checkout {
    location: &'static Location<'static>,
    since: Instant,
    /// It has been out for longer than the threshold, and that was reported.
    overdue: bool,
}

/// A loan as it is told: who has the connection, since when.
#[derive(Debug, Clone)]
pub(crate) struct CheckoutInfo {
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: Arc<ThreadTag>,
    pub(crate) since: Instant,
    pub(crate) overdue: bool,
}

impl Borrower {
    /// The same, for other threads to act for it.
    pub(crate) fn absent(&self) -> WaitingBorrower {
        WaitingBorrower { location: self.location, thread: (self.tag)() }
    }
}

impl Slot {
    fn lent(&self) -> Option<CheckoutInfo> {
        let (loan, thread) = (self.loan?, self.thread.as_ref()?);
        let Checkout { location, since, overdue } = loan;
        Some(CheckoutInfo { location, thread: Arc::clone(thread), since, overdue })
    }
}

impl Registry {
    pub(crate) fn enter(&mut self, handle: ShutdownHandle) -> SlotId {
        let entry = Some(Slot { handle, loan: None, thread: None, reclaimed: false });
        match self.free.pop() {
            Some(place) => {
                self.places[place] = entry;
                place
            }
            None => {
                self.places.push(entry);
                self.places.len() - 1
            }
        }
    }

    pub(crate) fn leave(&mut self, place: SlotId) {
        if self.places[place].take().is_some() {
            self.free.push(place);
        }
    }

    /// Notes a loan to the thread that calls.
    pub(crate) fn lend(&mut self, place: SlotId, borrower: &Borrower, since: Instant) {
        if let Some(entry) = &mut self.places[place] {
            entry.loan = Some(Checkout { location: borrower.location, since, overdue: false });
            if entry.thread.as_ref().is_none_or(|tag| tag.number != borrower.thread) {
                entry.thread = Some((borrower.tag)());
            }
        }
    }

    /// How long the one from this place has been out, if its loan was noted and it is not given up.
    pub(crate) fn out_for(&self, place: SlotId, now: Instant) -> Option<Duration> {
        let entry = self.places[place].as_ref().filter(|entry| !entry.reclaimed)?;
        entry.loan.map(|loan| now.saturating_duration_since(loan.since))
    }

    /// Notes a loan to a thread that waits.
    pub(crate) fn lend_to(&mut self, place: SlotId, borrower: WaitingBorrower, since: Instant) {
        if let Some(entry) = &mut self.places[place] {
            entry.loan = Some(Checkout { location: borrower.location, since, overdue: false });
            entry.thread = Some(borrower.thread);
        }
    }

    /// Ends a loan: how long it lasted, and what it was if it had been reported.
    pub(crate) fn take_back(
        &mut self,
        place: SlotId,
        now: Option<Instant>,
    ) -> (Option<Duration>, Option<CheckoutInfo>) {
        let Some(entry) = &mut self.places[place] else { return (None, None) };
        let reported = match entry.loan {
            Some(Checkout { overdue: true, .. }) => entry.lent(),
            _ => None,
        };
        let Some(loan) = entry.loan.take() else { return (None, None) };
        (now.map(|now| now.saturating_duration_since(loan.since)), reported)
    }

    /// Whether it was given up, and has not come back.
    pub(crate) fn is_reclaimed(&self, place: SlotId) -> bool {
        self.places[place].as_ref().is_some_and(|entry| entry.reclaimed)
    }

    /// Forgets a connection that was given up before, if it was.
    pub(crate) fn forget_reclaimed(&mut self, place: SlotId) -> Option<CheckoutInfo> {
        let lent = self.places[place].as_ref().filter(|entry| entry.reclaimed)?.lent();
        self.reclaimed -= 1;
        self.leave(place);
        lent
    }

    /// The loans that are noted, in no order.
    pub(crate) fn loans(&self) -> impl Iterator<Item = CheckoutInfo> {
        self.slots().filter_map(Slot::lent)
    }

    /// The one that has lasted longest.
    pub(crate) fn oldest_loan(&self) -> Option<CheckoutInfo> {
        self.oldest(|_| true)
    }

    /// The one of this thread that has lasted longest.
    pub(crate) fn oldest_loan_of(&self, thread: u64) -> Option<CheckoutInfo> {
        self.oldest(|entry| entry.thread.as_ref().is_some_and(|tag| tag.number == thread))
    }

    /// How many have lasted too long.
    pub(crate) fn overdue(&self) -> usize {
        self.slots().filter(|entry| entry.loan.is_some_and(|loan| loan.overdue)).count()
    }

    /// True when every connection is lent, to threads of which this holds.
    pub(crate) fn all_are_lent_to(&self, holds: impl Fn(u64) -> bool) -> bool {
        let holders = |entry: &Slot| {
            entry.loan.is_some() && entry.thread.as_ref().is_some_and(|tag| holds(tag.number))
        };
        self.slots().all(holders)
    }

    /// Marks those that have been out for this long, and gives each once. With `reclaim`, they are
    /// given up.
    pub(crate) fn become_overdue(
        &mut self,
        threshold: Duration,
        now: Instant,
        reclaim: bool,
        mut found: impl FnMut(CheckoutInfo, &ShutdownHandle),
    ) {
        for entry in self.places.iter_mut().flatten() {
            let Some(loan) = &mut entry.loan else { continue };
            if loan.overdue || now.saturating_duration_since(loan.since) < threshold {
                continue;
            }
            loan.overdue = true;
            if let Some(lent) = entry.lent() {
                found(lent, &entry.handle);
            }
            if reclaim {
                entry.reclaimed = true;
                self.reclaimed += 1;
            }
        }
    }

    /// When the oldest loan that was not reported was made.
    pub(crate) fn oldest_unreported(&self) -> Option<Instant> {
        let loans = self.slots().filter_map(|entry| entry.loan);
        loans.filter(|loan| !loan.overdue).map(|loan| loan.since).min()
    }

    /// Everything that is open, with the loan if that was noted.
    pub(crate) fn handles(&self) -> impl Iterator<Item = (&ShutdownHandle, Option<CheckoutInfo>)> {
        self.slots().map(|entry| (&entry.handle, entry.lent()))
    }

    /// How many are open, without those that have been given up.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len() - self.reclaimed
    }

    fn oldest(&self, of: impl Fn(&Slot) -> bool) -> Option<CheckoutInfo> {
        let lent = self.slots().filter(|entry| entry.loan.is_some() && of(entry));
        lent.min_by_key(|entry| entry.loan.map(|loan| loan.since))?.lent()
    }

    /// All but those that have been given up.
    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.places.iter().flatten().filter(|entry| !entry.reclaimed)
    }
}
