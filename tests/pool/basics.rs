//! Checkout and return: the order, the limits, the lifetimes and the counts.
//!
//! Tests with an R number are rows of redigo's tests (commit 57c8b99), where "2/2/0" means dials
//! started, connections open, connections in use. Tests set `max_idle`, because its default differs
//! from redigo's.
//!
//! Two cases do not compile here: to use a connection after its close (R121, R123, R126), and to
//! close it twice (in R122).

use std::time::{Duration, Instant};

use redigo::testing::ManualClock;
use redigo::{CloseReason, Error, Pool, PooledConn};

use crate::support::fake_conn::{Verdict, number, setup_unclocked as setup};
use crate::support::threads::{join, start_waiting};
use crate::support::wait::promptly;

/// Checks out a connection and uses it once.
#[track_caller]
fn get_and_ping(pool: &Pool) -> PooledConn {
    let mut conn = pool.get();
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
    conn
}

#[track_caller]
fn use_once(pool: &Pool) {
    get_and_ping(pool).close().unwrap();
}

fn numbers<const N: usize>(mut conns: [PooledConn; N]) -> [usize; N] {
    std::array::from_fn(|i| number(&mut conns[i]))
}

#[test]
fn r104_to_r109_last_returned_connection_is_taken_first() {
    let (_, pool) = setup(|options| options.max_idle(3));
    let [a, b, c] = std::array::from_fn(|_| pool.get());
    for (conn, idle) in [(c, 1), (b, 2), (a, 3)] {
        conn.close().unwrap();
        assert_eq!(pool.idle_count(), idle);
    }
    assert_eq!(numbers([pool.get(), pool.get(), pool.get()]), [1, 2, 3]);
}

#[test]
fn r110_to_r115_overflow_closes_the_longest_idle_connection() {
    let (dialer, pool) = setup(|options| options.max_idle(3));
    let [a, b, c, d, e, f] = std::array::from_fn(|_| pool.get());
    for conn in [c, b, a] {
        conn.close().unwrap();
    }
    for (conn, closed) in [(d, &[3][..]), (e, &[3, 2]), (f, &[3, 2, 1])] {
        conn.close().unwrap();
        assert_eq!((dialer.closed(), pool.idle_count()), (closed.to_vec(), 3));
    }
    assert_eq!(pool.stats().closed.of(CloseReason::Overflow), 3);
    assert_eq!(numbers([pool.get(), pool.get(), pool.get()]), [6, 5, 4]);
}

#[test]
fn r116_r117_returned_connections_are_reused() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    for _ in 0..10 {
        let (first, second) = (get_and_ping(&pool), get_and_ping(&pool));
        first.close().unwrap();
        second.close().unwrap();
    }
    dialer.check(&pool, (2, 2, 0));
    pool.close();
    dialer.check(&pool, (2, 0, 0));
}

#[test]
fn r118_r119_connections_above_max_idle_are_closed() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    for _ in 0..10 {
        let conns: [_; 3] = std::array::from_fn(|_| get_and_ping(&pool));
        for conn in conns {
            conn.close().unwrap();
        }
    }
    dialer.check(&pool, (12, 2, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Overflow), 10);
    pool.close();
    dialer.check(&pool, (12, 0, 0));
}

#[test]
fn r120_broken_connection_is_closed_at_return() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    for round in 1..=2 {
        let mut conn = pool.get();
        // redigo's fake breaks after its answer; here the command that breaks it fails.
        assert_eq!(conn.call("ERR", "EOF").unwrap_err().to_string(), "EOF");
        assert!(conn.err().is_some());
        assert_eq!(conn.close().unwrap_err().to_string(), "EOF");
        dialer.check(&pool, (round, 0, 0));
    }
    assert_eq!(pool.stats().closed.of(CloseReason::Io), 2);
}

#[test]
fn r121_to_r125_closed_pool_leaves_connections_in_use_usable() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    let [c1, c2, mut c3] = std::array::from_fn(|_| get_and_ping(&pool));
    c1.close().unwrap();
    c2.close().unwrap();
    pool.close();
    dialer.check(&pool, (3, 1, 1));
    assert_eq!(c3.query::<String>("PING", ()).unwrap(), "PONG", "a connection in use stays usable");
    c3.close().unwrap();
    dialer.check(&pool, (3, 0, 0));
    assert!(matches!(pool.get().call("PING", ()), Err(Error::PoolClosed)));
    pool.close();
    assert!(pool.is_closed());
    dialer.check(&pool, (3, 0, 0));
}

