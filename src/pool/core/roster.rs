//! All open connections of a pool: how to reach one that is lent, and who has it.

use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::stream::ShutdownHandle;

/// The open connections, each in a place of its own from its dial to its end.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    places: Vec<Option<Entry>>,
    free: Vec<Place>,
    /// How many have been given up and not come back.
    reclaimed: usize,
}

/// Where a connection stands in the roster.
pub(crate) type Place = usize;

#[derive(Debug)]
struct Entry {
    /// Never the last to hold what it holds: the connection itself has it too.
    handle: ShutdownHandle,
    loan: Option<Loan>,
    /// The pool has given it up; what is left to do is to forget it when it comes back.
    reclaimed: bool,
}

/// Who borrows, and where in the program.
#[derive(Debug, Clone)]
pub(crate) struct Borrower {
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: Arc<ThreadTag>,
}

/// A thread that borrows. No two that live have the same number.
#[derive(Debug)]
pub(crate) struct ThreadTag {
    pub(crate) number: u64,
    pub(crate) name: Arc<str>,
}

/// One time that a connection is out.
#[derive(Debug, Clone)]
pub(crate) struct Loan {
    pub(crate) borrower: Borrower,
    pub(crate) since: Instant,
    /// It has been out for longer than the threshold, and that was reported.
    pub(crate) overdue: bool,
}

impl Roster {
    pub(crate) fn enter(&mut self, handle: ShutdownHandle) -> Place {
        let entry = Some(Entry { handle, loan: None, reclaimed: false });
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

    pub(crate) fn leave(&mut self, place: Place) {
        if self.places[place].take().is_some() {
            self.free.push(place);
        }
    }

    pub(crate) fn lend(&mut self, place: Place, borrower: Borrower, since: Instant) {
        if let Some(entry) = &mut self.places[place] {
            entry.loan = Some(Loan { borrower, since, overdue: false });
        }
    }

    /// The loan that ends, if it was noted.
    pub(crate) fn take_back(&mut self, place: Place) -> Option<Loan> {
        self.places[place].as_mut()?.loan.take()
    }

    /// Forgets a connection that was given up before, if it was.
    pub(crate) fn forget_reclaimed(&mut self, place: Place) -> Option<Loan> {
        let loan = self.places[place].as_mut().filter(|entry| entry.reclaimed)?.loan.take();
        self.reclaimed -= 1;
        self.leave(place);
        loan
    }

    /// Those that are out, in no order, as far as loans are noted.
    pub(crate) fn loans(&self) -> impl Iterator<Item = &Loan> {
        self.entries().filter(|entry| !entry.reclaimed).filter_map(|entry| entry.loan.as_ref())
    }

    pub(crate) fn oldest_loan(&self) -> Option<&Loan> {
        self.loans().min_by_key(|loan| loan.since)
    }

    /// Marks those that have been out for this long, and gives each once. With `reclaim`, they are
    /// given up.
    pub(crate) fn become_overdue(
        &mut self,
        threshold: Duration,
        now: Instant,
        reclaim: bool,
        mut found: impl FnMut(Loan, &ShutdownHandle),
    ) {
        for entry in self.places.iter_mut().flatten() {
            let Some(loan) = &mut entry.loan else { continue };
            if !loan.overdue && now.saturating_duration_since(loan.since) >= threshold {
                loan.overdue = true;
                if reclaim {
                    entry.reclaimed = true;
                    self.reclaimed += 1;
                }
                found(loan.clone(), &entry.handle);
            }
        }
    }

    /// When the oldest loan that was not reported was made.
    pub(crate) fn oldest_unreported(&self) -> Option<Instant> {
        self.loans().filter(|loan| !loan.overdue).map(|loan| loan.since).min()
    }

    /// Everything that is open, with the loan if that was noted.
    pub(crate) fn handles(&self) -> impl Iterator<Item = (&ShutdownHandle, Option<&Loan>)> {
        let held = self.entries().filter(|entry| !entry.reclaimed);
        held.map(|entry| (&entry.handle, entry.loan.as_ref()))
    }

    /// How many are open, without those that have been given up.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len() - self.reclaimed
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().flatten()
    }
}
