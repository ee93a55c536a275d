//! Operations on a pool in use: resize, suspend, evict, replace the dialer, close. On fakes, and on a
//! real server that restarts and changes its password.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use redigo::testing::ManualClock;
use redigo::{CloseReason, Dialer, Error, Pool, PoolBuilder, PooledConn};

use crate::support::fake_conn::{FakeDialer, Verdict, number, setup_unclocked as setup};
use crate::support::pooled::{known, to};
use crate::support::redis_server::RedisServer;
use crate::support::threads::{join, join_all, start, start_waiting};
use crate::support::wait::{MILLI, PATIENCE, SECOND, promptly, wait_until};

fn take(pool: &Pool, connections: usize) -> Vec<PooledConn> {
    (0..connections).map(|_| pool.acquire().unwrap()).collect()
}

fn numbers(conns: &mut [PooledConn]) -> Vec<usize> {
    conns.iter_mut().map(|conn| number(conn)).collect()
}

#[test]
fn fifo_takes_and_closes_the_longest_idle_connection() {
    let (_, pool) = setup(|options| options.fifo(true));
    drop(take(&pool, 3));
    for number_of in [1, 2, 3, 1, 2] {
        assert_eq!(number(&mut pool.acquire().unwrap()), number_of);
    }
    // Overflow closes from the same end.
    pool.resize(0, 2).unwrap();
    assert_eq!(numbers(&mut take(&pool, 2)), [1, 2]);
}

#[test]
fn caller_above_max_waiters_fails_immediately() {
    let (_, pool) = setup(|options| options.max_active(1).wait(true).max_waiters(2));
    let conn = pool.acquire().unwrap();
    let waiters: Vec<_> =
        (0..2).map(|_| start_waiting(&pool, |pool| pool.acquire().map(drop))).collect();
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let error = promptly("a refusal", || get(&pool).unwrap_err());
        assert!(error.is_pool_exhausted(), "{error:?}");
        let report = error.pool_report().unwrap();
        assert_eq!((report.waiting, report.waiters_ahead, report.in_use), (2, 2, 1));
    }
    assert_eq!(pool.stats().exhausted, 2);
    drop(conn);
    join_all(waiters).into_iter().for_each(|waited| waited.unwrap());
}

#[test]
fn larger_max_active_serves_waiters() {
    let (dialer, pool) = setup(|options| options.max_active(1).wait(true));
    let conn = pool.acquire().unwrap();
    let waiters = [
        start_waiting(&pool, |pool| pool.acquire()),
        start_waiting(&pool, |pool| pool.get_timeout(PATIENCE)),
        start_waiting(&pool, |pool| pool.acquire()),
    ];
    pool.resize(4, 4).unwrap();
    let conns: Vec<_> = join_all(waiters).into_iter().map(|waited| waited.unwrap()).collect();
    dialer.check(&pool, (4, 4, 4));
    drop((conn, conns));
    assert_eq!(pool.idle_count(), 4);
}

#[test]
fn smaller_max_active_closes_returned_connections() {
    let (dialer, pool) = setup(|options| options.max_active(5).wait(true));
    let mut conns = take(&pool, 5);
    drop(conns.split_off(3));
    pool.resize(2, 2).unwrap();
    dialer.check(&pool, (5, 3, 3));
    let waiter = start_waiting(&pool, |pool| drop(pool.acquire().unwrap()));
    conns.pop();
    assert_eq!((pool.active_count(), pool.stats().waiting), (2, 1), "it was above the limit");
    conns.pop();
    join(waiter);
    drop(conns);
    dialer.check(&pool, (5, 2, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Overflow), 3);
    pool.resize(5, 1).unwrap();
    assert_eq!((pool.idle_count(), pool.stats().max_active), (1, Some(5)));
}