#[test]
fn r127_r128_connection_past_idle_timeout_is_replaced() {
    let (clock, timeout) = (ManualClock::new(), Duration::from_secs(300));
    let (dialer, pool) =
        setup(|options| options.max_idle(2).idle_timeout(timeout).clock(clock.clone()));
    use_once(&pool);
    dialer.check(&pool, (1, 1, 0));
    clock.advance(timeout);
    use_once(&pool);
    dialer.check(&pool, (1, 1, 0));
    clock.advance(timeout + Duration::from_nanos(1));
    use_once(&pool);
    dialer.check(&pool, (2, 1, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::IdleTimeout), 1);
}

#[test]
fn r129_r130_connection_past_its_lifetime_is_replaced() {
    let (clock, lifetime) = (ManualClock::new(), Duration::from_secs(300));
    let (dialer, pool) =
        setup(|options| options.max_idle(2).max_conn_lifetime(lifetime).clock(clock.clone()));
    use_once(&pool);
    dialer.check(&pool, (1, 1, 0));
    clock.advance(lifetime - Duration::from_nanos(1));
    use_once(&pool);
    dialer.check(&pool, (1, 1, 0));
    clock.advance(Duration::from_nanos(2));
    use_once(&pool);
    dialer.check(&pool, (2, 1, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Lifetime), 1);
}

#[test]
fn connection_in_use_outlives_its_lifetime() {
    let (clock, lifetime) = (ManualClock::new(), Duration::from_secs(300));
    let (dialer, pool) =
        setup(|options| options.max_idle(2).max_conn_lifetime(lifetime).clock(clock.clone()));
    let mut conn = get_and_ping(&pool);
    clock.advance(2 * lifetime);
    conn.call("PING", ()).unwrap();
    dialer.check(&pool, (1, 1, 1));
    conn.close().unwrap();
    dialer.check(&pool, (1, 0, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Lifetime), 1);
}

#[test]
fn prune_closes_expired_connections_and_counts_them() {
    let clock = ManualClock::new();
    let later = |seconds| clock.advance(Duration::from_secs(seconds));
    let (dialer, pool) = setup(|options| {
        let options = options.max_idle(3).clock(clock.clone());
        options.idle_timeout(Duration::from_secs(60)).max_conn_lifetime(Duration::from_secs(200))
    });
    let (a, b) = (get_and_ping(&pool), get_and_ping(&pool));
    later(100);
    let c = get_and_ping(&pool);
    later(50);
    a.close().unwrap();
    b.close().unwrap();
    later(49);
    assert_eq!(pool.prune(), 0);
    later(1);
    assert_eq!((pool.prune(), pool.stats().closed.of(CloseReason::Lifetime)), (2, 2));
    dialer.check(&pool, (3, 1, 1));
    c.close().unwrap();
    later(60);
    assert_eq!(pool.prune(), 0);
    later(1);
    assert_eq!((pool.prune(), pool.stats().closed.of(CloseReason::IdleTimeout)), (1, 1));
    dialer.check(&pool, (3, 0, 0));
}

#[test]
fn r131_one_thread_receives_while_another_sends() {
    let (_, pool) = setup(|options| options.max_idle(2));
    let mut conn = pool.get();
    let (mut sender, mut receiver) = conn.split();
    promptly("sending and receiving", || {
        std::thread::scope(|scope| {
            let received = scope.spawn(move || receiver.receive());
            sender.send("PING", ()).unwrap();
            sender.flush().unwrap();
            assert_eq!(received.join().unwrap().unwrap().as_str(), Some("PONG"));
        });
    });
    assert!(conn.drain().unwrap().is_empty());
    conn.close().unwrap();
    assert_eq!(pool.idle_count(), 1);
}

#[test]
fn r138_to_r141_without_wait_a_full_pool_fails_immediately() {
    let (dialer, pool) = setup(|options| options.max_idle(2).max_active(2));
    let (c1, c2) = (get_and_ping(&pool), get_and_ping(&pool));
    dialer.check(&pool, (2, 2, 2));

    let mut c3 = pool.get();
    let error = c3.call("PING", ()).unwrap_err();
    assert!(error.is_pool_exhausted());
    let expected = "connection pool exhausted: 2 in use, 0 idle, 0 dialing of at most 2";
    assert!(error.to_string().starts_with(expected), "{error}");
    c3.close().unwrap();
    assert!(pool.acquire().unwrap_err().is_pool_exhausted());
    let patient = Duration::from_secs(60);
    assert!(
        pool.get_timeout(patient).unwrap_err().is_pool_exhausted(),
        "as in redigo, a timeout does not imply waiting"
    );
    dialer.check(&pool, (2, 2, 2));
    assert_eq!(pool.stats().exhausted, 3);

    c2.close().unwrap();
    dialer.check(&pool, (2, 2, 1));
    use_once(&pool);
    dialer.check(&pool, (2, 2, 1));
    c1.close().unwrap();
}

