//! What the pool should be, told so plainly that a reader believes it.

use super::*;

/// Everything is a list, oldest first, and time is a number.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) rules: Rules,
    lifetime: Option<Duration>,
    pub(super) closed: bool,
    pub(super) suspended: bool,
    pub(super) generation: u64,
    /// How many were open when the maximum was made smaller than that.
    pub(super) overhang: usize,
    pub(super) idle: Vec<Conn>,
    pub(super) queue: Vec<(u64, Caller)>,
    /// Woken, and not come yet for what they get.
    pub(super) ready: Vec<(u64, Given)>,
    pub(super) lent: Vec<(u64, Conn)>,
    /// Out of the idle ones to be asked whether it lives.
    pub(super) asked: Option<Conn>,
    /// Who dials on a thread of its own, and since which generation.
    pub(super) dialing: Vec<(u64, u64)>,
    /// Dials for the queue.
    pub(super) jobs: Vec<(JobCause, u64)>,
    /// Dials that have failed in a row.
    failures: u32,
    pub(super) broken: bool,
    /// Whether dials that nobody waits for are put off.
    pub(super) paused: bool,
    pub(super) warm: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conn {
    pub(super) id: u32,
    pub(super) created: Duration,
    pub(super) returned: Duration,
    pub(super) heard: Duration,
    pub(super) generation: u64,
    /// When it was lent.
    pub(super) since: Duration,
    pub(super) overdue: bool,
    /// The pool has given it up.
    pub(super) reclaimed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Given {
    Conn(Conn),
    Dial,
    Failure,
    BreakerOpen,
}

impl Model {
    pub(super) fn new(rules: Rules, lifetime: Option<Duration>) -> Model {
        Model {
            rules,
            lifetime,
            closed: false,
            suspended: false,
            generation: 0,
            overhang: 0,
            idle: Vec::new(),
            queue: Vec::new(),
            ready: Vec::new(),
            lent: Vec::new(),
            asked: None,
            dialing: Vec::new(),
            jobs: Vec::new(),
            failures: 0,
            broken: false,
            paused: false,
            warm: Vec::new(),
        }
    }

    pub(super) fn in_use(&self) -> usize {
        let handed = self.ready.iter().filter_map(|(_, given)| match given {
            Given::Conn(conn) => Some(conn),
            _ => None,
        });
        let out = handed.chain(self.lent.iter().map(|(_, conn)| conn));
        out.filter(|conn| !conn.reclaimed).count() + usize::from(self.asked.is_some())
    }

    pub(super) fn dials(&self) -> usize {
        let allowed = self.ready.iter().filter(|(_, given)| *given == Given::Dial);
        self.dialing.len() + allowed.count() + self.jobs.len()
    }

    pub(super) fn open(&self) -> usize {
        self.idle.len() + self.in_use() + self.dials()
    }

    pub(super) fn has_room(&self) -> bool {
        self.open() < self.rules.max_active
    }

    fn probing(&self) -> bool {
        self.jobs.iter().any(|(cause, _)| *cause == JobCause::Probe)
    }

    /// Somebody asks, for the first time or because a connection has failed its test.
    pub(super) fn ask(&mut self, ticket: u64, caller: Caller, now: Duration) -> Step {
        if self.closed {
            return Step::says(Said::Closed);
        }
        let mut step = Step { closes: self.expire(now), ..Step::default() };
        while !self.idle.is_empty() && !self.suspended {
            let at = if self.rules.fifo { 0 } else { self.idle.len() - 1 };
            let next = self.idle.remove(at);
            if self.is_outlived(next, now) {
                step.closes.push(next.id);
                continue;
            }
            self.lent.push((ticket, Conn { since: now, ..next }));
            step.said = Some(Said::Take(next.id));
            return self.settle(step);
        }
        if let Some(refusal) = self.refusal(caller) {
            step.said = Some(refusal);
        } else if caller == Caller::Dials && self.has_room() && !self.suspended {
            self.dialing.push((ticket, self.generation));
            step.said = Some(Said::Dial);
        } else {
            step.said = Some(Said::Wait(match self.has_room() {
                _ if self.suspended => Cause::Suspended,
                true => Cause::Dialing,
                false => Cause::AtLimit,
            }));
            self.enqueue(ticket, caller);
            step = self.settle(step);
        }
        step
    }

    fn refusal(&self, caller: Caller) -> Option<Said> {
        let waiting = self.queue.len();
        if self.suspended {
            return (waiting >= self.rules.max_waiters).then_some(Said::Exhausted);
        }
        if self.has_room() && self.broken {
            return Some(Said::BreakerOpen);
        }
        if self.has_room() && caller == Caller::Dials {
            return None;
        }
        if !self.has_room() && !self.rules.wait {
            let coming = usize::from(self.asked.is_some());
            let hopeless = coming == 0 || waiting >= coming + self.jobs.len();
            return hopeless.then_some(Said::Exhausted);
        }
        let too_many = waiting >= self.rules.max_waiters.saturating_add(self.hopes());
        too_many.then_some(Said::Exhausted)
    }

    /// How many who wait can be served by dials that run, or may.
    fn hopes(&self) -> usize {
        self.rules.max_active.saturating_sub(self.open()).saturating_add(self.jobs.len())
    }

    pub(super) fn collect(&mut self, ticket: u64) -> Option<Said> {
        let ready = self.ready.iter().position(|(waiter, _)| *waiter == ticket);
        match ready.map(|at| self.ready.remove(at).1) {
            Some(Given::Conn(conn)) => {
                self.lent.push((ticket, conn));
                Some(Said::Take(conn.id))
            }
            Some(Given::Failure) => Some(Said::Failed),
            Some(Given::BreakerOpen) => Some(Said::BreakerOpen),
            _ if self.closed => Some(Said::Closed),
            Some(Given::Dial) => {
                self.dialing.push((ticket, self.generation));
                Some(Said::Dial)
            }
            None => None,
        }
    }

    pub(super) fn give_up(&mut self, ticket: u64) -> Step {
        self.queue.retain(|(waiter, _)| *waiter != ticket);
        self.settle(Step::default())
    }

    /// A caller's own dial has ended.
    pub(super) fn dialed(&mut self, ticket: u64, conn: Option<Conn>, now: Duration) -> Step {
        self.dialing.retain(|(dialer, _)| *dialer != ticket);
        let Some(conn) = conn else { return self.dial_fails() };
        let mut step = Step::default();
        if self.closed {
            return Step { closes: vec![conn.id], ..Step::says(Said::Closed) };
        } else if conn.generation != self.generation {
            self.dialing.push((ticket, self.generation));
            step = Step { closes: vec![conn.id], ..Step::says(Said::Dial) };
        } else if self.queue.first().is_some_and(|(oldest, _)| *oldest < ticket) || self.suspended {
            step = self.offer(Conn { returned: now, heard: now, ..conn }, now, step);
            // Without waiting, nobody queues for more dials than there are or may be.
            if !self.rules.wait && !self.suspended && self.queue.len() >= self.hopes() {
                step.said = Some(Said::Exhausted);
            } else {
                let cause = if self.suspended { Cause::Suspended } else { Cause::Dialing };
                step.said = Some(Said::Wait(cause));
                self.enqueue(ticket, Caller::Dials);
                step = self.settle(step);
            }
        } else {
            self.lent.push((ticket, Conn { since: now, ..conn }));
            step.said = Some(Said::Take(conn.id));
        }
        self.dial_works(step)
    }

    /// A dial for the queue has ended.
    pub(super) fn job_ended(&mut self, at: usize, conn: Option<Conn>, now: Duration) -> Step {
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
        self.settle(step)
    }

    fn forget_failures(&mut self) {
        (self.failures, self.broken, self.paused) = (0, false, false);
    }

    fn dial_fails(&mut self) -> Step {
        self.failures += 1;
        self.broken |= self.rules.breaker.is_some_and(|limit| self.failures >= limit);
        self.pauses();
        self.settle(Step::default())
    }

    fn pauses(&mut self) {
        let wanted = self.broken || self.rules.min_idle.max(self.warm_target()) > 0;
        self.paused |= wanted && !self.closed && !self.probing();
    }

    pub(super) fn put(&mut self, id: u32, now: Duration) -> Step {
        let conn = Conn { returned: now, heard: now, overdue: false, ..self.take_back(id) };
        if conn.reclaimed {
            return Step { closes: vec![id], ..Step::default() };
        }
        self.take_in(conn, now)
    }

    fn take_in(&mut self, conn: Conn, now: Duration) -> Step {
        if self.is_unfit(conn, now) {
            return self.settle(Step { closes: vec![conn.id], ..Step::default() });
        }
        let mut step = self.offer(conn, now, Step::default());
        let surplus = self.idle.len().saturating_sub(self.rules.max_idle);
        // Only one that has found nobody to take it can be too much.
        if step.wakes.is_empty() {
            step.closes.extend(self.idle.drain(..surplus).map(|conn| conn.id));
        }
        self.settle(step)
    }

    pub(super) fn remove(&mut self, id: u32) -> Step {
        match self.take_back(id).reclaimed {
            true => Step::default(),
            false => self.settle(Step::default()),
        }
    }

    pub(super) fn prune(&mut self, now: Duration) -> Step {
        let step = Step { closes: self.expire_all(now), ..Step::default() };
        self.settle(step)
    }

    /// Time has passed; `pause_over` says whether dials may be tried again.
    pub(super) fn tick(&mut self, pause_over: bool, now: Duration) -> Step {
        if self.closed {
            return Step::default();
        }
        let mut step = Step { closes: self.expire_all(now), ..Step::default() };
        self.report_overdue(now);
        self.end_pause(pause_over, &mut step);
        step.asks = self.ask_quietest(now);
        self.settle(step)
    }

    fn end_pause(&mut self, over: bool, step: &mut Step) {
        if !over || self.suspended {
            return;
        }
        self.paused = false;
        if !self.broken || self.probing() {
            return;
        }
        if self.has_room() && self.jobs.len() < self.rules.max_jobs {
            self.jobs.push((JobCause::Probe, self.generation));
            step.dials += 1;
        } else {
            self.pauses();
        }
    }

    fn report_overdue(&mut self, now: Duration) {
        let Some(threshold) = self.rules.leak_threshold else { return };
        let handed = self.ready.iter_mut().filter_map(|(_, given)| match given {
            Given::Conn(conn) => Some(conn),
            _ => None,
        });
        for conn in handed.chain(self.lent.iter_mut().map(|(_, conn)| conn)) {
            if !conn.overdue && now - conn.since >= threshold {
                conn.overdue = true;
                conn.reclaimed = self.rules.reclaims;
            }
        }
    }

    fn ask_quietest(&mut self, now: Duration) -> Option<u32> {
        let keepalive = self.rules.keepalive.filter(|_| self.asked.is_none())?;
        let quietest = self.idle.iter().rev().min_by_key(|conn| conn.heard).copied()?;
        if now - quietest.heard < keepalive {
            return None;
        }
        self.idle.retain(|conn| conn.id != quietest.id);
        self.asked = Some(quietest);
        Some(quietest.id)
    }

    /// The one that was asked has answered, or not.
    pub(super) fn checked(&mut self, alive: bool, now: Duration) -> Step {
        let conn = self.asked.take().expect("one was asked");
        match alive {
            true => self.take_in(Conn { heard: now, ..conn }, now),
            false => self.settle(Step { closes: vec![conn.id], ..Step::default() }),
        }
    }

    pub(super) fn resize(&mut self, max_active: usize, max_idle: usize) -> Step {
        (self.rules.max_active, self.rules.max_idle) = (max_active, max_idle);
        self.overhang = if self.open() > max_active { self.open() } else { 0 };
        let surplus = self.open().saturating_sub(max_active).min(self.idle.len());
        let too_many = self.idle.len().saturating_sub(max_idle);
        let closes = self.idle.drain(..surplus.max(too_many)).map(|conn| conn.id).collect();
        self.settle(Step { closes, ..Step::default() })
    }

    pub(super) fn resume(&mut self, pause_over: bool, now: Duration) -> Step {
        self.suspended = false;
        let mut step = Step { closes: self.expire_all(now), ..Step::default() };
        while !self.queue.is_empty() && !self.idle.is_empty() {
            let at = if self.rules.fifo { 0 } else { self.idle.len() - 1 };
            let next = self.idle.remove(at);
            step = self.offer(next, now, step);
        }
        self.end_pause(pause_over, &mut step);
        self.settle(step)
    }

    pub(super) fn evict_all(&mut self) -> Step {
        self.generation += 1;
        self.forget_failures();
        let closes = self.idle.drain(..).map(|conn| conn.id).collect();
        self.settle(Step { closes, ..Step::default() })
    }

    pub(super) fn warm_up(&mut self, connections: usize) -> Step {
        self.warm.push(connections);
        self.settle(Step::default())
    }

    pub(super) fn close(&mut self) -> Step {
        self.closed = true;
        self.forget_failures();
        let closes = self.idle.drain(..).map(|conn| conn.id).collect();
        let wakes = self.queue.drain(..).map(|(ticket, _)| ticket).collect();
        Step { closes, wakes, ..Step::default() }
    }

    pub(super) fn take_back(&mut self, id: u32) -> Conn {
        let at = self.lent.iter().position(|(_, conn)| conn.id == id).expect("it was lent");
        self.lent.remove(at).1
    }

    /// Closes what has been idle for longer than the timeout.
    fn expire(&mut self, now: Duration) -> Vec<u32> {
        let timeout = self.rules.idle_timeout.unwrap_or(Duration::MAX);
        let (old, kept): (Vec<_>, _) =
            self.idle.iter().partition(|conn| now - conn.returned > timeout);
        self.idle = kept;
        old.iter().map(|conn: &Conn| conn.id).collect()
    }

    /// And what has outlived its life.
    fn expire_all(&mut self, now: Duration) -> Vec<u32> {
        let mut closes = self.expire(now);
        let outlived = |conn: &Conn| self.is_outlived(*conn, now);
        let (old, kept): (Vec<_>, _) = self.idle.iter().partition(|conn| outlived(conn));
        self.idle = kept;
        closes.extend(old.iter().map(|conn: &Conn| conn.id));
        closes
    }

    fn is_outlived(&self, conn: Conn, now: Duration) -> bool {
        now - conn.created >= self.lifetime.unwrap_or(Duration::MAX)
    }

    fn is_unfit(&self, conn: Conn, now: Duration) -> bool {
        self.closed
            || conn.generation != self.generation
            || self.is_outlived(conn, now)
            || self.open() >= self.rules.max_active
    }

    fn enqueue(&mut self, ticket: u64, caller: Caller) {
        self.queue.push((ticket, caller));
        self.queue.sort_by_key(|(ticket, _)| *ticket);
    }

    /// For the oldest who waits, or else idle, in the order in which they came back.
    fn offer(&mut self, conn: Conn, now: Duration, step: Step) -> Step {
        if !self.queue.is_empty() && !self.suspended {
            return self.give_to_oldest(Given::Conn(Conn { since: now, ..conn }), step);
        }
        let older = self.idle.iter().filter(|idle| idle.returned <= conn.returned).count();
        self.idle.insert(older, conn);
        step
    }

    fn give_to_oldest(&mut self, given: Given, step: Step) -> Step {
        let (oldest, _) = self.queue.remove(0);
        self.ready.push((oldest, given));
        step.wakes(oldest)
    }

    /// Whether a dial is wanted that nobody waits for. One that is asked whether it lives is as good
    /// as idle; for those who warm the pool up, so is one that is out.
    fn lacks_idle(&self) -> bool {
        let asked = usize::from(self.asked.is_some());
        let coming = self.jobs.len().saturating_sub(self.queue.len());
        let idle = self.idle.len() + asked + coming;
        let out = self.in_use() - asked;
        !self.paused && (idle < self.rules.min_idle || idle + out < self.warm_target())
    }

    fn warm_target(&self) -> usize {
        self.warm.iter().max().map_or(0, |&warm| warm.min(self.rules.max_idle))
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
                Caller::Waits if self.jobs.len() < self.rules.max_jobs => {
                    self.jobs.push((JobCause::Demand, self.generation));
                    step.dials += 1;
                }
                Caller::Waits => return step,
            }
        }
        while self.lacks_idle() && self.has_room() && self.jobs.len() < self.rules.max_jobs {
            self.jobs.push((JobCause::MinIdle, self.generation));
            step.dials += 1;
        }
        step
    }
}
