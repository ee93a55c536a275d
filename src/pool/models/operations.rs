//! What is done to a pool, and which of it is dangerous together.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use shuttle::thread;

use super::harness::{Kind, LONG, MINUTE, SHORT, Verdict, World, lock};
use crate::context::Context;
use crate::error::Error;
use crate::sync::model;

/// What is done at the same time as others. The second says how many connections it needs that were
/// lent before.
pub(super) type Deed = (&'static str, usize, fn(&World));

pub(super) const DEEDS: [Deed; 26] = [
    ("get", 0, |world| world.get(|pool| pool.acquire(), never)),
    ("get patiently", 0, |world| world.get(|pool| pool.get_timeout(LONG), never)),
    ("give up", 0, |world| world.get(|pool| pool.get_timeout(SHORT), Error::is_timeout)),
    ("be cancelled", 0, |world| {
        let (ctx, cancel) = Context::background().with_cancel();
        let canceller = thread::spawn(move || cancel.cancel());
        world.get(|pool| pool.get_context(&ctx), Error::is_canceled);
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
    ("keep it for too long", 1, keep_it_for_too_long),
    ("get, and the dial fails", 0, |world| {
        lock(&world.outside.verdicts).push_back(Verdict::Refuse);
        world.get(|pool| pool.acquire(), never);
    }),
    ("get patiently, and the dial fails", 0, |world| {
        lock(&world.outside.verdicts).push_back(Verdict::Refuse);
        world.get(|pool| pool.get_timeout(LONG), never);
    }),
    ("get patiently, and the dial panics", 0, |world| {
        lock(&world.outside.verdicts).push_back(Verdict::Panic);
        world.get(|pool| pool.get_timeout(LONG), never);
    }),
    ("get, and the test fails", 0, |world| {
        world.outside.unfit.fetch_add(1, SeqCst);
        world.get(|pool| pool.acquire(), never);
    }),
    ("let a moment pass", 0, |_| model::advance(SHORT)),
    ("let a minute pass", 0, |_| model::advance(MINUTE)),
    ("let a minute pass, and a ping fails", 0, |world| {
        world.outside.deaf.fetch_add(1, SeqCst);
        model::advance(MINUTE);
    }),
    ("let a minute pass and prune", 0, |world| {
        model::advance(MINUTE);
        world.pool.prune();
    }),
    ("warm up", 0, |world| {
        let warmed = while_time_passes(|| world.pool.warm_up(1, LONG));
        let may_close = world.may_close.load(SeqCst);
        assert!(warmed.is_ok() || may_close && matches!(warmed, Err(Error::PoolClosed)));
    }),
    ("shrink", 0, |world| world.resize(1)),
    ("grow", 0, |world| world.resize(3)),
    ("suspend and resume", 0, suspend_and_resume),
    ("evict", 0, |world| {
        let generation = world.outside.generation.fetch_add(1, SeqCst) + 1;
        world.pool.evict_all();
        world.valid_from.fetch_max(generation, SeqCst);
    }),
    ("replace the dialler", 0, |world| {
        let outside = Arc::clone(&world.outside);
        world.pool.replace_dial_function(move |_| outside.dial(2));
        world.valid_way.store(2, SeqCst);
    }),
    ("close", 0, World::close),
    ("close and wait", 0, |world| {
        world.may_close.store(true, SeqCst);
        let report = world.pool.close_and_wait(LONG);
        let stats = world.pool.stats();
        assert_eq!((report.aborted, stats.in_use, stats.idle), (0, 0, 0), "{report}: {stats:?}");
    }),
    ("close and wait for oneself", 1, |world| {
        let conn = world.take_lent();
        world.may_close.store(true, SeqCst);
        let report = while_time_passes(|| world.pool.close_and_wait(SHORT));
        assert!(report.aborted > 0 || world.kind == Kind::Watched, "{report}");
        drop(conn);
    }),
    ("look", 0, |world| {
        world.check();
        world.pool.outstanding();
    }),
];

fn never(_: &Error) -> bool {
    false
}

/// Time passes until this is done.
fn while_time_passes<T>(done: impl FnOnce() -> T) -> T {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let clock = thread::spawn(move || {
        while !over.load(SeqCst) {
            model::advance(SHORT);
            thread::yield_now();
        }
    });
    let outcome = done();
    is_over.store(true, SeqCst);
    clock.join().expect("it only lets time pass");
    outcome
}

/// Where the pool takes it back, it comes when that has been done.
fn keep_it_for_too_long(world: &World) {
    let mut conn = world.take_lent();
    model::advance(MINUTE);
    if world.kind == Kind::Watched {
        while conn.call("ECHO", ()).is_ok() && !world.pool.is_closed() {
            thread::yield_now();
        }
    }
    drop(conn);
}

/// While it is suspended nothing is lent and nothing dialled.
fn suspend_and_resume(world: &World) {
    let alone = world.suspending.lock();
    world.pool.suspend();
    let mut before = world.check();
    for _ in 0..3 {
        thread::yield_now();
        let now = world.check();
        // One that is asked whether it lives counts as in use.
        let lends_more = now.in_use > before.in_use && world.kind != Kind::Kept;
        assert!(!lends_more && now.dialing <= before.dialing, "{before:?}, then {now:?}");
        before = now;
    }
    world.pool.resume();
    drop(alone);
}

/// Those of which three at a time are the most dangerous: somebody waits, the thing waited for comes,
/// and something gets in between.
pub(super) const TRIPLES: [[&str; 3]; 50] = [
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
    // The upkeep comes in between.
    ["get patiently", "put", "let a minute pass"],
    ["get", "put", "let a minute pass, and a ping fails"],
    ["get patiently", "let a minute pass, and a ping fails", "close"],
    ["get patiently", "let a minute pass, and a ping fails", "evict"],
    ["get patiently", "keep it for too long", "put"],
    ["get", "keep it for too long", "discard"],
    ["get patiently", "keep it for too long", "close"],
    ["get patiently, and the dial fails", "get", "let a moment pass"],
    ["get, and the dial fails", "get patiently", "let a moment pass"],
    // Other limits, a pause, another generation.
    ["get patiently", "put", "shrink"],
    ["get patiently", "shrink", "grow"],
    ["get", "discard", "shrink"],
    ["get patiently", "put", "suspend and resume"],
    ["get", "discard", "suspend and resume"],
    ["give up", "let a moment pass", "suspend and resume"],
    ["get patiently", "close", "suspend and resume"],
    ["get", "get patiently", "evict"],
    ["get patiently", "put", "evict"],
    ["get", "get patiently", "replace the dialler"],
    ["get", "put", "replace the dialler"],
    // Those who wait for the pool itself.
    ["warm up", "get, and the dial fails", "evict"],
    ["warm up", "get patiently, and the dial fails", "close"],
    ["warm up", "put", "shrink"],
    ["close and wait", "get patiently", "put"],
    ["close and wait", "get", "discard"],
    ["close and wait", "get, and the test fails", "put"],
    ["get patiently", "get, and the test fails", "put"],
    ["close and wait", "get patiently, and the dial fails", "discard"],
    ["close and wait", "be cancelled", "put"],
    ["close and wait for oneself", "get patiently", "discard"],
];
