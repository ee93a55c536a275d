//! Waiting for a connection at the maximum: the order, timeouts, cancellation, and the closing of the
//! pool.
//!
//! Tests with an R number are rows of redigo's tests (commit 57c8b99).

use std::error::Error as _;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redigo::testing::{ManualClock, MemoryStream};
use redigo::{
    CloseReason, Context, Dialer, Error, Pool, PoolReport, PooledConn, Result, Stream, TimeoutKind,
};

use crate::support::fake_conn::{FakeDialer, Verdict, number};
use crate::support::threads::{join, join_all, start_waiting};
use crate::support::wait::{PATIENCE, promptly};

/// A pool of one connection with unlimited waiting.
fn setup() -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(1).max_active(1).wait(true).build().unwrap();
    (dialer, pool)
}

/// redigo's startGoroutines: ten threads wait, run the command on their connection, and return it.
fn ten_waiting(
    pool: &Pool,
    command: &'static str,
) -> Vec<std::thread::JoinHandle<Result<redigo::Value>>> {
    let caller = move |pool: Pool| {
        let mut conn = pool.get();
        let outcome = conn.call(command, "broken");
        let _ = conn.close();
        outcome
    };
    (0..10).map(|_| start_waiting(pool, caller)).collect()
}

/// Before: all ten wait, and no wait has been counted.
#[track_caller]
fn check_before(dialer: &FakeDialer, pool: &Pool) {
    dialer.check(pool, (1, 1, 1));
    let stats = pool.stats();
    assert_eq!((stats.waiting, stats.wait_count, stats.wait_duration), (10, 0, Duration::ZERO));
}

/// After: at most ten waits, and none longer than the test.
#[track_caller]
fn check_after(dialer: &FakeDialer, pool: &Pool, counts: (usize, usize, usize), began: Instant) {
    dialer.check(pool, counts);
    let stats = pool.stats();
    assert_eq!((stats.waiting, stats.wait_count), (0, 10));
    assert!(stats.wait_duration <= began.elapsed() * 10, "{stats:?}");
}

#[test]
fn r152_r153_all_waiters_are_served() {
    let (dialer, pool) = setup();
    let (began, conn) = (Instant::now(), pool.get());
    let threads = ten_waiting(&pool, "PING");
    check_before(&dialer, &pool);
    conn.close().unwrap();
    assert!(join_all(threads).iter().all(Result::is_ok));
    check_after(&dialer, &pool, (1, 1, 0), began);
}

#[test]
fn r154_r155_closing_the_pool_wakes_all_waiters() {
    let (dialer, pool) = setup();
    let (began, mut conn) = (Instant::now(), pool.get());
    conn.call("PING", ()).unwrap();
    let threads = ten_waiting(&pool, "PING");
    check_before(&dialer, &pool);
    pool.close();
    for outcome in join_all(threads) {
        assert!(matches!(outcome, Err(Error::PoolClosed)), "{outcome:?}");
    }
    conn.close().unwrap();
    check_after(&dialer, &pool, (1, 0, 0), began);
}

#[test]
fn r156_r157_broken_connection_frees_its_slot_for_the_next() {
    let (dialer, pool) = setup();
    let (began, conn) = (Instant::now(), pool.get());
    let threads = ten_waiting(&pool, "ERR");
    check_before(&dialer, &pool);
    conn.close().unwrap();
    // redigo's fake breaks after its answer; here the command that breaks it fails.
    for outcome in join_all(threads) {
        assert_eq!(outcome.unwrap_err().to_string(), "broken");
    }
    check_after(&dialer, &pool, (10, 0, 0), began);
}

