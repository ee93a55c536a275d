//! A core on plain integers, and its answers in a form to compare.

use std::panic::Location;
use std::sync::Arc;

use super::*;
use crate::net::stream::ShutdownHandle;
use crate::pool::core::registry::ThreadTag;

/// The threads of a test have numbers for names.
const TAGS: [fn() -> Arc<ThreadTag>; 3] = [|| tag(0), || tag(1), || tag(2)];

fn tag(number: u64) -> Arc<ThreadTag> {
    Arc::new(ThreadTag { number, name: number.to_string().into() })
}

/// The effects of one event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) outcome: Option<Outcome>,
    pub(super) wakes: Vec<u64>,
    pub(super) dials: usize,
    pub(super) closes: Vec<u32>,
    pub(super) pings: Option<u32>,
    pub(super) cleans: Option<u32>,
}

/// A [`Grant`] in a form to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Conn(u32),
    Wait(WaitReason),
    Exhausted,
    BreakerOpen,
    Deadlock,
    Failed,
    Closed,
}

impl Step {
    pub(super) fn answers(outcome: Outcome) -> Step {
        Step { outcome: Some(outcome), ..Step::default() }
    }

    pub(super) fn wakes(mut self, waiter: u64) -> Step {
        self.wakes.push(waiter);
        self
    }

    pub(super) fn dials(mut self, dials: usize) -> Step {
        self.dials = dials;
        self
    }

    pub(super) fn closes<const N: usize>(mut self, conns: [u32; N]) -> Step {
        self.closes = conns.into();
        self
    }

    fn without_close(mut self, conn: u32) -> Step {
        let at = self.closes.iter().position(|&closed| closed == conn);
        self.closes.remove(at.expect("the connection is closed"));
        self
    }
}

/// A core, and the connections that its callers hold. A caller is named by its ticket, from 0 on.
pub(super) struct Harness {
    pub(super) core: Core<u32, u64>,
    pub(super) borrowed: HashMap<u32, Box<Entry<u32>>>,
    pub(super) now: Instant,
    pub(super) lifetime: Option<Duration>,
    /// The calling thread, if checkouts are recorded.
    pub(super) thread: Option<u64>,
    /// Whether checkouts have a deadline, if they are recorded.
    pub(super) has_deadline: bool,
    /// The running dials, oldest first.
    pub(super) dials: Vec<DialId>,
    /// Dials that wait for a thread. Otherwise, they begin as soon as they are started.
    pub(super) dials_wait: bool,
}

impl Harness {
    pub(super) fn new(settings: CoreSettings) -> Harness {
        Harness {
            core: Core::new(settings, Jitter::seeded(1)),
            borrowed: HashMap::new(),
            now: Instant::now(),
            lifetime: None,
            thread: None,
            has_deadline: false,
            dials: Vec::new(),
            dials_wait: false,
        }
    }

    /// A pool with this `max_active`, in which callers wait.
    pub(super) fn of(max_active: usize) -> Harness {
        let settings = settings();
        Harness::new(CoreSettings {
            max_active: Some(max_active),
            max_idle: max_active,
            ..settings
        })
    }

    /// Dials these connections and returns them in this order.
    pub(super) fn idle<const N: usize>(mut self, conns: [u32; N]) -> Harness {
        self.take_all(conns);
        for conn in conns {
            assert_eq!(self.check_in(conn), Step::default());
        }
        self
    }

    pub(super) fn take_all<const N: usize>(&mut self, conns: [u32; N]) {
        conns.iter().for_each(|conn| self.take(*conn));
    }

    /// Checks out a connection that is dialed for it.
    pub(super) fn take(&mut self, conn: u32) {
        let ticket = self.core.next_ticket;
        assert_eq!(self.get(), DIALING.dials(1));
        assert_eq!(self.dial_succeeds(conn), Step::default().wakes(ticket));
        assert_eq!(self.collect(ticket), Some(Outcome::Conn(conn)));
    }

    fn new_conn(&self, conn: u32) -> Dialed<u32> {
        let expires = self.lifetime.map(|lifetime| self.now + lifetime);
        Dialed { conn, handle: ShutdownHandle::new(|| {}), expires }
    }

