//! The operations of the models, and the dangerous combinations of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use shuttle::thread;

use super::harness::{CleanupFault, DialFault, Harness, Kind, LONG, MINUTE, SHORT, lock};
use crate::context::Context;
use crate::error::Error;
use crate::sync::model;

/// One thread's part in a model.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// The number of connections in use that it needs at the start.
    pub(super) borrowed: usize,
    pub(super) run: fn(&Harness),
}

const fn operation(name: &'static str, borrowed: usize, run: fn(&Harness)) -> Operation {
    Operation { name, borrowed, run }
}

pub(super) const OPERATIONS: [Operation; 31] = [
    operation("get", 0, |harness| harness.get(|pool| pool.acquire(), never)),
    operation("get with a deadline", 0, |harness| {
        harness.get(|pool| pool.get_timeout(LONG), never);
    }),
    operation("time out", 0, |harness| {
        harness.get(|pool| pool.get_timeout(SHORT), Error::is_timeout);
    }),
    operation("be canceled", 0, |harness| {
        let (ctx, cancel) = Context::background().with_cancel();
        let canceler = thread::spawn(move || cancel.cancel());
        harness.get(|pool| pool.get_context(&ctx), Error::is_canceled);
        canceler.join().expect("the canceler");
    }),
    operation("return", 1, |harness| drop(harness.take_borrowed())),
    operation("discard", 1, |harness| harness.take_borrowed().discard()),
    operation("panic", 1, |harness| {
        let conn = harness.take_borrowed();
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _conn = conn;
            resume_unwind(Box::new("planned"));
        }));
        assert!(panicked.is_err());
    }),
    operation("drop unclean", 1, drop_unclean),
    operation("drop unclean, and the clean-up fails", 1, |harness| {
        lock(&harness.server.cleanup_faults).push_back(CleanupFault::Error);
        drop_unclean(harness);
    }),
    operation("drop unclean, and the clean-up panics", 1, |harness| {
        lock(&harness.server.cleanup_faults).push_back(CleanupFault::Panic);
        drop_unclean(harness);
    }),
    operation("return, and use an old handle", 1, |harness| {
        let conn = harness.take_borrowed();
        let handle = conn.shutdown_handle();
        let old = handle.clone();
        let other = thread::spawn(move || old.shutdown());
        drop(conn);
        handle.shutdown();
        other.join().expect("the other thread");
    }),
    operation("leak", 1, leak),
    operation("get, and the dial fails", 0, |harness| {
        lock(&harness.server.dial_faults).push_back(DialFault::Refuse);
        harness.get(|pool| pool.acquire(), never);
    }),
    operation("get with a deadline, and the dial fails", 0, |harness| {
        lock(&harness.server.dial_faults).push_back(DialFault::Refuse);
        harness.get(|pool| pool.get_timeout(LONG), never);
    }),
    operation("get with a deadline, and the dial panics", 0, |harness| {
        lock(&harness.server.dial_faults).push_back(DialFault::Panic);
        harness.get(|pool| pool.get_timeout(LONG), never);
    }),
    operation("time out, and the dial hangs", 0, |harness| {
        lock(&harness.server.dial_faults).push_back(DialFault::Hang);
        harness.get(|pool| while_time_passes(|| pool.get_timeout(SHORT)), Error::is_timeout);
        // Otherwise another dial would hang until time passes.
        lock(&harness.server.dial_faults).retain(|fault| *fault != DialFault::Hang);
        while harness.server.hanging.load(SeqCst) > 0 {
            model::advance(MINUTE / 10);
            thread::yield_now();
        }
    }),
    operation("get, and the test fails", 0, |harness| {
        harness.server.failing_tests.fetch_add(1, SeqCst);
        harness.get(|pool| pool.acquire(), never);
    }),
    operation("a moment passes", 0, |_| model::advance(SHORT)),
    operation("a minute passes", 0, |_| model::advance(MINUTE)),
    operation("a minute passes, and a ping fails", 0, |harness| {
        harness.server.failing_pings.fetch_add(1, SeqCst);
        model::advance(MINUTE);
    }),
    operation("a minute passes, and prune", 0, |harness| {
        model::advance(MINUTE);
        harness.pool.prune();
    }),
    operation("warm up", 0, |harness| {
        let warmed = while_time_passes(|| harness.pool.warm_up(1, LONG));
        let may_close = harness.may_close.load(SeqCst);
        assert!(warmed.is_ok() || may_close && matches!(warmed, Err(Error::PoolClosed)));
    }),
    operation("shrink", 0, |harness| harness.resize(1)),
    operation("grow", 0, |harness| harness.resize(3)),
    operation("suspend and resume", 0, suspend_and_resume),
    operation("evict", 0, |harness| {
        let generation = harness.server.generation.fetch_add(1, SeqCst) + 1;
        harness.pool.evict_all();
        harness.valid_generation.fetch_max(generation, SeqCst);
    }),
    operation("replace the dialer", 0, |harness| {
        let server = Arc::clone(&harness.server);
        harness.pool.replace_dial_function(move |_| server.dial(2));
        harness.valid_dialer.store(2, SeqCst);
    }),
    operation("close", 0, Harness::close),
    operation("close and wait", 0, |harness| {
        harness.may_close.store(true, SeqCst);
        let report = harness.pool.close_and_wait(LONG);
        let stats = harness.pool.stats();
        assert_eq!((report.aborted, stats.in_use, stats.idle), (0, 0, 0), "{report}: {stats:?}");
    }),
    operation("close and wait with a connection", 1, |harness| {
        let conn = harness.take_borrowed();
        harness.may_close.store(true, SeqCst);
        let report = while_time_passes(|| harness.pool.close_and_wait(SHORT));
        assert!(report.aborted > 0 || harness.kind == Kind::LeakCheck, "{report}");
        drop(conn);
    }),
    operation("look", 0, |harness| {
        harness.check();
        harness.pool.outstanding();
    }),
];

