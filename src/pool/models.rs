//! The pool under a model checker, which tries orders in which its threads may run.
//!
//! A model is two or three deeds that are done to a pool at the same time, each on a thread of its
//! own. Whoever waits for ever is a deadlock, and the checker finds it; a lost wake-up is one. What
//! must hold at each step is looked at under the pool's lock after each deed, and by the core itself
//! after each event. At the end everything must be back to zero.
//!
//! `make models` runs each under `MODEL_SCHEDULES` orders (100,000), with `cargo test` it is a few
//! hundred. An order that fails is printed; see the documentation of shuttle for how to replay it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shuttle::thread;

use super::pool::Pool;
use super::pooled::PooledConn;
use crate::args::ToArgs;
use crate::conn::conn::Conn;
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::sync::model;
use crate::value::Value;

/// No model goes on for so long.
const LONG: Duration = Duration::from_secs(3600);
/// How long the impatient wait.
const SHORT: Duration = Duration::from_millis(10);
/// When a connection that is idle is pruned.
const IDLE: Duration = Duration::from_secs(60);

/// A connection that only counts.
struct Counted(Arc<AtomicUsize>, bool);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Counted {
        open.fetch_add(1, SeqCst);
        Counted(Arc::clone(open), true)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.close();
    }
}

impl RawSend for Counted {
    fn send(&mut self, _: &str, _: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Ok(())
    }
}

impl RawReceive for Counted {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        Ok(Value::Nil)
    }

    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Ok(false)
    }
}

impl RawConn for Counted {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        unimplemented!("no model splits a connection")
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle::new(|| {})
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.1) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Refuse,
    Panic,
}

/// What the deeds are done to.
struct World {
    pool: Pool,
    max_active: usize,
    /// Connections that are not closed.
    open: Arc<AtomicUsize>,
    /// How the next dials end, before they succeed again.
    verdicts: Arc<Mutex<VecDeque<Verdict>>>,
    /// Lent before the model begins, for those who give back.
    lent: Mutex<Vec<PooledConn>>,
    may_close: AtomicBool,
}

impl World {
    fn new(max_active: usize, lent: usize, idle: usize) -> World {
        let open = Arc::new(AtomicUsize::new(0));
        let verdicts = Arc::new(Mutex::new(VecDeque::new()));
        let (counted, next) = (Arc::clone(&open), Arc::clone(&verdicts));
        let dial = move |_: &Context| {
            // Here another thread may come in between.
            thread::yield_now();
            match lock(&next).pop_front() {
                None => Ok(Conn::new(Counted::new(&counted))),
                Some(Verdict::Refuse) => Err(Error::other("refused")),
                Some(Verdict::Panic) => resume_unwind(Box::new("a trap in the dial function")),
            }
        };
        let builder = Pool::builder_with(dial).max_active(max_active).wait(true);
        let pool = builder.idle_timeout(IDLE).max_concurrent_dials(1).build().expect("a pool");
        let mut borrowed: Vec<_> =
            (0..lent + idle).map(|_| pool.acquire().expect("a connection")).collect();
        borrowed.truncate(lent);
        let (lent, may_close) = (Mutex::new(borrowed), AtomicBool::new(false));
        World { pool, max_active, open, verdicts, lent, may_close }
    }

    fn take_lent(&self) -> PooledConn {
        lock(&self.lent).pop().expect("one that was lent before")
    }

    /// What must hold at each instant. It is about places: a connection that is on its way out has
    /// given up its own before its socket is closed, on the time of nobody who waits for it.
    fn check(&self) {
        let stats = self.pool.stats();
        assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing, "{stats:?}");
        assert!(stats.open <= self.max_active, "{stats:?}");
        assert!(stats.waiting == 0 || stats.idle == 0, "idle while somebody waits: {stats:?}");
    }

    /// What has come of asking, and the connection is given back.
    fn settle(&self, outcome: Result<PooledConn>, may_fail: fn(&Error) -> bool) {
        self.check();
        match outcome {
            Ok(conn) => drop(conn),
            Err(Error::PoolClosed) => assert!(self.may_close.load(SeqCst), "nobody closed it"),
            // A dial fails one caller, whoever that is.
            Err(error) if error.to_string().contains("refused") => {}
            Err(error) if error.to_string().contains("panicked") => {}
            Err(error) => assert!(may_fail(&error), "{error:?}"),
        }
        self.check();
    }

    /// Everything comes to its end, and nothing is left.
    fn end(self) {
        lock(&self.lent).clear();
        while self.pool.stats().dialing > 0 {
            thread::yield_now();
        }
        self.check();
        let stats = self.pool.stats();
        assert_eq!((stats.in_use, stats.waiting, stats.open), (0, 0, stats.idle), "{stats:?}");
        assert_eq!(self.open.load(SeqCst), stats.idle, "{stats:?}");
        // The next one can have all that there is.
        if !self.pool.is_closed() {
            lock(&self.verdicts).clear();
            let all: Vec<_> = (0..self.max_active).map(|_| self.pool.acquire()).collect();
            assert!(all.iter().all(Result::is_ok), "a place is lost");
        }
        let open = Arc::clone(&self.open);
        drop(self);
        assert_eq!(open.load(SeqCst), 0, "a connection is left open");
    }
}

