//! Dialing and testing before checkout, and failures and panics of the dial function and the tests.

use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use redigo::testing::{ManualClock, MemoryStream};
use redigo::{
    CloseReason, Conn, Context, Dialer, Error, Pool, PoolBuilder, PooledConn, Result, Stream,
    TimeoutKind, check,
};

use crate::support::fake_conn::{FakeDialer, Verdict, number};
use crate::support::threads::{join, join_all, start};
use crate::support::wait::{PATIENCE, promptly, wait_until};

/// The arguments and outcomes of a borrow test.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<(Instant, Result<()>)>>>);

impl Log {
    fn add(&self, last_used: Instant, outcome: Result<()>) -> Result<()> {
        self.0.lock().unwrap().push((last_used, outcome.clone()));
        outcome
    }

    fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().iter().map(|(last_used, _)| *last_used).collect()
    }

    fn errors(&self) -> Vec<Error> {
        let entries = self.0.lock().unwrap();
        entries.iter().filter_map(|(_, outcome)| outcome.clone().err()).collect()
    }
}

fn ping(conn: &mut Conn) -> Result<()> {
    conn.call("PING", ()).map(drop)
}

fn fails() -> Result<()> {
    Err(Error::other("the test failed"))
}

/// Checks out, uses and returns a connection this many times, a second apart.
fn use_often(pool: &Pool, clock: &ManualClock, times: usize) {
    for _ in 0..times {
        let mut conn = pool.get();
        ping(&mut conn).unwrap();
        conn.close().unwrap();
        clock.advance(Duration::from_secs(1));
    }
}

/// Uses a pool with this test ten times.
fn ten_uses(
    add_test: impl FnOnce(PoolBuilder, Log) -> PoolBuilder,
) -> (FakeDialer, Pool, Log, Vec<Instant>) {
    let (dialer, log, clock) = (FakeDialer::new(), Log::default(), ManualClock::new());
    let options = dialer.pool().max_idle(2).clock(clock.clone());
    let pool = add_test(options, log.clone()).build().unwrap();
    let began = clock.now();
    use_often(&pool, &clock, 10);
    // The pool got its connection back once a second.
    let returned = (0..9).map(|second| began + Duration::from_secs(second)).collect();
    (dialer, pool, log, returned)
}

#[test]
fn r132_connection_that_fails_its_test_is_replaced() {
    let (dialer, pool, log, _) = ten_uses(|options, log| {
        options.test_on_borrow(move |_, last_used| log.add(last_used, fails()))
    });
    dialer.check(&pool, (10, 1, 0));
    assert_eq!((log.errors().len(), pool.stats().closed.of(CloseReason::Health)), (9, 9));
}

#[test]
fn r133_connection_that_passes_its_test_is_reused() {
    let (dialer, pool, log, returned) = ten_uses(|options, log| {
        options.test_on_borrow(move |conn, last_used| log.add(last_used, ping(conn)))
    });
    dialer.check(&pool, (1, 1, 0));
    assert_eq!((log.times(), log.errors().len()), (returned, 0));
}

#[test]
fn r134_connection_that_fails_its_context_test_is_replaced() {
    let (dialer, pool, log, _) = ten_uses(|options, log| {
        options.test_on_borrow_context(move |_, _, last_used| log.add(last_used, fails()))
    });
    dialer.check(&pool, (10, 1, 0));
    assert_eq!(log.errors().len(), 9);
}

#[test]
fn r135_connection_that_passes_its_context_test_is_reused() {
    let (dialer, pool, log, returned) = ten_uses(|options, log| {
        options.test_on_borrow_context(move |ctx, conn, last_used| {
            log.add(last_used, conn.call_context(ctx, "PING", ()).map(drop))
        })
    });
    dialer.check(&pool, (1, 1, 0));
    assert_eq!((log.times(), log.errors().len()), (returned, 0));
}

#[test]
fn plain_test_runs_before_the_test_with_context() {
    let (dialer, pool, log, returned) = ten_uses(|options, log| {
        let plain = log.clone();
        options
            .test_on_borrow_context(move |_, _, _| log.add(Instant::now(), fails()))
            .test_on_borrow(move |conn, last_used| plain.add(last_used, ping(conn)))
    });
    dialer.check(&pool, (10, 1, 0));
    let times: Vec<_> = log.times().into_iter().step_by(2).collect();
    assert_eq!((times, log.errors().len()), (returned, 9));
}

