//! What the pool should be, told so plainly that a reader believes it.

use super::*;

mod dialing;

/// Everything is a list, oldest first, and time is a number.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) settings: CoreSettings,
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
    /// Who is to be told of the next end of a dial, and of the last return to a closed pool.
    pub(super) watchers: Vec<u64>,
    /// Connections that have turned out to be dead.
    deaths: u64,
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
    /// How many had died when it was dialled, was lent, or has answered.
    pub(super) deaths: u64,
    /// Others have died since then.
    pub(super) doubtful: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Given {
    Conn(Conn),
    Dial,
    Failure,
    BreakerOpen,
}

impl Model {
    pub(super) fn new(settings: CoreSettings, lifetime: Option<Duration>) -> Model {
        Model {
            settings,
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
            watchers: Vec::new(),
            deaths: 0,
        }
    }

    /// One that is dialled now.
    pub(super) fn fresh(&self, id: u32, generation: u64, now: Duration) -> Conn {
        Conn {
            id,
            created: now,
            returned: now,
            heard: now,
            generation,
            since: now,
            overdue: false,
            reclaimed: false,
            deaths: self.deaths,
            doubtful: false,
        }
    }

    pub(super) fn in_use(&self) -> usize {
        let out = self.handed().chain(self.lent.iter().map(|(_, conn)| conn));
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
        self.open() < self.settings.max_active
    }

    /// Somebody asks, for the first time or because a connection has failed its test.
    pub(super) fn ask(&mut self, ticket: u64, caller: Caller, now: Duration) -> Step {
        if self.closed {
            return Step::says(Said::Closed);
        }
        let mut step = Step { closes: self.expire(now), ..Step::default() };
        while !self.idle.is_empty() && !self.suspended {
            let at = if self.settings.fifo { 0 } else { self.idle.len() - 1 };
            let next = self.idle.remove(at);
            if self.is_outlived(next, now) {
                step.closes.push(next.id);
                continue;
            }
            self.lent.push((ticket, self.lend(next, now)));
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
            return (waiting >= self.settings.max_waiters).then_some(Said::Exhausted);
        }
        if self.has_room() && self.broken {
            return Some(Said::BreakerOpen);
        }
        if self.has_room() && caller == Caller::Dials {
            return None;
        }
        if !self.has_room() && !self.settings.wait {
            let coming = usize::from(self.asked.is_some());
            let hopeless = coming == 0 || waiting >= coming + self.jobs.len();
            return hopeless.then_some(Said::Exhausted);
        }
        let too_many = waiting >= self.settings.max_waiters.saturating_add(self.hopes());
        too_many.then_some(Said::Exhausted)
    }

    /// How many who wait can be served by dials that run, or may.
    fn hopes(&self) -> usize {
        self.settings.max_active.saturating_sub(self.open()).saturating_add(self.jobs.len())
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

    fn tell_watchers(&mut self, mut step: Step) -> Step {
        step.wakes.append(&mut self.watchers);
        step
    }

    /// The last connection may be back in a closed pool. Whoever was to dial there will not.
    fn tell_if_drained(&mut self, step: Step) -> Step {
        let woken = self.ready.iter().filter(|(_, given)| *given == Given::Dial).count();
        match self.closed && self.open() == woken {
            true => self.tell_watchers(step),
            false => step,
        }
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
            return self.loses(Step { closes: vec![conn.id], ..Step::default() });
        }
        let mut step = self.offer(conn, now, Step::default());
        let surplus = self.idle.len().saturating_sub(self.settings.max_idle);
        // Only one that has found nobody to take it can be too much.
        if step.wakes.is_empty() {
            step.closes.extend(self.idle.drain(..surplus).map(|conn| conn.id));
        }
        self.settle(step)
    }

    /// It does not come back, and is dead or not.
    pub(super) fn remove(&mut self, id: u32, dead: bool) -> Step {
        if self.take_back(id).reclaimed {
            return Step::default();
        }
        self.deaths += u64::from(dead);
        self.loses(Step::default())
    }

