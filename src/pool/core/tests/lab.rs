//! A core on plain integers, and its answers in a form to compare.

use super::*;

/// What an event came to, in a form to compare.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) said: Option<Said>,
    pub(super) wakes: Vec<u64>,
    pub(super) dials: usize,
    pub(super) closes: Vec<u32>,
}

/// The answer to a caller, or what one who waited has got.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Said {
    Take(u32),
    Dial,
    Wait(Cause),
    Exhausted,
    Failed,
    Closed,
}

impl Step {
    pub(super) fn of<W: Into<u64>>(actions: Actions<u32, W>) -> Step {
        let mut step = Step::default();
        step.wakes.extend(actions.wake.map(Into::into));
        if let Some(more) = actions.more {
            step.wakes.extend(more.wake.into_iter().map(Into::into));
            step.dials = more.jobs;
            step.closes.extend(more.close.into_iter().map(|member| member.conn));
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
    pub(super) lent: HashMap<u32, Box<Member<u32>>>,
    pub(super) now: Instant,
}

impl Lab {
    pub(super) fn new(rules: Rules) -> Lab {
        Lab { core: Core::new(rules), lent: HashMap::new(), now: Instant::now() }
    }

    /// A pool of so many connections that makes its callers wait.
    pub(super) fn of(max_active: usize) -> Lab {
        Lab::new(Rules { max_active, max_idle: max_active, ..rules() })
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

    pub(super) fn new_member(&self, conn: u32) -> Box<Member<u32>> {
        Box::new(Member { conn, created: Some(self.now), returned: None })
    }

    pub(super) fn step(&mut self, (answer, actions): Reply<u32, u64>) -> Step {
        let said = match answer {
            Answer::Take(_, member) => self.hold(member),
            Answer::Dial(_) => Said::Dial,
            Answer::Wait(_, cause) => Said::Wait(cause),
            Answer::Exhausted => Said::Exhausted,
            Answer::Closed => Said::Closed,
        };
        Step { said: Some(said), ..Step::of(actions) }
    }

    pub(super) fn hold(&mut self, member: Box<Member<u32>>) -> Said {
        let conn = member.conn;
        assert!(self.lent.insert(conn, member).is_none(), "{conn} is lent twice");
        Said::Take(conn)
    }

    pub(super) fn ask(&mut self, caller: Caller) -> Step {
        let ticket = self.core.next_ticket;
        let reply = self.core.checkout(caller, Some(self.now), || ticket);
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
        self.lent.remove(&failed).expect("it was lent");
        let reply = self.core.retry(Ticket(ticket), caller, Some(self.now), || ticket);
        self.step(reply)
    }

    pub(super) fn dialed(&mut self, ticket: u64, conn: u32) -> Step {
        let member = self.new_member(conn);
        let reply = self.core.dialed(Ticket(ticket), member, || ticket);
        self.step(reply)
    }

    pub(super) fn dial_failed(&mut self) -> Step {
        Step::of(self.core.dial_failed())
    }

    pub(super) fn job_done(&mut self, conn: u32) -> Step {
        let member = self.new_member(conn);
        Step::of(self.core.job_done(member, Some(self.now)))
    }

    pub(super) fn job_failed(&mut self) -> Step {
        Step::of(self.core.job_failed(&Error::other("refused")))
    }

    pub(super) fn put(&mut self, conn: u32) -> Step {
        let member = self.lent.remove(&conn).expect("it was lent");
        Step::of(self.core.put(member, Some(self.now)))
    }

    pub(super) fn remove(&mut self, conn: u32, cause: Removal) -> Step {
        self.lent.remove(&conn).expect("it was lent");
        Step::of(self.core.remove(cause))
    }

    pub(super) fn collect(&mut self, ticket: u64) -> Option<Said> {
        self.core.collect(Ticket(ticket)).map(|outcome| match outcome {
            Outcome::Take(member) => self.hold(member),
            Outcome::Dial => Said::Dial,
            Outcome::Failed(_) => Said::Failed,
            Outcome::Closed => Said::Closed,
        })
    }

    /// Idle, in use, being dialled.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let counts = (self.core.idle(), self.core.in_use(), self.core.dialing());
        assert_eq!(counts.0 + counts.1 + counts.2, self.core.open());
        counts
    }
}

pub(super) fn rules() -> Rules {
    Rules {
        max_idle: usize::MAX,
        max_active: usize::MAX,
        wait: true,
        idle_timeout: None,
        max_lifetime: None,
        max_jobs: 4,
    }
}

pub(super) const AT_LIMIT: Step = waits(Cause::AtLimit);
pub(super) const DIALING: Step = waits(Cause::Dialing);

pub(super) const fn waits(cause: Cause) -> Step {
    Step { said: Some(Said::Wait(cause)), wakes: Vec::new(), dials: 0, closes: Vec::new() }
}
