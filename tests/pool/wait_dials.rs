//! Dials whose caller has left, got another connection, or lost its pool.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redigo::{CloseReason, Context, Error, Pool, PoolBuilder, PooledConn, Result};

use crate::support::fake_conn::{FakeDialer, Verdict, number};
use crate::support::threads::{join, join_all, start, start_waiting};
use crate::support::wait::{PATIENCE, promptly, wait_until};

const SOON: Duration = Duration::from_millis(10);

/// A pool whose dials hang until the test says how they end.
fn setup(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = options(dialer.pool().max_idle(4)).build().unwrap();
    dialer.set(Verdict::Hang);
    (dialer, pool)
}

/// Checks out a first connection.
fn first(dialer: &FakeDialer, pool: &Pool) -> PooledConn {
    dialer.set(Verdict::Connect);
    let conn = pool.acquire().unwrap();
    dialer.set(Verdict::Hang);
    conn
}

/// Starts a caller with a deadline far away.
#[track_caller]
fn patient(pool: &Pool) -> JoinHandle<Result<PooledConn>> {
    start_waiting(pool, |pool| pool.get_timeout(PATIENCE))
}

#[track_caller]
fn wait_for_dials(dialer: &FakeDialer, dials: usize) {
    wait_until("this many dials run", || dialer.dialing() == dials);
}

#[track_caller]
fn number_of(caller: JoinHandle<Result<PooledConn>>) -> usize {
    number(&mut join(caller).unwrap())
}

#[test]
fn dial_of_a_caller_that_left_becomes_idle() {
    let (dialer, pool) = setup(|options| options.max_active(1).wait(true));
    let error = promptly("the caller leaves", || pool.get_timeout(SOON).unwrap_err());
    let told =
        "0 in use, 0 idle, 1 dialing of at most 1; 0 others waiting; the oldest dial has taken";
    assert!(error.to_string().contains(told), "{error}");
    assert_eq!((pool.active_count(), pool.stats().dialing), (1, 1));

    dialer.decide(Verdict::Connect);
    wait_until("the connection is idle", || pool.idle_count() == 1);
    assert_eq!((pool.stats().late_dials, pool.stats().hits), (1, 0));
    assert_eq!(number(&mut pool.get_timeout(Duration::ZERO).unwrap()), 1);
    dialer.check(&pool, (1, 1, 0));
}

#[test]
fn late_connection_goes_to_the_next_waiter() {
    let (dialer, pool) = setup(|options| options.max_active(1).wait(true));
    assert!(pool.get_timeout(SOON).unwrap_err().is_timeout());
    let next = start_waiting(&pool, |pool| pool.acquire());
    dialer.decide(Verdict::Connect);
    assert_eq!(number_of(next), 1);
    dialer.check(&pool, (1, 1, 0));
    assert_eq!(pool.stats().late_dials, 0, "a waiter took it");
}

