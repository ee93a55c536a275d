//! Borrow tracking: leak reports, reclaiming, deadlocks and churn. On a manual clock with captured log
//! lines, and on a real server.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use redigo::testing::ManualClock;
use redigo::{CloseReason, Dialer, Error, Pool, PoolBuilder};

use crate::support::fake_conn::{self, FakeDialer, number};
use crate::support::log_lines::{listen, own_warnings_with, warnings_with};
use crate::support::pooled::{known, to};
use crate::support::redis_server::RedisServer;
use crate::support::threads::{join, start, start_waiting};
use crate::support::wait::{MILLI, PATIENCE, SECOND, promptly, wait_until};

fn setup(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (FakeDialer, Pool, ManualClock) {
    listen();
    fake_conn::setup(options)
}

#[test]
fn outstanding_lists_borrows_with_age_thread_and_line() {
    let (_, pool, clock) = setup(|options| options.track_borrows(true));
    assert_eq!(pool.outstanding(), []);
    let first = pool.acquire().unwrap();
    clock.advance(2 * SECOND);
    let named = thread::Builder::new().name("importer".into());
    let other = pool.clone();
    let second = named.spawn(move || (other.get(), line!())).unwrap();
    let (second, second_line) = second.join().unwrap();
    clock.advance(SECOND);
    let third = (pool.get_timeout(PATIENCE).unwrap(), line!());

    let out = pool.outstanding();
    let ages: Vec<_> = out.iter().map(|borrow| borrow.age).collect();
    assert_eq!(ages, [3 * SECOND, SECOND, Duration::ZERO], "the oldest first");
    let lines: Vec<_> = out.iter().map(|borrow| borrow.location.line()).collect();
    assert_eq!(lines[1..], [second_line, third.1]);
    let file = file!();
    assert!(out.iter().all(|borrow| borrow.location.file() == file && !borrow.overdue));
    let current = thread::current();
    let here = current.name().unwrap();
    let threads: Vec<_> = out.iter().map(|borrow| &*borrow.thread).collect();
    assert_eq!(threads, [here, "importer", here]);
    let line = out[1].to_string();
    let expected = format!("borrowed 1.0 s ago by thread \"importer\" at {file}:{second_line}:");
    assert!(line.starts_with(&expected), "{line}");

    drop(first);
    assert_eq!(pool.outstanding().len(), 2);
    second.discard();
    drop(third.0.detach());
    assert_eq!(pool.outstanding(), []);
    assert_eq!(pool.stats().use_time.count(), 3, "however they ended");
}

#[test]
fn without_track_borrows_nothing_is_recorded() {
    let (_, pool, _) = setup(|options| options);
    let conn = pool.acquire().unwrap();
    assert_eq!((pool.outstanding(), pool.stats().in_use), (vec![], 1));
    drop(conn);
    assert_eq!(pool.stats().use_time.count(), 0);
}

/// Runs the test on a thread of this name, which identifies its lines in the log.
fn on_thread(name: &'static str, test: fn(&str)) {
    let thread = thread::Builder::new().name(name.into());
    if let Err(panic) = thread.spawn(move || test(name)).unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn borrow_past_leak_threshold_is_reported_once() {
    on_thread("forgetful", |name| {
        let (_, pool, clock) = setup(|options| options.leak_threshold(30 * SECOND));
        let (conn, line) = (pool.acquire().unwrap(), line!());
        clock.advance(30 * SECOND - MILLI);
        assert_eq!(pool.stats().leaks, 0);
        clock.advance(MILLI);
        wait_until("the borrow is reported", || {
            !warnings_with(&["may have leaked", name]).is_empty()
        });
        for _ in 0..3 {
            clock.advance(60 * SECOND);
        }
        // A second borrow is reported later; a repeated report of the first would show by then.
        let other = pool.acquire().unwrap();
        clock.advance(30 * SECOND);
        wait_until("the second is reported", || pool.stats().leaks == 2);
        let [first, _] = &warnings_with(&["may have leaked", name])[..] else { panic!("not two") };
        let told = format!("borrowed 30.0 s ago by thread \"{name}\" at {}:{line}:", file!());
        assert!(first.contains(&told), "{first}");
        assert!(pool.outstanding().iter().all(|borrow| borrow.overdue));
        assert_eq!((pool.stats().overdue, pool.stats().leaks), (2, 2));

        assert!(warnings_with(&["came back", name]).is_empty());
        drop(conn);
        let came_back = warnings_with(&["came back", name]);
        assert!(came_back.len() == 1 && came_back[0].contains("240.0 s ago"), "{came_back:?}");
        drop(other);
        assert_eq!((pool.idle_count(), pool.stats().closed.total()), (2, 0), "both are kept");
    });
}

#[test]
fn borrow_within_leak_threshold_is_not_reported() {
    on_thread("punctual", |name| {
        let (_, pool, clock) = setup(|options| options.leak_threshold(30 * SECOND));
        for _ in 0..5 {
            let conn = pool.acquire().unwrap();
            clock.advance(29 * SECOND);
            drop(conn);
        }
        assert_eq!((pool.stats().leaks, warnings_with(&[name]).len()), (0, 0));
        assert_eq!(pool.stats().use_time.sum(), 145 * SECOND);
    });
}

#[test]
fn reclaimed_connection_fails_its_borrower_and_frees_its_slot() {
    on_thread("hoarder", |name| {
        let (dialer, pool, clock) = setup(|options| {
            options.leak_threshold(30 * SECOND).reclaim_leaked(true).max_active(1).wait(true)
        });
        let mut leaked = pool.acquire().unwrap();
        let stuck = thread::spawn(move || (leaked.call("SILENT", ()), leaked));
        wait_until("it hangs", || dialer.commands().contains(&"SILENT".to_owned()));
        let waiter = start_waiting(&pool, |pool| {
            let mut conn = pool.get_timeout(PATIENCE).unwrap();
            (number(&mut conn), conn)
        });
        clock.advance(30 * SECOND);
        let (second, conn) = join(waiter);
        let (outcome, leaked) = join(stuck);
        assert!(outcome.as_ref().is_err_and(Error::is_canceled), "{outcome:?}");
        assert_eq!((second, warnings_with(&["is taken back", name]).len()), (2, 1));
        let stats = pool.stats();
        assert_eq!((stats.open, stats.in_use, stats.overdue), (1, 1, 0), "{stats:?}");
        assert_eq!(pool.outstanding().len(), 1, "the reclaimed connection is not listed");
        drop(conn);
        drop(leaked);
        assert_eq!(warnings_with(&["came back", name]).len(), 1);
        let stats = pool.stats();
        assert_eq!((stats.open, stats.idle, stats.closed.total()), (1, 1, 1), "{stats:?}");
        assert_eq!((stats.closed.of(CloseReason::Leak), dialer.open()), (1, 1));
        // Its slot belongs to another connection now.
        assert_eq!(number(&mut pool.acquire().unwrap()), 2);
    });
}

#[test]
fn reclaimed_connection_that_is_never_used_is_closed() {
    let (tell, told) = mpsc::channel();
    let (dialer, pool, clock) = setup(|options| {
        let options = options.leak_threshold(SECOND).reclaim_leaked(true).max_active(2);
        options.on_close(move |reason| tell.send(reason).unwrap())
    });
    let ends: [fn(redigo::PooledConn); 4] =
        [drop, |conn| drop(conn.close()), |conn| conn.discard(), |conn| drop(conn.detach())];
    for (at, end) in (1..).zip(ends) {
        let conn = pool.acquire().unwrap();
        clock.advance(SECOND);
        wait_until("the connection is reclaimed", || {
            pool.stats().closed.of(CloseReason::Leak) == at
        });
        assert_eq!((pool.active_count(), dialer.open()), (0, 1));
        end(conn);
        assert_eq!((pool.active_count(), dialer.open()), (0, 0));
        assert_eq!((pool.stats().closed.total(), pool.stats().detached), (at, 0));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [CloseReason::Leak]);
    }
}

#[test]
fn self_deadlock_error_names_the_threads_first_borrow() {
    let (_, pool, clock) = setup(|options| options.max_active(2).wait(true).detect_deadlock(true));
    let (first, line) = (pool.acquire().unwrap(), line!());
    clock.advance(SECOND);
    let second = pool.acquire().unwrap();
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let error = promptly("a refusal", || get(&pool).unwrap_err());
        assert!(matches!(error, Error::PoolDeadlock(_)), "{error:?}");
        let own = error.pool_report().unwrap().own_borrow.clone().unwrap();
        assert_eq!((own.location.line(), own.age), (line, SECOND), "the first, not the second");
        let told = format!("held by this thread: borrowed 1.0 s ago by thread \"{}\"", own.thread);
        let text = error.to_string();
        assert!(text.contains(&told) && text.contains(&format!("{}:{line}:", file!())), "{text}");
        assert!(!text.contains('\n'));
    }
    // Other threads hold no connection, so they can wait.
    let other = start_waiting(&pool, |pool| drop(pool.acquire().unwrap()));
    assert_eq!(pool.stats().deadlocks, 2);
    drop(first);
    join(other);
    drop(second);
}