#[test]
fn r158_r159_failed_dial_frees_its_slot_for_the_next() {
    let (dialer, pool) = setup();
    let (began, conn) = (Instant::now(), pool.get());
    let threads = ten_waiting(&pool, "ERR");
    check_before(&dialer, &pool);
    dialer.set(Verdict::Refuse);
    conn.close().unwrap();
    let outcomes = join_all(threads).into_iter().map(|outcome| outcome.unwrap_err().to_string());
    let (lucky, refused): (Vec<_>, Vec<_>) = outcomes.partition(|error| error == "broken");
    assert_eq!((lucky.len(), refused), (1, vec!["connection refused".to_owned(); 9]));
    check_after(&dialer, &pool, (10, 0, 0), began);
    assert_eq!(pool.stats().dial_errors, 9);
}

#[test]
fn r161_r163_context_without_end_waits_until_served() {
    let (dialer, pool) = setup();
    pool.get_context(&Context::background()).unwrap().close().unwrap();
    let (ctx, _cancel) = Context::background().with_cancel();
    let ctx = ctx.with_timeout(PATIENCE);
    drop(pool.get_context(&ctx).unwrap());
    pool.get_context(&ctx).unwrap().discard();
    drop(pool.get_context(&ctx).unwrap());
    dialer.check(&pool, (2, 1, 0));
}

#[test]
fn r162_ended_context_takes_no_slot() {
    let (dialer, pool) = setup();
    let ctx = Context::background().with_timeout(Duration::from_nanos(1));
    let error = pool.get_context(&ctx).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
    drop(pool.get_context(&Context::background()).unwrap());
    dialer.check(&pool, (1, 1, 0));
}

#[test]
fn r164_dialer_with_a_custom_connector() {
    let addresses = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&addresses);
    let dialer = Dialer::tcp("redis.example:6380").connector(move |_ctx, address| {
        seen.lock().unwrap().push(address.to_string());
        Ok(Box::new(MemoryStream::new("+PONG\r\n")) as Box<dyn Stream>)
    });
    let pool = Pool::builder(dialer).build().unwrap();
    let mut conn = pool.get_context(&Context::background()).unwrap();
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
    assert_eq!(*addresses.lock().unwrap(), ["redis.example:6380"]);
}

#[test]
fn r165_r168_canceled_context_fails_even_with_free_slots() {
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    let (dialer, waiting) = setup();
    let not_waiting = dialer.pool().build().unwrap();
    for pool in [&waiting, &not_waiting] {
        assert!(pool.get_context(&ctx).unwrap_err().is_canceled());
        assert_eq!((pool.stats().wait_cancels, pool.active_count()), (1, 0));
    }
    assert_eq!(dialer.dialed(), 0);
}

#[test]
fn r166_pool_closed_before_its_first_use_fails() {
    let (dialer, pool) = setup();
    pool.close();
    let (ctx, _cancel) = Context::background().with_cancel();
    promptly("asking a closed pool", || {
        for ctx in [Context::background(), ctx] {
            assert!(matches!(pool.get_context(&ctx), Err(Error::PoolClosed)));
        }
        assert!(matches!(pool.get_timeout(PATIENCE), Err(Error::PoolClosed)));
    });
    dialer.check(&pool, (0, 0, 0));
}

#[test]
fn r167_canceled_context_does_not_wait() {
    let (dialer, pool) = setup();
    let conn = pool.get();
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(pool.get_context(&ctx).unwrap_err().is_canceled());
    assert_eq!(pool.stats().waiting, 0);
    conn.close().unwrap();
    dialer.check(&pool, (1, 1, 0));
}

/// The ways to ask, with and without a time limit.
fn ask(pool: &Pool, way: usize) -> Result<PooledConn> {
    match way % 4 {
        0 => pool.acquire(),
        1 => pool.get_timeout(PATIENCE),
        2 => pool.get_context(&Context::background().with_timeout(PATIENCE)),
        _ => pool.get_context(&Context::background().with_cancel().0),
    }
}

