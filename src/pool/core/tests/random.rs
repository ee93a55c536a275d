//! Random sequences of events: the core and the model have to agree after every one.
//!
//! `PROPTEST_CASES` says how many sequences; when one fails, the shortest that does is shown.

use proptest::prelude::*;
use proptest::sample::Index;

use super::model::{Conn, Given, Model};
use super::*;

/// What may happen. An index chooses among those to whom it can happen, if there are any.
#[derive(Debug, Clone)]
enum Event {
    Get,
    GetWithin,
    Dialed(Index),
    DialFailed(Index),
    JobDone,
    JobFailed,
    Put(Index),
    Remove(Index, CloseReason),
    Retry(Index),
    Collect(Index),
    GiveUp(Index),
    TimePasses(u64),
    Prune,
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    let which = any::<Index>;
    let cause =
        prop::sample::select(vec![CloseReason::Io, CloseReason::Health, CloseReason::Discarded]);
    prop_oneof![
        20 => Just(Event::Get),
        20 => Just(Event::GetWithin),
        10 => which().prop_map(Event::Dialed),
        4 => which().prop_map(Event::DialFailed),
        10 => Just(Event::JobDone),
        4 => Just(Event::JobFailed),
        20 => which().prop_map(Event::Put),
        6 => (which(), cause).prop_map(|(which, cause)| Event::Remove(which, cause)),
        6 => which().prop_map(Event::Retry),
        20 => which().prop_map(Event::Collect),
        6 => which().prop_map(Event::GiveUp),
        4 => (1..4_u64).prop_map(Event::TimePasses),
        2 => Just(Event::Prune),
        1 => Just(Event::Close),
    ]
}

fn any_rules() -> impl Strategy<Value = (Rules, Option<Duration>)> {
    let max_active = prop_oneof![4 => 1..5_usize, 1 => Just(usize::MAX)];
    let time = || proptest::option::of((1..6_u64).prop_map(Duration::from_secs));
    (0..4_usize, max_active, any::<bool>(), time(), time(), 1..4_usize).prop_map(
        |(max_idle, max_active, wait, idle_timeout, lifetime, max_jobs)| {
            let rules = Rules { max_idle, max_active, wait, idle_timeout, max_jobs, ..rules() };
            (rules, lifetime)
        },
    )
}

/// The core and the model side by side, and everyone who uses them.
struct Run {
    lab: Lab,
    model: Model,
    rules: Rules,
    began: Instant,
    /// Who waits, woken up or not.
    waiting: Vec<(u64, Caller)>,
    next_conn: u32,
    gone: Vec<u32>,
}

impl Run {
    fn new(rules: Rules, lifetime: Option<Duration>) -> Run {
        let lab = Lab { lifetime, ..Lab::new(rules.clone()) };
        Run {
            began: lab.now,
            lab,
            model: Model::new(rules.clone(), lifetime),
            rules,
            waiting: Vec::new(),
            next_conn: 0,
            gone: Vec::new(),
        }
    }

    fn time(&self) -> Duration {
        self.lab.now - self.began
    }

