//! The pool report of errors, as fields and as text, and the statistics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use redigo::{CloseReason, Context, Dialer, Error, Pool, PoolStats, TimeoutKind};

use crate::support::fake_conn::{Verdict, setup, setup_unclocked};
use crate::support::log_lines::{listen, warnings_with};
use crate::support::redis_server::RedisServer;
use crate::support::threads::{join, join_all, start, start_waiting};
use crate::support::wait::{MILLI, PATIENCE, SECOND, promptly, wait_until};

#[test]
fn timeout_error_has_the_full_pool_report() {
    let (dialer, pool, clock) =
        setup(|options| options.max_active(3).wait(true).track_borrows(true));
    let (oldest, line) = (pool.acquire().unwrap(), line!());
    clock.advance(2500 * MILLI);
    let second = pool.acquire().unwrap();
    dialer.set(Verdict::Refuse);
    let refused = pool.acquire().unwrap_err();
    assert!(matches!(refused, Error::Io(_)), "{refused:?}");
    clock.advance(1500 * MILLI);
    dialer.set(Verdict::HangDeaf);
    // One waiter with a dial, and one behind it.
    let first_waits = start_waiting(&pool, |pool| pool.get_timeout(PATIENCE).map(drop));
    wait_until("a dial runs for it", || dialer.dialing() == 1);

    let began = Instant::now();
    let error = promptly("a wait that times out", || pool.get_timeout(30 * MILLI).unwrap_err());
    let (report, took) = (error.pool_report().unwrap(), began.elapsed());
    assert!(matches!(error, Error::PoolTimeout(_)) && error.is_timeout());
    assert!(report.waited >= 30 * MILLI && report.waited <= took, "{:?}", report.waited);
    assert_eq!((report.limit, report.max_active), (TimeoutKind::PoolWait, Some(3)));
    assert_eq!((report.idle, report.in_use, report.dialing), (0, 2, 1));
    assert_eq!((report.waiting, report.waiters_ahead, report.suspended), (1, 1, false));
    let borrow = report.oldest_borrow.as_ref().unwrap();
    assert_eq!((borrow.location.line(), borrow.age), (line, 4000 * MILLI));
    assert!(report.own_borrow.is_none());
    assert!(report.last_dial_error.as_ref().unwrap().to_string().contains("connection refused"));
    assert_eq!(report.last_dial_error_age, Some(1500 * MILLI));

    let thread = thread::current();
    let (name, column) = (thread.name().unwrap(), borrow.location.column());
    let dial_age = report.oldest_dial_age.unwrap();
    assert!(dial_age >= 30 * MILLI && report.oldest_dial_attempts == 1, "{dial_age:?}");
    let expected = format!(
        "no connection from the pool in {:.1?}: 2 in use, 0 idle, 1 dialing of at most 3; \
         1 other waiting, 1 of them ahead; the oldest: borrowed 4.0 s ago by thread \"{name}\" \
         at {}:{line}:{column}; the oldest dial has taken {dial_age:.1?}; a dial failed 1.5s ago: \
         connection refused",
        report.waited,
        file!()
    );
    assert_eq!(error.to_string(), expected);
    // The text has the error of the dial, so it is not a source.
    assert!(std::error::Error::source(&error).is_none());

    dialer.decide(Verdict::Connect);
    join(first_waits).unwrap();
    drop((oldest, second));
}

#[test]
fn exhausted_error_has_the_full_pool_report() {
    let (_, pool, _) = setup(|options| options.max_active(2));
    let conns = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let error = get(&pool).unwrap_err();
        let told = "connection pool exhausted: 2 in use, 0 idle, 0 dialing of at most 2; 0 others \
                    waiting";
        assert_eq!(error.to_string(), told);
        let report = error.pool_report().unwrap();
        assert!(report.oldest_borrow.is_none() && report.last_dial_error.is_none());
        assert!(report.last_dial_error_age.is_none() && report.waited < PATIENCE);
    }
    drop(conns);
}

#[test]
fn timeout_error_names_the_limit_that_ended_it() {
    let (_, pool, _) = setup(|options| options.max_active(1).wait_timeout(MILLI));
    let conn = pool.get_timeout(PATIENCE).unwrap();
    let ctx = Context::background().with_timeout(MILLI);
    for (error, limit) in [
        (pool.acquire().unwrap_err(), TimeoutKind::PoolWait),
        (pool.get_timeout(MILLI).unwrap_err(), TimeoutKind::PoolWait),
        (pool.get_context(&ctx).unwrap_err(), TimeoutKind::Context),
    ] {
        let report = error.pool_report().unwrap();
        assert_eq!((report.limit, error.timeout_kind()), (limit, Some(limit)));
        assert!(!error.to_string().contains('\n'));
    }
    drop(conn);
}

