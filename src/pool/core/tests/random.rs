//! Random sequences of events: the core and the model have to agree after every one.
//!
//! `PROPTEST_CASES` says how many sequences; when one fails, the shortest that does is shown, and the
//! `PROPTEST_RNG_SEED` that brings it back.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use super::model::{Conn, Given, Model};
use super::*;

/// What may happen. An index chooses among those to whom it can happen, if there are any.
#[derive(Debug, Clone)]
enum Event {
    Get,
    GetWithin,
    Dialed(Index),
    DialFailed(Index),
    JobDone(Index),
    JobFailed(Index),
    Put(Index),
    Remove(Index, Option<CloseReason>),
    Retry(Index, Caller),
    Collect(Index),
    GiveUp(Index),
    TimePasses(u64),
    Tick,
    Checked(bool),
    Prune,
    EvictAll,
    Resize(usize, usize),
    Suspend,
    Resume,
    WarmUp(usize),
    CoolDown,
    Watch,
    Close,
}

/// A calm pool is asked for less than it could lend, so that connections are idle for long.
fn event(calm: bool) -> impl Strategy<Value = Event> {
    let which = any::<Index>;
    let reasons = [CloseReason::Io, CloseReason::Health, CloseReason::Discarded];
    let reason = proptest::option::weighted(0.8, prop::sample::select(reasons.to_vec()));
    let caller = prop::sample::select(vec![Caller::Dials, Caller::Waits]);
    let (asks, ends, time) = if calm { (8, 20, 20) } else { (20, 10, 5) };
    prop_oneof![
        asks => Just(Event::Get),
        asks => Just(Event::GetWithin),
        ends => which().prop_map(Event::Dialed),
        4 => which().prop_map(Event::DialFailed),
        ends => which().prop_map(Event::JobDone),
        6 => which().prop_map(Event::JobFailed),
        20 => which().prop_map(Event::Put),
        6 => (which(), reason).prop_map(|(which, reason)| Event::Remove(which, reason)),
        6 => (which(), caller).prop_map(|(which, caller)| Event::Retry(which, caller)),
        20 => which().prop_map(Event::Collect),
        6 => which().prop_map(Event::GiveUp),
        time => (1..4_u64).prop_map(Event::TimePasses),
        time => Just(Event::Tick),
        time => any::<bool>().prop_map(Event::Checked),
        2 => Just(Event::Prune),
        2 => Just(Event::EvictAll),
        2 => (1..5_usize, 0..5_usize).prop_map(|(active, idle)| Event::Resize(active, idle)),
        3 => Just(Event::Suspend),
        6 => Just(Event::Resume),
        1 => (1..4_usize).prop_map(Event::WarmUp),
        1 => Just(Event::CoolDown),
        2 => Just(Event::Watch),
        1 => Just(Event::Close),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    any::<bool>().prop_flat_map(|calm| prop::collection::vec(event(calm), 1..120))
}

fn any_rules() -> impl Strategy<Value = (CoreSettings, Option<Duration>)> {
    let max_active = prop_oneof![4 => 1..5_usize, 1 => Just(usize::MAX)];
    let max_waiters = prop_oneof![3 => Just(usize::MAX), 1 => 0..3_usize];
    let min_idle = prop_oneof![2 => Just(0), 1 => 1..3_usize];
    let time = || proptest::option::of((1..6_u64).prop_map(Duration::from_secs));
    let breaker = proptest::option::of(1..4_u32);
    let sizes = (0..4_usize, max_active, min_idle, max_waiters, 1..4_usize);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let keepalive = proptest::option::weighted(0.8, (1..4_u64).prop_map(Duration::from_secs));
    (sizes, flags, time(), keepalive, time(), time(), breaker).prop_map(
        |(sizes, flags, idle_timeout, keepalive, leak_threshold, lifetime, breaker)| {
            let (max_idle, max_active, min_idle, max_waiters, max_jobs) = sizes;
            let (wait, fifo, reclaims) = flags;
            let settings = CoreSettings {
                max_idle: max_idle.max(min_idle),
                max_active: max_active.max(min_idle),
                min_idle,
                wait,
                max_waiters,
                fifo,
                idle_timeout,
                keepalive,
                leak_threshold,
                reclaims: reclaims && leak_threshold.is_some(),
                max_jobs,
                breaker,
                tracks: leak_threshold.is_some(),
                upkeep: true,
                ..settings()
            };
            (settings, lifetime)
        },
    )
}

/// The core and the model side by side, and everyone who uses them.
struct Run {
    lab: Lab,
    model: Model,
    began: Instant,
    /// Who waits, woken up or not.
    waiting: Vec<(u64, Caller)>,
    /// One that is being asked whether it lives.
    asked: Option<Box<Entry<u32>>>,
    next_conn: u32,
    gone: Vec<u32>,
    detached: u64,
    /// Whoever has asked one is to look what else is due.
    to_tick: bool,
}

/// The number of a watcher, in the place of a ticket.
const FIRST_WATCHER: u64 = 1_000_000;

impl Run {
    fn new(settings: CoreSettings, lifetime: Option<Duration>) -> Run {
        let thread = settings.tracks.then_some(1);
        let lab = Lab { lifetime, thread, ..Lab::new(settings.clone()) };
        Run {
            began: lab.now,
            lab,
            model: Model::new(settings, lifetime),
            waiting: Vec::new(),
            asked: None,
            next_conn: 0,
            gone: Vec::new(),
            detached: 0,
            to_tick: false,
        }
    }

    fn time(&self) -> Duration {
        self.lab.now - self.began
    }

    fn new_conn(&mut self, generation: u64) -> Conn {
        self.next_conn += 1;
        self.model.fresh(self.next_conn - 1, generation, self.time())
    }

    fn alarm(&self) -> Option<Duration> {
        self.lab.core.alarm.map(|at| at - self.began)
    }

    fn due(&self) -> Option<Duration> {
        let retry_at = self.lab.core.retry_at().map(|at| at - self.began);
        self.model.due(retry_at).filter(|_| !self.model.closed)
    }

    fn pause_is_over(&self) -> bool {
        self.lab.core.retry_at().is_some_and(|at| at <= self.lab.now)
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Get => self.asks(Caller::Dials),
            Event::GetWithin => self.asks(Caller::Waits),
            Event::Dialed(which) => self.dial_ends(which, true),
            Event::DialFailed(which) => self.dial_ends(which, false),
            Event::JobDone(which) => self.job_ends(which, true),
            Event::JobFailed(which) => self.job_ends(which, false),
            Event::Put(which) => {
                let Some((_, conn)) = pick(&self.model.lent, which) else { return };
                let expected = self.model.put(conn.id, self.time());
                let step = self.lab.put(conn.id);
                self.agree(step, expected);
            }
            Event::Remove(which, cause) => {
                let Some((_, conn)) = pick(&self.model.lent, which) else { return };
                self.gone.push(conn.id);
                let dead = matches!(cause, Some(CloseReason::Io | CloseReason::Health));
                let expected = self.model.remove(conn.id, dead);
                let place = self.lab.lent.remove(&conn.id).expect("it was lent").place;
                let step = Step::of(self.lab.core.remove(place, *cause, Some(self.lab.now)));
                self.detached += u64::from(cause.is_none() && !conn.reclaimed);
                self.agree(step, expected);
            }
            Event::Retry(which, caller) => self.fails_its_test(which, *caller),
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
            Event::Tick => {
                let expected = self.model.tick(self.pause_is_over(), self.time());
                let mut actions = self.lab.core.tick(self.lab.now);
                let asked = actions.more.as_mut().and_then(|more| more.ask.take());
                let asks = asked.as_ref().map(|member| member.conn);
                self.asked = asked.or(self.asked.take());
                self.agree(Step { asks, ..Step::of(actions) }, expected);
                self.to_tick = false;
                assert_eq!(self.alarm(), self.due(), "it rings when there is something to do");
            }
            Event::Checked(alive) => {
                let Some(member) = self.asked.take() else { return };
                let expected = self.model.checked(*alive, self.time());
                let step = Step::of(self.lab.core.checked(member, *alive, self.lab.now));
                self.to_tick = true;
                self.agree(step, expected);
            }
            Event::EvictAll => {
                let expected = self.model.evict_all();
                let step = Step::of(self.lab.core.evict_all());
                self.agree(step, expected);
            }
            Event::Resize(max_active, max_idle) => {
                let min_idle = self.model.settings.min_idle;
                let (max_active, max_idle) =
                    ((*max_active).max(min_idle), (*max_idle).max(min_idle));
                let expected = self.model.resize(max_active, max_idle);
                let step = Step::of(self.lab.core.resize(max_active, max_idle));
                self.agree(step, expected);
            }
            Event::Suspend => {
                self.model.suspended = true;
                self.lab.core.suspend();
            }
            Event::Resume => {
                let expected = self.model.resume(self.pause_is_over(), self.time());
                let step = Step::of(self.lab.core.resume(self.lab.now));
                self.agree(step, expected);
            }
            Event::WarmUp(connections) => {
                let expected = self.model.warm_up(*connections);
                let step = Step::of(self.lab.core.warm_up(*connections));
                self.agree(step, expected);
            }
            Event::CoolDown => {
                let Some(connections) = self.model.warm.pop() else { return };
                self.lab.core.cool_down(connections);
            }
            Event::Watch => {
                let watcher = FIRST_WATCHER + self.model.watchers.len() as u64;
                self.model.watchers.push(watcher);
                self.lab.core.watch(watcher);
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

    fn fails_its_test(&mut self, which: &Index, caller: Caller) {
        let Some((ticket, conn)) = pick(&self.model.lent, which) else { return };
        self.gone.push(conn.id);
        let expected = self.model.retry(conn.id, ticket, caller, self.time());
        let step = self.lab.retry(ticket, conn.id, caller);
        self.answered(ticket, caller, step, expected);
    }

    fn dial_ends(&mut self, which: &Index, succeeds: bool) {
        let Some((ticket, generation)) = pick(&self.model.dialing, which) else { return };
        let conn = succeeds.then(|| self.new_conn(generation));
        let expected = self.model.dialed(ticket, conn, self.time());
        let step = match conn {
            Some(conn) => {
                let fresh = self.lab.fresh_of(conn.id, generation);
                let asker = self.lab.asker(Caller::Dials);
                let reply = self.lab.core.dialed(Ticket(ticket), asker, fresh, || ticket);
                self.lab.step(reply)
            }
            None => self.lab.dial_failed(),
        };
        self.answered(ticket, Caller::Dials, step, expected);
    }

    fn job_ends(&mut self, which: &Index, succeeds: bool) {
        let jobs: Vec<usize> = (0..self.model.jobs.len()).collect();
        let Some(at) = pick(&jobs, which) else { return };
        let (cause, generation) = self.model.jobs[at];
        let conn = succeeds.then(|| self.new_conn(generation));
        let expected = self.model.job_ended(at, conn, self.time());
        let now = self.lab.now;
        let step = match conn {
            Some(conn) => {
                let fresh = self.lab.fresh_of(conn.id, generation);
                Step::of(self.lab.core.job_done(cause, fresh, now))
            }
            None => Step::of(self.lab.core.job_failed(cause, &Error::other("refused"), now)),
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
        assert!(core.open() <= model.settings.max_active.max(model.overhang));
        assert_eq!(self.lab.counts(), (model.idle.len(), model.in_use(), model.dials()));
        assert_eq!(core.waiting(), model.queue.len());
        assert_eq!(core.retry_at().is_some(), model.paused, "a pause");

        let may_dial =
            core.open() < model.settings.max_active && core.jobs < model.settings.max_jobs;
        let on_its_way = core.waiting() <= core.jobs || !may_dial || model.suspended;
        assert!(on_its_way, "one waits that nothing is on its way to");
        assert!(!model.broken || model.suspended || !model.has_room() || core.waiting() == 0);
        assert!(core.waiting() == 0 || core.idle() == 0 || model.suspended);
        let (alarm, due) = (self.alarm(), self.due());
        let rings = due.is_none() || alarm.is_some_and(|alarm| Some(alarm) <= due);
        assert!(rings || self.to_tick, "{due:?} is due, and {alarm:?} it rings");
        for (_, conn) in &model.lent {
            assert_eq!(self.lab.lent[&conn.id].doubtful, conn.doubtful, "doubt of {conn:?}");
        }
        assert_eq!((core.is_closed(), core.is_suspended()), (model.closed, model.suspended));
        self.check_places();
        if core.is_closed() {
            assert_eq!((core.idle(), core.waiting()), (0, 0));
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
        everywhere.extend(self.asked.as_ref().map(|member| member.conn));
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
        self.happens(&Event::Watch);
        while self.model.dials() > 0 {
            self.happens(&Event::DialFailed(order));
            self.happens(&Event::JobDone(order));
        }
        self.happens(&Event::Checked(true));
        let returns = match order.index(2) {
            0 => Event::Put(order),
            _ => Event::Retry(order, Caller::Waits),
        };
        while !self.model.lent.is_empty() {
            self.happens(&returns);
        }
        self.check();
        assert_eq!((self.lab.core.open(), self.lab.core.ready.len()), (0, 0));
        assert_eq!(self.gone.len(), self.next_conn as usize);
        let counters = &self.lab.core.counters;
        assert_eq!(counters.dialed.total(), u64::from(self.next_conn));
        assert_eq!(counters.closed.total() + self.detached, u64::from(self.next_conn));
        assert_eq!(counters.detached, self.detached);
        assert_eq!(self.lab.core.registry.len(), 0);
    }
}

fn pick<T: Copy>(list: &[T], which: &Index) -> Option<T> {
    (!list.is_empty()).then(|| *which.get(list))
}

fn proptest_config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().build_hasher().finish());
    }
    println!("random sequences: {:?}", config.rng_seed);
    config
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn the_core_does_what_the_model_does(
        (settings, lifetime) in any_rules(),
        events in events(),
        order in any::<Index>(),
    ) {
        let mut run = Run::new(settings, lifetime);
        for event in &events {
            run.happens(event);
            run.check();
        }
        run.ends(order);
    }
}
