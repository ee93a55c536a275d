//! Dials that fail, hang or finish late: retries, pauses, budgets and the breaker. On fakes and a
//! manual clock, and on a real server that is stopped, full or wants another password.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use redigo::testing::ManualClock;
use redigo::{CloseReason, Dialer, Error, Pool, PoolBuilder, PooledConn, TimeoutKind};

use crate::support::fake_conn::{FakeDialer, Verdict, number};
use crate::support::fake_server::FakeServer;
use crate::support::pooled::to;
use crate::support::redis_server::RedisServer;
use crate::support::threads::{join, start, start_waiting};
use crate::support::wait::{MILLI, PATIENCE, SECOND, promptly, wait_until};

fn setup(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = options(dialer.pool().dial_backoff(MILLI, 4 * MILLI)).build().unwrap();
    (dialer, pool)
}

#[test]
fn retried_dial_counts_once() {
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let (dialer, pool) = setup(|options| options.dial_retries(2));
        dialer.refuse_next(2);
        let conn = promptly("the third attempt", || get(&pool).unwrap());
        let stats = pool.stats();
        assert_eq!((dialer.dialed(), stats.dialed.demand, stats.dial_errors), (3, 1, 0));
        conn.discard();
        dialer.refuse_next(3);
        let error = promptly("three attempts", || get(&pool).unwrap_err());
        assert!(error.to_string().contains("connection refused"), "{error}");
        let stats = pool.stats();
        assert_eq!((dialer.dialed(), stats.dial_errors, stats.open), (6, 1, 0));
        assert_eq!(stats.dial_time.count(), 1, "only successful dials");
    }
}

#[test]
fn dial_budget_covers_all_attempts_together() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().dial_retries(1_000_000).dial_backoff(20 * MILLI, 20 * MILLI);
    let pool = options.dial_budget(100 * MILLI).build().unwrap();
    dialer.set(Verdict::Refuse);
    let error = promptly("a hundred milliseconds", || pool.acquire().unwrap_err());
    // The error of the last attempt says more than the end of the budget.
    assert!(error.to_string().contains("connection refused"), "{error}");
    // A pause is at least half of twenty milliseconds.
    assert!((2..=10).contains(&dialer.dialed()), "{} attempts", dialer.dialed());
}

#[test]
fn dial_budget_ends_a_dial_that_hangs() {
    let options = Pool::builder_with(|ctx| {
        let budget = ctx.remaining().expect("there is a budget");
        let _ = ctx.done().recv_timeout(budget);
        Err(ctx.err().expect("the context has ended"))
    });
    let pool = options.dial_budget(20 * MILLI).build().unwrap();
    let error = promptly("the budget", || pool.acquire().unwrap_err());
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect), "{error:?}");
}

#[test]
fn closing_the_pool_ends_the_pause_of_a_dial() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().dial_retries(1).dial_backoff(60 * SECOND, 60 * SECOND);
    let pool = options.dial_budget(3600 * SECOND).build().unwrap();
    dialer.set(Verdict::Refuse);
    let callers =
        [start(&pool, |pool| pool.acquire()), start(&pool, |pool| pool.get_timeout(PATIENCE))];
    wait_until("both have failed once", || dialer.dialed() == 2 && dialer.dialing() == 0);
    pool.close();
    for caller in callers {
        assert!(matches!(join(caller), Err(Error::PoolClosed)));
    }
    assert_eq!(dialer.dialed(), 2);
}

/// A pool whose breaker opens at the third failure.
fn with_breaker() -> (FakeDialer, Pool, ManualClock) {
    let (dialer, clock) = (FakeDialer::new(), ManualClock::new());
    let options = dialer.pool().breaker(3).dial_backoff(SECOND, 4 * SECOND).max_active(2);
    (dialer.clone(), options.wait(true).clock(clock.clone()).build().unwrap(), clock)
}

#[track_caller]
fn trip(dialer: &FakeDialer, pool: &Pool) {
    dialer.set(Verdict::Refuse);
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE), Pool::acquire] {
        let error = promptly("a refused dial", || get(pool).unwrap_err());
        assert!(matches!(error, Error::Io(_)), "{error:?}");
    }
}