    /// It fails its test, and its borrower asks again.
    pub(super) fn retry(&mut self, id: u32, ticket: u64, caller: Caller, now: Duration) -> Step {
        self.deaths += u64::from(!self.take_back(id).reclaimed);
        let step = self.ask(ticket, caller, now);
        self.loses(step)
    }

    /// There is one connection less.
    fn loses(&mut self, step: Step) -> Step {
        let step = self.settle(step);
        self.tell_if_drained(step)
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

    fn report_overdue(&mut self, now: Duration) {
        let Some(threshold) = self.settings.leak_threshold else { return };
        let handed = self.ready.iter_mut().filter_map(|(_, given)| match given {
            Given::Conn(conn) => Some(conn),
            _ => None,
        });
        for conn in handed.chain(self.lent.iter_mut().map(|(_, conn)| conn)) {
            if !conn.overdue && now - conn.since >= threshold {
                conn.overdue = true;
                conn.reclaimed = self.settings.reclaims;
            }
        }
    }

    fn ask_quietest(&mut self, now: Duration) -> Option<u32> {
        let keepalive = self.settings.keepalive.filter(|_| self.asked.is_none())?;
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
            true => self.take_in(Conn { heard: now, deaths: self.deaths, ..conn }, now),
            false => {
                self.deaths += 1;
                self.loses(Step { closes: vec![conn.id], ..Step::default() })
            }
        }
    }

    /// When there is something to do; `retry_at` is when dials may be tried again.
    pub(super) fn due(&self, retry_at: Option<Duration>) -> Option<Duration> {
        let settings = &self.settings;
        let keepalive = settings.keepalive.filter(|_| self.asked.is_none());
        let too_long = |timeout| timeout + Duration::from_nanos(1);
        let idle = self.idle.iter().flat_map(|conn| {
            [
                keepalive.map(|keepalive| conn.heard + keepalive),
                settings.idle_timeout.map(|timeout| conn.returned + too_long(timeout)),
                self.lifetime.map(|lifetime| conn.created + lifetime),
            ]
        });
        let lent = self.handed().chain(self.lent.iter().map(|(_, conn)| conn));
        let leaks = lent
            .filter(|conn| !conn.overdue)
            .map(|conn| Some(conn.since + settings.leak_threshold?));
        let retry_at = retry_at.filter(|_| !self.suspended);
        idle.chain(leaks).chain([retry_at]).flatten().min()
    }

    /// What those will find who were woken.
    fn handed(&self) -> impl Iterator<Item = &Conn> {
        self.ready.iter().filter_map(|(_, given)| match given {
            Given::Conn(conn) => Some(conn),
            _ => None,
        })
    }

    pub(super) fn resize(&mut self, max_active: usize, max_idle: usize) -> Step {
        (self.settings.max_active, self.settings.max_idle) = (max_active, max_idle);
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
            let at = if self.settings.fifo { 0 } else { self.idle.len() - 1 };
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
        self.tell_watchers(Step { closes, wakes, ..Step::default() })
    }

    pub(super) fn take_back(&mut self, id: u32) -> Conn {
        let at = self.lent.iter().position(|(_, conn)| conn.id == id).expect("it was lent");
        self.lent.remove(at).1
    }

    /// Closes what has been idle for longer than the timeout.
    fn expire(&mut self, now: Duration) -> Vec<u32> {
        let timeout = self.settings.idle_timeout.unwrap_or(Duration::MAX);
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
            || self.open() >= self.settings.max_active
    }

    fn lend(&self, conn: Conn, now: Duration) -> Conn {
        let doubtful = conn.deaths < self.deaths;
        Conn { since: now, deaths: self.deaths, doubtful, ..conn }
    }

    fn enqueue(&mut self, ticket: u64, caller: Caller) {
        self.queue.push((ticket, caller));
        self.queue.sort_by_key(|(ticket, _)| *ticket);
    }

    /// For the oldest who waits, or else idle, in the order in which they came back.
    fn offer(&mut self, conn: Conn, now: Duration, step: Step) -> Step {
        if !self.queue.is_empty() && !self.suspended {
            return self.give_to_oldest(Given::Conn(self.lend(conn, now)), step);
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
}
