//! The pool under a model checker, which tries different orders of its threads' steps.
//!
//! A model runs two or three operations on one pool, each on its own thread. A thread that waits
//! forever is a deadlock, which the checker finds; a lost wake-up is one. The invariants are checked
//! under the pool's lock after each operation, and by the core after each event. At the end, all
//! counts must be zero again.
//!
//! `make models` runs each model under `MODEL_SCHEDULES` orders (100,000); `cargo test` under a few
//! dozen. A failing order is printed; the documentation of shuttle describes how to replay it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use shuttle::thread;

mod harness;
mod operations;

use harness::{Harness, KINDS, Kind, LONG, SHORT, lock};
use operations::{OPERATIONS, Operation, TRIPLES};

use crate::context::Context;
use crate::error::Error;
use crate::sync::model;

fn schedules() -> usize {
    std::env::var("MODEL_SCHEDULES").map_or(50, |text| text.parse().expect("a number"))
}

/// For a single cheap model, for which a few dozen orders are too few.
fn many_schedules() -> usize {
    schedules().max(2_000)
}

/// Runs these operations at the same time, in pools of all kinds and sizes that matter.
fn explore(operations: &[Operation]) -> usize {
    let borrowed: usize = operations.iter().map(|operation| operation.borrowed).sum();
    let names: Vec<_> = operations.iter().map(|operation| operation.name).collect();
    // Full; with a free slot; with a free slot and an idle connection.
    let full = borrowed.max(1);
    let sizes = [(full, 0), (full + 1, 0), (full + 1, 1)];
    let runs: Vec<_> = operations.iter().map(|operation| operation.run).collect();
    let each = schedules().div_ceil(KINDS.len() * sizes.len());
    for kind in KINDS {
        for (max_active, idle) in sizes {
            let runs = runs.clone();
            let model = move || {
                model::reset();
                let harness = Arc::new(Harness::new(kind, max_active, borrowed, idle));
                let threads: Vec<_> = runs
                    .iter()
                    .map(|run| {
                        let (run, harness) = (*run, Arc::clone(&harness));
                        thread::spawn(move || run(&harness))
                    })
                    .collect();
                threads.into_iter().for_each(|thread| thread.join().expect("an operation"));
                Arc::into_inner(harness).expect("the threads have ended").end();
            };
            let found = catch_unwind(AssertUnwindSafe(|| shuttle::check_random(model, each)));
            if let Err(panic) = found {
                eprintln!(
                    "{names:?}, {kind:?}, max_active {max_active}, {borrowed} in use, {idle} idle"
                );
                resume_unwind(panic);
            }
        }
    }
    KINDS.len() * sizes.len() * each
}

#[test]
fn every_pair() {
    let pairs: Vec<_> = OPERATIONS
        .iter()
        .enumerate()
        .flat_map(|(at, first)| OPERATIONS[at..].iter().map(|second| [*first, *second]))
        .collect();
    // All threads of a model run on one system thread.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let tried: usize = std::thread::scope(|scope| {
        let parts = pairs.chunks(pairs.len().div_ceil(processors));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().map(|pair| explore(pair)).sum::<usize>()))
            .collect();
        parts.into_iter().map(|part| part.join().expect("its pairs")).sum()
    });
    println!("{} pairs of operations, {tried} schedules", pairs.len());
}

#[test]
fn the_dangerous_triples() {
    let mut tried = 0;
    for names in TRIPLES {
        let find = |name| OPERATIONS.iter().find(|operation| operation.name == name);
        tried += explore(&names.map(|name| *find(name).expect("an operation")));
    }
    println!("{} triples of operations, {tried} schedules", TRIPLES.len());
}

/// No connection is returned, so no other wake-up hides a lost one.
#[test]
fn a_waiter_without_a_connection_leaves() {
    let model = |ends: fn(&Harness)| {
        move || {
            model::reset();
            let harness = Harness::new(Kind::Plain, 1, 1, 0);
            ends(&harness);
            assert_eq!(harness.pool.stats().in_use, 1);
            harness.end();
        }
    };
    let when_canceled = model(|harness| {
        let (ctx, cancel) = Context::background().with_cancel();
        let canceler = thread::spawn(move || cancel.cancel());
        assert!(harness.pool.get_context(&ctx).expect_err("no connection").is_canceled());
        canceler.join().expect("the canceler");
    });
    let at_the_deadline = model(|harness| {
        let pool = harness.pool.clone();
        let waiter = thread::spawn(move || pool.get_timeout(SHORT).map(drop));
        while harness.pool.stats().wait_timeouts == 0 {
            model::advance(SHORT);
            thread::yield_now();
        }
        let outcome = waiter.join().expect("a waiter");
        assert!(outcome.expect_err("no connection").is_timeout());
    });
    let at_the_close = model(|harness| {
        let pool = harness.pool.clone();
        let closer = thread::spawn(move || pool.close());
        let outcome = harness.pool.get_timeout(LONG).map(drop);
        assert!(matches!(outcome, Err(Error::PoolClosed)));
        closer.join().expect("the closer");
    });
    shuttle::check_random(when_canceled, many_schedules());
    shuttle::check_random(at_the_deadline, many_schedules());
    shuttle::check_random(at_the_close, many_schedules());
}

#[test]
fn waiters_are_served_first_come_first_served() {
    let model = || {
        model::reset();
        let harness = Arc::new(Harness::new(Kind::Plain, 1, 1, 0));
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for number in 0..3 {
            let (own, order) = (Arc::clone(&harness), Arc::clone(&served));
            waiting.push(thread::spawn(move || {
                let conn = own.pool.get_timeout(LONG).expect("a connection");
                lock(&order).push(number);
                drop(conn);
            }));
            while harness.pool.stats().waiting <= number {
                thread::yield_now();
            }
        }
        // A newcomer does not overtake them.
        let (own, order) = (Arc::clone(&harness), Arc::clone(&served));
        waiting.push(thread::spawn(move || {
            let conn = own.pool.acquire().expect("a connection");
            lock(&order).push(3);
            drop(conn);
        }));
        drop(harness.take_borrowed());
        waiting.into_iter().for_each(|thread| thread.join().expect("a waiter"));
        let order = lock(&served).clone();
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
        Arc::into_inner(harness).expect("the threads have ended").end();
    };
    shuttle::check_random(model, many_schedules());
}