#[test]
fn breaker_opens_after_the_set_number_of_failures() {
    let (dialer, pool, clock) = with_breaker();
    trip(&dialer, &pool);
    dialer.set(Verdict::HangDeaf);
    clock.advance(400 * MILLI);
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let error = promptly("a refusal", || get(&pool).unwrap_err());
        assert!(matches!(error, Error::BreakerOpen(_)), "{error:?}");
        let report = error.pool_report().unwrap();
        assert_eq!(report.last_dial_error_age, Some(400 * MILLI));
        let line = error.to_string();
        assert!(line.contains("a dial failed 400.0ms ago: connection refused"), "{line}");
        assert!(!line.contains('\n') && line.contains("does not dial now"), "{line}");
    }
    assert_eq!((dialer.dialed(), pool.stats().breaker_refusals), (3, 2));
    assert!(pool.get().err().is_some(), "get returns the error in the connection");
}

#[test]
fn probe_in_the_background_closes_the_breaker() {
    let (dialer, pool, clock) = with_breaker();
    trip(&dialer, &pool);
    for failures in 4..=6 {
        clock.advance(4 * SECOND);
        wait_until("a probe is made", || pool.stats().dial_errors == failures);
        assert!(matches!(pool.acquire(), Err(Error::BreakerOpen(_))));
    }
    dialer.set(Verdict::Connect);
    clock.advance(4 * SECOND);
    wait_until("one succeeds", || pool.idle_count() == 1);
    let stats = pool.stats();
    assert_eq!((dialer.dialed(), stats.dialed.probe, stats.dial_errors), (7, 1, 6));
    // The probe's connection is checked out first, then the pool dials again.
    let mut conns = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    assert_eq!((number(&mut conns[0]), number(&mut conns[1])), (7, 8));
    // Earlier failures are forgotten.
    let error = pool.get_timeout(MILLI).unwrap_err();
    assert!(error.pool_report().unwrap().last_dial_error.is_none(), "{error}");
}

/// Otherwise one lost packet would keep the breaker open for the whole connect timeout.
#[test]
fn probe_that_hangs_does_not_keep_the_breaker_open() {
    let (dialer, pool, clock) = with_breaker();
    trip(&dialer, &pool);
    dialer.set(Verdict::HangDeaf);
    clock.advance(4 * SECOND);
    wait_until("a probe hangs", || dialer.dialing() == 1);
    dialer.set(Verdict::Connect);
    clock.advance(4 * SECOND);
    wait_until("the next probe succeeds", || pool.idle_count() == 1);
    let mut conn = pool.acquire().unwrap();
    assert_eq!(number(&mut conn), 5);
    dialer.decide(Verdict::Connect);
    wait_until("the first probe ends", || pool.stats().dialing == 0);
    assert_eq!((pool.idle_count(), pool.stats().dialed.probe), (1, 2));
}

#[test]
fn waiters_fail_when_the_breaker_opens() {
    let (dialer, pool, _clock) = with_breaker();
    let conns = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    let waiters: Vec<_> = (0..5).map(|_| start_waiting(&pool, |pool| pool.acquire())).collect();
    dialer.set(Verdict::Refuse);
    conns.into_iter().for_each(PooledConn::discard);
    let errors: Vec<_> = waiters.into_iter().map(|waiter| join(waiter).unwrap_err()).collect();
    let refused = errors.iter().filter(|error| matches!(error, Error::Io(_))).count();
    let told = errors.iter().filter(|error| matches!(error, Error::BreakerOpen(_))).count();
    assert_eq!(refused + told, 5, "{errors:?}");
    assert!(told > 0, "{errors:?}");
    let reports: Vec<_> = errors.iter().filter_map(Error::pool_report).collect();
    assert!(reports.iter().all(|report| report.waited > Duration::ZERO), "{reports:?}");
    assert_eq!(pool.stats().waiting, 0);
    wait_until("the other dial ends", || pool.active_count() == 0);
}

#[test]
fn breaker_finds_a_restarted_real_server_without_traffic() {
    let mut server = RedisServer::start();
    let options = Pool::builder(to(&server)).breaker(3).dial_backoff(MILLI, 20 * MILLI);
    let pool = options.build().unwrap();
    server.kill();
    wait_until("the breaker is open", || matches!(pool.acquire(), Err(Error::BreakerOpen(_))));
    assert!(pool.stats().dial_errors >= 3);
    server.restart();
    wait_until("the server is found", || pool.idle_count() == 1);
    assert_eq!(pool.stats().dialed.probe, 1);
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
    assert_eq!(pool.stats().dialed.total(), 1);
}

