//! Lending and taking back: the order, the limits, the ages and the numbers.
//!
//! The rows with an R number are those of redigo's tests (commit 57c8b99);
//! "2/2/0" there is: dials begun, connections open, connections in use. `max_idle` is always
//! said, as without it redigo keeps nothing and this crate does.
//!
//! Not here, because they do not compile: to use a connection after its close (R121, R123, R126)
//! and to close it twice (in R122).

use std::time::{Duration, Instant};

use redigo::testing::ManualClock;
use redigo::{CloseReason, Error, Pool, PooledConn};

use crate::support::fake_conn::{Verdict, number, setup_unclocked as setup};
use crate::support::threads::{join, start_waiting};
use crate::support::wait::promptly;

/// A connection that has been used.
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
fn r104_to_r109_the_one_given_back_last_is_lent_first() {
    let (_, pool) = setup(|options| options.max_idle(3));
    let [a, b, c] = std::array::from_fn(|_| pool.get());
    for (conn, idle) in [(c, 1), (b, 2), (a, 3)] {
        conn.close().unwrap();
        assert_eq!(pool.idle_count(), idle);
    }
    assert_eq!(numbers([pool.get(), pool.get(), pool.get()]), [1, 2, 3]);
}

#[test]
fn r110_to_r115_the_one_idle_for_longest_is_closed_first() {
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
fn r116_r117_connections_are_used_again() {
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
fn r118_r119_more_in_use_than_are_kept() {
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
fn r120_a_broken_connection_does_not_come_back() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    for round in 1..=2 {
        let mut conn = pool.get();
        // In redigo the fake breaks after it has answered; here the command that breaks it fails.
        assert_eq!(conn.call("ERR", "EOF").unwrap_err().to_string(), "EOF");
        assert!(conn.err().is_some());
        assert_eq!(conn.close().unwrap_err().to_string(), "EOF");
        dialer.check(&pool, (round, 0, 0));
    }
    assert_eq!(pool.stats().closed.of(CloseReason::Io), 2);
}

#[test]
fn r121_to_r125_closing_the_pool_while_connections_are_in_use() {
    let (dialer, pool) = setup(|options| options.max_idle(2));
    let [c1, c2, mut c3] = std::array::from_fn(|_| get_and_ping(&pool));
    c1.close().unwrap();
    c2.close().unwrap();
    pool.close();
    dialer.check(&pool, (3, 1, 1));
    assert_eq!(c3.query::<String>("PING", ()).unwrap(), "PONG", "what is in use stays usable");
    c3.close().unwrap();
    dialer.check(&pool, (3, 0, 0));
    assert!(matches!(pool.get().call("PING", ()), Err(Error::PoolClosed)));
    pool.close();
    assert!(pool.is_closed());
    dialer.check(&pool, (3, 0, 0));
}

#[test]
fn r127_r128_idle_for_longer_than_the_timeout() {
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
fn r129_r130_as_old_as_the_lifetime() {
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
fn one_in_use_may_grow_as_old_as_it_likes() {
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
fn prune_closes_what_is_too_old_and_says_how_many() {
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
fn r138_to_r141_at_the_maximum_and_not_told_to_wait() {
    let (dialer, pool) = setup(|options| options.max_idle(2).max_active(2));
    let (c1, c2) = (get_and_ping(&pool), get_and_ping(&pool));
    dialer.check(&pool, (2, 2, 2));

    let mut c3 = pool.get();
    let error = c3.call("PING", ()).unwrap_err();
    assert!(error.is_pool_exhausted());
    let told = "connection pool exhausted: 2 in use, 0 idle, 0 dialing of at most 2";
    assert!(error.to_string().starts_with(told), "{error}");
    c3.close().unwrap();
    assert!(pool.acquire().unwrap_err().is_pool_exhausted());
    let patient = Duration::from_secs(60);
    assert!(pool.get_timeout(patient).unwrap_err().is_pool_exhausted(), "redigo: no wait, no wait");
    dialer.check(&pool, (2, 2, 2));
    assert_eq!(pool.stats().exhausted, 3);

    c2.close().unwrap();
    dialer.check(&pool, (2, 2, 1));
    use_once(&pool);
    dialer.check(&pool, (2, 2, 1));
    c1.close().unwrap();
}

#[test]
fn r142_r143_the_wait_is_counted_when_it_ends() {
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
fn r169_a_warm_pool_gives_and_takes_without_a_dial() {
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
fn get_never_fails_and_the_error_is_in_the_connection() {
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
    // Neither its close nor its end is an error, and neither gives anything back.
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
fn every_connection_is_accounted_for() {
    let (dialer, pool) = setup(|options| options.max_idle(1).max_active(4));
    let [a, b, mut c, d] = std::array::from_fn(|_| get_and_ping(&pool));
    assert!(pool.acquire().is_err());
    a.close().unwrap();
    b.close().unwrap(); // one too many: a goes
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
fn the_last_handle_closes_what_is_idle_and_leaves_what_is_in_use() {
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
