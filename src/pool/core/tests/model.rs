//! What the pool should be, told so plainly that a reader believes it.

use super::*;

/// Everything is a list, oldest first, and time is a number.
#[derive(Debug)]
pub(super) struct Model {
    rules: Rules,
    lifetime: Option<Duration>,
    pub(super) closed: bool,
    pub(super) idle: Vec<Conn>,
    pub(super) queue: Vec<(u64, Caller)>,
    /// Woken, and not come yet for what they get.
    pub(super) ready: Vec<(u64, Given)>,
    pub(super) lent: Vec<(u64, Conn)>,
    /// Who dials on a thread of its own.
    pub(super) dialing: Vec<u64>,
    /// Dials for the queue.
    pub(super) jobs: usize,
    /// Closed because the pool was, which is in no counter.
    pub(super) closed_with_pool: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conn {
    pub(super) id: u32,
    pub(super) created: Duration,
    pub(super) returned: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Given {
    Conn(Conn),
    Dial,
    Failure,
}

impl Model {
    pub(super) fn new(rules: Rules, lifetime: Option<Duration>) -> Model {
        Model {
            rules,
            lifetime,
            closed: false,
            idle: Vec::new(),
            queue: Vec::new(),
            ready: Vec::new(),
            lent: Vec::new(),
            dialing: Vec::new(),
            jobs: 0,
            closed_with_pool: 0,
        }
    }

    pub(super) fn in_use(&self) -> usize {
        let handed = self.ready.iter().filter(|(_, given)| matches!(given, Given::Conn(_)));
        self.lent.len() + handed.count()
    }

    pub(super) fn dials(&self) -> usize {
        let allowed = self.ready.iter().filter(|(_, given)| *given == Given::Dial);
        self.dialing.len() + allowed.count() + self.jobs
    }

    pub(super) fn open(&self) -> usize {
        self.idle.len() + self.in_use() + self.dials()
    }

    /// Somebody asks, for the first time or because a connection has failed its test.
    pub(super) fn ask(&mut self, ticket: u64, caller: Caller, now: Duration) -> Step {
        if self.closed {
            return Step::says(Said::Closed);
        }
        let mut closes = self.expire(now);
        while let Some(newest) = self.idle.pop() {
            if self.is_outlived(newest, now) {
                closes.push(newest.id);
                continue;
            }
            self.lent.push((ticket, newest));
            return Step { closes, ..Step::says(Said::Take(newest.id)) };
        }
        let at_limit = self.open() >= self.rules.max_active;
        let mut step = match caller {
            _ if at_limit && !self.rules.wait => Step::says(Said::Exhausted),
            Caller::Dials if !at_limit => {
                self.dialing.push(ticket);
                Step::says(Said::Dial)
            }
            _ => {
                self.enqueue(ticket, caller);
                let cause = if at_limit { Cause::AtLimit } else { Cause::Dialing };
                self.settle(Step::says(Said::Wait(cause)))
            }
        };
        step.closes = closes;
        step
    }

    pub(super) fn collect(&mut self, ticket: u64) -> Option<Said> {
        let ready = self.ready.iter().position(|(waiter, _)| *waiter == ticket);
        match ready.map(|at| self.ready.remove(at).1) {
            Some(Given::Conn(conn)) => {
                self.lent.push((ticket, conn));
                Some(Said::Take(conn.id))
            }
            Some(Given::Failure) => Some(Said::Failed),
            _ if self.closed => Some(Said::Closed),
            Some(Given::Dial) => {
                self.dialing.push(ticket);
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
    pub(super) fn dialed(&mut self, ticket: u64, conn: Option<Conn>) -> Step {
        self.dialing.retain(|dialer| *dialer != ticket);
        let Some(conn) = conn else { return self.settle(Step::default()) };
        if self.closed {
            self.closed_with_pool += 1;
            return Step { closes: vec![conn.id], ..Step::says(Said::Closed) };
        }
        if self.queue.first().is_some_and(|(oldest, _)| *oldest < ticket) {
            let mut step = self.give_to_oldest(Given::Conn(conn), Step::default());
            // Without waiting, nobody queues for more dials than there are or may be.
            let dials_to_come = (self.rules.max_active - self.open()).saturating_add(self.jobs);
            if !self.rules.wait && self.queue.len() >= dials_to_come {
                step.said = Some(Said::Exhausted);
                return self.settle(step);
            }
            step.said = Some(Said::Wait(Cause::Dialing));
            self.enqueue(ticket, Caller::Dials);
            return self.settle(step);
        }
        self.lent.push((ticket, conn));
        Step::says(Said::Take(conn.id))
    }

    /// A dial for the queue has ended.
    pub(super) fn job_ended(&mut self, conn: Option<Conn>) -> Step {
        self.jobs -= 1;
        match conn {
            Some(conn) if self.closed => {
                self.closed_with_pool += 1;
                Step { closes: vec![conn.id], ..Step::default() }
            }
            Some(conn) if self.queue.is_empty() => {
                self.idle.push(conn);
                Step::default()
            }
            Some(conn) => {
                let step = self.give_to_oldest(Given::Conn(conn), Step::default());
                self.settle(step)
            }
            None if self.queue.is_empty() => Step::default(),
            None => {
                let step = self.give_to_oldest(Given::Failure, Step::default());
                self.settle(step)
            }
        }
    }

    pub(super) fn put(&mut self, id: u32, now: Duration) -> Step {
        let conn = Conn { returned: now, ..self.take_back(id) };
        if self.closed {
            self.closed_with_pool += 1;
            return Step { closes: vec![id], ..Step::default() };
        }
        if self.is_outlived(conn, now) {
            return self.settle(Step { closes: vec![id], ..Step::default() });
        }
        if !self.queue.is_empty() {
            let step = self.give_to_oldest(Given::Conn(conn), Step::default());
            return self.settle(step);
        }
        self.idle.push(conn);
        let surplus = self.idle.len().saturating_sub(self.rules.max_idle);
        let closes = self.idle.drain(..surplus).map(|conn| conn.id).collect();
        Step { closes, ..Step::default() }
    }

    pub(super) fn remove(&mut self, id: u32) -> Step {
        self.take_back(id);
        self.settle(Step::default())
    }

    pub(super) fn prune(&mut self, now: Duration) -> Step {
        let mut closes = self.expire(now);
        let outlived = |conn: &Conn| self.is_outlived(*conn, now);
        let (old, kept): (Vec<_>, _) = self.idle.iter().partition(|conn| outlived(conn));
        self.idle = kept;
        closes.extend(old.iter().map(|conn: &Conn| conn.id));
        Step { closes, ..Step::default() }
    }

    pub(super) fn close(&mut self) -> Step {
        self.closed = true;
        self.closed_with_pool += self.idle.len();
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

    fn is_outlived(&self, conn: Conn, now: Duration) -> bool {
        now - conn.created >= self.lifetime.unwrap_or(Duration::MAX)
    }

    fn enqueue(&mut self, ticket: u64, caller: Caller) {
        self.queue.push((ticket, caller));
        self.queue.sort_by_key(|(ticket, _)| *ticket);
    }

    fn give_to_oldest(&mut self, given: Given, step: Step) -> Step {
        let (oldest, _) = self.queue.remove(0);
        self.ready.push((oldest, given));
        step.wakes(oldest)
    }

    /// The one rule about dials: while there is room, there is one for each who waits. The
    /// oldest dials itself if it can; if not, a dial thread does, as far as there may be any.
    fn settle(&mut self, mut step: Step) -> Step {
        while self.queue.len() > self.jobs && self.open() < self.rules.max_active {
            match self.queue[0].1 {
                Caller::Dials => step = self.give_to_oldest(Given::Dial, step),
                Caller::Waits if self.jobs < self.rules.max_jobs => {
                    self.jobs += 1;
                    step.dials += 1;
                }
                Caller::Waits => break,
            }
        }
        step
    }
}