#[test]
fn dial_retries_reach_a_real_server_that_restarts() {
    let mut server = RedisServer::start();
    let options = Pool::builder(to(&server)).dial_retries(10_000).dial_backoff(MILLI, 10 * MILLI);
    let pool = options.build().unwrap();
    server.kill();
    let callers =
        [start(&pool, |pool| pool.acquire()), start(&pool, |pool| pool.get_timeout(PATIENCE))];
    wait_until("both dial", || pool.stats().dialing == 2);
    server.restart();
    for caller in callers {
        join(caller).unwrap().call("PING", ()).unwrap();
    }
    assert_eq!(pool.stats().dial_errors, 0);
}

/// More attempts could lock the account.
#[test]
fn wrong_password_is_not_tried_again() {
    let server = RedisServer::builder().arg("--requirepass", "summer").start();
    let attempts = Arc::new(AtomicUsize::new(0));
    let (dialer, counter) = (Dialer::tcp(server.addr()).password("winter"), Arc::clone(&attempts));
    let options = Pool::builder_with(move |ctx| {
        counter.fetch_add(1, SeqCst);
        dialer.dial_context(ctx)
    });
    let pool = options.dial_retries(5).dial_backoff(MILLI, MILLI).build().unwrap();
    let error = pool.acquire().unwrap_err();
    assert!(error.to_string().contains("WRONGPASS"), "{error}");
    assert!(!error.to_string().contains("winter"), "{error}");
    assert_eq!(attempts.load(SeqCst), 1);
}

#[test]
fn real_server_at_its_client_limit_refuses_dials() {
    let server = RedisServer::builder().arg("--maxclients", "4").start();
    let pool = Pool::builder(to(&server)).max_active(8).wait(true).build().unwrap();
    let mut conns: Vec<_> = (0..4).map(|_| pool.acquire().unwrap()).collect();
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let error = promptly("a refused dial", || get(&pool).unwrap_err());
        assert!(error.to_string().contains("max number of clients"), "{error}");
    }
    let stats = pool.stats();
    assert_eq!((stats.open, stats.in_use, stats.dial_errors), (4, 4, 2), "{stats:?}");
    // Open connections still work, and closing one makes room on the server.
    conns.iter_mut().for_each(|conn| drop(conn.call("PING", ()).unwrap()));
    conns.pop().unwrap().discard();
    wait_until("the server accepts again", || {
        let conn = pool.acquire();
        conn.is_ok_and(|mut conn| conn.call("PING", ()).is_ok())
    });
    assert!(pool.stats().open <= 4);
}

/// The retries happen within the time limit of the caller.
#[test]
fn dial_retries_reach_a_real_server_below_its_client_limit() {
    let server = RedisServer::builder().arg("--maxclients", "2").start();
    let options = Pool::builder(to(&server)).dial_retries(10_000).dial_backoff(MILLI, 10 * MILLI);
    let pool = options.build().unwrap();
    let [first, _second] = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    let third = start(&pool, |pool| pool.get_timeout(PATIENCE));
    wait_until("the caller dials", || pool.stats().dialing == 1);
    first.discard();
    join(third).unwrap().call("PING", ()).unwrap();
    assert_eq!(pool.stats().dial_errors, 0);
}

/// The numbers of the original issue: a dial of 600 ms, a caller with 100 ms.
#[test]
fn late_dial_serves_the_next_caller() {
    let server = RedisServer::start();
    let dialer = to(&server);
    let options = Pool::builder_with(move |ctx| {
        thread::sleep(600 * MILLI);
        dialer.dial_context(ctx)
    });
    let pool = options.max_active(4).build().unwrap();
    let began = Instant::now();
    let error = pool.get_timeout(100 * MILLI).unwrap_err();
    let left = began.elapsed();
    println!("left after {left:.1?} of 100 ms");
    // Generous for a busy machine, but below the end of the dial.
    assert!(error.is_timeout() && left >= 100 * MILLI && left < 500 * MILLI, "{left:?}: {error}");
    let mut conn = pool.get_timeout(PATIENCE).unwrap();
    conn.call("PING", ()).unwrap();
    println!("the next was served after {:.1?}", began.elapsed());
    assert_eq!(pool.stats().dialed.total(), 1, "by the same dial");
    drop(conn);

    // Without a waiter the late connection becomes idle and is used later.
    let busy = pool.acquire().unwrap();
    assert!(pool.get_timeout(MILLI).unwrap_err().is_timeout());
    wait_until("the dial is over", || pool.idle_count() == 1);
    drop(pool.get_timeout(Duration::ZERO).unwrap());
    let stats = pool.stats();
    assert_eq!((stats.late_dials, stats.late_reused, stats.dialed.total()), (1, 1, 2));
    assert_eq!(stats.closed.of(CloseReason::Overflow), 0);
    drop(busy);
}

