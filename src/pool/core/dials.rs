//! The running dials, and the waiters that they cover.

use std::time::{Duration, Instant};

use super::types::{DialReason, Ticket};

/// A younger dial is never taken for hung.
const MIN_HUNG_AGE: Duration = Duration::from_secs(1);
/// Hung dials can exceed `max_concurrent_dials`, up to this multiple of it.
const MAX_EXCESS: usize = 4;

/// A running dial. Numbers are unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DialId(u64);

/// A dial from its start to its end.
#[derive(Debug)]
pub(super) struct Dial {
    id: DialId,
    pub(super) reason: DialReason,
    /// The pool's generation when the dial began.
    pub(super) generation: u64,
    /// The caller that the dial was started for, or that it has passed to.
    pub(super) owner: Option<Ticket>,
    passed_on: bool,
    /// The owner waits, and needs no other dial while this one runs.
    pub(super) covers_owner: bool,
    /// Set when a thread has taken the dial.
    began: Option<Instant>,
    attempts: u32,
    /// Between two attempts.
    paused: bool,
    hung: bool,
    /// Of an older generation, so that its connection will be closed.
    pub(super) evicted: bool,
}

/// The dial that has run longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OldestDial {
    pub(crate) age: Duration,
    pub(crate) attempts: u32,
}

/// The running dials, at most a few dozen.
///
/// A dial covers only the caller that it was started for, and only while that caller waits. If
/// another dial ends first and serves the caller, the two dials' owners swap: the dial passes to the
/// owner of the other one, and covers it until it is paused or hung.
#[derive(Debug, Default)]
pub(super) struct Dials {
    running: Vec<Dial>,
    next_id: u64,
    /// A moving average over successful dials.
    typical: Duration,
}

impl Dial {
    fn covers(&self, ticket: Ticket) -> bool {
        self.covers_owner && self.owner == Some(ticket)
    }

    fn can_cover(&self, ticket: Ticket) -> bool {
        let is_out = if self.passed_on { self.is_slow() } else { self.evicted };
        self.owner == Some(ticket) && !is_out
    }

    fn is_slow(&self) -> bool {
        self.paused || self.hung || self.evicted
    }

    /// A slow dial covers no other caller than the one that it was started for.
    fn uncover_if_passed_on(&mut self) {
        if self.passed_on {
            self.covers_owner = false;
        }
    }
}

impl Dials {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Returns the number of waiters that are covered.
    pub(super) fn covering(&self) -> usize {
        self.running.iter().filter(|dial| dial.covers_owner).count()
    }

    pub(super) fn covers(&self, ticket: Ticket) -> bool {
        self.running.iter().any(|dial| dial.covers(ticket))
    }

    pub(super) fn oldest_covered(&self) -> Option<Ticket> {
        self.running.iter().filter(|dial| dial.covers_owner).filter_map(|dial| dial.owner).min()
    }

    /// Returns the number of dials that can be expected to serve a waiter.
    pub(super) fn promising(&self) -> usize {
        self.running.iter().filter(|dial| dial.covers_owner || !dial.is_slow()).count()
    }

    /// Returns the number of dials whose connections will become idle.
    pub(super) fn spare(&self) -> usize {
        self.running.iter().filter(|dial| !dial.covers_owner && !dial.evicted).count()
    }

    /// Returns true if `max_concurrent_dials` allows another one.
    pub(super) fn can_start(&self, max_concurrent: usize) -> bool {
        let counted = self.running.iter().filter(|dial| !dial.hung && !dial.evicted).count();
        counted < max_concurrent && self.len() < max_concurrent.saturating_mul(MAX_EXCESS)
    }

    pub(super) fn start(
        &mut self,
        reason: DialReason,
        waiter: Option<Ticket>,
        generation: u64,
    ) -> DialId {
        let id = DialId(self.next_id);
        self.next_id += 1;
        self.running.push(Dial {
            id,
            reason,
            generation,
            owner: waiter,
            passed_on: false,
            covers_owner: waiter.is_some(),
            began: None,
            attempts: 0,
            paused: false,
            hung: false,
            evicted: false,
        });
        id
    }

    pub(super) fn get_mut(&mut self, id: DialId) -> Option<&mut Dial> {
        self.running.iter_mut().find(|dial| dial.id == id)
    }