#[test]
fn waiters_are_served_first_come_first_served() {
    let (dialer, pool) = setup();
    let conn = pool.get();
    let order = Arc::new(Mutex::new(Vec::new()));
    let callers = (0..12).map(|turn| {
        let order = Arc::clone(&order);
        start_waiting(&pool, move |pool| {
            let mut conn = ask(&pool, turn).unwrap();
            order.lock().unwrap().push(turn);
            // Every third caller breaks its connection, so the pool has to dial.
            let _ = conn.call(if turn % 3 == 0 { "ERR" } else { "PING" }, ());
        })
    });
    let callers: Vec<_> = callers.collect();
    conn.close().unwrap();
    join_all(callers);
    assert_eq!(*order.lock().unwrap(), (0..12).collect::<Vec<_>>());
    dialer.check(&pool, (5, 1, 0));
}

#[test]
fn newcomer_cannot_overtake_a_waiter() {
    let (_, pool) = setup();
    let conn = pool.get();
    let (leave, left) = mpsc::channel::<()>();
    let waiter = start_waiting(&pool, move |pool| {
        let conn = pool.get();
        // Holds it until the test has seen that no other caller gets it.
        left.recv().unwrap();
        drop(conn);
    });
    for _ in 0..3 {
        assert!(pool.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
    }
    // From here on it belongs to the waiter, even if its thread is not awake yet.
    conn.close().unwrap();
    assert!(pool.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
    leave.send(()).unwrap();
    join(waiter);
    drop(pool.get_timeout(Duration::ZERO).unwrap());
}

#[test]
fn waiter_that_leaves_does_not_change_the_order() {
    let (_, pool) = setup();
    let mut conn = pool.get();
    let (ctx, cancel) = Context::background().with_cancel();
    let first = start_waiting(&pool, |pool| pool.acquire().map(drop));
    let second = start_waiting(&pool, move |pool| pool.get_context(&ctx).map(drop));
    let third =
        start_waiting(&pool, |pool| pool.get_timeout(PATIENCE).map(|mut conn| number(&mut conn)));
    cancel.cancel();
    assert!(join(second).unwrap_err().is_canceled());
    assert_eq!((pool.stats().waiting, pool.stats().wait_cancels), (2, 1));
    let number = number(&mut conn);
    conn.close().unwrap();
    join(first).unwrap();
    assert_eq!(join(third).unwrap(), number);
    assert_eq!((pool.idle_count(), pool.stats().wait_count), (1, 2));
}

/// If the oldest waiter's connection fails its test, that waiter gets the next connection.
#[test]
fn waiter_whose_connection_fails_its_test_keeps_its_turn() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(1).max_active(1).wait(true);
    let pool = options.test_on_borrow(|_, _| Err(Error::other("no"))).build().unwrap();
    let conn = pool.get();
    let order = Arc::new(Mutex::new(Vec::new()));
    let callers = (0..4).map(|turn| {
        let order = Arc::clone(&order);
        start_waiting(&pool, move |pool| {
            let mut conn = ask(&pool, turn).unwrap();
            order.lock().unwrap().push((turn, number(&mut conn)));
        })
    });
    let callers: Vec<_> = callers.collect();
    conn.close().unwrap();
    join_all(callers);
    // Each connection failed its test, and each waiter dialed.
    assert_eq!(*order.lock().unwrap(), [(0, 2), (1, 3), (2, 4), (3, 5)]);
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 4);
}

/// The lifetime also applies to handed-over connections: in a busy pool none is ever idle.
#[test]
fn waiter_does_not_get_an_expired_connection() {
    let (clock, lifetime) = (ManualClock::new(), Duration::from_secs(300));
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(1).max_active(1).wait(true).clock(clock.clone());
    let pool = options.max_conn_lifetime(lifetime).build().unwrap();
    let conn = pool.get();
    let next = start_waiting(&pool, |pool| number(&mut pool.get()));
    clock.advance(lifetime);
    conn.close().unwrap();
    assert_eq!((join(next), pool.stats().closed.of(CloseReason::Lifetime)), (2, 1));
    dialer.check(&pool, (2, 1, 0));
}