/// A dial to a frozen server hangs; at most two run at a time.
#[test]
fn late_dials_to_a_frozen_real_server_become_idle() {
    let server = RedisServer::start();
    let options = Pool::builder(to(&server)).max_concurrent_dials(2).max_active(6);
    let pool = options.build().unwrap();
    server.freeze();
    let callers: Vec<_> =
        (0..6).map(|_| start(&pool, |pool| pool.get_timeout(50 * MILLI))).collect();
    wait_until("two are dialing", || pool.stats().dialing == 2);
    for caller in callers {
        let error = join(caller).unwrap_err();
        let report = error.pool_report().unwrap();
        assert!(error.is_timeout() && report.dialing == 2, "{error}");
    }
    server.thaw();
    wait_until("both are idle", || pool.idle_count() == 2);
    assert_eq!((pool.stats().late_dials, pool.stats().dial_errors), (2, 0));
    drop([pool.acquire().unwrap(), pool.acquire().unwrap()]);
    assert_eq!((pool.stats().late_reused, pool.stats().dialed.total()), (2, 2));
}

#[test]
fn dial_budget_ends_dials_to_a_frozen_real_server() {
    let server = RedisServer::start();
    let options = Pool::builder(to(&server)).dial_retries(5).dial_backoff(MILLI, MILLI);
    let pool = options.dial_budget(50 * MILLI).build().unwrap();
    server.freeze();
    let error = promptly("the budget", || pool.acquire().unwrap_err());
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!((pool.stats().dial_errors, pool.active_count()), (1, 0));
    server.thaw();
    pool.acquire().unwrap().call("PING", ()).unwrap();
}

/// A pool with one hung dial, whose caller has left.
fn with_hung_dial(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (FakeDialer, Pool) {
    let (dialer, pool) = setup(options);
    dialer.set(Verdict::HangDeaf);
    assert!(pool.get_timeout(MILLI).unwrap_err().is_timeout());
    wait_until("the dial hangs", || dialer.dialing() == 1);
    (dialer, pool)
}

#[test]
fn caller_after_a_hung_dial_gets_its_own_dial() {
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let (dialer, pool) = with_hung_dial(|options| options.max_active(2).wait(true));
        dialer.set(Verdict::Connect);
        let mut conn = promptly("a second dial", || get(&pool).unwrap());
        assert_eq!((number(&mut conn), dialer.dialing(), dialer.dialed()), (2, 1, 2));
        dialer.decide(Verdict::Connect);
        wait_until("the late connection is idle", || pool.idle_count() == 1);
    }
}

#[test]
fn caller_after_several_hung_dials_uses_the_last_free_slot() {
    let (dialer, pool) = with_hung_dial(|options| options.max_active(4).wait(true));
    for hung in 2..=3 {
        assert!(pool.get_timeout(MILLI).unwrap_err().is_timeout());
        wait_until("another dial hangs", || dialer.dialing() == hung);
    }
    dialer.set(Verdict::Connect);
    let conn = promptly("the fourth dial", || pool.acquire().unwrap());
    assert_eq!((pool.stats().dialing, pool.active_count()), (3, 4));
    (0..3).for_each(|_| dialer.decide(Verdict::Refuse));
    wait_until("the hung dials end", || pool.stats().dial_errors == 3);
    drop(conn);
    drop(promptly("no caller fails", || pool.acquire().unwrap()));
}

#[test]
fn hung_dial_does_not_use_up_max_concurrent_dials() {
    let (dialer, pool) =
        with_hung_dial(|options| options.max_active(3).max_concurrent_dials(1).wait(true));
    dialer.set(Verdict::Connect);
    // These two wait until the dial counts as hung, and wake up by themselves.
    let callers =
        [start(&pool, |pool| pool.acquire()), start(&pool, |pool| pool.get_timeout(PATIENCE))];
    for caller in callers {
        join(caller).unwrap();
    }
    assert_eq!((dialer.dialing(), pool.stats().dialing), (1, 1));
    dialer.decide(Verdict::Connect);
}

