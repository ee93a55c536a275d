//! When a dial starts, which waiter it covers, and what its end means.

use super::*;
use crate::pool::core::types::DialReason;

#[derive(Debug, Clone)]
pub(in super::super) struct Dial {
    /// The generation and the time of its begin.
    pub(in super::super) began: Option<(u64, Duration)>,
    /// The caller that it was started for, or that it has passed to.
    owner: Option<u64>,
    passed_on: bool,
    /// The owner waits and needs no other dial.
    pub(in super::super) covers_owner: bool,
    pub(in super::super) paused: bool,
    hung: bool,
    evicted: bool,
    /// The pause lasts as long as this probe can take.
    is_current_probe: bool,
}

impl Dial {
    fn covers(&self, ticket: u64) -> bool {
        self.covers_owner && self.owner == Some(ticket)
    }

    fn is_slow(&self) -> bool {
        self.paused || self.hung || self.evicted
    }
}

impl Model {
    pub(in super::super) fn begin_dial(&mut self, at: usize, now: Duration) {
        self.dials[at].began = Some((self.generation, now));
    }

    pub(in super::super) fn pause_dial(&mut self, at: usize) -> Step {
        let dial = &mut self.dials[at];
        dial.paused = true;
        dial.covers_owner &= !dial.passed_on;
        self.settle(Step::default())
    }

    /// Returns whether the dial goes on.
    pub(in super::super) fn retry_dial(&mut self, at: usize) -> bool {
        let dial = &mut self.dials[at];
        dial.paused = false;
        !dial.evicted && !self.suspended && !self.closed
    }

    pub(in super::super) fn check_dials(&mut self, now: Duration) -> Step {
        self.mark_hung(now);
        self.settle(Step::default())
    }

    /// A dial has ended, with a connection or not.
    pub(in super::super) fn dial_ended(
        &mut self,
        at: usize,
        conn: Option<Conn>,
        took: Duration,
        now: Duration,
    ) -> Step {
        let dial = self.dials.remove(at);
        let mut step = Step::default();
        self.paused &= !dial.is_current_probe;
        if let Some(conn) = conn {
            self.typical = match self.typical {
                Duration::ZERO => took,
                typical => (typical * 7 + took) / 8,
            };
            step = match self.must_close(conn, now) {
                true => Step { closes: vec![conn.id], ..step },
                false => {
                    let conn = Conn { returned: now, heard: now, ..conn };
                    self.offer(conn, Some(&dial), now, step)
                }
            };
            if !dial.evicted {
                self.forget_dial_failures();
            }
        } else if !dial.evicted && !self.suspended {
            if dial.covers_owner {
                step = self.fail_oldest_covered(&dial, step);
            }
            step = self.note_dial_failure(step);
        }
        if self.broken {
            self.pause();
        }
        let step = self.settle(step);
        self.wake_watchers(step)
    }

    fn fail_oldest_covered(&mut self, ended: &Dial, step: Step) -> Step {
        let covered = |ticket: &u64| {
            ended.owner == Some(*ticket) || self.dials.iter().any(|dial| dial.covers(*ticket))
        };
        let at = self.queue.iter().position(covered).expect("the owner waits");
        let oldest = self.queue.remove(at);
        self.pass_on(oldest, ended);
        self.granted.push((oldest, Granted::Failure));
        step.wakes(oldest)
    }

    fn note_dial_failure(&mut self, mut step: Step) -> Step {
        self.dial_failures += 1;
        let limit = self.settings.breaker.unwrap_or(u32::MAX);
        if !self.broken && self.dial_failures >= limit {
            self.broken = true;
            step = self.refuse_waiters(step);
        }
        self.pause();
        step
    }

    pub(super) fn forget_dial_failures(&mut self) {
        (self.dial_failures, self.broken, self.paused) = (0, false, false);
        self.forget_probe();
    }

    fn forget_probe(&mut self) {
        self.dials.iter_mut().for_each(|dial| dial.is_current_probe = false);
    }

    fn pause(&mut self) {
        let wanted = self.broken || self.settings.min_idle.max(self.warm_up_target()) > 0;
        self.paused |= wanted && !self.closed;
    }

    pub(super) fn end_pause(&mut self, over: bool, step: &mut Step) {
        if !over || self.suspended {
            return;
        }
        self.paused = false;
        if !self.broken {
            return;
        }
        self.forget_probe();
        if self.can_start_dial() {
            self.start_dial(DialReason::Probe, None, step);
        }
        self.pause();
    }