#[test]
fn resize_that_contradicts_the_options_changes_nothing() {
    let (dialer, pool) =
        setup(|options| options.min_idle(3).max_active(5).wait(true).max_waiters(7));
    wait_until("all are idle", || pool.idle_count() == 3);
    for (max_active, max_idle, told) in [
        (2, 5, "min_idle(3) is above max_active(2)"),
        (5, 2, "min_idle(3) is above max_idle(2)"),
        (0, 5, "max_waiters(7) without max_active"),
    ] {
        let error = pool.resize(max_active, max_idle).unwrap_err();
        assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!((pool.stats().max_active, pool.stats().max_idle, dialer.open()), (Some(5), 5, 3));

    // Like `build`: without a limit no caller would ever wait.
    let waits = |options: PoolBuilder| options.wait_timeout(PATIENCE).max_active(2);
    for (options, told) in [
        (setup(|options| waits(options).wait(true)), "wait(true) without max_active"),
        (setup(|options| waits(options).detect_deadlock(true)), "detect_deadlock(true) without"),
    ] {
        let (_, pool) = options;
        let error = pool.resize(0, 5).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(pool.stats().max_active, Some(2));
    }
    // A wait_timeout is valid without a limit, because it also applies to dials.
    setup(waits).1.resize(0, 5).unwrap();
}

#[test]
fn suspended_pool_makes_callers_wait_until_resume() {
    let (dialer, pool) = setup(|options| options.max_active(2));
    drop(take(&pool, 2));
    let out = pool.acquire().unwrap();
    pool.suspend();
    pool.suspend();
    // Also in a pool without `wait`.
    let first = start_waiting(&pool, |pool| number(&mut pool.acquire().unwrap()));
    let second = start_waiting(&pool, |pool| number(&mut pool.get_timeout(PATIENCE).unwrap()));
    let error = pool.get_timeout(10 * MILLI).unwrap_err();
    let report = error.pool_report().unwrap();
    assert!(error.is_timeout() && report.suspended && report.waiters_ahead == 2, "{error}");
    assert!(error.to_string().contains("the pool is suspended"), "{error}");
    // Connections in use stay usable and can be returned.
    out.close().unwrap();
    assert_eq!((pool.idle_count(), pool.stats().waiting, dialer.dialed()), (2, 2, 2));
    pool.resume();
    pool.resume();
    assert_eq!((join(first), join(second)), (2, 1));
    let stats = pool.stats();
    assert_eq!((stats.wait_count, stats.wait_timeouts, stats.suspended), (2, 1, false));
    dialer.check(&pool, (2, 2, 0));
}

#[test]
fn closing_a_suspended_pool_wakes_all_waiters() {
    let (_, pool) = setup(|options| options.max_active(2));
    pool.suspend();
    let waiters = [
        start_waiting(&pool, |pool| pool.acquire()),
        start_waiting(&pool, |pool| pool.get_timeout(PATIENCE)),
    ];
    pool.close();
    for outcome in join_all(waiters) {
        assert!(matches!(outcome, Err(Error::PoolClosed)), "{outcome:?}");
    }
    pool.resume();
    assert!(matches!(pool.acquire(), Err(Error::PoolClosed)));
}

#[test]
fn evict_all_closes_idle_now_and_others_at_return() {
    let (dialer, pool) = setup(|options| options.max_active(4));
    let mut conns = take(&pool, 3);
    conns.truncate(1);
    dialer.check(&pool, (3, 3, 1));
    pool.evict_all();
    dialer.check(&pool, (3, 1, 1));
    conns[0].call("PING", ()).unwrap();
    conns.clear();
    dialer.check(&pool, (3, 0, 0));
    assert_eq!((pool.stats().closed.of(CloseReason::Evicted), pool.stats().generation), (3, 1));
    assert_eq!(number(&mut pool.acquire().unwrap()), 4);
    assert_eq!(pool.idle_count(), 1, "a connection dialed later is kept");
}

#[test]
fn dial_started_before_evict_all_is_discarded() {
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let (dialer, pool) = setup(|options| options.max_active(4));
        dialer.set(Verdict::HangDeaf);
        let caller = start(&pool, move |pool| number(&mut get(&pool).unwrap()));
        wait_until("it dials", || dialer.dialing() == 1);
        // The caller gets a new dial immediately.
        dialer.set(Verdict::Connect);
        pool.evict_all();
        assert_eq!(join(caller), 2);
        dialer.decide(Verdict::Connect);
        wait_until("its connection is closed", || {
            pool.stats().closed.of(CloseReason::Evicted) == 1 && dialer.open() == 1
        });
    }
}