#[test]
fn two_threads_that_wait_for_each_other_are_a_deadlock() {
    let server = RedisServer::start();
    let options = Pool::builder(to(&server)).max_active(2).wait(true).detect_deadlock(true);
    let pool = options.build().unwrap();
    let mine = pool.acquire().unwrap();
    let (got_one, has_one) = crossbeam_channel::bounded(1);
    let other = start(&pool, move |pool| {
        let own = pool.acquire().unwrap();
        got_one.send(()).unwrap();
        let both = pool.acquire();
        drop(own);
        both.map(drop)
    });
    has_one.recv_timeout(PATIENCE).unwrap();
    wait_until("the other thread waits", || pool.stats().waiting == 1);
    let error = promptly("a refusal", || pool.acquire().unwrap_err());
    assert!(matches!(error, Error::PoolDeadlock(_)), "{error:?}");
    drop(mine);
    join(other).unwrap();
    assert_eq!((pool.stats().deadlocks, pool.idle_count()), (1, 2));
}

#[test]
fn real_connection_that_blocks_forever_is_reclaimed() {
    on_thread("blocked", |name| {
        listen();
        let server = RedisServer::start();
        let mut control = Dialer::url(server.url()).unwrap().dial().unwrap();
        let dialer = Dialer::url(server.url()).unwrap().client_name("pooled");
        let options = Pool::builder(dialer).max_active(1).wait(true);
        let pool = options.leak_threshold(100 * MILLI).reclaim_leaked(true).build().unwrap();
        let mut leaked = pool.acquire().unwrap();
        let stuck = thread::spawn(move || leaked.call("BLPOP", ("queue", 0)));
        promptly("the next", || pool.get_timeout(PATIENCE).unwrap().call("PING", ()).unwrap());
        assert!(join(stuck).unwrap_err().is_canceled());
        wait_until("the server has closed it", || known(&mut control) == 1);
        assert_eq!(warnings_with(&["is taken back", name]).len(), 1);
        assert_eq!((pool.stats().closed.of(CloseReason::Leak), pool.active_count()), (1, 1));
    });
}