    fn request(&self) -> CheckoutRequest<'static> {
        let borrower = self.thread.map(|number| {
            let borrower = Borrower {
                location: Location::caller(),
                thread: number,
                has_deadline: self.has_deadline,
                tag: TAGS[number as usize],
            };
            // Leaked, because a test has no thread that could own it.
            &*Box::leak(Box::new(borrower))
        });
        CheckoutRequest { now: Some(self.now), borrower }
    }

    /// The effects of the actions. The dials that they start are added to the running ones.
    pub(super) fn effects(&mut self, actions: Actions<u32, u64>) -> Step {
        let mut step = Step::default();
        step.wakes.extend(actions.wake);
        if let Some(deferred) = actions.deferred {
            step.wakes.extend(deferred.wake);
            step.dials = deferred.dials.len();
            step.closes.extend(deferred.close.into_iter().map(|closing| closing.entry.conn));
            step.pings = deferred.ping.map(|entry| entry.conn);
            step.cleans = deferred.clean.map(|unclean| unclean.entry.conn);
            for id in deferred.dials {
                self.dials.push(id);
                if !self.dials_wait {
                    self.core.begin_dial(id, self.now);
                }
            }
        }
        step
    }

    fn answer(&mut self, grant: Grant<u32>, actions: Actions<u32, u64>) -> Step {
        let outcome = Some(self.outcome(grant));
        Step { outcome, ..self.effects(actions) }
    }

    fn outcome(&mut self, grant: Grant<u32>) -> Outcome {
        match grant {
            Grant::Conn(_, entry) => {
                let conn = entry.conn;
                assert!(self.borrowed.insert(conn, entry).is_none(), "{conn} is granted twice");
                Outcome::Conn(conn)
            }
            Grant::Wait(_, reason) => Outcome::Wait(reason),
            Grant::Failed(_) => Outcome::Failed,
            Grant::Refused(Refusal::Exhausted) => Outcome::Exhausted,
            Grant::Refused(Refusal::BreakerOpen) => Outcome::BreakerOpen,
            Grant::Refused(Refusal::Deadlock) => Outcome::Deadlock,
            Grant::Closed => Outcome::Closed,
        }
    }

    pub(super) fn get(&mut self) -> Step {
        let (waiter, mut actions) = (self.waiter(self.core.next_ticket), Actions::none());
        let grant = self.core.check_out(self.request(), waiter, &mut actions);
        self.answer(grant, actions)
    }

    fn waiter(&self, ticket: u64) -> impl FnOnce() -> NewWaiter<u64> + use<> {
        let now = self.now;
        move || NewWaiter { waker: ticket, now }
    }

    /// The connection is invalid and closed. The step has only the further effects.
    pub(super) fn replace(&mut self, ticket: u64, invalid: u32) -> Step {
        let (entry, mut actions) = (self.take_borrowed(invalid), Actions::none());
        let (request, waiter) = (self.request(), self.waiter(ticket));
        let reason = CloseReason::Health;
        let grant = self.core.replace(Ticket(ticket), entry, reason, request, waiter, &mut actions);
        self.answer(grant, actions).without_close(invalid)
    }

    /// The oldest dial succeeds.
    pub(super) fn dial_succeeds(&mut self, conn: u32) -> Step {
        self.nth_dial_succeeds(0, conn)
    }

    pub(super) fn nth_dial_succeeds(&mut self, at: usize, conn: u32) -> Step {
        self.dial_succeeds_after(at, conn, Duration::ZERO)
    }

    pub(super) fn dial_succeeds_after(&mut self, at: usize, conn: u32, took: Duration) -> Step {
        let id = self.dials.remove(at);
        let actions = self.core.dial_succeeded(id, self.new_conn(conn), took, self.now);
        self.effects(actions)
    }

    /// The oldest dial fails.
    pub(super) fn dial_fails(&mut self) -> Step {
        self.nth_dial_fails(0)
    }

    pub(super) fn nth_dial_fails(&mut self, at: usize) -> Step {
        let id = self.dials.remove(at);
        let actions = self.core.dial_failed(id, &Error::other("refused"), self.now);
        self.effects(actions)
    }

    /// The oldest dial pauses before its next attempt.
    pub(super) fn dial_pauses(&mut self) -> Step {
        let actions = self.core.pause_dial(self.dials[0]);
        self.effects(actions)
    }

    /// A waiter checks for hung dials.
    pub(super) fn check_dials(&mut self) -> Step {
        let actions = self.core.check_dials(self.now);
        self.effects(actions)
    }

    pub(super) fn evict_all(&mut self) -> Step {
        let actions = self.core.evict_all();
        self.effects(actions)
    }

    pub(super) fn resize(&mut self, max_active: usize, max_idle: usize) -> Step {
        let actions = self.core.resize(Some(max_active), max_idle);
        self.effects(actions)
    }

    pub(super) fn resume(&mut self) -> Step {
        let actions = self.core.resume(self.now);
        self.effects(actions)
    }

    pub(super) fn close_pool(&mut self) -> Step {
        let actions = self.core.close();
        self.effects(actions)
    }

    pub(super) fn prune(&mut self) -> Step {
        let actions = self.core.prune(self.now);
        self.effects(actions)
    }

    pub(super) fn begin_warm_up(&mut self, connections: usize) -> Step {
        let actions = self.core.begin_warm_up(connections);
        self.effects(actions)
    }

    /// Returns the connection to ping now, if any.
    pub(super) fn take_ping(&mut self) -> Option<Box<Entry<u32>>> {
        let mut actions = self.core.run_due(self.now);
        let pinged = actions.deferred.as_mut().and_then(|deferred| deferred.ping.take());
        assert_eq!(self.effects(actions), Step::default());
        pinged
    }

    pub(super) fn ping_ends(&mut self, entry: Box<Entry<u32>>, alive: bool) -> Step {
        let actions = self.core.ping_ended(entry, alive, self.now);
        self.effects(actions)
    }

    pub(super) fn take_borrowed(&mut self, conn: u32) -> Box<Entry<u32>> {
        self.borrowed.remove(&conn).expect("a connection in use")
    }

    /// Ends the borrow of a connection.
    pub(super) fn end(
        &mut self,
        conn: u32,
        disposition: Disposition,
        now: Option<Instant>,
    ) -> Actions<u32, u64> {
        let (entry, mut actions) = (self.take_borrowed(conn), Actions::none());
        let detached = self.core.check_in(entry, disposition, now, &mut actions);
        assert_eq!(detached.is_some(), disposition == Disposition::Detach);
        actions
    }

    pub(super) fn check_in(&mut self, conn: u32) -> Step {
        let actions = self.end(conn, Disposition::Return, Some(self.now));
        self.effects(actions)
    }

    /// Closes the connection. The step has only the further effects.
    pub(super) fn close(&mut self, conn: u32, reason: CloseReason) -> Step {
        let actions = self.end(conn, Disposition::Close(reason), Some(self.now));
        self.effects(actions).without_close(conn)
    }

    pub(super) fn collect(&mut self, ticket: u64) -> Option<Outcome> {
        let grant = self.core.collect(Ticket(ticket))?;
        Some(self.outcome(grant))
    }

    pub(super) fn leave_queue(&mut self, ticket: u64) -> usize {
        self.core.leave_queue(Ticket(ticket))
    }

    /// Lets time pass, then runs what is due.
    pub(super) fn after(&mut self, time: Duration) -> Step {
        self.now += time;
        let actions = self.core.run_due(self.now);
        self.effects(actions)
    }

    /// The time until the alarm.
    pub(super) fn due(&self) -> Option<Duration> {
        self.core.alarm.map(|alarm| alarm.saturating_duration_since(self.now))
    }

    /// The numbers of idle connections, connections in use and running dials.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let counts = (self.core.idle(), self.core.in_use(), self.core.dialing());
        assert_eq!(counts.0 + counts.1 + counts.2, self.core.open());
        counts
    }
}

pub(super) fn settings() -> CoreSettings {
    CoreSettings {
        max_idle: usize::MAX,
        max_active: None,
        min_idle: 0,
        wait: true,
        max_waiters: None,
        fifo: false,
        idle_timeout: None,
        keepalive: None,
        leak_threshold: None,
        reclaim_leaked: false,
        detect_deadlock: false,
        max_concurrent_dials: 4,
        max_cleaners: 2,
        breaker: None,
        backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(8) },
        track_borrows: false,
        has_timer: false,
    }
}

pub(super) const AT_LIMIT: Step = waits(WaitReason::AtLimit);
pub(super) const DIALING: Step = waits(WaitReason::Dialing);

pub(super) const fn waits(reason: WaitReason) -> Step {
    Step {
        outcome: Some(Outcome::Wait(reason)),
        wakes: Vec::new(),
        dials: 0,
        closes: Vec::new(),
        pings: None,
        cleans: None,
    }
}

pub(super) fn grants(conn: u32) -> Step {
    Step::answers(Outcome::Conn(conn))
}