#[test]
fn replaced_dial_function_is_used_from_now_on() {
    let (before, pool) = setup(|options| options.max_active(4));
    let after = FakeDialer::new();
    let mut conns = take(&pool, 2);
    conns.pop();
    let dialer = after.clone();
    pool.replace_dial_function(move |ctx| dialer.dial(ctx));
    assert_eq!((before.open(), pool.stats().generation), (1, 1));
    conns.clear();
    drop(pool.acquire().unwrap());
    assert_eq!((before.open(), before.dialed(), after.open()), (0, 2, 1));
    pool.close();
    drop(pool);
    assert_eq!(after.open(), 0);
}

#[test]
fn close_and_wait_waits_for_borrowers() {
    let (dialer, pool) = setup(|options| options.max_active(3).wait(true).track_borrows(true));
    let conns = take(&pool, 3);
    let waiter = start_waiting(&pool, |pool| pool.acquire());
    let closing = start(&pool, |pool| pool.close_and_wait(PATIENCE));
    assert!(matches!(join(waiter), Err(Error::PoolClosed)), "at once");
    assert!(matches!(pool.acquire(), Err(Error::PoolClosed)));
    for mut conn in conns {
        assert!(!closing.is_finished(), "it waits for all borrowers");
        conn.call("PING", ()).unwrap();
        drop(conn);
    }
    let report = join(closing);
    assert_eq!(
        (report.returned, report.aborted, report.aborted_borrows.len()),
        (3, 0, 0),
        "{report}"
    );
    assert_eq!(dialer.open(), 0);
    let line = report.to_string();
    assert!(line.starts_with("closed in ") && line.ends_with(": 3 returned, 0 aborted"), "{line}");
}

#[test]
fn close_and_wait_aborts_borrows_at_its_timeout() {
    let (dialer, pool) = setup(|options| options.max_active(3).track_borrows(true));
    let (mut stuck, line) = (pool.acquire().unwrap(), line!());
    let finishes = pool.acquire().unwrap();
    let blocked = thread::spawn(move || stuck.call("SILENT", ()).map(drop));
    wait_until("it hangs", || dialer.commands().contains(&"SILENT".to_owned()));
    drop(finishes);
    let held = pool.acquire().unwrap();
    let report = promptly("closing", || pool.close_and_wait(20 * MILLI));
    assert!(join(blocked).unwrap_err().is_canceled());
    assert_eq!((report.returned, report.aborted), (0, 2), "{report}");
    let lines: Vec<_> =
        report.aborted_borrows.iter().map(|borrow| borrow.location.line()).collect();
    assert!(lines.contains(&line) && report.took >= 20 * MILLI, "{report:?}");
    let text = report.to_string();
    assert!(text.contains("0 returned, 2 aborted; borrowed ") && text.contains(file!()), "{text}");
    drop(held);
    wait_until("all are closed", || dialer.open() == 0);
    // A second call changes nothing.
    let report = promptly("closing again", || pool.close_and_wait(PATIENCE));
    assert_eq!((report.returned, report.aborted), (0, 0));
}