#[test]
fn churn_on_a_real_server_logs_the_max_idle_to_set() {
    listen();
    let server = RedisServer::start();
    let clock = ManualClock::new();
    let pool = Pool::builder(to(&server)).max_idle(3).clock(clock.clone()).build().unwrap();
    churn(&pool, 7, 10);
    let warnings = own_warnings_with(&["max_idle(3)"]);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.ends_with("max_idle(7) would keep them"), "{warning}");
    assert!(warning.contains("connections were closed") && warning.contains("dialed"), "{warning}");
}

/// Checks out this many connections at a time, this many times.
fn churn(pool: &Pool, connections: usize, times: usize) {
    for _ in 0..times {
        let conns: Vec<_> = (0..connections).map(|_| pool.acquire().unwrap()).collect();
        drop(conns);
    }
}

#[test]
fn churn_is_logged_once_a_minute() {
    let (_, pool, clock) = setup(|options| options.max_idle(2));
    let said = || own_warnings_with(&["max_idle(2)"]).len();
    churn(&pool, 5, 2);
    assert_eq!(said(), 0, "it can be a burst");
    churn(&pool, 5, 100);
    assert_eq!(said(), 1);
    clock.advance(59 * SECOND);
    churn(&pool, 5, 100);
    assert_eq!(said(), 1);
    clock.advance(SECOND);
    churn(&pool, 5, 100);
    assert_eq!(said(), 2);
    pool.resize(0, 5).unwrap();
    clock.advance(60 * SECOND);
    churn(&pool, 5, 100);
    assert_eq!(
        (said(), own_warnings_with(&["max_idle(5)"]).len()),
        (2, 2),
        "the warnings name the number"
    );
    assert!(own_warnings_with(&["max_idle(5)"]).iter().all(|line| line.contains("max_idle(2)")));
}

#[test]
fn max_idle_of_zero_never_logs_churn() {
    let (dialer, pool, _) = setup(|options| options.max_idle(0));
    churn(&pool, 2, 50);
    assert_eq!((dialer.dialed(), own_warnings_with(&["max_idle(0)"]).len()), (100, 0));
}

/// The other thread leaves the queue at its deadline and returns its connection.
#[test]
fn wait_with_a_deadline_is_no_part_of_a_deadlock() {
    let (_, pool) = fake_conn::setup_unclocked(|options| {
        options.max_active(2).wait(true).detect_deadlock(true)
    });
    let mine = pool.acquire().unwrap();
    let other = start(&pool, |pool| {
        let own = pool.acquire().unwrap();
        let error = pool.get_timeout(100 * MILLI).unwrap_err();
        drop(own);
        error
    });
    // Before that, the other thread waits for its own dial.
    wait_until("the other thread waits for a second connection", || {
        let stats = pool.stats();
        (stats.in_use, stats.waiting) == (2, 1)
    });
    promptly("a connection", || pool.acquire().unwrap());
    let error = join(other);
    assert!(matches!(error, Error::PoolTimeout(_)), "{error:?}");
    assert_eq!(pool.stats().deadlocks, 0);
    drop(mine);
}