/// All counters that are not zero.
fn numbers(stats: &PoolStats) -> BTreeMap<&'static str, u64> {
    let all = [
        ("wait_count", stats.wait_count),
        ("wait_timeouts", stats.wait_timeouts),
        ("wait_cancels", stats.wait_cancels),
        ("exhausted", stats.exhausted),
        ("breaker_refusals", stats.breaker_refusals),
        ("deadlocks", stats.deadlocks),
        ("hits", stats.hits),
        ("misses", stats.misses),
        ("dialed.demand", stats.dialed.demand),
        ("dialed.min_idle", stats.dialed.min_idle),
        ("dialed.probe", stats.dialed.probe),
        ("dial_attempts", stats.dial_attempts),
        ("dial_errors", stats.dial_errors),
        ("late_dials", stats.late_dials),
        ("late_reused", stats.late_reused),
        ("closed", stats.closed.total()),
        ("detached", stats.detached),
        ("leaks", stats.leaks),
        ("wait_time", stats.wait_time.count()),
        ("dial_time", stats.dial_time.count()),
        ("use_time", stats.use_time.count()),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Runs the action and checks that exactly these counters grow by one.
#[track_caller]
fn counts<T>(pool: &Pool, expected: &[&'static str], what: impl FnOnce() -> T) -> T {
    let before = numbers(&pool.stats());
    let done = what();
    let mut grown = numbers(&pool.stats());
    grown.iter_mut().for_each(|(name, count)| *count -= before.get(name).copied().unwrap_or(0));
    grown.retain(|_, by| *by > 0);
    assert_eq!(grown, expected.iter().map(|name| (*name, 1)).collect());
    done
}

#[test]
fn each_event_changes_only_its_own_counters() {
    let (dialer, pool, clock) = setup(|options| {
        let options = options.max_active(2).wait(true).max_waiters(1).leak_threshold(SECOND);
        options.breaker(2).dial_backoff(SECOND, SECOND).detect_deadlock(true)
    });
    let acquire = || pool.acquire().unwrap();
    let a_dial = ["misses", "dialed.demand", "dial_attempts", "dial_time", "wait_time"];
    let first = counts(&pool, &a_dial, acquire);
    counts(&pool, &["use_time"], || drop(first));
    let first = counts(&pool, &["hits"], acquire);
    let second = counts(&pool, &a_dial, acquire);
    counts(&pool, &["deadlocks"], || pool.acquire().unwrap_err());

    // Waiters on other threads.
    counts(&pool, &["wait_timeouts", "misses", "wait_time"], || {
        join(start(&pool, |pool| pool.get_timeout(MILLI))).unwrap_err()
    });
    counts(&pool, &["wait_cancels", "misses", "wait_time"], || {
        let (ctx, cancel) = Context::background().with_cancel();
        let waiter = start_waiting(&pool, move |pool| pool.get_context(&ctx));
        cancel.cancel();
        join(waiter).unwrap_err()
    });
    let served = ["wait_count", "misses", "wait_time"];
    let third = counts(&pool, &[&served[..], &["exhausted", "use_time"]].concat(), || {
        let waiter = start_waiting(&pool, |pool| pool.acquire());
        let refused = join(start(&pool, |pool| pool.acquire()));
        assert!(refused.unwrap_err().is_pool_exhausted());
        drop(first);
        join(waiter).unwrap()
    });
    counts(&pool, &["use_time", "detached"], || third.detach());

    counts(&pool, &["leaks"], || {
        clock.advance(SECOND);
        wait_until("the borrow is reported", || pool.stats().leaks == 1);
    });
    counts(&pool, &["closed", "use_time"], || second.discard());

    // A dial whose caller has left, and whose connection is used later.
    dialer.set(Verdict::HangDeaf);
    let leaves = ["misses", "wait_timeouts", "wait_time"];
    let comes = ["late_dials", "dialed.demand", "dial_attempts", "dial_time"];
    counts(&pool, &[&leaves[..], &comes].concat(), || {
        pool.get_timeout(MILLI).unwrap_err();
        dialer.decide(Verdict::Connect);
        wait_until("the dial is over", || pool.idle_count() == 1);
    });
    counts(&pool, &["hits", "late_reused"], acquire).discard();

    // Failed dials, and the breaker.
    dialer.set(Verdict::Refuse);
    for _ in 0..2 {
        let fails = ["misses", "dial_attempts", "dial_errors", "wait_time"];
        counts(&pool, &fails, || pool.acquire().unwrap_err());
    }
    counts(&pool, &["breaker_refusals"], || pool.acquire().unwrap_err());
    dialer.set(Verdict::Connect);
    counts(&pool, &["dialed.probe", "dial_attempts", "dial_time"], || {
        clock.advance(SECOND);
        wait_until("the probe succeeds", || pool.idle_count() == 1);
    });
}

#[test]
fn stats_show_the_current_state() {
    let (dialer, pool, clock) = setup(|options| {
        options.max_active(5).max_idle(4).min_idle(1).wait(true).leak_threshold(SECOND)
    });
    wait_until("one is idle", || pool.idle_count() == 1);
    let out = pool.acquire().unwrap();
    wait_until("and again", || pool.idle_count() == 1);
    clock.advance(SECOND);
    wait_until("a borrow is overdue", || pool.stats().overdue == 1);
    dialer.set(Verdict::HangDeaf);
    let second = pool.acquire().unwrap();
    wait_until("a third is dialing", || dialer.dialing() == 1);
    pool.suspend();
    let waiter = start_waiting(&pool, |pool| pool.get_timeout(PATIENCE).map(drop));
    pool.evict_all();
    let stats = pool.stats();
    assert_eq!((stats.max_active, stats.max_idle, stats.min_idle), (Some(5), 4, 1));
    assert_eq!((stats.open, stats.idle, stats.in_use, stats.dialing), (3, 0, 2, 1));
    assert_eq!((stats.waiting, stats.overdue, stats.suspended, stats.generation), (1, 1, true, 1));
    assert_eq!((stats.dialed.min_idle, stats.dialed.total()), (2, 2));
    dialer.set(Verdict::Connect);
    dialer.decide(Verdict::Connect);
    pool.resume();
    join(waiter).unwrap();
    assert!(!pool.stats().suspended);
    drop((out, second));
    assert_eq!(pool.stats().overdue, 0);
}

#[test]
fn histograms_record_use_wait_and_dial_times() {
    let (_, pool, clock) = setup(|options| options.track_borrows(true).max_active(1).wait(true));
    for millis in [1, 10, 100] {
        let conn = pool.acquire().unwrap();
        clock.advance(millis * MILLI);
        drop(conn);
    }
    let use_time = pool.stats().use_time;
    assert_eq!((use_time.count(), use_time.sum()), (3, 111 * MILLI));
    assert_eq!(use_time.mean(), 37 * MILLI);
    // The bounds of buckets are at most an eighth above the true value.
    assert!((10 * MILLI..=10 * MILLI * 9 / 8).contains(&use_time.quantile(0.5)));
    assert!((100 * MILLI..=100 * MILLI * 9 / 8).contains(&use_time.quantile(1.0)));

    let conn = pool.acquire().unwrap();
    assert!(pool.get_timeout(5 * MILLI).unwrap_err().is_timeout());
    let stats = pool.stats();
    assert_eq!(
        (stats.wait_time.count(), stats.wait_count),
        (2, 0),
        "the waits for the dial and until the timeout are in the histogram only"
    );
    assert!(stats.wait_time.sum() >= 5 * MILLI && stats.wait_duration.is_zero());
    assert_eq!(stats.dial_time.count(), 1);
    drop(conn);
}

/// Each snapshot of a pool under load is consistent.
#[test]
fn stats_under_load_are_consistent_and_complete() {
    let server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(PATIENCE);
    let options = Pool::builder(dialer).max_active(4).max_idle(2).wait(true).min_idle(1);
    let options = options.track_borrows(true).idle_timeout(2 * MILLI).peek_after(MILLI);
    let pool = options.build().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let looks = start(&pool, move |pool| {
        let mut before = pool.stats();
        while !stop.load(SeqCst) {
            let stats = pool.stats();
            assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing, "{stats:?}");
            assert!(stats.open <= 4, "{stats:?}");
            assert!(stats.waiting == 0 || stats.idle == 0, "{stats:?}");
            let connected = stats.dialed.total() - stats.closed.total() - stats.detached;
            assert_eq!(connected, (stats.idle + stats.in_use) as u64, "{stats:?}");
            let now = numbers(&stats);
            for (name, count) in numbers(&before) {
                assert!(now[name] >= count, "{name}: {stats:?}");
            }
            before = stats;
        }
    });
    let callers = (0..8).map(|seed| {
        start(&pool, move |pool| {
            for round in 0..200 {
                let mut conn = match (seed + round) % 3 {
                    0 => pool.acquire().unwrap(),
                    _ => pool.get_timeout(PATIENCE).unwrap(),
                };
                conn.call("PING", ()).unwrap();
                match (seed + round) % 20 {
                    0 => conn.discard(),
                    1 => drop(conn.detach()),
                    2 => pool.evict_all(),
                    _ => conn.close().unwrap(),
                }
            }
        })
    });
    join_all(callers.collect::<Vec<_>>());
    done.store(true, SeqCst);
    join(looks);
    let stats = pool.stats();
    assert_eq!(stats.hits + stats.misses, 1600, "each caller once: {stats:?}");
    assert_eq!((stats.in_use, stats.waiting, stats.detached), (0, 0, 80), "{stats:?}");
    assert_eq!(stats.closed.of(CloseReason::Discarded), 80, "{stats:?}");
    assert_eq!(stats.use_time.count(), 1600, "each borrow once: {stats:?}");
    assert_eq!(stats.dial_time.count(), stats.dialed.total(), "{stats:?}");
}

#[test]
fn report_with_a_frozen_real_server_names_the_cause() {
    let server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(PATIENCE);
    let options = Pool::builder(dialer).max_active(1).wait(true).max_waiters(1);
    let pool = options.track_borrows(true).build().unwrap();
    let (mut conn, line) = (pool.acquire().unwrap(), line!());
    conn.call("PING", ()).unwrap();
    server.freeze();
    let busy = thread::spawn(move || {
        conn.call("PING", ()).unwrap();
        conn.close().unwrap();
    });
    let waiter = start_waiting(&pool, |pool| pool.acquire().map(drop));
    let error = promptly("a refusal", || pool.get_timeout(PATIENCE).unwrap_err());
    assert!(error.is_pool_exhausted(), "{error}");
    let report = error.pool_report().unwrap();
    assert_eq!((report.in_use, report.waiting), (1, 1));
    assert_eq!(report.oldest_borrow.as_ref().unwrap().location.line(), line);
    assert!(error.to_string().contains(&format!("{}:{line}:", file!())), "{error}");
    server.thaw();
    join(busy);
    join(waiter).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.wait_count, stats.wait_time.count(), stats.use_time.count()), (1, 2, 2));
    let times = [&stats.wait_time, &stats.dial_time, &stats.use_time];
    assert!(times.iter().all(|times| times.mean() > Duration::ZERO), "{stats:?}");
}

