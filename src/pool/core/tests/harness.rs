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
    Dial,
    Wait(WaitReason),
    Exhausted,
    BreakerOpen,
    Deadlock,
    Failed,
    Closed,
}

impl Step {
    pub(super) fn of<W: Into<u64>>(actions: Actions<u32, W>) -> Step {
        let mut step = Step::default();
        step.wakes.extend(actions.wake.map(Into::into));
        if let Some(deferred) = actions.deferred {
            step.wakes.extend(deferred.wake.into_iter().map(Into::into));
            step.dials = deferred.dials.len();
            step.closes.extend(deferred.close.into_iter().map(|closing| closing.entry.conn));
            step.pings = deferred.ping.map(|entry| entry.conn);
            step.cleans = deferred.clean.map(|unclean| unclean.entry.conn);
        }
        step
    }

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
        for conn in conns {
            let ticket = self.core.next_ticket;
            assert_eq!(self.get(), Step::answers(Outcome::Dial));
            assert_eq!(self.own_dial_succeeds(ticket, conn), grants(conn));
        }
        for conn in conns {
            assert_eq!(self.check_in(conn), Step::default());
        }
        self
    }

    pub(super) fn new_conn(&self, conn: u32) -> Dialed<u32> {
        self.new_conn_of(conn, self.core.generation())
    }

    /// A connection whose dial began in this generation.
    pub(super) fn new_conn_of(&self, conn: u32, generation: u64) -> Dialed<u32> {
        let expires = self.lifetime.map(|lifetime| self.now + lifetime);
        Dialed { conn, handle: ShutdownHandle::new(|| {}), generation, expires }
    }

    pub(super) fn request(&self, dialer: RequestDialer) -> CheckoutRequest<'static> {
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
        CheckoutRequest { dialer, now: Some(self.now), borrower }
    }

    pub(super) fn step(&mut self, grant: Grant<u32>, actions: Actions<u32, u64>) -> Step {
        Step { outcome: Some(self.outcome(grant)), ..Step::of(actions) }
    }

    fn outcome(&mut self, grant: Grant<u32>) -> Outcome {
        match grant {
            Grant::Conn(_, entry) => {
                let conn = entry.conn;
                assert!(self.borrowed.insert(conn, entry).is_none(), "{conn} is granted twice");
                Outcome::Conn(conn)
            }
            Grant::Dial(_) => Outcome::Dial,
            Grant::Wait(_, reason) => Outcome::Wait(reason),
            Grant::Failed(_) => Outcome::Failed,
            Grant::Refused(Refusal::Exhausted) => Outcome::Exhausted,
            Grant::Refused(Refusal::BreakerOpen) => Outcome::BreakerOpen,
            Grant::Refused(Refusal::Deadlock) => Outcome::Deadlock,
            Grant::Closed => Outcome::Closed,
        }
    }

    pub(super) fn check_out(&mut self, dialer: RequestDialer) -> Step {
        let (ticket, mut actions) = (self.core.next_ticket, Actions::none());
        let grant = self.core.check_out(self.request(dialer), || ticket, &mut actions);
        self.step(grant, actions)
    }

    /// A checkout without a deadline.
    pub(super) fn get(&mut self) -> Step {
        self.check_out(RequestDialer::Caller)
    }

    /// A checkout with a deadline.
    pub(super) fn get_timeout(&mut self) -> Step {
        self.check_out(RequestDialer::Thread)
    }

    /// The connection is invalid and closed. The step has only the further effects.
    pub(super) fn replace(&mut self, ticket: u64, invalid: u32, dialer: RequestDialer) -> Step {
        let entry = self.take_borrowed(invalid);
        let (request, reason) = (self.request(dialer), CloseReason::Health);
        let mut actions = Actions::none();
        let grant =
            self.core.replace(Ticket(ticket), entry, reason, request, || ticket, &mut actions);
        self.step(grant, actions).without_close(invalid)
    }

    pub(super) fn own_dial_succeeds(&mut self, ticket: u64, conn: u32) -> Step {
        let dialed = self.new_conn(conn);
        self.own_dial_returns(ticket, dialed)
    }

    pub(super) fn own_dial_returns(&mut self, ticket: u64, dialed: Dialed<u32>) -> Step {
        let (request, mut actions) = (self.request(RequestDialer::Caller), Actions::none());
        let grant = self.core.dialed(Ticket(ticket), request, dialed, || ticket, &mut actions);
        self.step(grant, actions)
    }

    pub(super) fn own_dial_fails(&mut self) -> Step {
        Step::of(self.core.dial_failed(self.now))
    }

    pub(super) fn dial_succeeds(&mut self, conn: u32) -> Step {
        let dialed = self.new_conn(conn);
        Step::of(self.core.thread_dialed(DialReason::Demand, dialed, self.now))
    }

    pub(super) fn dial_fails(&mut self) -> Step {
        self.dial_fails_for(DialReason::Demand)
    }

    pub(super) fn dial_fails_for(&mut self, reason: DialReason) -> Step {
        Step::of(self.core.thread_dial_failed(reason, &Error::other("refused"), self.now))
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
        Step::of(self.end(conn, Disposition::Return, Some(self.now)))
    }

    /// Closes the connection. The step has only the further effects.
    pub(super) fn close(&mut self, conn: u32, reason: CloseReason) -> Step {
        Step::of(self.end(conn, Disposition::Close(reason), Some(self.now))).without_close(conn)
    }

    pub(super) fn collect(&mut self, ticket: u64) -> Option<Outcome> {
        let grant = self.core.collect(Ticket(ticket))?;
        Some(self.outcome(grant))
    }

    pub(super) fn leave_queue(&mut self, ticket: u64) -> (usize, Step) {
        let mut actions = Actions::none();
        let ahead = self.core.leave_queue(Ticket(ticket), &mut actions);
        (ahead, Step::of(actions))
    }

    /// Lets time pass, then runs what is due.
    pub(super) fn after(&mut self, time: Duration) -> Step {
        self.now += time;
        Step::of(self.core.run_due(self.now))
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
