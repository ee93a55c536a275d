//! Who dials, for whom, and when not to.

use super::*;

impl Model {
    /// A caller's own dial has ended.
    pub(in super::super) fn dialed(
        &mut self,
        ticket: u64,
        conn: Option<Conn>,
        now: Duration,
    ) -> Step {
        self.dialing.retain(|(dialer, _)| *dialer != ticket);
        let Some(conn) = conn else { return self.dial_fails() };
        let mut step = Step::default();
        if self.closed {
            step = Step { closes: vec![conn.id], ..Step::says(Said::Closed) };
        } else if conn.generation != self.generation {
            self.dialing.push((ticket, self.generation));
            step = Step { closes: vec![conn.id], ..Step::says(Said::Dial) };
        } else if self.queue.first().is_some_and(|(oldest, _)| *oldest < ticket) || self.suspended {
            step = self.offer(Conn { returned: now, heard: now, ..conn }, now, step);
            // Without waiting, nobody queues for more dials than there are or may be.
            if !self.settings.wait && !self.suspended && self.queue.len() >= self.hopes() {
                step.said = Some(Said::Exhausted);
            } else {
                let cause = if self.suspended { Cause::Suspended } else { Cause::Dialing };
                step.said = Some(Said::Wait(cause));
                self.enqueue(ticket, Caller::Dials);
                step = self.settle(step);
            }
        } else {
            self.lent.push((ticket, self.lend(conn, now)));
            step.said = Some(Said::Take(conn.id));
        }
        self.dial_works(step)
    }

    /// A dial for the queue has ended.
    pub(in super::super) fn job_ended(
        &mut self,
        at: usize,
        conn: Option<Conn>,
        now: Duration,
    ) -> Step {
        self.jobs.remove(at);
        let Some(conn) = conn else {
            let step = match self.queue.is_empty() {
                true => Step::default(),
                false => self.give_to_oldest(Given::Failure, Step::default()),
            };
            let failed = self.dial_fails();
            return Step { wakes: [step.wakes, failed.wakes].concat(), ..failed };
        };
        let step = match self.is_unfit(conn, now) {
            true => Step { closes: vec![conn.id], ..Step::default() },
            false => self.offer(Conn { returned: now, heard: now, ..conn }, now, Step::default()),
        };
        self.dial_works(step)
    }

    fn dial_works(&mut self, step: Step) -> Step {
        self.forget_failures();
        let step = self.settle(step);
        self.tell_watchers(step)
    }

    fn dial_fails(&mut self) -> Step {
        self.failures += 1;
        self.broken |= self.settings.breaker.is_some_and(|limit| self.failures >= limit);
        self.pauses();
        let step = self.settle(Step::default());
        self.tell_watchers(step)
    }

    pub(super) fn forget_failures(&mut self) {
        (self.failures, self.broken, self.paused) = (0, false, false);
    }

    fn pauses(&mut self) {
        let wanted = self.broken || self.settings.min_idle.max(self.warm_target()) > 0;
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
        if self.has_room() && self.jobs.len() < self.settings.max_jobs {
            self.jobs.push((JobCause::Probe, self.generation));
            step.dials += 1;
        } else {
            self.pauses();
        }
    }

    fn probing(&self) -> bool {
        self.jobs.iter().any(|(cause, _)| *cause == JobCause::Probe)
    }

    /// Whether a dial is wanted that nobody waits for. One that is asked whether it lives is as good
    /// as idle; for those who warm the pool up, so is one that is out.
    fn lacks_idle(&self) -> bool {
        let asked = usize::from(self.asked.is_some());
        let coming = self.jobs.len().saturating_sub(self.queue.len());
        let idle = self.idle.len() + asked + coming;
        let out = self.in_use() - asked;
        !self.paused && (idle < self.settings.min_idle || idle + out < self.warm_target())
    }

    fn warm_target(&self) -> usize {
        self.warm.iter().max().map_or(0, |&warm| warm.min(self.settings.max_idle))
    }

    /// The one rule about dials: while there is room, there is one for each who waits, and then for
    /// what should be idle. The oldest dials itself if it can; if not, a dial thread does, as far as
    /// there may be any. With the breaker open nobody dials, and nobody waits where one would.
    pub(super) fn settle(&mut self, mut step: Step) -> Step {
        if self.closed || self.suspended {
            return step;
        }
        if self.broken {
            while self.has_room() && !self.queue.is_empty() {
                step = self.give_to_oldest(Given::BreakerOpen, step);
            }
            return step;
        }
        while self.queue.len() > self.jobs.len() && self.has_room() {
            match self.queue[0].1 {
                Caller::Dials => step = self.give_to_oldest(Given::Dial, step),
                Caller::Waits if self.jobs.len() < self.settings.max_jobs => {
                    self.jobs.push((JobCause::Demand, self.generation));
                    step.dials += 1;
                }
                Caller::Waits => return step,
            }
        }
        while self.lacks_idle() && self.has_room() && self.jobs.len() < self.settings.max_jobs {
            self.jobs.push((JobCause::MinIdle, self.generation));
            step.dials += 1;
        }
        step
    }
}