fn never(_: &Error) -> bool {
    false
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is done at the same time as others. The second says how many connections it needs that were
/// lent before.
type Deed = (&'static str, usize, fn(&World));

const DEEDS: [Deed; 13] = [
    ("get", 0, |world| world.settle(world.pool.acquire(), never)),
    ("get patiently", 0, |world| world.settle(world.pool.get_timeout(LONG), never)),
    ("give up", 0, |world| world.settle(world.pool.get_timeout(SHORT), Error::is_timeout)),
    ("be cancelled", 0, |world| {
        let (ctx, cancel) = Context::background().with_cancel();
        let canceller = thread::spawn(move || cancel.cancel());
        world.settle(world.pool.get_context(&ctx), Error::is_canceled);
        canceller.join().expect("it only cancels");
    }),
    ("put", 1, |world| drop(world.take_lent())),
    ("discard", 1, |world| world.take_lent().discard()),
    ("panic with it", 1, |world| {
        let conn = world.take_lent();
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _conn = conn;
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(panicked.is_err());
    }),
    ("get, and the dial fails", 0, |world| {
        lock(&world.verdicts).push_back(Verdict::Refuse);
        world.settle(world.pool.acquire(), never);
    }),
    ("get patiently, and the dial fails", 0, |world| {
        lock(&world.verdicts).push_back(Verdict::Refuse);
        world.settle(world.pool.get_timeout(LONG), never);
    }),
    ("get patiently, and the dial panics", 0, |world| {
        lock(&world.verdicts).push_back(Verdict::Panic);
        world.settle(world.pool.get_timeout(LONG), never);
    }),
    ("let a moment pass", 0, |_| model::advance(SHORT)),
    ("let a minute pass and prune", 0, |world| {
        model::advance(IDLE);
        world.pool.prune();
    }),
    ("close", 0, |world| {
        world.may_close.store(true, SeqCst);
        world.pool.close();
    }),
];

/// Those of which three at a time are the most dangerous: somebody waits, the thing waited for comes,
/// and something gets in between.
const TRIPLES: [[&str; 3]; 20] = [
    ["get patiently", "get patiently", "put"],
    ["get", "get patiently", "put"],
    ["get patiently", "give up", "put"],
    ["give up", "let a moment pass", "put"],
    ["give up", "let a moment pass", "close"],
    ["give up", "let a moment pass", "discard"],
    ["get patiently", "be cancelled", "put"],
    ["get patiently", "be cancelled", "discard"],
    ["be cancelled", "put", "close"],
    ["get patiently", "put", "close"],
    ["get patiently", "discard", "close"],
    ["get patiently", "panic with it", "close"],
    ["get patiently", "get, and the dial fails", "discard"],
    ["get patiently", "get patiently, and the dial fails", "discard"],
    ["get", "get patiently, and the dial panics", "discard"],
    ["get", "discard", "close"],
    ["get", "panic with it", "close"],
    ["get", "put", "let a minute pass and prune"],
    ["get patiently", "get patiently, and the dial fails", "let a minute pass and prune"],
    ["get patiently, and the dial panics", "discard", "let a minute pass and prune"],
];

fn schedules() -> usize {
    std::env::var("MODEL_SCHEDULES").map_or(200, |text| text.parse().expect("a number"))
}

/// Does these at the same time, in pools of all sizes that matter.
fn explore(deeds: &[Deed]) -> usize {
    let lent: usize = deeds.iter().map(|(_, lent, _)| lent).sum();
    let names: Vec<_> = deeds.iter().map(|(name, ..)| *name).collect();
    // Full, where all that can be lent is; with room for one; and with one that is idle.
    let full = lent.max(1);
    let sizes = [(full, lent, 0), (full + 1, lent, 0), (full + 1, lent, 1)];
    let deeds: Vec<_> = deeds.iter().map(|(_, _, deed)| *deed).collect();
    let each = schedules().div_ceil(sizes.len());
    for (max_active, lent, idle) in sizes {
        let deeds = deeds.clone();
        let model = move || {
            model::reset();
            let world = Arc::new(World::new(max_active, lent, idle));
            let threads: Vec<_> = deeds
                .iter()
                .map(|deed| {
                    let (deed, world) = (*deed, Arc::clone(&world));
                    thread::spawn(move || deed(&world))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().expect("a deed"));
            Arc::into_inner(world).expect("the threads have ended").end();
        };
        let found = catch_unwind(AssertUnwindSafe(|| shuttle::check_random(model, each)));
        if let Err(panic) = found {
            eprintln!("{names:?}, {max_active} at most, {lent} lent, {idle} idle");
            resume_unwind(panic);
        }
    }
    sizes.len() * each
}

#[test]
fn every_pair() {
    let (mut pairs, mut tried) = (0, 0);
    for (place, first) in DEEDS.iter().enumerate() {
        for second in &DEEDS[place..] {
            tried += explore(&[*first, *second]);
            pairs += 1;
        }
    }
    println!("{pairs} pairs of deeds, {tried} schedules");
}

#[test]
fn the_dangerous_triples() {
    let mut tried = 0;
    for names in TRIPLES {
        let deed = |name| *DEEDS.iter().find(|(own, ..)| *own == name).expect("a deed");
        tried += explore(&names.map(deed));
    }
    println!("{} triples of deeds, {tried} schedules", TRIPLES.len());
}

/// Nothing comes back, and whoever waits leaves all the same: no wake-up of these is lost, for no
/// other comes to cover it up.
#[test]
fn who_waits_in_vain_leaves() {
    let model = |ends: fn(&World)| {
        move || {
            model::reset();
            let world = World::new(1, 1, 0);
            ends(&world);
            assert_eq!(world.pool.stats().in_use, 1);
            world.end();
        }
    };
    let when_cancelled = model(|world| {
        let (ctx, cancel) = Context::background().with_cancel();
        let canceller = thread::spawn(move || cancel.cancel());
        assert!(world.pool.get_context(&ctx).expect_err("there is none").is_canceled());
        canceller.join().expect("it only cancels");
    });
    let at_the_deadline = model(|world| {
        let pool = world.pool.clone();
        let waiter = thread::spawn(move || pool.get_timeout(SHORT).map(drop));
        while world.pool.stats().wait_timeouts == 0 {
            model::advance(SHORT);
            thread::yield_now();
        }
        let outcome = waiter.join().expect("a waiter");
        assert!(outcome.expect_err("there is none").is_timeout());
    });
    let at_the_close = model(|world| {
        let pool = world.pool.clone();
        let closer = thread::spawn(move || pool.close());
        let outcome = world.pool.get_timeout(LONG).map(drop);
        assert!(matches!(outcome, Err(Error::PoolClosed)));
        closer.join().expect("it only closes");
    });
    shuttle::check_random(when_cancelled, schedules());
    shuttle::check_random(at_the_deadline, schedules());
    shuttle::check_random(at_the_close, schedules());
}

/// Whoever comes first is served first, whatever comes back when.
#[test]
fn first_come_first_served() {
    let model = || {
        model::reset();
        let world = Arc::new(World::new(1, 1, 0));
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for number in 0..3 {
            let (own, order) = (Arc::clone(&world), Arc::clone(&served));
            waiting.push(thread::spawn(move || {
                let conn = own.pool.get_timeout(LONG).expect("a connection");
                lock(&order).push(number);
                drop(conn);
            }));
            while world.pool.stats().waiting <= number {
                thread::yield_now();
            }
        }
        // A newcomer does not get in between.
        let (own, order) = (Arc::clone(&world), Arc::clone(&served));
        waiting.push(thread::spawn(move || {
            let conn = own.pool.acquire().expect("a connection");
            lock(&order).push(3);
            drop(conn);
        }));
        drop(world.take_lent());
        waiting.into_iter().for_each(|thread| thread.join().expect("it is served"));
        let order = lock(&served).clone();
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
        Arc::into_inner(world).expect("the threads have ended").end();
    };
    shuttle::check_random(model, schedules());
}