#[test]
fn outage_logs_one_warning_and_one_line_on_recovery() {
    listen();
    let options = |pool: redigo::PoolBuilder| pool.name("outage-test").breaker(2);
    let (dialer, pool) = setup_unclocked(|pool| options(pool).dial_backoff(MILLI, MILLI));
    dialer.set(Verdict::Refuse);
    for _ in 0..10 {
        pool.acquire().unwrap_err();
    }
    let lines = || warnings_with(&["outage-test"]);
    assert_eq!(lines().len(), 1, "{:?}", lines());
    assert!(lines()[0].starts_with("outage-test: a dial failed: "), "{:?}", lines());
    dialer.set(Verdict::Connect);
    wait_until("the server is back", || pool.acquire().is_ok());
    pool.acquire().unwrap().discard();
    drop(pool.acquire().unwrap());
    assert_eq!(lines().len(), 2, "{:?}", lines());
    assert!(lines()[1].starts_with("outage-test: dials succeed again ("), "{:?}", lines());
}

#[test]
fn name_of_a_pool_is_in_its_errors_and_its_threads() {
    let pool = Pool::builder_with(|_| {
        assert_eq!(thread::current().name(), Some("dial-orders"));
        Err(Error::other("no route"))
    });
    let pool = pool.name("orders").max_active(1).breaker(1).build().unwrap();
    let error = pool.acquire().unwrap_err();
    assert_eq!(error.to_string(), "no route");
    let error = pool.acquire().unwrap_err();
    assert_eq!(error.pool_report().unwrap().pool.as_deref(), Some("orders"));
    assert!(error.to_string().contains("orders: 0 in use, 0 idle"), "{error}");
}

#[cfg(feature = "metrics")]
#[test]
fn name_for_metrics_names_a_pool_without_a_name() {
    let name = |pool: Pool| {
        let _conn = pool.acquire().unwrap();
        pool.acquire().unwrap_err().pool_report().unwrap().pool.as_deref().map(str::to_owned)
    };
    let options = || setup(|pool| pool).0.pool().max_active(1).max_idle(1);
    assert_eq!(name(options().metrics("m").build().unwrap()).as_deref(), Some("m"));
    let both = options().metrics("m").name("n");
    assert_eq!(name(both.build().unwrap()).as_deref(), Some("n"));
    assert_eq!(name(options().build().unwrap()), None);
}

#[test]
fn name_with_a_control_character_is_refused() {
    for name in ["a\nb", "a\0b"] {
        let error = setup(|pool| pool).0.pool().name(name).build().unwrap_err();
        assert!(matches!(error, Error::InvalidConfig(_)), "{error}");
    }
}
