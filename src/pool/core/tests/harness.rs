//! A core on plain integers, and its answers in a form to compare.

use std::panic::Location;
use std::sync::Arc;

use super::*;
use crate::net::stream::ShutdownHandle;
use crate::pool::core::registry::ThreadTag;

/// The threads of a test go by number.
const TAGS: [fn() -> Arc<ThreadTag>; 3] = [|| tag(0), || tag(1), || tag(2)];

fn tag(number: u64) -> Arc<ThreadTag> {
    Arc::new(ThreadTag { number, name: number.to_string().into() })
}

/// What an event came to, in a form to compare.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) said: Option<Said>,
    pub(super) wakes: Vec<u64>,
    pub(super) dials: usize,
    pub(super) closes: Vec<u32>,
    pub(super) asks: Option<u32>,
}

/// The answer to a caller, or what one who waited has got.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Said {
    Take(u32),
    Dial,
    Wait(Cause),
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
        if let Some(more) = actions.more {
            step.wakes.extend(more.wake.into_iter().map(Into::into));
            step.dials = more.jobs.len();
            step.closes.extend(more.close.into_iter().map(|(member, _)| member.conn));
            step.asks = more.ask.map(|member| member.conn);
        }
        step
    }

    pub(super) fn says(said: Said) -> Step {
        Step { said: Some(said), ..Step::default() }
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
}

/// A core, and what its callers hold. A caller goes by the number of its ticket, from 0 on.
pub(super) struct Lab {
    pub(super) core: Core<u32, u64>,
    pub(super) lent: HashMap<u32, Box<Entry<u32>>>,
    pub(super) now: Instant,
    pub(super) lifetime: Option<Duration>,
    /// The thread that asks, where loans are noted.
    pub(super) thread: Option<u64>,
}

impl Lab {
    pub(super) fn new(settings: CoreSettings) -> Lab {
        Lab {
            core: Core::new(settings, Jitter::seeded(1)),
            lent: HashMap::new(),
            now: Instant::now(),
            lifetime: None,
            thread: None,
        }
    }

    /// A pool of so many connections that makes its callers wait.
    pub(super) fn of(max_active: usize) -> Lab {
        Lab::new(CoreSettings { max_active, max_idle: max_active, ..settings() })
    }

    /// As if the callers had dialled these and had given them back in this order.
    pub(super) fn idle<const N: usize>(mut self, conns: [u32; N]) -> Lab {
        for conn in conns {
            let ticket = self.core.next_ticket;
            assert_eq!(self.get(), Step::says(Said::Dial));
            assert_eq!(self.dialed(ticket, conn), Step::says(Said::Take(conn)));
        }
        for conn in conns {
            assert_eq!(self.put(conn), Step::default());
        }
        self
    }

    pub(super) fn fresh(&self, conn: u32) -> Fresh<u32> {
        self.fresh_of(conn, self.core.generation())
    }

    /// One whose dial began in this generation.
    pub(super) fn fresh_of(&self, conn: u32, generation: u64) -> Fresh<u32> {
        let member = Entry {
            conn,
            place: 0,
            generation,
            expires: self.lifetime.map(|lifetime| self.now + lifetime),
            returned: None,
            asked: None,
            deaths: 0,
            doubtful: false,
            late: false,
        };
        Fresh { member: Box::new(member), handle: ShutdownHandle::new(|| {}) }
    }