/// In redigo the canceled context makes the test fail, which costs the idle connection and a dial:
/// 2/0/0 and one test error. Here the caller fails first (see docs/differences.md).
#[test]
fn r136_r137_canceled_context_fails_before_any_test() {
    let (dialer, log) = (FakeDialer::new(), Log::default());
    let tests = log.clone();
    let options = dialer.pool().max_idle(2).test_on_borrow_context(move |ctx, conn, last_used| {
        tests.add(last_used, conn.call_context(ctx, "PING", ()).map(drop))
    });
    let pool = options.build().unwrap();
    let (ctx, cancel) = Context::background().with_cancel();
    for _ in 0..2 {
        let mut conn = promptly("a dial", || pool.get_context(&ctx).unwrap());
        ping(&mut conn).unwrap();
        conn.close().unwrap();
    }
    dialer.check(&pool, (1, 1, 0));
    assert_eq!((log.times().len(), log.errors().len()), (1, 0));

    cancel.cancel();
    assert!(pool.get_context(&ctx).unwrap_err().is_canceled());
    dialer.check(&pool, (1, 1, 0));
    assert_eq!((log.times().len(), log.errors().len()), (1, 0));
}

#[test]
fn r160_hundred_threads_with_failing_tests_get_new_connections() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(100).max_active(100).test_on_borrow(|_, _| fails());
    let pool = options.build().unwrap();
    let conns: Vec<_> = (0..100).map(|_| pool.acquire().unwrap()).collect();
    conns.into_iter().for_each(|conn| conn.close().unwrap());
    dialer.check(&pool, (100, 100, 0));

    // No connection that was idle passes its test, so each thread needs a new one. A thread dials twice
    // only if its connection became idle while it tested another one.
    let caller = |pool: Pool| pool.acquire().and_then(PooledConn::close);
    let threads: Vec<_> = (0..100).map(|_| start(&pool, caller)).collect();
    assert!(join_all(threads).iter().all(Result::is_ok));
    wait_until("all dials end", || pool.stats().dialing == 0);
    assert!((200..=300).contains(&dialer.dialed()), "{} dials", dialer.dialed());
    assert_eq!(pool.stats().in_use, 0);
    wait_until("the others are closed", || dialer.open() == pool.idle_count());
    assert_eq!(pool.stats().exhausted, 0);
}

#[test]
fn newest_connection_that_passes_is_used_and_newer_are_closed() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(4).test_on_borrow(|conn, _| match number(conn) {
        2 => Ok(()),
        _ => fails(),
    });
    let pool = options.build().unwrap();
    let conns: [_; 4] = std::array::from_fn(|_| pool.get());
    conns.into_iter().for_each(|conn| conn.close().unwrap());
    assert_eq!(number(&mut pool.acquire().unwrap()), 2);
    dialer.check(&pool, (4, 2, 0));
    // Threads of the pool close them, in any order.
    let mut closed = dialer.closed();
    closed.sort_unstable();
    assert_eq!(closed, [3, 4]);
}

/// `hits` and `misses` count callers, even if their first connections fail.
#[test]
fn caller_counts_once_as_hit_or_miss() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(3).test_on_borrow(|conn, _| match number(conn) {
        1 => Ok(()),
        _ => fails(),
    });
    let pool = options.build().unwrap();
    let conns: [_; 3] = std::array::from_fn(|_| pool.get());
    drop(conns);
    let (first, second) = (pool.get(), pool.get());
    let stats = pool.stats();
    assert_eq!(
        (stats.hits, stats.misses, stats.closed.of(CloseReason::Health)),
        (1, 4, 2),
        "of five callers"
    );
    drop((first, second));
}

#[test]
fn test_that_leaves_a_pending_reply_has_failed() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(1).test_on_borrow(|conn, _| conn.send("PING", ()));
    let pool = options.build().unwrap();
    drop(pool.get());
    assert_eq!(number(&mut pool.get()), 2);
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
}

#[test]
fn panic_in_a_test_closes_the_connection() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(1).max_active(1);
    let pool = options.test_on_borrow(|_, _| panic!("a trap in the test")).build().unwrap();
    for dialed in 1..=3 {
        pool.acquire().unwrap().close().unwrap();
        dialer.check(&pool, (dialed, 1, 0));
    }
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 2);
}

#[test]
fn panic_in_the_dial_function_becomes_an_error() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(1).build().unwrap();
    dialer.set(Verdict::Panic);
    for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
        let error = get(&pool).unwrap_err();
        assert_eq!(error.to_string(), "the dial function panicked: a trap in the dial function");
        assert_eq!(pool.active_count(), 0);
    }
    dialer.set(Verdict::Connect);
    pool.acquire().unwrap().close().unwrap();
    dialer.check(&pool, (3, 1, 0));
    assert_eq!(pool.stats().dial_errors, 2);
}

#[test]
fn broken_connection_from_the_dial_function_is_a_failed_dial() {
    let dialer = FakeDialer::new();
    let inner = dialer.clone();
    let options = Pool::builder_with(move |ctx| {
        let mut conn = inner.dial(ctx)?;
        let _ = conn.call("ERR", "broken before checkout");
        Ok(conn)
    });
    let pool = options.max_active(1).build().unwrap();
    for _ in 0..2 {
        let error = pool.acquire().unwrap_err();
        assert_eq!(error.to_string(), "broken before checkout");
    }
    dialer.check(&pool, (2, 0, 0));
}