#[test]
fn close_and_wait_ends_a_dial_that_has_just_begun() {
    for _ in 0..50 {
        let (dialer, pool) = setup(|options| options.max_active(1).wait(true));
        let conn = pool.acquire().unwrap();
        let waiter = start_waiting(&pool, |pool| pool.acquire().map(drop));
        // A dial for the waiter begins, and the pool is closed.
        conn.discard();
        let report = promptly("closing", || pool.close_and_wait(PATIENCE));
        assert_eq!(report.aborted, 0, "{report}");
        let _ = join(waiter);
        assert_eq!(pool.active_count(), 0);
        wait_until("its connection is closed", || dialer.open() == 0);
    }
}

#[test]
fn close_and_wait_notices_a_connection_that_fails_its_test() {
    for _ in 0..20 {
        let gate = Arc::new(Barrier::new(2));
        let test = Arc::clone(&gate);
        let (_, pool) = setup(|options| {
            options.test_on_borrow(move |_, _| {
                test.wait();
                test.wait();
                Err(Error::other("the connection is dead"))
            })
        });
        drop(pool.acquire().unwrap());
        let borrower = start(&pool, |pool| pool.acquire().map(drop));
        gate.wait();
        let closing = start(&pool, |pool| pool.close_and_wait(Duration::MAX));
        wait_until("the pool is closed", || pool.is_closed());
        gate.wait();
        assert!(matches!(join(borrower), Err(Error::PoolClosed)));
        assert_eq!(join(closing).aborted, 0);
    }
}

#[test]
fn real_connections_are_evicted_and_resized() {
    let server = RedisServer::start();
    let mut control = Dialer::url(server.url()).unwrap().dial().unwrap();
    let pool = Pool::builder(to(&server)).max_active(6).fifo(true).build().unwrap();
    pool.warm_up(6, PATIENCE).unwrap();
    assert_eq!(known(&mut control), 6);
    let id = || pool.acquire().unwrap().query::<i64>("CLIENT", "ID").unwrap();
    let round: Vec<_> = (0..6).map(|_| id()).collect();
    assert!((0..6).all(|at| id() == round[at]), "in the order of their return");
    pool.resize(4, 4).unwrap();
    wait_until("two are closed", || known(&mut control) == 4);
    let mut out = pool.acquire().unwrap();
    pool.evict_all();
    wait_until("one is left", || known(&mut control) == 1);
    out.call("PING", ()).unwrap();
    out.close().unwrap();
    wait_until("none is left", || known(&mut control) == 0);
    pool.acquire().unwrap().call("PING", ()).unwrap();
}

/// The main use of `suspend`.
#[test]
fn real_server_is_replaced_without_an_error() {
    let mut server = RedisServer::start();
    let options = Pool::builder(to(&server)).max_active(3).wait(true);
    let pool = options.peek_after(MILLI).build().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let served = Arc::clone(&served);
            start(&pool, move |pool| -> redigo::Result<()> {
                for _ in 0..500 {
                    let mut conn = pool.get_timeout(PATIENCE)?;
                    conn.call("INCR", "key")?;
                    conn.close()?;
                    served.fetch_add(1, SeqCst);
                }
                Ok(())
            })
        })
        .collect();
    wait_until("they work", || served.load(SeqCst) > 50);
    pool.suspend();
    wait_until("all are returned", || pool.stats().in_use == 0);
    server.restart();
    pool.evict_all();
    pool.resume();
    for outcome in join_all(workers) {
        outcome.unwrap();
    }
    assert_eq!((pool.stats().dial_errors, pool.stats().closed.of(CloseReason::Io)), (0, 0));
}