#[test]
fn r142_r143_wait_is_counted_when_it_ends() {
    let (dialer, pool) = setup(|options| options.max_idle(2).max_active(2).wait(true));
    let (c1, c2) = (get_and_ping(&pool), get_and_ping(&pool));
    dialer.check(&pool, (2, 2, 2));
    assert_eq!(pool.stats().wait_count, 0);

    let began = Instant::now();
    let waiter = start_waiting(&pool, |pool| get_and_ping(&pool));
    assert_eq!((pool.stats().wait_count, pool.stats().wait_duration), (0, Duration::ZERO));
    c1.close().unwrap();
    let c3 = join(waiter);
    dialer.check(&pool, (2, 2, 2));
    let stats = pool.stats();
    assert_eq!((stats.wait_count, stats.waiting), (1, 0));
    assert!(stats.wait_duration > Duration::ZERO && stats.wait_duration <= began.elapsed());
    drop((c2, c3));
}

#[test]
fn r169_warm_pool_serves_without_a_dial() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    use_once(&pool);
    for _ in 0..100 {
        pool.get().close().unwrap();
        let conn = pool.get();
        assert!(conn.err().is_none());
        conn.close().unwrap();
        use_once(&pool);
    }
    dialer.check(&pool, (1, 1, 0));
    let stats = pool.stats();
    assert_eq!((stats.hits, stats.misses, stats.dialed.total()), (300, 1, 1));
}

#[test]
fn get_after_failed_dial_returns_the_error_in_the_connection() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    dialer.set(Verdict::Refuse);
    let mut conn = pool.get();
    let told = Some("connection refused".to_owned());
    assert_eq!(conn.err().map(Error::to_string), told);
    assert_eq!(conn.call("PING", ()).err().map(|error| error.to_string()), told);
    assert_eq!(conn.send("PING", ()).err().map(|error| error.to_string()), told);
    assert_eq!(conn.flush().err().map(|error| error.to_string()), told);
    assert_eq!(conn.receive().err().map(|error| error.to_string()), told);
    assert!(!conn.is_alive());
    // Closing or dropping it is no error and returns nothing to the pool.
    conn.close().unwrap();
    drop(pool.get());
    pool.get().discard();
    assert_eq!(pool.get().detach().err().map(Error::to_string), told);
    assert_eq!(pool.acquire().err().map(|error| error.to_string()), told);
    dialer.check(&pool, (5, 0, 0));
    let stats = pool.stats();
    assert_eq!(
        (stats.dialed.total(), stats.dial_errors, stats.closed.of(CloseReason::Discarded)),
        (0, 5, 0)
    );

    dialer.set(Verdict::Connect);
    use_once(&pool);
    dialer.check(&pool, (6, 1, 0));
}

#[test]
fn each_connection_is_counted_once() {
    let (dialer, pool) = setup(|options| options.max_idle(1).max_active(4));
    let [a, b, mut c, d] = std::array::from_fn(|_| get_and_ping(&pool));
    assert!(pool.acquire().is_err());
    a.close().unwrap();
    b.close().unwrap(); // above max_idle: a is closed
    let _ = c.call("ERR", "broken");
    drop(c);
    d.discard();
    drop(pool.get());
    let stats = pool.stats();
    assert_eq!(stats.max_active, Some(4));
    assert_eq!((stats.open, stats.idle, stats.in_use, stats.dialing), (1, 1, 0, 0));
    assert_eq!((stats.hits, stats.misses, stats.exhausted), (1, 4, 1));
    assert_eq!((stats.dialed.total(), stats.dial_errors, stats.late_dials), (4, 0, 0));
    assert_eq!(
        (
            stats.closed.of(CloseReason::Overflow),
            stats.closed.of(CloseReason::Io),
            stats.closed.of(CloseReason::Discarded)
        ),
        (1, 1, 1)
    );
    dialer.check(&pool, (4, 1, 0));
}

#[test]
fn dropping_the_last_handle_closes_only_idle_connections() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    let mut conn = get_and_ping(&pool);
    use_once(&pool);
    let clone = pool.clone();
    drop(pool);
    dialer.check(&clone, (2, 2, 1));
    drop(clone);
    assert_eq!(dialer.closed(), [2]);
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
    conn.close().unwrap();
    assert_eq!(dialer.closed(), [2, 1]);
}
