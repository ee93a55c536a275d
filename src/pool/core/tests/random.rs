//! Random sequences of events: the core and the model must agree after every event.
//!
//! `PROPTEST_CASES` sets the number of sequences. A failing one is shrunk and printed, with the
//! `PROPTEST_RNG_SEED` that reproduces it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use super::model::{Conn, Dial, Model};
use super::*;

/// An event. An index selects one of the callers, dials or connections that it can happen to; if
/// there are none, nothing happens.
#[derive(Debug, Clone)]
enum Event {
    Get,
    DialBegins(Index),
    DialPauses(Index),
    DialRetries(Index),
    /// The dial, and the seconds that it took.
    DialSucceeds(Index, u64),
    DialFails(Index),
    CheckDials,
    CheckIn(Index, Disposition),
    DropUnclean(Index),
    /// The connection is clean, or has failed.
    Cleaned(Index, bool),
    Replace(Index),
    Collect(Index),
    LeaveQueue(Index),
    TimePasses(u64),
    RunDue,
    PingEnds(bool),
    Prune,
    EvictAll,
    Resize(usize, usize),
    Suspend,
    Resume,
    BeginWarmUp(usize),
    EndWarmUp,
    Watch,
    Close,
}

/// In a quiet pool there are fewer checkouts, so that connections stay idle for long.
fn event(quiet: bool) -> impl Strategy<Value = Event> {
    let which = any::<Index>;
    let reasons = [CloseReason::Io, CloseReason::Health, CloseReason::Discarded];
    let ends = prop_oneof![
        20 => Just(Disposition::Return),
        5 => prop::sample::select(reasons.to_vec()).prop_map(Disposition::Close),
        1 => Just(Disposition::Detach),
    ];
    let (gets, dials, time) = if quiet { (8, 20, 20) } else { (20, 10, 5) };
    prop_oneof![
        2 * gets => Just(Event::Get),
        dials => which().prop_map(Event::DialBegins),
        dials => (which(), 0..4_u64).prop_map(|(which, took)| Event::DialSucceeds(which, took)),
        6 => which().prop_map(Event::DialFails),
        4 => which().prop_map(Event::DialPauses),
        4 => which().prop_map(Event::DialRetries),
        4 => Just(Event::CheckDials),
        26 => (which(), ends).prop_map(|(which, how)| Event::CheckIn(which, how)),
        5 => which().prop_map(Event::DropUnclean),
        8 => (which(), any::<bool>()).prop_map(|(which, clean)| Event::Cleaned(which, clean)),
        6 => which().prop_map(Event::Replace),
        20 => which().prop_map(Event::Collect),
        6 => which().prop_map(Event::LeaveQueue),
        time => (1..4_u64).prop_map(Event::TimePasses),
        time => Just(Event::RunDue),
        time => any::<bool>().prop_map(Event::PingEnds),
        2 => Just(Event::Prune),
        2 => Just(Event::EvictAll),
        2 => (1..5_usize, 0..5_usize).prop_map(|(active, idle)| Event::Resize(active, idle)),
        3 => Just(Event::Suspend),
        6 => Just(Event::Resume),
        1 => (1..4_usize).prop_map(Event::BeginWarmUp),
        1 => Just(Event::EndWarmUp),
        2 => Just(Event::Watch),
        1 => Just(Event::Close),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    any::<bool>().prop_flat_map(|quiet| prop::collection::vec(event(quiet), 1..120))
}

fn any_settings() -> impl Strategy<Value = (CoreSettings, Option<Duration>)> {
    let max_active = proptest::option::weighted(0.8, 1..5_usize);
    let max_waiters = proptest::option::weighted(0.25, 0..3_usize);
    let min_idle = prop_oneof![2 => Just(0), 1 => 1..3_usize];
    let time = || proptest::option::of((1..6_u64).prop_map(Duration::from_secs));
    let breaker = proptest::option::of(1..4_u32);
    let sizes = (0..4_usize, max_active, min_idle, max_waiters, 1..4_usize, 1..3_usize);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let keepalive = proptest::option::weighted(0.8, (1..4_u64).prop_map(Duration::from_secs));
    (sizes, flags, time(), keepalive, time(), time(), breaker).prop_map(
        |(sizes, flags, idle_timeout, keepalive, leak_threshold, lifetime, breaker)| {
            let (max_idle, max_active, min_idle, max_waiters, max_concurrent_dials, max_cleaners) =
                sizes;
            let (wait, fifo, reclaim_leaked) = flags;
            let settings = CoreSettings {
                max_idle: max_idle.max(min_idle),
                max_active: max_active.map(|max| max.max(min_idle)),
                min_idle,
                wait,
                max_waiters,
                fifo,
                idle_timeout,
                keepalive,
                leak_threshold,
                reclaim_leaked: reclaim_leaked && leak_threshold.is_some(),
                max_concurrent_dials,
                max_cleaners,
                breaker,
                track_borrows: leak_threshold.is_some(),
                has_timer: true,
                ..settings()
            };
            (settings, lifetime)
        },
    )
}

/// The core and the model side by side, and the callers of both.
struct Run {
    pool: Harness,
    model: Model,
    began: Instant,
    /// Callers that wait or have not collected their grant.
    waiting: Vec<u64>,
    pinged: Option<Box<Entry<u32>>>,
    /// The connections that cleaners have, in the model's order.
    #[allow(clippy::vec_box)]
    cleaning: Vec<Box<Entry<u32>>>,
    next_conn: u32,
    gone: Vec<u32>,
    detached: u64,
    /// After a ping, the alarm is set by the next `run_due`.
    run_due_pending: bool,
}

/// Watchers are numbered from here on, to tell them from tickets.
const FIRST_WATCHER: u64 = 1_000_000;

impl Run {
    fn new(settings: CoreSettings, lifetime: Option<Duration>) -> Run {
        let thread = settings.track_borrows.then_some(1);
        let harness = Harness::new(settings.clone());
        let pool = Harness { lifetime, thread, dials_wait: true, ..harness };
        Run {
            began: pool.now,
            pool,
            model: Model::new(settings, lifetime),
            waiting: Vec::new(),
            pinged: None,
            cleaning: Vec::new(),
            next_conn: 0,
            gone: Vec::new(),
            detached: 0,
            run_due_pending: false,
        }
    }

    fn time(&self) -> Duration {
        self.pool.now - self.began
    }

    fn new_conn(&mut self, generation: u64) -> Conn {
        self.next_conn += 1;
        self.model.new_conn(self.next_conn - 1, generation, self.time())
    }

    fn alarm(&self) -> Option<Duration> {
        self.pool.core.alarm.map(|at| at - self.began)
    }

    fn due(&self) -> Option<Duration> {
        let paused_until = self.pool.core.paused_until().map(|at| at - self.began);
        self.model.due(paused_until).filter(|_| !self.model.closed)
    }

    fn pause_is_over(&self) -> bool {
        self.pool.core.paused_until().is_some_and(|at| at <= self.pool.now)
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Get => self.check_out(),
            Event::DialBegins(which) => {
                let Some(at) = self.pick_dial(which, |dial| dial.began.is_none()) else { return };
                self.begin_dial(at);
            }
            Event::DialPauses(which) => {
                let running = |dial: &Dial| dial.began.is_some() && !dial.paused;
                let Some(at) = self.pick_dial(which, running) else { return };
                let expected = self.model.pause_dial(at);
                let actions = self.pool.core.pause_dial(self.pool.dials[at]);
                self.agree(actions, expected);
            }
            Event::DialRetries(which) => {
                let Some(at) = self.pick_dial(which, |dial| dial.paused) else { return };
                let expected = self.model.retry_dial(at);
                assert_eq!(self.pool.core.retry_dial(self.pool.dials[at]), expected);
            }
            Event::DialSucceeds(which, took) => {
                let Some(at) = self.pick_dial(which, |_| true) else { return };
                self.dial_succeeds(at, Duration::from_secs(*took));
            }
            Event::DialFails(which) => {
                let Some(at) = self.pick_dial(which, |_| true) else { return };
                let expected = self.model.dial_ended(at, None, Duration::ZERO, self.time());
                let step = self.pool.nth_dial_fails(at);
                self.compare(step, expected);
            }
            Event::CheckDials => {
                let expected = self.model.check_dials(self.time());
                let step = self.pool.check_dials();
                self.compare(step, expected);
            }
            Event::CheckIn(which, disposition) => self.check_in(which, *disposition),
            Event::DropUnclean(which) => self.drop_unclean(which),
            Event::Cleaned(which, is_clean) => {
                let all: Vec<usize> = (0..self.cleaning.len()).collect();
                let Some(at) = pick(&all, which) else { return };
                self.cleaned(at, *is_clean);
            }
            Event::Replace(which) => self.replace(which),
            Event::Collect(which) => {
                let Some(ticket) = pick(&self.waiting, which) else { return };
                self.collect(ticket);
            }
            Event::LeaveQueue(which) => {
                let Some(ticket) = pick(&self.waiting, which) else { return };
                if !self.collect(ticket) {
                    self.waiting.retain(|waiter| *waiter != ticket);
                    let ahead = self.model.queue.iter().filter(|older| **older < ticket).count();
                    self.model.leave_queue(ticket);
                    assert_eq!(self.pool.leave_queue(ticket), ahead);
                }
            }
            Event::TimePasses(seconds) => self.pool.now += Duration::from_secs(*seconds),
            Event::Prune => {
                let expected = self.model.prune(self.time());
                let step = self.pool.prune();
                self.compare(step, expected);
            }
            Event::RunDue => {
                let expected = self.model.run_due(self.pause_is_over(), self.time());
                let mut actions = self.pool.core.run_due(self.pool.now);
                let pinged = actions.deferred.as_mut().and_then(|deferred| deferred.ping.take());
                let pings = pinged.as_ref().map(|entry| entry.conn);
                self.pinged = pinged.or(self.pinged.take());
                let step = self.pool.effects(actions);
                self.compare(Step { pings, ..step }, expected);
                self.run_due_pending = false;
                assert_eq!(self.alarm(), self.due(), "the alarm");
            }
            Event::PingEnds(alive) => {
                let Some(entry) = self.pinged.take() else { return };
                let expected = self.model.ping_ended(*alive, self.time());
                let step = self.pool.ping_ends(entry, *alive);
                self.run_due_pending = true;
                self.compare(step, expected);
            }
            Event::EvictAll => {
                let expected = self.model.evict_all();
                let step = self.pool.evict_all();
                self.compare(step, expected);
            }
            Event::Resize(max_active, max_idle) => {
                let min_idle = self.model.settings.min_idle;
                let (max_active, max_idle) =
                    ((*max_active).max(min_idle), (*max_idle).max(min_idle));
                let expected = self.model.resize(Some(max_active), max_idle);
                let step = self.pool.resize(max_active, max_idle);
                self.compare(step, expected);
            }
            Event::Suspend => {
                self.model.suspended = true;
                self.pool.core.suspend();
            }
            Event::Resume => {
                let expected = self.model.resume(self.pause_is_over(), self.time());
                let step = self.pool.resume();
                self.compare(step, expected);
            }
            Event::BeginWarmUp(connections) => {
                let expected = self.model.begin_warm_up(*connections);
                let step = self.pool.begin_warm_up(*connections);
                self.compare(step, expected);
            }
            Event::EndWarmUp => {
                let Some(connections) = self.model.warm_ups.pop() else { return };
                self.pool.core.end_warm_up(connections);
            }
            Event::Watch => {
                let watcher = FIRST_WATCHER + self.model.watchers.len() as u64;
                self.model.watchers.push(watcher);
                self.pool.core.watch(watcher);
            }
            Event::Close => {
                let expected = self.model.close();
                let step = self.pool.close_pool();
                self.compare(step, expected);
            }
        }
    }

    fn check_out(&mut self) {
        let ticket = self.pool.core.next_ticket;
        let expected = self.model.check_out(ticket, self.time());
        let step = self.pool.get();
        self.answered(ticket, step, expected);
    }

    fn check_in(&mut self, which: &Index, disposition: Disposition) {
        let Some((_, conn)) = pick(&self.model.borrowed, which) else { return };
        let expected = self.model.check_in(conn.id, disposition, self.time());
        let actions = self.pool.end(conn.id, disposition, Some(self.pool.now));
        if disposition == Disposition::Detach {
            self.gone.push(conn.id);
            self.detached += u64::from(!conn.reclaimed);
        }
        self.agree(actions, expected);
    }

    fn drop_unclean(&mut self, which: &Index) {
        let Some((_, conn)) = pick(&self.model.borrowed, which) else { return };
        let (dropped, now) = (self.pool.now, Some(self.pool.now));
        let expected = self.model.check_in(conn.id, Disposition::Clean { dropped }, self.time());
        let mut actions = self.pool.end(conn.id, Disposition::Clean { dropped }, now);
        let unclean = actions.deferred.as_mut().and_then(|deferred| deferred.clean.take());
        let cleans = unclean.as_ref().map(|unclean| unclean.entry.conn);
        self.cleaning.extend(unclean.map(|unclean| unclean.entry));
        let step = self.pool.effects(actions);
        self.compare(Step { cleans, ..step }, expected);
    }

    fn cleaned(&mut self, at: usize, is_clean: bool) {
        let disposition = match is_clean {
            true => Disposition::Return,
            false => Disposition::Close(CloseReason::Io),
        };
        let (entry, now) = (self.cleaning.remove(at), Some(self.pool.now));
        let expected = self.model.cleaned(at, is_clean, self.time());
        let mut actions = Actions::none();
        let next = self.pool.core.cleaned(entry, disposition, now, &mut actions);
        let cleans = next.as_ref().map(|unclean| unclean.entry.conn);
        self.cleaning.extend(next.map(|unclean| unclean.entry));
        let step = self.pool.effects(actions);
        self.compare(Step { cleans, ..step }, expected);
    }

    fn replace(&mut self, which: &Index) {
        let Some((ticket, conn)) = pick(&self.model.borrowed, which) else { return };
        let expected = self.model.replace(conn.id, ticket, self.time());
        let step = self.pool.replace(ticket, conn.id);
        self.gone.push(conn.id);
        self.answered(ticket, step, expected);
    }

    fn pick_dial(&self, which: &Index, holds: impl Fn(&Dial) -> bool) -> Option<usize> {
        let dials = self.model.dials.iter().enumerate();
        let found: Vec<usize> = dials.filter(|(_, dial)| holds(dial)).map(|(at, _)| at).collect();
        pick(&found, which)
    }

    fn begin_dial(&mut self, at: usize) {
        self.model.begin_dial(at, self.time());
        self.pool.core.begin_dial(self.pool.dials[at], self.pool.now);
    }

    fn dial_succeeds(&mut self, at: usize, took: Duration) {
        if self.model.dials[at].began.is_none() {
            self.begin_dial(at);
        }
        let (generation, _) = self.model.dials[at].began.expect("a running dial");
        let conn = self.new_conn(generation);
        let expected = self.model.dial_ended(at, Some(conn), took, self.time());
        let step = self.pool.dial_succeeds_after(at, conn.id, took);
        self.compare(step, expected);
    }

    fn answered(&mut self, ticket: u64, step: Step, expected: Step) {
        if matches!(step.outcome, Some(Outcome::Wait(_))) {
            self.waiting.push(ticket);
        }
        self.compare(step, expected);
    }

    /// A waiter collects its grant. Returns true if there was one.
    fn collect(&mut self, ticket: u64) -> bool {
        let expected = self.model.collect(ticket);
        assert_eq!(self.pool.collect(ticket), expected);
        if expected.is_some() {
            self.waiting.retain(|waiter| *waiter != ticket);
        }
        expected.is_some()
    }

    fn agree(&mut self, actions: Actions<u32, u64>, expected: Step) {
        let step = self.pool.effects(actions);
        self.compare(step, expected);
    }

    fn compare(&mut self, mut step: Step, mut expected: Step) {
        self.gone.extend(&step.closes);
        step.closes.sort_unstable();
        expected.closes.sort_unstable();
        assert_eq!(step, expected);
    }

    /// Checks the invariants that hold at every instant.
    fn check(&self) {
        let (core, model) = (&self.pool.core, &self.model);
        assert_eq!(core.open(), core.idle() + core.in_use() + core.dialing());
        let ceiling = model.settings.max_active.max(model.shrink_ceiling);
        assert!(model.settings.max_active.is_none() || Some(core.open()) <= ceiling);
        assert_eq!(self.pool.counts(), (model.idle.len(), model.in_use(), model.dials.len()));
        assert_eq!(core.waiting(), model.queue.len());
        assert_eq!(core.paused_until().is_some(), model.paused, "a pause");

        let covered = model.oldest_uncovered().is_none() || !model.can_start_dial();
        assert!(covered || model.suspended || model.broken, "a waiter without a dial");
        let dials_at = |time| model.clone().check_dials(time).dials;
        let hour = Duration::from_secs(3600);
        let blocked = dials_at(self.time()) == 0 && dials_at(self.time() + hour) > 0;
        assert!(!blocked || core.next_dial_check(self.pool.now).is_some(), "no check is due");
        let refused = !model.has_slot() || core.waiting() == 0 || core.in_use() > 0;
        assert!(refused || model.suspended || !model.broken, "a waiter without a connection");
        assert!(core.waiting() == 0 || core.idle() == 0 || model.suspended);
        let (alarm, due) = (self.alarm(), self.due());
        let rings = due.is_none() || alarm.is_some_and(|alarm| Some(alarm) <= due);
        assert!(rings || self.run_due_pending, "{due:?} is due, the alarm is {alarm:?}");
        for (_, conn) in &model.borrowed {
            assert_eq!(self.pool.borrowed[&conn.id].suspect, conn.suspect, "{conn:?}");
        }
        assert_eq!((core.is_closed(), core.is_suspended()), (model.closed, model.suspended));
        self.check_each_conn_is_in_one_place();
        if core.is_closed() {
            assert_eq!((core.idle(), core.waiting()), (0, 0));
        }
    }

    fn check_each_conn_is_in_one_place(&self) {
        let granted = self.pool.core.granted.values().filter_map(|grant| match grant {
            Grant::Conn(_, entry) => Some(entry.conn),
            _ => None,
        });
        let mut all: Vec<u32> = self.pool.core.idle.iter().map(|idle| idle.conn).collect();
        all.extend(granted);
        all.extend(self.pool.borrowed.keys());
        all.extend(self.pinged.as_ref().map(|entry| entry.conn));
        all.extend(self.cleaning.iter().map(|entry| entry.conn));
        all.extend(self.pool.core.cleaning.waiting().map(|entry| entry.conn));
        all.extend(&self.gone);
        all.sort_unstable();
        assert_eq!(all, (0..self.next_conn).collect::<Vec<_>>());
    }

    /// Closes the pool and lets every caller finish. Nothing may be left.
    fn end(mut self, order: Index) {
        self.happens(&Event::Close);
        for ticket in self.waiting.clone() {
            assert!(self.collect(ticket), "a waiter that does not know of the close");
        }
        self.happens(&Event::Watch);
        while !self.model.dials.is_empty() {
            self.happens(&Event::DialFails(order));
            self.happens(&Event::DialSucceeds(order, 0));
        }
        self.happens(&Event::PingEnds(true));
        while !self.cleaning.is_empty() {
            self.happens(&Event::Cleaned(order, true));
        }
        let check_in = match order.index(2) {
            0 => Event::CheckIn(order, Disposition::Return),
            _ => Event::Replace(order),
        };
        while !self.model.borrowed.is_empty() {
            self.happens(&check_in);
        }
        self.check();
        assert_eq!((self.pool.core.open(), self.pool.core.granted.len()), (0, 0));
        assert_eq!(self.gone.len(), self.next_conn as usize);
        let counters = &self.pool.core.counters;
        assert_eq!(counters.dialed.total(), u64::from(self.next_conn));
        assert_eq!(counters.closed.total() + self.detached, u64::from(self.next_conn));
        assert_eq!(counters.detached, self.detached);
        assert_eq!(self.pool.core.registry.len(), 0);
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
        (settings, lifetime) in any_settings(),
        events in events(),
        order in any::<Index>(),
    ) {
        let mut run = Run::new(settings, lifetime);
        for event in &events {
            run.happens(event);
            run.check();
        }
        run.end(order);
    }
}