#[test]
fn late_connection_is_kept_even_with_max_idle_zero() {
    let (dialer, pool) = setup(|options| options.max_idle(0));
    assert!(pool.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
    dialer.decide(Verdict::Connect);
    wait_until("the connection is idle", || pool.idle_count() == 1);
    assert_eq!(number(&mut pool.acquire().unwrap()), 1);
    dialer.check(&pool, (1, 0, 0));
}

#[test]
fn late_connection_is_tested_before_checkout() {
    let (dialer, pool) = setup(|options| options.test_on_borrow(|_, _| Err(Error::other("no"))));
    assert!(pool.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
    dialer.decide(Verdict::Connect);
    wait_until("the connection is idle", || pool.idle_count() == 1);
    dialer.set(Verdict::Connect);
    assert_eq!(number(&mut pool.acquire().unwrap()), 2);
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
}

#[test]
fn waiter_for_a_dial_takes_a_returned_connection() {
    let (dialer, pool) = setup(|options| options.max_active(2).wait(true));
    let conn = first(&dialer, &pool);
    let caller = patient(&pool);
    wait_for_dials(&dialer, 1);
    conn.close().unwrap();
    let mut conn = join(caller).unwrap();
    assert_eq!((number(&mut conn), pool.stats().dialing), (1, 1));
    drop(conn);
    dialer.decide(Verdict::Connect);
    wait_until("the other is idle", || pool.idle_count() == 2);
    dialer.check(&pool, (2, 2, 0));
}

#[test]
fn faster_dial_of_a_newcomer_serves_the_older_waiter() {
    let (dialer, pool) = setup(|options| options.max_active(2).wait(true));
    let older = patient(&pool);
    wait_for_dials(&dialer, 1);
    dialer.set(Verdict::Connect);
    let newer = start(&pool, |pool| pool.acquire());
    let older = join(older).unwrap();
    wait_until("the second waits", || pool.stats().waiting == 1);
    dialer.decide(Verdict::Connect);
    let newer = join(newer).unwrap();
    assert_eq!([older, newer].map(|mut conn| number(&mut conn)), [2, 1]);
    dialer.check(&pool, (2, 2, 0));
}

#[test]
fn hanging_dials_do_not_block_idle_connections() {
    let (dialer, pool) = setup(|options| options.max_active(3).max_concurrent_dials(1).wait(true));
    let conn = first(&dialer, &pool);
    assert!(pool.get_timeout(SOON).unwrap_err().is_timeout());
    conn.close().unwrap();
    for _ in 0..3 {
        drop(pool.get_timeout(Duration::ZERO).unwrap());
        drop(pool.acquire().unwrap());
    }
    assert_eq!((pool.stats().dialing, dialer.dialed()), (1, 2));
}

/// A dial fails while three callers wait: one gets the error immediately, the others are served.
fn a_bad_end_is_one_callers(verdict: Verdict, told: &str) {
    let (dialer, pool) = setup(|options| options.max_active(3).wait(true));
    let callers = [patient(&pool), patient(&pool), patient(&pool)];
    wait_for_dials(&dialer, 3);
    dialer.decide(verdict);
    let [oldest, others @ ..] = callers;
    assert_eq!(join(oldest).unwrap_err().to_string(), told);
    assert_eq!((pool.stats().waiting, pool.stats().dialing), (2, 2));
    dialer.decide(Verdict::Connect);
    dialer.decide(Verdict::Connect);
    let conns = join_all(others);
    assert!(conns.iter().all(Result::is_ok));
    assert_eq!((dialer.dialed(), pool.stats().dial_errors, pool.stats().dialed.total()), (3, 1, 2));
    dialer.check(&pool, (3, 2, 2));
}

#[test]
fn failed_dial_fails_one_caller_immediately() {
    a_bad_end_is_one_callers(Verdict::Refuse, "connection refused");
}

#[test]
fn panicking_dial_fails_one_caller_immediately() {
    let told = "the dial function panicked: a trap in the dial function";
    a_bad_end_is_one_callers(Verdict::Panic, told);
}

#[test]
fn refused_dials_fail_callers_before_their_deadlines() {
    let (dialer, pool) = setup(|options| options.max_active(2).max_concurrent_dials(1).wait(true));
    let callers = [patient(&pool), patient(&pool), patient(&pool), patient(&pool)];
    dialer.set(Verdict::Refuse);
    dialer.decide(Verdict::Refuse);
    for outcome in join_all(callers) {
        assert_eq!(outcome.unwrap_err().to_string(), "connection refused");
    }
    assert_eq!((dialer.dialed(), pool.stats().dial_errors), (4, 4));
    dialer.check(&pool, (4, 0, 0));
}

#[test]
fn dial_threads_stay_within_max_concurrent_dials() {
    let (dialer, pool) = setup(|options| options.max_active(20).max_concurrent_dials(3).wait(true));
    let acquire = |_| start_waiting(&pool, |pool| pool.acquire());
    let callers: Vec<_> = (0..10).map(|_| patient(&pool)).chain((0..10).map(acquire)).collect();
    wait_for_dials(&dialer, 3);
    assert_eq!((pool.stats().dialing, pool.stats().waiting), (3, 20));
    (0..20).for_each(|_| dialer.decide(Verdict::Connect));
    // No connection is returned before all are served, so each caller needs a dial.
    let conns = join_all(callers);
    assert!(conns.iter().all(Result::is_ok));
    assert_eq!((dialer.most_dialing(), dialer.most_open()), (3, 20));
    dialer.check(&pool, (20, 20, 20));
}

#[test]
fn every_dial_runs_on_a_dial_thread() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let (seen, dialer) = (Arc::clone(&names), FakeDialer::new());
    let pool = Pool::builder_with(move |ctx| {
        seen.lock().unwrap().push(thread::current().id());
        dialer.dial(ctx)
    });
    let pool = pool.max_idle(0).build().unwrap();
    let own = thread::current().id();
    drop(pool.acquire().unwrap());
    drop(pool.get_context(&Context::background()).unwrap());
    drop(pool.get_timeout(PATIENCE).unwrap());
    drop(pool.get_context(&Context::background().with_cancel().0).unwrap());
    let names = names.lock().unwrap();
    assert!(names.len() == 4 && !names.contains(&own), "{names:?}");
}

#[test]
fn closing_the_pool_ends_dials_and_wakes_their_waiters() {
    let (dialer, pool) = setup(|options| options.max_active(4).wait(true));
    let conn = first(&dialer, &pool);
    let own = start(&pool, |pool| pool.acquire());
    wait_for_dials(&dialer, 1);
    let mut callers = vec![own, patient(&pool), patient(&pool)];
    wait_for_dials(&dialer, 3);
    callers.push(patient(&pool));
    callers.push(start_waiting(&pool, |pool| pool.acquire()));
    pool.close();
    for outcome in join_all(callers) {
        assert!(matches!(outcome, Err(Error::PoolClosed)), "{outcome:?}");
    }
    // The canceled context ended the dials.
    wait_until("the dials end", || dialer.dialing() == 0 && pool.stats().dialing == 0);
    drop(conn);
    dialer.check(&pool, (4, 0, 0));
}

#[test]
fn closing_the_pool_does_not_wait_for_hanging_dials() {
    let (dialer, pool) = setup(|options| options.max_active(2).wait(true));
    dialer.set(Verdict::HangDeaf);
    let own = start(&pool, |pool| pool.acquire());
    wait_for_dials(&dialer, 1);
    let callers = [patient(&pool), patient(&pool)];
    wait_for_dials(&dialer, 2);
    promptly("closing", || pool.close());
    for outcome in join_all(callers) {
        assert!(matches!(outcome, Err(Error::PoolClosed)), "{outcome:?}");
    }
    assert_eq!((pool.stats().dialing, dialer.dialing()), (2, 2));
    dialer.decide(Verdict::Connect);
    dialer.decide(Verdict::Connect);
    assert!(matches!(join(own), Err(Error::PoolClosed)));
    wait_until("their connections are closed", || {
        (pool.active_count(), dialer.open(), dialer.dialed()) == (0, 0, 2)
    });
}

#[test]
fn dropping_the_last_handle_ends_dials_and_closes_late_ones() {
    for (verdict, dialed) in [(Verdict::Hang, None), (Verdict::HangDeaf, Some(1))] {
        let (dialer, pool) = setup(|options| options);
        dialer.set(verdict);
        assert!(pool.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
        wait_for_dials(&dialer, 1);
        drop(pool);
        if dialed.is_some() {
            dialer.decide(Verdict::Connect);
        }
        wait_until("the dial is over", || dialer.dialing() == 0);
        wait_until("its connection is closed", || dialer.closed().first() == dialed.as_ref());
    }
}

#[test]
fn without_wait_a_deadline_waits_only_for_the_dial() {
    let (dialer, pool) = setup(|options| options.max_active(1));
    let caller = patient(&pool);
    assert!(pool.acquire().unwrap_err().is_pool_exhausted());
    assert!(pool.get_timeout(PATIENCE).unwrap_err().is_pool_exhausted());
    dialer.decide(Verdict::Connect);
    assert_eq!(number_of(caller), 1);
    assert_eq!(pool.stats().wait_count, 0, "it waited for a dial, not at the maximum");
    dialer.check(&pool, (1, 1, 0));
}

/// Two callers with a deadline, one without, and two slots: without `wait` no caller may wait for a
/// connection that another holds.
#[test]
fn without_wait_no_caller_waits_at_the_maximum() {
    let (dialer, pool) = setup(|options| options.max_active(2).max_concurrent_dials(1));
    let callers = [patient(&pool), patient(&pool)];
    wait_for_dials(&dialer, 1);
    dialer.set(Verdict::Connect);
    let third = start(&pool, |pool| pool.acquire());
    dialer.decide(Verdict::Connect);
    let conns = join_all(callers);
    assert!(conns.iter().all(Result::is_ok));
    assert!(join(third).unwrap_err().is_pool_exhausted());
}
