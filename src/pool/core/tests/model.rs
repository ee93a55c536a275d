//! A simple model of the pool, for a reader to verify.

use super::*;

mod dialing;

pub(super) use dialing::Dial;

/// Everything is a list, oldest first, and time is a number.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) settings: CoreSettings,
    lifetime: Option<Duration>,
    pub(super) closed: bool,
    pub(super) suspended: bool,
    pub(super) generation: u64,
    /// The number of open connections when the maximum was set below it.
    pub(super) shrink_ceiling: Option<usize>,
    pub(super) idle: Vec<Conn>,
    pub(super) queue: Vec<u64>,
    /// Grants that waiters have not collected yet.
    pub(super) granted: Vec<(u64, Granted)>,
    pub(super) borrowed: Vec<(u64, Conn)>,
    pub(super) pinged: Option<Conn>,
    /// Connections that cleaners have.
    pub(super) cleaning: Vec<Conn>,
    /// Connections that wait for a cleaner.
    unclean: Vec<Conn>,
    pub(super) dials: Vec<Dial>,
    /// The typical time of a dial.
    typical: Duration,
    /// Failed dials in a row.
    dial_failures: u32,
    pub(super) broken: bool,
    /// Whether dials without a waiter are paused.
    pub(super) paused: bool,
    pub(super) warm_ups: Vec<usize>,
    pub(super) watchers: Vec<u64>,
    /// The number of connections that were found dead.
    failures: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conn {
    pub(super) id: u32,
    pub(super) created: Duration,
    pub(super) returned: Duration,
    pub(super) heard: Duration,
    pub(super) generation: u64,
    /// The time of its checkout.
    pub(super) since: Duration,
    pub(super) overdue: bool,
    pub(super) reclaimed: bool,
    /// The model's `failures` when the connection was last known to be alive.
    pub(super) failures: u64,
    pub(super) suspect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Granted {
    Conn(Conn),
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
            shrink_ceiling: None,
            idle: Vec::new(),
            queue: Vec::new(),
            granted: Vec::new(),
            borrowed: Vec::new(),
            pinged: None,
            cleaning: Vec::new(),
            unclean: Vec::new(),
            dials: Vec::new(),
            typical: Duration::ZERO,
            dial_failures: 0,
            broken: false,
            paused: false,
            warm_ups: Vec::new(),
            watchers: Vec::new(),
            failures: 0,
        }
    }

    pub(super) fn new_conn(&self, id: u32, generation: u64, now: Duration) -> Conn {
        Conn {
            id,
            created: now,
            returned: now,
            heard: now,
            generation,
            since: now,
            overdue: false,
            reclaimed: false,
            failures: self.failures,
            suspect: false,
        }
    }

    pub(super) fn in_use(&self) -> usize {
        let out = self.granted_conns().chain(self.borrowed.iter().map(|(_, conn)| conn));
        out.filter(|conn| !conn.reclaimed).count() + self.coming_back()
    }

    /// Connections in use without a borrower.
    fn coming_back(&self) -> usize {
        usize::from(self.pinged.is_some()) + self.cleaning.len() + self.unclean.len()
    }

    pub(super) fn open(&self) -> usize {
        self.idle.len() + self.in_use() + self.dials.len()
    }

    pub(super) fn has_slot(&self) -> bool {
        self.free_slots() > 0
    }

    fn free_slots(&self) -> usize {
        self.settings.max_active.unwrap_or(usize::MAX).saturating_sub(self.open())
    }

    /// A caller asks, for the first time or because its connection is invalid.
    pub(super) fn check_out(&mut self, ticket: u64, now: Duration) -> Step {
        if self.closed {
            return Step::answers(Outcome::Closed);
        }
        let mut step = Step { closes: self.expire(now), ..Step::default() };
        while !self.idle.is_empty() && !self.suspended {
            let next = self.take_next_idle();
            if self.has_expired(next, now) {
                step.closes.push(next.id);
                continue;
            }
            self.borrowed.push((ticket, self.borrow(next, now)));
            step.outcome = Some(Outcome::Conn(next.id));
            return self.settle(step);
        }
        self.mark_hung(now);
        step.outcome = Some(match self.refusal() {
            Some(refusal) => refusal,
            None => {
                let reason = match self.has_slot() {
                    _ if self.suspended => WaitReason::Suspended,
                    true => WaitReason::Dialing,
                    false => WaitReason::AtLimit,
                };
                self.queue.push(ticket);
                self.queue.sort_unstable();
                self.cover_again(ticket);
                Outcome::Wait(reason)
            }
        });
        self.settle(step)
    }

    fn take_next_idle(&mut self) -> Conn {
        let at = if self.settings.fifo { 0 } else { self.idle.len() - 1 };
        self.idle.remove(at)
    }

    fn refusal(&self) -> Option<Outcome> {
        let waiting = self.queue.len();
        let max_waiters = self.settings.max_waiters.unwrap_or(usize::MAX);
        if self.suspended {
            return (waiting >= max_waiters).then_some(Outcome::Exhausted);
        }
        if self.has_slot() && self.broken {
            return Some(Outcome::BreakerOpen);
        }
        let obtainable = self.free_slots().saturating_add(self.promising_dials());
        let expected = obtainable.saturating_add(self.coming_back());
        let too_many = waiting >= max_waiters.saturating_add(obtainable)
            || !self.settings.wait && waiting >= expected;
        too_many.then_some(Outcome::Exhausted)
    }

    pub(super) fn collect(&mut self, ticket: u64) -> Option<Outcome> {
        let granted = self.granted.iter().position(|(waiter, _)| *waiter == ticket);
        match granted.map(|at| self.granted.remove(at).1) {
            Some(Granted::Conn(conn)) => {
                self.borrowed.push((ticket, conn));
                Some(Outcome::Conn(conn.id))
            }
            Some(Granted::Failure) => Some(Outcome::Failed),
            Some(Granted::BreakerOpen) => Some(Outcome::BreakerOpen),
            _ if self.closed => Some(Outcome::Closed),
            None => None,
        }
    }

    pub(super) fn leave_queue(&mut self, ticket: u64) {
        self.queue.retain(|waiter| *waiter != ticket);
        self.uncover(ticket);
    }

    fn wake_watchers(&mut self, mut step: Step) -> Step {
        step.wakes.append(&mut self.watchers);
        step
    }

    /// The last connection of a closed pool may be gone.
    fn wake_if_drained(&mut self, step: Step) -> Step {
        match self.closed && self.in_use() == 0 {
            true => self.wake_watchers(step),
            false => step,
        }
    }

    pub(super) fn check_in(&mut self, id: u32, disposition: Disposition, now: Duration) -> Step {
        let conn = self.take_borrowed(id);
        match disposition {
            Disposition::Detach if conn.reclaimed => Step::default(),
            _ if conn.reclaimed => Step { closes: vec![id], ..Step::default() },
            Disposition::Return => {
                self.accept(Conn { returned: now, heard: now, overdue: false, ..conn }, now)
            }
            Disposition::Close(reason) => {
                let dead = matches!(reason, CloseReason::Io | CloseReason::Health);
                self.failures += u64::from(dead);
                self.slot_freed(Step { closes: vec![id], ..Step::default() })
            }
            Disposition::Detach => self.slot_freed(Step::default()),
            Disposition::Clean { .. } if self.cleaning.len() < self.settings.max_cleaners => {
                self.cleaning.push(conn);
                Step { cleans: Some(id), ..Step::default() }
            }
            Disposition::Clean { .. } => {
                self.unclean.push(conn);
                Step::default()
            }
        }
    }

    /// A cleaner has ended, and takes the next connection.
    pub(super) fn cleaned(&mut self, at: usize, is_clean: bool, now: Duration) -> Step {
        let conn = self.cleaning.remove(at);
        let next = (!self.unclean.is_empty()).then(|| self.unclean.remove(0));
        self.cleaning.extend(next);
        let step = match is_clean {
            true => self.accept(Conn { returned: now, heard: now, overdue: false, ..conn }, now),
            false => {
                self.failures += 1;
                self.slot_freed(Step { closes: vec![conn.id], ..Step::default() })
            }
        };
        Step { cleans: next.map(|next| next.id), ..step }
    }

    fn accept(&mut self, conn: Conn, now: Duration) -> Step {
        if self.must_close(conn, now) {
            return self.slot_freed(Step { closes: vec![conn.id], ..Step::default() });
        }
        let mut step = self.offer(conn, None, now, Step::default());
        let surplus = self.idle.len().saturating_sub(self.settings.max_idle);
        // Only a connection that no waiter gets can be too many.
        if step.wakes.is_empty() {
            step.closes.extend(self.idle.drain(..surplus).map(|conn| conn.id));
        }
        self.settle(step)
    }

    /// The connection is invalid and closed, and its caller asks again.
    pub(super) fn replace(&mut self, id: u32, ticket: u64, now: Duration) -> Step {
        self.failures += u64::from(!self.take_borrowed(id).reclaimed);
        let step = self.check_out(ticket, now);
        self.slot_freed(step)
    }

    fn slot_freed(&mut self, step: Step) -> Step {
        let step = self.settle(step);
        self.wake_if_drained(step)
    }

    pub(super) fn prune(&mut self, now: Duration) -> Step {
        let step = Step { closes: self.expire_all(now), ..Step::default() };
        self.settle(step)
    }

    pub(super) fn run_due(&mut self, pause_over: bool, now: Duration) -> Step {
        if self.closed {
            return Step::default();
        }
        let mut step = Step { closes: self.expire_all(now), ..Step::default() };
        self.report_overdue(now);
        self.end_pause(pause_over, &mut step);
        step.pings = self.ping_quietest(now);
        self.settle(step)
    }

    fn report_overdue(&mut self, now: Duration) {
        let Some(threshold) = self.settings.leak_threshold else { return };
        let granted = self.granted.iter_mut().filter_map(|(_, granted)| match granted {
            Granted::Conn(conn) => Some(conn),
            _ => None,
        });
        for conn in granted.chain(self.borrowed.iter_mut().map(|(_, conn)| conn)) {
            if !conn.overdue && now - conn.since >= threshold {
                conn.overdue = true;
                conn.reclaimed = self.settings.reclaim_leaked;
            }
        }
    }

    fn ping_quietest(&mut self, now: Duration) -> Option<u32> {
        let keepalive = self.settings.keepalive.filter(|_| self.pinged.is_none())?;
        let quietest = self.idle.iter().rev().min_by_key(|conn| conn.heard).copied()?;
        if now - quietest.heard < keepalive {
            return None;
        }
        self.idle.retain(|conn| conn.id != quietest.id);
        self.pinged = Some(quietest);
        Some(quietest.id)
    }

    pub(super) fn ping_ended(&mut self, alive: bool, now: Duration) -> Step {
        let conn = self.pinged.take().expect("a pinged connection");
        match alive {
            true => self.accept(Conn { heard: now, failures: self.failures, ..conn }, now),
            false => {
                self.failures += 1;
                self.slot_freed(Step { closes: vec![conn.id], ..Step::default() })
            }
        }
    }

    /// When the next work is due, if dials are paused until then.
    pub(super) fn due(&self, paused_until: Option<Duration>) -> Option<Duration> {
        let settings = &self.settings;
        let keepalive = settings.keepalive.filter(|_| self.pinged.is_none());
        let beyond = |timeout| timeout + Duration::from_nanos(1);
        let idle = self.idle.iter().flat_map(|conn| {
            [
                keepalive.map(|keepalive| conn.heard + keepalive),
                settings.idle_timeout.map(|timeout| conn.returned + beyond(timeout)),
                self.lifetime.map(|lifetime| conn.created + lifetime),
            ]
        });
        let out = self.granted_conns().chain(self.borrowed.iter().map(|(_, conn)| conn));
        let leaks = out
            .filter(|conn| !conn.overdue)
            .map(|conn| Some(conn.since + settings.leak_threshold?));
        let paused_until = paused_until.filter(|_| !self.suspended);
        idle.chain(leaks).chain([paused_until]).flatten().min()
    }

    fn granted_conns(&self) -> impl Iterator<Item = &Conn> {
        self.granted.iter().filter_map(|(_, granted)| match granted {
            Granted::Conn(conn) => Some(conn),
            _ => None,
        })
    }

    pub(super) fn resize(&mut self, max_active: Option<usize>, max_idle: usize) -> Step {
        (self.settings.max_active, self.settings.max_idle) = (max_active, max_idle);
        let surplus = max_active.map_or(0, |max| self.open().saturating_sub(max));
        self.shrink_ceiling = (surplus > 0).then(|| self.open());
        let too_many = self.idle.len().saturating_sub(max_idle);
        let closes = surplus.min(self.idle.len()).max(too_many);
        let closes = self.idle.drain(..closes).map(|conn| conn.id).collect();
        self.settle(Step { closes, ..Step::default() })
    }

    pub(super) fn resume(&mut self, pause_over: bool, now: Duration) -> Step {
        self.suspended = false;
        let mut step = Step { closes: self.expire_all(now), ..Step::default() };
        while !self.queue.is_empty() && !self.idle.is_empty() {
            let next = self.take_next_idle();
            step = self.offer(next, None, now, step);
        }
        if self.broken {
            step = self.refuse_waiters(step);
        }
        self.end_pause(pause_over, &mut step);
        self.settle(step)
    }

    pub(super) fn evict_all(&mut self) -> Step {
        self.generation += 1;
        self.evict_dials();
        self.forget_dial_failures();
        let closes = self.idle.drain(..).map(|conn| conn.id).collect();
        self.settle(Step { closes, ..Step::default() })
    }

    pub(super) fn begin_warm_up(&mut self, connections: usize) -> Step {
        self.warm_ups.push(connections);
        self.settle(Step::default())
    }

    pub(super) fn close(&mut self) -> Step {
        self.closed = true;
        self.forget_dial_failures();
        let closes = self.idle.drain(..).map(|conn| conn.id).collect();
        let wakes = self.queue.drain(..).collect();
        self.dials.iter_mut().for_each(|dial| dial.covers_owner = false);
        self.wake_watchers(Step { closes, wakes, ..Step::default() })
    }

    fn take_borrowed(&mut self, id: u32) -> Conn {
        let mut borrowed = self.borrowed.iter();
        let at = borrowed.position(|(_, conn)| conn.id == id).expect("a connection in use");
        self.borrowed.remove(at).1
    }

    /// Closes idle connections by `idle_timeout`.
    fn expire(&mut self, now: Duration) -> Vec<u32> {
        let timeout = self.settings.idle_timeout.unwrap_or(Duration::MAX);
        let (old, kept): (Vec<_>, _) =
            self.idle.iter().partition(|conn| now - conn.returned > timeout);
        self.idle = kept;
        old.iter().map(|conn: &Conn| conn.id).collect()
    }

    /// Closes idle connections by `idle_timeout` and by their lifetime.
    fn expire_all(&mut self, now: Duration) -> Vec<u32> {
        let mut closes = self.expire(now);
        let expired = |conn: &Conn| self.has_expired(*conn, now);
        let (old, kept): (Vec<_>, _) = self.idle.iter().partition(|conn| expired(conn));
        self.idle = kept;
        closes.extend(old.iter().map(|conn: &Conn| conn.id));
        closes
    }

    fn has_expired(&self, conn: Conn, now: Duration) -> bool {
        now - conn.created >= self.lifetime.unwrap_or(Duration::MAX)
    }

    fn must_close(&self, conn: Conn, now: Duration) -> bool {
        self.closed
            || conn.generation != self.generation
            || self.has_expired(conn, now)
            || !self.has_slot()
    }

    fn borrow(&self, conn: Conn, now: Duration) -> Conn {
        let suspect = conn.failures < self.failures;
        Conn { since: now, failures: self.failures, suspect, ..conn }
    }

    /// Gives the connection to the oldest waiter, or makes it idle, sorted by its return. `ended` is
    /// the dial that it comes from.
    fn offer(&mut self, conn: Conn, ended: Option<&Dial>, now: Duration, step: Step) -> Step {
        if !self.queue.is_empty() && !self.suspended {
            if let Some(ended) = ended {
                self.pass_on(self.queue[0], ended);
            }
            return self.grant_to_oldest(Granted::Conn(self.borrow(conn, now)), step);
        }
        let older = self.idle.iter().filter(|idle| idle.returned <= conn.returned).count();
        self.idle.insert(older, conn);
        step
    }

    fn grant_to_oldest(&mut self, granted: Granted, step: Step) -> Step {
        let oldest = self.queue.remove(0);
        self.uncover(oldest);
        self.granted.push((oldest, granted));
        step.wakes(oldest)
    }
}