fn never(_: &Error) -> bool {
    false
}

/// Lets time pass until this returns.
fn while_time_passes<T>(run: impl FnOnce() -> T) -> T {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let clock = thread::spawn(move || {
        while !over.load(SeqCst) {
            model::advance(SHORT);
            thread::yield_now();
        }
    });
    let outcome = run();
    is_over.store(true, SeqCst);
    clock.join().expect("the clock");
    outcome
}

/// A reply is due on the connection.
fn drop_unclean(harness: &Harness) {
    let mut conn = harness.take_borrowed();
    conn.send("WORK", ()).expect("no I/O");
    drop(conn);
}

/// If the pool reclaims the connection, it is returned after that.
fn leak(harness: &Harness) {
    let mut conn = harness.take_borrowed();
    model::advance(MINUTE);
    if harness.kind == Kind::LeakCheck {
        while conn.call("ECHO", ()).is_ok() && !harness.pool.is_closed() {
            thread::yield_now();
        }
    }
    drop(conn);
}

/// While the pool is suspended, nothing is granted and nothing dialed.
fn suspend_and_resume(harness: &Harness) {
    let alone = harness.suspending.lock();
    harness.pool.suspend();
    let mut before = harness.check();
    for _ in 0..3 {
        thread::yield_now();
        let now = harness.check();
        // A pinged connection counts as in use.
        let grants = now.in_use > before.in_use && harness.kind != Kind::Maintained;
        assert!(!grants && now.dialing <= before.dialing, "{before:?}, then {now:?}");
        before = now;
    }
    harness.pool.resume();
    drop(alone);
}

/// The most dangerous combinations of three: a caller waits, its connection comes, and another event
/// interferes.
pub(super) const TRIPLES: [[&str; 3]; 64] = [
    ["get with a deadline", "get with a deadline", "return"],
    ["get", "get with a deadline", "return"],
    ["get with a deadline", "time out", "return"],
    ["time out", "a moment passes", "return"],
    ["time out", "a moment passes", "close"],
    ["time out", "a moment passes", "discard"],
    ["get with a deadline", "be canceled", "return"],
    ["get with a deadline", "be canceled", "discard"],
    ["be canceled", "return", "close"],
    ["get with a deadline", "return", "close"],
    ["get with a deadline", "discard", "close"],
    ["get with a deadline", "panic", "close"],
    ["get with a deadline", "get, and the dial fails", "discard"],
    ["get with a deadline", "get with a deadline, and the dial fails", "discard"],
    ["get", "get with a deadline, and the dial panics", "discard"],
    ["get", "discard", "close"],
    ["get", "panic", "close"],
    ["get", "return", "a minute passes, and prune"],
    [
        "get with a deadline",
        "get with a deadline, and the dial fails",
        "a minute passes, and prune",
    ],
    ["get with a deadline, and the dial panics", "discard", "a minute passes, and prune"],
    // A connection is cleaned.
    ["get with a deadline", "drop unclean", "close"],
    ["get", "drop unclean", "return"],
    ["get", "get with a deadline", "drop unclean"],
    ["close and wait", "drop unclean", "get with a deadline"],
    ["get with a deadline", "drop unclean, and the clean-up fails", "evict"],
    ["get", "drop unclean, and the clean-up panics", "discard"],
    ["get", "drop unclean", "shrink"],
    ["get", "drop unclean", "suspend and resume"],
    ["get", "return, and use an old handle", "return"],
    ["get", "return, and use an old handle", "close"],
    // A dial hangs.
    ["time out, and the dial hangs", "get", "return"],
    ["time out, and the dial hangs", "get", "get with a deadline"],
    ["time out, and the dial hangs", "get, and the dial fails", "evict"],
    ["time out, and the dial hangs", "be canceled", "suspend and resume"],
    // Maintenance interferes.
    ["get with a deadline", "return", "a minute passes"],
    ["get", "return", "a minute passes, and a ping fails"],
    ["get with a deadline", "a minute passes, and a ping fails", "close"],
    ["get with a deadline", "a minute passes, and a ping fails", "evict"],
    ["get with a deadline", "leak", "return"],
    ["get", "leak", "discard"],
    ["get with a deadline", "leak", "close"],
    ["get with a deadline, and the dial fails", "get", "a moment passes"],
    ["get, and the dial fails", "get with a deadline", "a moment passes"],
    // Resize, suspend, evict.
    ["get with a deadline", "return", "shrink"],
    ["get with a deadline", "shrink", "grow"],
    ["get", "discard", "shrink"],
    ["get with a deadline", "return", "suspend and resume"],
    ["get", "discard", "suspend and resume"],
    ["time out", "a moment passes", "suspend and resume"],
    ["get with a deadline", "close", "suspend and resume"],
    ["get", "get with a deadline", "evict"],
    ["get with a deadline", "return", "evict"],
    ["get", "get with a deadline", "replace the dialer"],
    ["get", "return", "replace the dialer"],
    // Warm-up and close.
    ["warm up", "get, and the dial fails", "evict"],
    ["warm up", "get with a deadline, and the dial fails", "close"],
    ["warm up", "return", "shrink"],
    ["close and wait", "get with a deadline", "return"],
    ["close and wait", "get", "discard"],
    ["close and wait", "get, and the test fails", "return"],
    ["get with a deadline", "get, and the test fails", "return"],
    ["close and wait", "get with a deadline, and the dial fails", "discard"],
    ["close and wait", "be canceled", "return"],
    ["close and wait with a connection", "get with a deadline", "discard"],
];