/// Such a caller would otherwise dial on its own thread, and miss the connection.
#[test]
fn caller_without_a_deadline_takes_a_returned_connection() {
    let (dialer, pool) = setup(|options| options.max_active(2).wait(true));
    let conn = pool.acquire().unwrap();
    dialer.set(Verdict::HangDeaf);
    let caller = start_waiting(&pool, |pool| pool.acquire());
    wait_until("its dial hangs", || dialer.dialing() == 1);
    conn.close().unwrap();
    assert_eq!(number(&mut join(caller).unwrap()), 1);
    dialer.decide(Verdict::Connect);
}

#[test]
fn callers_without_a_deadline_are_served_first_come_first_served() {
    let (dialer, pool) = setup(|options| options.max_active(2).wait(true));
    dialer.set(Verdict::HangDeaf);
    let first = start_waiting(&pool, |pool| pool.acquire());
    wait_until("its dial hangs", || dialer.dialing() == 1);
    dialer.set(Verdict::Connect);
    let second = start(&pool, |pool| pool.acquire());
    let mut conn = join(first).unwrap();
    assert_eq!(number(&mut conn), 2, "by the dial of the second");
    wait_until("the second waits", || pool.stats().waiting == 1);
    dialer.decide(Verdict::Connect);
    assert_eq!(number(&mut join(second).unwrap()), 1);
}

#[test]
fn dials_of_callers_without_a_deadline_are_limited() {
    let (dialer, pool) = setup(|options| options.max_active(80).max_concurrent_dials(4).wait(true));
    dialer.set(Verdict::HangDeaf);
    let callers: Vec<_> = (0..80).map(|_| start_waiting(&pool, |pool| pool.acquire())).collect();
    wait_until("four dial", || dialer.dialing() == 4);
    dialer.set(Verdict::Connect);
    (0..4).for_each(|_| dialer.decide(Verdict::Connect));
    let conns: Vec<_> = callers.into_iter().map(|caller| join(caller).unwrap()).collect();
    assert_eq!((conns.len(), dialer.most_dialing(), dialer.dialed()), (80, 4, 80));
}

#[test]
fn dials_of_a_replaced_dialer_fail_no_caller() {
    let (old, pool) = with_hung_dial(|options| options.breaker(1).dial_backoff(SECOND, SECOND));
    let waiter = start_waiting(&pool, |pool| pool.acquire());
    wait_until("the waiter's dial hangs", || old.dialing() == 2);
    let new = FakeDialer::new();
    let dialer = new.clone();
    pool.replace_dial_function(move |ctx| dialer.dial(ctx));
    join(waiter).unwrap().discard();
    (0..2).for_each(|_| old.decide(Verdict::Refuse));
    wait_until("the old dials have failed", || pool.stats().dial_errors == 2);
    let stats = pool.stats();
    assert_eq!((stats.dialing, stats.breaker_refusals, new.dialed()), (0, 0, 1));
    // The breaker is closed, and reports do not name an error of the old dialer.
    drop(promptly("a dial", || pool.acquire().unwrap()));
    pool.suspend();
    let error = pool.get_timeout(MILLI).unwrap_err();
    assert!(error.pool_report().unwrap().last_dial_error.is_none(), "{error}");
}

#[test]
fn dials_of_a_suspended_pool_fail_no_caller() {
    let (dialer, pool) = setup(|options| options.breaker(1).dial_backoff(SECOND, SECOND));
    dialer.set(Verdict::HangDeaf);
    let waiter = start_waiting(&pool, |pool| pool.acquire().map(drop));
    wait_until("the dial hangs", || dialer.dialing() == 1);
    pool.suspend();
    dialer.decide(Verdict::Refuse);
    wait_until("the dial has failed", || pool.stats().dial_errors == 1);
    assert_eq!((pool.stats().waiting, dialer.dialed()), (1, 1));
    dialer.set(Verdict::Connect);
    pool.resume();
    join(waiter).unwrap();
    assert_eq!(pool.stats().breaker_refusals, 0);
}

#[test]
fn failed_min_idle_dial_fails_no_caller_at_the_limit() {
    let (dialer, pool) = setup(|options| options.min_idle(1).max_active(2).wait(true));
    wait_until("one is idle", || pool.idle_count() == 1);
    dialer.set(Verdict::HangDeaf);
    let conn = pool.acquire().unwrap();
    wait_until("the next one is dialed", || dialer.dialing() == 1);
    let waiter = start_waiting(&pool, |pool| pool.acquire().map(drop));
    dialer.decide(Verdict::Refuse);
    wait_until("the waiter gets a dial instead", || dialer.dialed() == 3);
    assert_eq!((pool.stats().waiting, pool.stats().dial_errors), (1, 1));
    conn.close().unwrap();
    join(waiter).unwrap();
    dialer.decide(Verdict::Connect);
}