/// Like redigo's README, whose dial function sends AUTH and SELECT.
#[test]
fn state_set_by_the_dial_function_is_kept() {
    let dialer = FakeDialer::new();
    let inner = dialer.clone();
    let setup = [("AUTH", "secret"), ("SELECT", "5"), ("CLIENT", "TRACKING"), ("READONLY", "")];
    let options = Pool::builder_with(move |ctx| {
        let mut conn = inner.dial(ctx)?;
        for (command, arg) in setup {
            conn.call(command, arg)?;
        }
        Ok(conn)
    });
    let pool = options.max_idle(1).build().unwrap();
    for _ in 0..2 {
        pool.acquire().unwrap().close().unwrap();
        drop(pool.acquire().unwrap());
    }
    dialer.check(&pool, (1, 1, 0));
    assert_eq!(dialer.commands(), setup.map(|(command, _)| command));
}

#[test]
fn borrow_test_can_use_its_own_pool() {
    let dialer = FakeDialer::new();
    let pool_of_pool: Arc<Mutex<Option<Pool>>> = Arc::default();
    let its_pool = Arc::clone(&pool_of_pool);
    let options = dialer.pool().max_idle(2).test_on_borrow(move |_, _| {
        let pool = its_pool.lock().unwrap().clone().expect("the test stored it");
        assert_eq!((pool.stats().in_use, pool.prune()), (1, 0));
        Ok(())
    });
    let pool = options.build().unwrap();
    *pool_of_pool.lock().unwrap() = Some(pool.clone());
    drop(pool.get());
    promptly("a test that uses its pool", || drop(pool.get()));
    dialer.check(&pool, (1, 1, 0));
    *pool_of_pool.lock().unwrap() = None;
}

#[test]
fn time_limit_of_the_caller_covers_the_test() {
    let dialer = FakeDialer::new();
    let options =
        dialer.pool().max_idle(1).test_on_borrow(|conn, _| conn.call("SILENT", ()).map(drop));
    let pool = options.build().unwrap();
    drop(pool.get());
    let error = promptly("a test without an answer", || {
        pool.get_timeout(Duration::from_millis(20)).unwrap_err()
    });
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::PoolWait));
    dialer.check(&pool, (1, 0, 0));
    assert_eq!((pool.stats().closed.of(CloseReason::Health), pool.stats().wait_timeouts), (1, 1));
}

#[test]
fn canceling_ends_a_test_that_waits() {
    let dialer = FakeDialer::new();
    let options =
        dialer.pool().max_idle(1).test_on_borrow(|conn, _| conn.call("SILENT", ()).map(drop));
    let pool = options.build().unwrap();
    drop(pool.get());
    let (ctx, cancel) = Context::background().with_cancel();
    let caller = start(&pool, move |pool| pool.get_context(&ctx).map(drop));
    wait_until("the test waits", || dialer.commands() == ["SILENT"]);
    cancel.cancel();
    assert!(join(caller).unwrap_err().is_canceled());
    dialer.check(&pool, (1, 0, 0));
    assert_eq!((pool.stats().closed.of(CloseReason::Health), pool.stats().wait_cancels), (1, 1));
}

/// A zero timeout takes an idle connection, and a peek takes no time.
#[test]
fn zero_timeout_still_allows_a_peek() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(1).test_on_borrow(check::peek()).build().unwrap();
    drop(pool.get());
    drop(pool.get_timeout(Duration::ZERO).unwrap());
    dialer.check(&pool, (1, 1, 0));
}

/// A stream whose destructor takes a minute, unless the test ends before.
struct SlowToClose(MemoryStream, Arc<Mutex<mpsc::Receiver<()>>>);

impl Stream for SlowToClose {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Stream::read(&self.0, buffer)
    }
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Stream::write(&self.0, bytes)
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }
    fn shutdown(&self) {
        Stream::shutdown(&self.0);
    }
}

impl Drop for SlowToClose {
    fn drop(&mut self) {
        let _ = self.1.lock().unwrap().recv_timeout(6 * PATIENCE);
    }
}

#[test]
fn caller_does_not_wait_while_old_connections_are_closed() {
    let (end, ended) = mpsc::channel();
    let (ended, clock) = (Arc::new(Mutex::new(ended)), ManualClock::new());
    let options = Pool::builder_with(move |_| {
        Ok(Dialer::tcp(":6379").wrap(SlowToClose(MemoryStream::silent(), Arc::clone(&ended))))
    });
    let options = options.idle_timeout(Duration::from_secs(1)).clock(clock.clone());
    let pool = options.max_active(2).test_on_borrow(|_, _| fails()).build().unwrap();
    // Too old, then refused by the test.
    for advance in [Duration::from_secs(2), Duration::ZERO] {
        pool.acquire().unwrap().close().unwrap();
        clock.advance(advance);
        let conn = promptly("a connection", || pool.get_timeout(PATIENCE).unwrap());
        assert_eq!(pool.stats().in_use, 1);
        drop(conn);
    }
    drop(end);
}
