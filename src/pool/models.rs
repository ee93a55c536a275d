//! The pool under a model checker, which tries orders in which its threads may run.
//!
//! A model is two or three deeds that are done to a pool at the same time, each on a thread of its
//! own. Whoever waits for ever is a deadlock, and the checker finds it; a lost wake-up is one. What
//! must hold at each step is looked at under the pool's lock after each deed, and by the core itself
//! after each event. At the end everything must be back to zero.
//!
//! `make models` runs each under `MODEL_SCHEDULES` orders (100,000), with `cargo test` it is a few
//! dozen. An order that fails is printed; see the documentation of shuttle for how to replay it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use shuttle::thread;

mod harness;
mod operations;

use harness::{KINDS, Kind, LONG, SHORT, World, lock};
use operations::{DEEDS, Deed, TRIPLES};

use crate::context::Context;
use crate::error::Error;
use crate::sync::model;

fn schedules() -> usize {
    std::env::var("MODEL_SCHEDULES").map_or(50, |text| text.parse().expect("a number"))
}

/// For a model of its own, which costs little: in a few dozen orders it would miss too much.
fn many_schedules() -> usize {
    schedules().max(2_000)
}

/// Does these at the same time, in pools of all kinds and of all sizes that matter.
fn explore(deeds: &[Deed]) -> usize {
    let lent: usize = deeds.iter().map(|(_, lent, _)| lent).sum();
    let names: Vec<_> = deeds.iter().map(|(name, ..)| *name).collect();
    // Full, where all that can be lent is; with room for one; and with one that is idle.
    let full = lent.max(1);
    let sizes = [(full, lent, 0), (full + 1, lent, 0), (full + 1, lent, 1)];
    let deeds: Vec<_> = deeds.iter().map(|(_, _, deed)| *deed).collect();
    let each = schedules().div_ceil(KINDS.len() * sizes.len());
    for kind in KINDS {
        for (max_active, lent, idle) in sizes {
            let deeds = deeds.clone();
            let model = move || {
                model::reset();
                let world = Arc::new(World::new(kind, max_active, lent, idle));
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
                eprintln!("{names:?}, {kind:?}, {max_active} at most, {lent} lent, {idle} idle");
                resume_unwind(panic);
            }
        }
    }
    KINDS.len() * sizes.len() * each
}

#[test]
fn every_pair() {
    let pairs: Vec<_> = DEEDS
        .iter()
        .enumerate()
        .flat_map(|(place, first)| DEEDS[place..].iter().map(|second| [*first, *second]))
        .collect();
    // A model is one thread of the system's, whatever it has itself.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let tried: usize = std::thread::scope(|scope| {
        let parts = pairs.chunks(pairs.len().div_ceil(processors));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().map(|pair| explore(pair)).sum::<usize>()))
            .collect();
        parts.into_iter().map(|part| part.join().expect("its pairs")).sum()
    });
    println!("{} pairs of deeds, {tried} schedules", pairs.len());
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
            let world = World::new(Kind::Plain, 1, 1, 0);
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
    shuttle::check_random(when_cancelled, many_schedules());
    shuttle::check_random(at_the_deadline, many_schedules());
    shuttle::check_random(at_the_close, many_schedules());
}

/// Whoever comes first is served first, whatever comes back when.
#[test]
fn first_come_first_served() {
    let model = || {
        model::reset();
        let world = Arc::new(World::new(Kind::Plain, 1, 1, 0));
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
    shuttle::check_random(model, many_schedules());
}