#[test]
fn error_of_each_attempt_and_age_of_the_dial_are_reported() {
    let (dialer, pool) = setup(|options| options.dial_retries(1_000_000));
    dialer.set(Verdict::Refuse);
    let error = pool.get_timeout(50 * MILLI).unwrap_err();
    let report = error.pool_report().unwrap();
    assert_eq!(report.last_dial_error.as_ref().unwrap().to_string(), "connection refused");
    assert!(report.oldest_dial_age >= Some(40 * MILLI), "{report:?}");
    assert!(report.oldest_dial_attempts > 1 && report.dialing == 1, "{report:?}");
    let attempts = format!(" in {} attempts; a dial failed ", report.oldest_dial_attempts);
    let text = error.to_string();
    assert!(text.contains("; the oldest dial has taken ") && text.contains(&attempts), "{text}");
    let stats = pool.stats();
    assert!(stats.oldest_dial_attempts >= report.oldest_dial_attempts, "{stats:?}");
    assert!(stats.dial_attempts > 1 && stats.oldest_dial_age >= report.oldest_dial_age);
    assert_eq!(stats.dial_errors, 0, "the dial has not failed yet");
    dialer.set(Verdict::Connect);
    wait_until("an attempt succeeds", || pool.idle_count() == 1);
    let stats = pool.stats();
    assert_eq!((stats.oldest_dial_age, stats.oldest_dial_attempts), (None, 0));
}

/// The server answers `AUTH` with the error, but accepts the password later.
#[test]
fn errors_at_auth_that_can_pass_are_tried_again() {
    let server = RedisServer::builder();
    let server = server.arg("--requirepass", "summer").arg("--maxclients", "1").start();
    let dialer = Dialer::tcp(server.addr()).password("summer");
    let options = Pool::builder(dialer).dial_retries(10_000).dial_backoff(MILLI, 10 * MILLI);
    let pool = options.build().unwrap();
    let first = pool.acquire().unwrap();
    let second = start(&pool, |pool| pool.acquire());
    wait_until("an attempt has failed", || pool.stats().oldest_dial_attempts > 1);
    first.discard();
    join(second).unwrap().call("PING", ()).unwrap();
    assert_eq!(pool.stats().dial_errors, 0);
}

/// The breaker of the production pool in README, at a server without a password.
#[test]
fn breaker_opens_at_a_server_that_accepts_and_serves_none() {
    let closes = FakeServer::start(drop);
    let is_full = FakeServer::start(|mut stream| {
        let _ = stream.write_all(b"-ERR max number of clients reached\r\n");
    });
    for server in [closes, is_full] {
        let pool = Pool::builder(server.dialer())
            .max_active(16)
            .wait_timeout(2 * SECOND)
            .breaker(3)
            .dial_backoff(60 * SECOND, 60 * SECOND)
            .build()
            .unwrap();
        for _ in 0..3 {
            let error = pool.acquire().unwrap_err();
            assert!(!matches!(error, Error::BreakerOpen(_)), "{error}");
            assert!(error.to_string().contains("PING"), "{error}");
        }
        let error = pool.acquire().unwrap_err();
        assert!(matches!(error, Error::BreakerOpen(_)), "{error}");
        assert_eq!((pool.stats().dial_errors, pool.stats().dialed.total()), (3, 0));
    }
}

#[test]
fn pool_sends_ping_only_if_an_option_depends_on_dials() {
    let pings = |options: fn(PoolBuilder) -> PoolBuilder| {
        let (sent, received) = std::sync::mpsc::channel();
        let server = FakeServer::start(move |mut stream| {
            let mut request = [0; 64];
            while let Ok(length @ 1..) = stream.read(&mut request) {
                let is_ping = request[..length].ends_with(b"PING\r\n");
                let _ = sent.send(is_ping);
                let _ = stream.write_all(if is_ping { b"+PONG\r\n" } else { b"+OK\r\n" });
            }
        });
        let pool = options(Pool::builder(server.dialer())).build().unwrap();
        pool.acquire().unwrap().call("SET", ("key", 1)).unwrap();
        received.recv_timeout(PATIENCE).unwrap()
    };
    assert!(!pings(|pool| pool));
    assert!(pings(|pool| pool.breaker(5)));
    assert!(pings(|pool| pool.dial_retries(1)));
    assert!(pings(|pool| pool.keepalive(SECOND)));
    assert!(pings(|pool| pool.min_idle(1)));
}