    pub(super) fn end(&mut self, id: DialId) -> Option<Dial> {
        let at = self.running.iter().position(|dial| dial.id == id)?;
        Some(self.running.swap_remove(at))
    }

    /// Begins the first attempt of a dial.
    pub(super) fn begin(&mut self, id: DialId, generation: u64, now: Instant) {
        if let Some(dial) = self.get_mut(id) {
            (dial.generation, dial.began, dial.attempts) = (generation, Some(now), 1);
        }
    }

    /// Pauses a dial until its next attempt.
    pub(super) fn pause(&mut self, id: DialId) {
        if let Some(dial) = self.get_mut(id) {
            dial.paused = true;
            dial.uncover_if_passed_on();
        }
    }

    /// Begins the next attempt of a dial. Returns false for a dial of an older generation.
    pub(super) fn retry(&mut self, id: DialId) -> bool {
        let Some(dial) = self.get_mut(id) else { return false };
        dial.paused = false;
        dial.attempts = dial.attempts.saturating_add(1);
        !dial.evicted
    }

    /// A caller no longer waits.
    pub(super) fn uncover(&mut self, ticket: Ticket) {
        if let Some(dial) = self.running.iter_mut().find(|dial| dial.covers(ticket)) {
            dial.covers_owner = false;
        }
    }

    /// A caller no longer waits, because of the end of the other dial. Its dial passes to the owner
    /// of that one, unless it is slow.
    pub(super) fn pass_on(&mut self, ticket: Ticket, ended: &Dial) {
        let Some(dial) = self.running.iter_mut().find(|dial| dial.covers(ticket)) else { return };
        match ended.owner {
            Some(owner) if !dial.is_slow() => {
                dial.owner = Some(owner);
                dial.passed_on = true;
                dial.covers_owner = ended.covers_owner;
            }
            _ => dial.covers_owner = false,
        }
    }

    /// A caller waits, perhaps again. It needs no other dial if its own still runs.
    pub(super) fn cover_again(&mut self, ticket: Ticket) {
        if let Some(dial) = self.running.iter_mut().find(|dial| dial.can_cover(ticket)) {
            dial.covers_owner = true;
        }
    }

    /// Begins a new generation. The dials that have begun will not serve a caller.
    pub(super) fn evict(&mut self) {
        for dial in self.running.iter_mut().filter(|dial| dial.began.is_some()) {
            dial.evicted = true;
            dial.covers_owner = false;
        }
    }

    pub(super) fn uncover_all(&mut self) {
        self.running.iter_mut().for_each(|dial| dial.covers_owner = false);
    }

    /// Notes how long a successful dial took.
    pub(super) fn note_duration(&mut self, took: Duration) {
        self.typical = match self.typical {
            Duration::ZERO => took,
            typical => (typical * 7 + took) / 8,
        };
    }

    /// Marks the dials that are older than a second and than the typical dial.
    pub(super) fn mark_hung(&mut self, now: Instant) {
        let limit = self.hung_age();
        for dial in self.running.iter_mut().filter(|dial| !dial.hung) {
            let Some(began) = dial.began else { continue };
            if now.saturating_duration_since(began) > limit {
                dial.hung = true;
                dial.uncover_if_passed_on();
            }
        }
    }

    /// Returns when the next dial can be marked as hung: any dial, or only one that was passed on.
    pub(super) fn next_hung_at(&self, now: Instant, only_passed_on: bool) -> Option<Instant> {
        let dials = self.running.iter().filter(|dial| !dial.hung);
        let dials = dials.filter(|dial| !only_passed_on || dial.passed_on && dial.covers_owner);
        let beyond = self.hung_age() + Duration::from_nanos(1);
        dials.map(|dial| dial.began.unwrap_or(now) + beyond).min()
    }

    pub(super) fn oldest(&self, now: Instant) -> Option<OldestDial> {
        let began = self.running.iter().filter_map(|dial| Some((dial.began?, dial.attempts)));
        let (began, attempts) = began.min_by_key(|(began, _)| *began)?;
        Some(OldestDial { age: now.saturating_duration_since(began), attempts })
    }

    /// Returns the age from which on a dial is taken for hung.
    pub(super) fn hung_age(&self) -> Duration {
        self.typical.max(MIN_HUNG_AGE)
    }
}