#[test]
fn real_password_is_changed_at_run_time() {
    let server = RedisServer::builder().arg("--requirepass", "summer").start();
    let dialer = Dialer::tcp(server.addr()).read_timeout(PATIENCE);
    let mut control = dialer.clone().password("summer").dial().unwrap();
    let pool = Pool::builder(dialer.clone().password("summer")).max_active(3).build().unwrap();
    let mut out = pool.acquire().unwrap();
    drop(pool.acquire().unwrap());
    control.call("CONFIG", ("SET", "requirepass", "winter")).unwrap();
    // Open connections stay open, but the old password no longer works.
    out.call("PING", ()).unwrap();
    let idle = pool.acquire().unwrap();
    let error = pool.acquire().unwrap_err();
    assert!(error.to_string().contains("WRONGPASS"), "{error}");
    assert!(!error.to_string().contains("summer") && !format!("{error:?}").contains("summer"));
    drop(idle);
    pool.replace_dialer(dialer.password("winter"));
    assert_eq!((pool.idle_count(), pool.active_count()), (0, 1));
    pool.acquire().unwrap().call("PING", ()).unwrap();
    out.call("PING", ()).unwrap();
    out.close().unwrap();
    assert_eq!((pool.idle_count(), pool.active_count()), (1, 1));
    assert_eq!(pool.stats().closed.of(CloseReason::Evicted), 2);
}

#[test]
fn close_and_wait_with_busy_and_hanging_real_connections() {
    let server = RedisServer::start();
    let mut control = Dialer::url(server.url()).unwrap().dial().unwrap();
    let options = Pool::builder(Dialer::url(server.url()).unwrap().client_name("pooled"));
    let pool = options.max_active(4).track_borrows(true).build().unwrap();
    let hang = |mut conn: PooledConn| thread::spawn(move || conn.call("BLPOP", ("queue", 0)));
    let hanging = [hang(pool.acquire().unwrap()), hang(pool.acquire().unwrap())];
    let works = pool.acquire().unwrap();
    drop(pool.acquire().unwrap());
    let closing = start(&pool, |pool| pool.close_and_wait(300 * MILLI));
    wait_until("the pool is closed", || pool.is_closed());
    works.close().unwrap();
    let report = join(closing);
    assert_eq!(
        (report.returned, report.aborted, report.aborted_borrows.len()),
        (1, 2, 2),
        "{report}"
    );
    for outcome in join_all(hanging) {
        assert!(outcome.unwrap_err().is_canceled());
    }
    wait_until("the server has closed them", || known(&mut control) == 0);
}

/// A `wait_timeout` on a server that does not answer.
#[test]
fn wait_timeout_ends_get_while_a_real_server_is_frozen() {
    let server = RedisServer::start();
    let clock = ManualClock::new();
    let options = Pool::builder(to(&server)).max_active(1).wait_timeout(20 * MILLI);
    let pool = options.clock(clock).track_borrows(true).build().unwrap();
    let mut conn = pool.get_timeout(PATIENCE).unwrap();
    server.freeze();
    let busy = thread::spawn(move || {
        conn.call("PING", ()).unwrap();
        conn.close().unwrap();
    });
    let error = promptly("a wait", || pool.acquire().unwrap_err());
    assert!(error.is_timeout() && error.pool_report().unwrap().oldest_borrow.is_some(), "{error}");
    server.thaw();
    join(busy);
    let waited = pool.get_timeout(SECOND).unwrap();
    drop(waited);
    assert_eq!((pool.stats().wait_timeouts, pool.active_count()), (1, 1));
}

/// When no connection is in use, nothing of the program's is lost.
#[test]
fn close_and_wait_does_not_wait_for_a_deaf_dial_function() {
    let (dialer, pool) = setup(|options| options.max_active(1).wait(true));
    dialer.set(Verdict::HangDeaf);
    let caller = start(&pool, |pool| pool.acquire().map(drop));
    wait_until("a dial hangs", || dialer.dialing() == 1);
    let report = promptly("closing", || pool.close_and_wait(6 * PATIENCE));
    assert_eq!((report.returned, report.aborted), (0, 0));
    assert!(matches!(join(caller), Err(Error::PoolClosed)));
    assert_eq!(pool.stats().dialing, 1);
    dialer.decide(Verdict::Connect);
    wait_until("its connection is closed", || pool.stats().open == 0 && dialer.open() == 0);
}