#[track_caller]
fn report(error: &Error) -> &PoolReport {
    match error {
        Error::PoolTimeout(report) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn wait_timeout_limits_a_plain_get() {
    const TIMEOUT: Duration = Duration::from_millis(20);
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(1).wait_timeout(TIMEOUT).build().unwrap();
    let conn = pool.get_timeout(PATIENCE).unwrap();
    let error = promptly("a limited get", || pool.acquire().unwrap_err());
    let told = report(&error);
    assert!(told.waited >= TIMEOUT, "{told:?}");
    assert_eq!((told.limit, told.max_active), (TimeoutKind::PoolWait, Some(1)));
    assert_eq!((told.in_use, told.idle, told.dialing, told.waiting), (1, 0, 0, 0));
    assert!(told.last_dial_error.is_none() && error.source().is_none());
    assert_eq!((error.is_timeout(), error.is_fatal()), (true, false));
    let text = error.to_string();
    assert!(text.starts_with("no connection from the pool in "), "{text}");
    let numbers = ": 1 in use, 0 idle, 0 dialing of at most 1; 0 others waiting";
    assert!(text.ends_with(numbers), "{text}");

    let mut failed = promptly("a limited get", || pool.get());
    assert!(matches!(failed.call("PING", ()), Err(Error::PoolTimeout(_))));
    assert_eq!((pool.stats().wait_timeouts, pool.stats().wait_count), (2, 0));
    conn.close().unwrap();
    pool.acquire().unwrap().close().unwrap();
    dialer.check(&pool, (1, 1, 0));
}

#[test]
fn report_has_other_waiters_and_the_last_failed_dial() {
    let (dialer, pool) = setup();
    dialer.set(Verdict::Refuse);
    assert!(pool.acquire().is_err());
    dialer.set(Verdict::Hang);
    let other = start_waiting(&pool, |pool| pool.get_timeout(PATIENCE).map(drop));
    let error = pool.get_timeout(Duration::from_millis(1)).unwrap_err();
    let told = report(&error);
    assert_eq!((told.in_use, told.dialing, told.waiting), (0, 1, 1));
    assert_eq!(told.last_dial_error.as_ref().unwrap().to_string(), "connection refused");
    // The text has the error, so it is not a source.
    assert!(error.source().is_none());
    assert!(told.last_dial_error_age.is_some_and(|age| age < PATIENCE));
    let text = error.to_string();
    assert!(text.contains("; 1 other waiting, 1 of them ahead; the oldest dial has "), "{text}");
    assert!(text.contains("; a dial failed "), "{text}");
    assert!(text.ends_with(" ago: connection refused"), "{text}");

    dialer.decide(Verdict::Connect);
    join(other).unwrap();
    let conn = pool.acquire().unwrap();
    let error = pool.get_timeout(Duration::ZERO).unwrap_err();
    assert!(report(&error).last_dial_error.is_none(), "a dial has succeeded since");
    drop(conn);
}

#[test]
fn timeout_kind_names_the_limit_that_ended() {
    let (_, pool) = setup();
    let conn = pool.get();
    let soon = Duration::from_millis(5);
    let waiting = start_waiting(&pool, |pool| pool.get_timeout(PATIENCE).map(drop));
    let (by_context, by_timeout) = promptly("two deadlines", || {
        let ctx = Context::background().with_timeout(soon);
        (pool.get_context(&ctx).unwrap_err(), pool.get_timeout(soon).unwrap_err())
    });
    assert_eq!(by_context.timeout_kind(), Some(TimeoutKind::Context));
    assert_eq!(by_timeout.timeout_kind(), Some(TimeoutKind::PoolWait));
    assert_eq!(report(&by_timeout).waiting, 1);
    conn.close().unwrap();
    join(waiting).unwrap();
}

#[test]
fn timeout_beyond_the_clock_is_no_limit() {
    let (_, pool) = setup();
    drop(pool.get_timeout(Duration::MAX).unwrap());
    let conn = pool.get();
    let waiter = start_waiting(&pool, |pool| pool.get_timeout(Duration::MAX).map(drop));
    conn.close().unwrap();
    join(waiter).unwrap();
}