    pub(super) fn asker(&self, caller: Caller) -> CheckoutRequest<'static> {
        let borrower = self.thread.map(|number| {
            let borrower = Borrower {
                location: Location::caller(),
                thread: number,
                tag: TAGS[number as usize],
            };
            // A test's threads live as long as the test.
            &*Box::leak(Box::new(borrower))
        });
        CheckoutRequest { caller, now: Some(self.now), borrower }
    }

    pub(super) fn step(&mut self, (answer, actions): Reply<u32, u64>) -> Step {
        let said = match answer {
            Answer::Take(_, member) => self.hold(member),
            Answer::Dial(_) => Said::Dial,
            Answer::Wait(_, cause) => Said::Wait(cause),
            Answer::Refused(Refusal::Exhausted) => Said::Exhausted,
            Answer::Refused(Refusal::BreakerOpen) => Said::BreakerOpen,
            Answer::Refused(Refusal::Deadlock) => Said::Deadlock,
            Answer::Closed => Said::Closed,
        };
        Step { said: Some(said), ..Step::of(actions) }
    }

    pub(super) fn hold(&mut self, member: Box<Entry<u32>>) -> Said {
        let conn = member.conn;
        assert!(self.lent.insert(conn, member).is_none(), "{conn} is lent twice");
        Said::Take(conn)
    }

    pub(super) fn ask(&mut self, caller: Caller) -> Step {
        let ticket = self.core.next_ticket;
        let reply = self.core.checkout(self.asker(caller), || ticket);
        self.step(reply)
    }

    /// One who would dial.
    pub(super) fn get(&mut self) -> Step {
        self.ask(Caller::Dials)
    }

    /// One who has a deadline.
    pub(super) fn get_within(&mut self) -> Step {
        self.ask(Caller::Waits)
    }

    pub(super) fn retry(&mut self, ticket: u64, failed: u32, caller: Caller) -> Step {
        let place = self.lent.remove(&failed).expect("it was lent").place;
        let (asker, reason) = (self.asker(caller), CloseReason::Health);
        let reply = self.core.retry(Ticket(ticket), asker, place, reason, || ticket);
        self.step(reply)
    }

    pub(super) fn dialed(&mut self, ticket: u64, conn: u32) -> Step {
        let (asker, fresh) = (self.asker(Caller::Dials), self.fresh(conn));
        let reply = self.core.dialed(Ticket(ticket), asker, fresh, || ticket);
        self.step(reply)
    }

    pub(super) fn dial_failed(&mut self) -> Step {
        Step::of(self.core.dial_failed(self.now))
    }

    pub(super) fn job_done(&mut self, conn: u32) -> Step {
        let fresh = self.fresh(conn);
        Step::of(self.core.job_done(JobCause::Demand, fresh, self.now))
    }

    pub(super) fn job_failed(&mut self) -> Step {
        Step::of(self.core.job_failed(JobCause::Demand, &Error::other("refused"), self.now))
    }

    pub(super) fn put(&mut self, conn: u32) -> Step {
        let member = self.lent.remove(&conn).expect("it was lent");
        Step::of(self.core.put(member, Some(self.now)))
    }

    pub(super) fn remove(&mut self, conn: u32, reason: CloseReason) -> Step {
        let place = self.lent.remove(&conn).expect("it was lent").place;
        Step::of(self.core.remove(place, Some(reason), Some(self.now)))
    }

    pub(super) fn collect(&mut self, ticket: u64) -> Option<Said> {
        self.core.collect(Ticket(ticket)).map(|outcome| match outcome {
            Outcome::Take(member) => self.hold(member),
            Outcome::Dial => Said::Dial,
            Outcome::Failed(_) => Said::Failed,
            Outcome::BreakerOpen => Said::BreakerOpen,
            Outcome::Closed => Said::Closed,
        })
    }

    pub(super) fn give_up(&mut self, ticket: u64) -> (usize, Step) {
        let (ahead, actions) = self.core.give_up(Ticket(ticket));
        (ahead, Step::of(actions))
    }

    /// Time passes, and the upkeep comes by.
    pub(super) fn after(&mut self, time: Duration) -> Step {
        self.now += time;
        Step::of(self.core.tick(self.now))
    }

    /// How long it is until the upkeep is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.core.alarm.map(|alarm| alarm.saturating_duration_since(self.now))
    }

    /// Idle, in use, being dialled.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let counts = (self.core.idle(), self.core.in_use(), self.core.dialing());
        assert_eq!(counts.0 + counts.1 + counts.2, self.core.open());
        counts
    }
}

pub(super) fn settings() -> CoreSettings {
    CoreSettings {
        max_idle: usize::MAX,
        max_active: usize::MAX,
        min_idle: 0,
        wait: true,
        max_waiters: usize::MAX,
        fifo: false,
        idle_timeout: None,
        keepalive: None,
        leak_threshold: None,
        reclaims: false,
        refuses_deadlock: false,
        max_jobs: 4,
        breaker: None,
        backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(8) },
        tracks: false,
        upkeep: false,
    }
}

pub(super) const AT_LIMIT: Step = waits(Cause::AtLimit);
pub(super) const DIALING: Step = waits(Cause::Dialing);

pub(super) const fn waits(cause: Cause) -> Step {
    Step {
        said: Some(Said::Wait(cause)),
        wakes: Vec::new(),
        dials: 0,
        closes: Vec::new(),
        asks: None,
    }
}