    /// Whether `min_idle` or a warm-up needs a dial. A connection that comes back soon counts as idle, and so does
    /// a dial without a waiter; for a warm-up, so does a connection in use.
    fn lacks_idle(&self) -> bool {
        let coming_back = self.coming_back();
        let spare = self.dials.iter().filter(|dial| !dial.covers_owner && !dial.evicted).count();
        let idle = self.idle.len() + coming_back + spare;
        let out = self.in_use() - coming_back;
        !self.paused && (idle < self.settings.min_idle || idle + out < self.warm_up_target())
    }

    fn warm_up_target(&self) -> usize {
        self.warm_ups.iter().max().map_or(0, |&target| target.min(self.settings.max_idle))
    }

    pub(in super::super) fn can_start_dial(&self) -> bool {
        let counted = self.dials.iter().filter(|dial| !dial.hung && !dial.evicted).count();
        let max = self.settings.max_concurrent_dials;
        self.has_slot() && counted < max && self.dials.len() < 4 * max
    }

    fn start_dial(&mut self, reason: DialReason, owner: Option<u64>, step: &mut Step) {
        self.dials.push(Dial {
            began: None,
            owner,
            passed_on: false,
            covers_owner: owner.is_some(),
            paused: false,
            hung: false,
            evicted: false,
            is_current_probe: reason == DialReason::Probe,
        });
        step.dials += 1;
    }

    /// The oldest waiter that no dial covers.
    pub(in super::super) fn oldest_uncovered(&self) -> Option<u64> {
        let covered = |ticket: u64| self.dials.iter().any(|dial| dial.covers(ticket));
        self.queue.iter().copied().find(|ticket| !covered(*ticket))
    }

    pub(super) fn uncover(&mut self, ticket: u64) {
        for dial in self.dials.iter_mut().filter(|dial| dial.covers(ticket)) {
            dial.covers_owner = false;
        }
    }

    /// The caller no longer waits, because another dial has ended. The two dials' owners swap.
    pub(super) fn pass_on(&mut self, ticket: u64, ended: &Dial) {
        for dial in self.dials.iter_mut().filter(|dial| dial.covers(ticket)) {
            dial.covers_owner = false;
            if ended.owner.is_some() && !dial.is_slow() {
                dial.owner = ended.owner;
                dial.covers_owner = ended.covers_owner;
                dial.passed_on = true;
            }
        }
    }

    pub(super) fn cover_again(&mut self, ticket: u64) {
        let own = self.dials.iter_mut().find(|dial| {
            dial.owner == Some(ticket) && !dial.evicted && !(dial.passed_on && dial.is_slow())
        });
        if let Some(dial) = own {
            dial.covers_owner = true;
        }
    }

    pub(super) fn evict_dials(&mut self) {
        for dial in self.dials.iter_mut().filter(|dial| dial.began.is_some()) {
            (dial.evicted, dial.covers_owner) = (true, false);
        }
    }

    pub(super) fn mark_hung(&mut self, now: Duration) {
        let limit = self.typical.max(Duration::from_secs(1));
        for dial in &mut self.dials {
            if dial.began.is_some_and(|(_, began)| now - began > limit) {
                dial.hung = true;
                dial.covers_owner &= !dial.passed_on;
            }
        }
    }

    /// The number of dials that can be expected to serve a waiter.
    pub(super) fn promising_dials(&self) -> usize {
        self.dials.iter().filter(|dial| dial.covers_owner || !dial.is_slow()).count()
    }

    pub(super) fn refuse_waiters(&mut self, mut step: Step) -> Step {
        while self.has_slot() && !self.queue.is_empty() {
            step = self.grant_to_oldest(Granted::BreakerOpen, step);
        }
        step
    }

    /// The rule about dials: as far as slots are free and the limit allows, one for each waiter, then
    /// for missing idle connections. With an open breaker there are none, and waiters fail if no
    /// connection in use can be returned to them.
    pub(super) fn settle(&mut self, mut step: Step) -> Step {
        if self.closed || self.suspended {
            return step;
        }
        if self.broken {
            return if self.in_use() == 0 { self.refuse_waiters(step) } else { step };
        }
        while let Some(waiter) = self.oldest_uncovered().filter(|_| self.can_start_dial()) {
            self.start_dial(DialReason::Demand, Some(waiter), &mut step);
        }
        while self.lacks_idle() && self.can_start_dial() {
            self.start_dial(DialReason::MinIdle, None, &mut step);
        }
        step
    }
}
