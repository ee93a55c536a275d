//! When a dial starts, and what its end means.

use super::*;

impl Model {
    /// A caller's own dial has ended.
    pub(in super::super) fn own_dial_ended(
        &mut self,
        ticket: u64,
        conn: Option<Conn>,
        now: Duration,
    ) -> Step {
        self.own_dials.retain(|(dialer, _)| *dialer != ticket);
        let Some(conn) = conn else { return self.dial_failed() };
        let mut step = Step::default();
        if self.closed {
            step = Step { closes: vec![conn.id], ..Step::answers(Outcome::Closed) };
        } else if conn.generation != self.generation {
            self.own_dials.push((ticket, self.generation));
            step = Step { closes: vec![conn.id], ..Step::answers(Outcome::Dial) };
        } else if self.queue.first().is_some_and(|(oldest, _)| *oldest < ticket) || self.suspended {
            step = self.offer(Conn { returned: now, heard: now, ..conn }, now, step);
            // Without `wait`, at most as many callers wait as dials run or can start.
            if !self.settings.wait && !self.suspended && self.queue.len() >= self.obtainable() {
                step.outcome = Some(Outcome::Exhausted);
            } else {
                let reason =
                    if self.suspended { WaitReason::Suspended } else { WaitReason::Dialing };
                step.outcome = Some(Outcome::Wait(reason));
                self.enqueue(ticket, RequestDialer::Caller);
                step = self.settle(step);
            }
        } else {
            self.borrowed.push((ticket, self.borrow(conn, now)));
            step.outcome = Some(Outcome::Conn(conn.id));
        }
        self.dial_succeeded(step)
    }

    /// A dial on a dial thread has ended.
    pub(in super::super) fn dial_ended(
        &mut self,
        at: usize,
        conn: Option<Conn>,
        now: Duration,
    ) -> Step {
        self.dials.remove(at);
        let Some(conn) = conn else {
            let step = match self.queue.is_empty() {
                true => Step::default(),
                false => self.grant_to_oldest(Granted::Failure, Step::default()),
            };
            let failed = self.dial_failed();
            return Step { wakes: [step.wakes, failed.wakes].concat(), ..failed };
        };
        let step = match self.must_close(conn, now) {
            true => Step { closes: vec![conn.id], ..Step::default() },
            false => self.offer(Conn { returned: now, heard: now, ..conn }, now, Step::default()),
        };
        self.dial_succeeded(step)
    }

    fn dial_succeeded(&mut self, step: Step) -> Step {
        self.forget_dial_failures();
        let step = self.settle(step);
        self.wake_watchers(step)
    }

    fn dial_failed(&mut self) -> Step {
        self.dial_failures += 1;
        self.broken |= self.settings.breaker.is_some_and(|limit| self.dial_failures >= limit);
        self.pause();
        let step = self.settle(Step::default());
        self.wake_watchers(step)
    }

    pub(super) fn forget_dial_failures(&mut self) {
        (self.dial_failures, self.broken, self.paused) = (0, false, false);
    }

    fn pause(&mut self) {
        let wanted = self.broken || self.settings.min_idle.max(self.warm_up_target()) > 0;
        self.paused |= wanted && !self.closed && !self.probing();
    }

    pub(super) fn end_pause(&mut self, over: bool, step: &mut Step) {
        if !over || self.suspended {
            return;
        }
        self.paused = false;
        if !self.broken || self.probing() {
            return;
        }
        if self.has_slot() && self.can_start_dial() {
            self.start_dial(DialReason::Probe, step);
        } else {
            self.pause();
        }
    }

    fn probing(&self) -> bool {
        self.dials.iter().any(|(reason, _)| *reason == DialReason::Probe)
    }

    /// Whether `min_idle` or a warm-up needs a dial. A pinged connection counts as idle; for a
    /// warm-up, so does a connection in use.
    fn lacks_idle(&self) -> bool {
        let pinged = usize::from(self.pinged.is_some());
        let coming = self.dials.len().saturating_sub(self.queue.len());
        let idle = self.idle.len() + pinged + coming;
        let out = self.in_use() - pinged;
        !self.paused && (idle < self.settings.min_idle || idle + out < self.warm_up_target())
    }

    fn warm_up_target(&self) -> usize {
        self.warm_ups.iter().max().map_or(0, |&target| target.min(self.settings.max_idle))
    }

    fn can_start_dial(&self) -> bool {
        self.dials.len() < self.settings.max_concurrent_dials
    }

    fn start_dial(&mut self, reason: DialReason, step: &mut Step) {
        self.dials.push((reason, self.generation));
        step.dials += 1;
    }

    /// The rule about dials: while slots are free, one for each waiter, then for missing idle
    /// connections. The oldest waiter dials itself if it can, otherwise a dial thread does, up to the
    /// limit. With an open breaker, waiters that would need a dial fail.
    pub(super) fn settle(&mut self, mut step: Step) -> Step {
        if self.closed || self.suspended {
            return step;
        }
        if self.broken {
            while self.has_slot() && !self.queue.is_empty() {
                step = self.grant_to_oldest(Granted::BreakerOpen, step);
            }
            return step;
        }
        while self.queue.len() > self.dials.len() && self.has_slot() {
            match self.queue[0].1 {
                RequestDialer::Caller => step = self.grant_to_oldest(Granted::Dial, step),
                RequestDialer::Thread if self.can_start_dial() => {
                    self.start_dial(DialReason::Demand, &mut step);
                }
                RequestDialer::Thread => return step,
            }
        }
        while self.lacks_idle() && self.has_slot() && self.can_start_dial() {
            self.start_dial(DialReason::MinIdle, &mut step);
        }
        step
    }
}