    fn new_conn(&mut self) -> Conn {
        let id = self.next_conn;
        self.next_conn += 1;
        Conn { id, created: self.time(), returned: self.time() }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Get => self.asks(Caller::Dials),
            Event::GetWithin => self.asks(Caller::Waits),
            Event::Dialed(which) => self.dial_ends(which, true),
            Event::DialFailed(which) => self.dial_ends(which, false),
            Event::JobDone => self.job_ends(true),
            Event::JobFailed => self.job_ends(false),
            Event::Put(which) => {
                let Some((_, conn)) = pick(&self.model.lent, which) else { return };
                let expected = self.model.put(conn.id, self.time());
                let step = self.lab.put(conn.id);
                self.agree(step, expected);
            }
            Event::Remove(which, cause) => {
                let Some((_, conn)) = pick(&self.model.lent, which) else { return };
                self.gone.push(conn.id);
                let expected = self.model.remove(conn.id);
                let step = self.lab.remove(conn.id, *cause);
                self.agree(step, expected);
            }
            Event::Retry(which) => self.fails_its_test(which),
            Event::Collect(which) => {
                let Some((ticket, _)) = pick(&self.waiting, which) else { return };
                self.collects(ticket);
            }
            Event::GiveUp(which) => {
                let Some((ticket, _)) = pick(&self.waiting, which) else { return };
                if !self.collects(ticket) {
                    self.waiting.retain(|(waiter, _)| *waiter != ticket);
                    let older = self.model.queue.iter().filter(|(older, _)| *older < ticket);
                    let ahead = older.count();
                    let expected = self.model.give_up(ticket);
                    let (told, step) = self.lab.give_up(ticket);
                    assert_eq!(told, ahead);
                    self.agree(step, expected);
                }
            }
            Event::TimePasses(seconds) => self.lab.now += Duration::from_secs(*seconds),
            Event::Prune => {
                let expected = self.model.prune(self.time());
                let step = Step::of(self.lab.core.prune(self.lab.now));
                self.agree(step, expected);
            }
            Event::Close => {
                let expected = self.model.close();
                let step = Step::of(self.lab.core.close());
                self.agree(step, expected);
            }
        }
    }

    fn asks(&mut self, caller: Caller) {
        let ticket = self.lab.core.next_ticket;
        let expected = self.model.ask(ticket, caller, self.time());
        let step = self.lab.ask(caller);
        self.answered(ticket, caller, step, expected);
    }

    fn fails_its_test(&mut self, which: &Index) {
        let Some((ticket, conn)) = pick(&self.model.lent, which) else { return };
        self.gone.push(conn.id);
        self.model.take_back(conn.id);
        let expected = self.model.ask(ticket, Caller::Waits, self.time());
        let step = self.lab.retry(ticket, conn.id, Caller::Waits);
        self.answered(ticket, Caller::Waits, step, expected);
    }

    fn dial_ends(&mut self, which: &Index, succeeds: bool) {
        let Some(ticket) = pick(&self.model.dialing, which) else { return };
        let conn = succeeds.then(|| self.new_conn());
        let expected = self.model.dialed(ticket, conn);
        let step = match conn {
            Some(conn) => self.lab.dialed(ticket, conn.id),
            None => self.lab.dial_failed(),
        };
        self.answered(ticket, Caller::Dials, step, expected);
    }

    fn job_ends(&mut self, succeeds: bool) {
        if self.model.jobs == 0 {
            return;
        }
        let conn = succeeds.then(|| self.new_conn());
        let expected = self.model.job_ended(conn);
        let step = match conn {
            Some(conn) => self.lab.job_done(conn.id),
            None => self.lab.job_failed(),
        };
        self.agree(step, expected);
    }

    fn answered(&mut self, ticket: u64, caller: Caller, step: Step, expected: Step) {
        if matches!(step.said, Some(Said::Wait(_))) {
            self.waiting.push((ticket, caller));
        }
        self.agree(step, expected);
    }

    /// A waiter looks what there is for it; says whether there was anything.
    fn collects(&mut self, ticket: u64) -> bool {
        let expected = self.model.collect(ticket);
        assert_eq!(self.lab.collect(ticket), expected);
        if expected.is_some() {
            self.waiting.retain(|(waiter, _)| *waiter != ticket);
        }
        expected.is_some()
    }

    fn agree(&mut self, mut step: Step, mut expected: Step) {
        self.gone.extend(&step.closes);
        step.closes.sort_unstable();
        expected.closes.sort_unstable();
        assert_eq!(step, expected);
    }

    /// What has to hold at every instant, whatever the model says.
    fn check(&self) {
        let (core, model) = (&self.lab.core, &self.model);
        assert_eq!(core.open(), core.idle() + core.in_use() + core.dialing());
        assert!(core.open() <= self.rules.max_active);
        assert_eq!(self.lab.counts(), (model.idle.len(), model.in_use(), model.dials()));
        assert_eq!(core.waiting(), model.queue.len());

        let room = core.open() < self.rules.max_active && core.jobs < self.rules.max_jobs;
        assert!(core.waiting() <= core.jobs || !room, "one waits that nothing is on its way to");
        self.check_hopes();
        self.check_places();
        if core.is_closed() {
            assert_eq!((core.idle(), core.waiting()), (0, 0));
        }
    }

    /// In a pool that was not told to wait, whoever waits without a deadline waits for a dial: one
    /// that a thread runs, one that there is room for, or a newcomer's, who serves the oldest first.
    fn check_hopes(&self) {
        let room = self.rules.max_active - self.model.open();
        for (place, (ticket, caller)) in self.model.queue.iter().enumerate() {
            let newer = self.model.dialing.iter().filter(|dialer| *dialer > ticket).count();
            let hopes = (self.model.jobs + newer).saturating_add(room);
            let bounded = self.rules.wait || *caller == Caller::Waits;
            assert!(bounded || place < hopes, "{ticket} waits for what others hold");
        }
    }

    /// Every connection there ever was is in exactly one place.
    fn check_places(&self) {
        let handed = self.lab.core.ready.values().filter_map(|outcome| match outcome {
            Outcome::Take(member) => Some(member.conn),
            _ => None,
        });
        let mut everywhere: Vec<u32> = self.lab.core.idle.iter().map(|idle| idle.conn).collect();
        everywhere.extend(handed);
        everywhere.extend(self.lab.lent.keys());
        everywhere.extend(&self.gone);
        everywhere.sort_unstable();
        assert_eq!(everywhere, (0..self.next_conn).collect::<Vec<_>>());
    }

    /// Closes the pool and lets everyone finish, in some order: nothing may be left.
    fn ends(mut self, order: Index) {
        self.happens(&Event::Close);
        for (ticket, _) in self.waiting.clone() {
            assert!(self.collects(ticket), "a waiter that nobody told of the closing");
        }
        assert!(!self.model.ready.iter().any(|(_, given)| *given == Given::Dial));
        while self.model.dials() > 0 {
            self.happens(&Event::DialFailed(order));
            self.happens(&Event::JobDone);
        }
        while !self.model.lent.is_empty() {
            self.happens(&Event::Put(order));
        }
        self.check();
        assert_eq!((self.lab.core.open(), self.lab.core.ready.len()), (0, 0));
        assert_eq!(self.gone.len(), self.next_conn as usize);
        let counters = &self.lab.core.counters;
        assert_eq!(counters.dialed.total(), u64::from(self.next_conn));
        assert_eq!(counters.closed.total(), u64::from(self.next_conn));
        let with_pool = counters.closed.of(CloseReason::PoolClosed);
        assert_eq!(with_pool as usize, self.model.closed_with_pool);
    }
}

fn pick<T: Copy>(list: &[T], which: &Index) -> Option<T> {
    (!list.is_empty()).then(|| *which.get(list))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_core_does_what_the_model_does(
        (rules, lifetime) in any_rules(),
        events in prop::collection::vec(event(), 1..120),
        order in any::<Index>(),
    ) {
        let mut run = Run::new(rules, lifetime);
        for event in &events {
            run.happens(event);
            run.check();
        }
        run.ends(order);
    }
}
