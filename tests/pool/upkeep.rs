//! Upkeep without traffic: min_idle, warm_up, keepalive and background_prune. On a manual clock, and on
//! a real server that is stopped, frozen, or has a short timeout.

use std::time::Duration;

use redigo::testing::ManualClock;
use redigo::{CloseReason, Conn, Dialer, Error, Pool};

use crate::support::fake_conn::{FakeDialer, Verdict, number, setup};
use crate::support::pooled::{self, to};
use crate::support::redis_server::RedisServer;
use crate::support::threads::{join, start};
use crate::support::wait::{MILLI, PATIENCE, SECOND, promptly, wait_until};

#[track_caller]
fn wait_for_idle(pool: &Pool, idle: usize) {
    wait_until("this many are idle", || {
        let stats = pool.stats();
        (stats.idle, stats.dialing) == (idle, 0)
    });
}

fn pings(dialer: &FakeDialer) -> usize {
    dialer.commands().iter().filter(|command| *command == "PING").count()
}

#[test]
fn min_idle_connections_are_dialed_without_traffic() {
    let (dialer, pool, _) = setup(|options| options.min_idle(3));
    wait_for_idle(&pool, 3);
    dialer.check(&pool, (3, 3, 0));
    let conn = pool.acquire().unwrap();
    // The discarded connection is replaced without traffic.
    wait_for_idle(&pool, 3);
    assert_eq!((pool.stats().hits, pool.stats().dialed.min_idle, dialer.open()), (1, 4, 4));
    conn.discard();
    wait_for_idle(&pool, 3);
    assert_eq!(dialer.dialed(), 4, "there are enough");
}

#[test]
fn build_does_not_wait_for_min_idle() {
    let dialer = FakeDialer::new();
    dialer.set(Verdict::HangDeaf);
    let options = dialer.pool().min_idle(5).max_active(4).max_concurrent_dials(2);
    let error = options.build().unwrap_err();
    assert!(error.to_string().contains("min_idle(5) is above max_active(4)"), "{error}");
    let options = dialer.pool().min_idle(4).max_active(4).max_concurrent_dials(2);
    let pool = promptly("building", || options.build().unwrap());
    wait_until("two are dialing", || dialer.dialing() == 2);
    (0..4).for_each(|_| dialer.decide(Verdict::Connect));
    wait_for_idle(&pool, 4);
    assert_eq!((dialer.most_dialing(), dialer.most_open()), (2, 4));
}

#[test]
fn min_idle_is_restored_after_an_outage_without_traffic() {
    let (dialer, pool, clock) =
        setup(|options| options.min_idle(2).dial_backoff(SECOND, 8 * SECOND));
    wait_for_idle(&pool, 2);
    dialer.set(Verdict::Refuse);
    pool.evict_all();
    wait_until("dials fail", || pool.stats().dial_errors >= 2 && pool.stats().dialing == 0);
    for _ in 0..3 {
        let failed = pool.stats().dial_errors;
        // The pause is at least half a second.
        clock.advance(Duration::from_millis(499));
        assert_eq!(pool.stats().dial_errors, failed);
        clock.advance(8 * SECOND);
        wait_until("dials fail again", || {
            pool.stats().dial_errors > failed && pool.stats().dialing == 0
        });
    }
    dialer.set(Verdict::Connect);
    clock.advance(8 * SECOND);
    wait_for_idle(&pool, 2);
    assert_eq!((pool.stats().hits, pool.stats().misses), (0, 0), "no caller has asked");
}

#[test]
fn warm_up_waits_until_connections_are_open() {
    let (dialer, pool, _) = setup(|options| options.max_active(8).max_concurrent_dials(2));
    let conn = pool.acquire().unwrap();
    promptly("warming up", || pool.warm_up(5, PATIENCE).unwrap());
    dialer.check(&pool, (5, 5, 1));
    // They are open already.
    promptly("warming up again", || pool.warm_up(5, Duration::ZERO).unwrap());
    assert_eq!((dialer.dialed(), dialer.most_dialing() <= 2), (5, true));
    drop(conn);
}

#[test]
fn warm_up_retries_failed_dials() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().dial_backoff(MILLI, MILLI).build().unwrap();
    dialer.refuse_next(5);
    promptly("warming up", || pool.warm_up(2, PATIENCE).unwrap());
    assert_eq!((pool.idle_count(), pool.stats().dial_errors), (2, 5));
}

#[test]
fn warm_up_fails_in_time_with_the_last_dial_error() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(3).build().unwrap();
    let error = pool.warm_up(4, PATIENCE).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
    assert!(
        error.to_string().contains("warm_up(4)") && error.to_string().contains("max_idle is 3")
    );

    dialer.set(Verdict::Refuse);
    let error = promptly("a warm-up that times out", || pool.warm_up(2, 50 * MILLI).unwrap_err());
    assert!(error.is_timeout() && error.to_string().contains("connection refused"), "{error}");

    dialer.set(Verdict::Hang);
    let warming = start(&pool, |pool| pool.warm_up(1, PATIENCE));
    wait_until("a dial hangs", || dialer.dialing() > 0);
    pool.close();
    assert!(matches!(join(warming), Err(Error::PoolClosed)));
    assert!(matches!(pool.warm_up(1, PATIENCE), Err(Error::PoolClosed)));
}

/// The thread in `warm_up` runs due tasks too, but must leave keepalive to the upkeep.
#[test]
fn warm_up_does_not_disturb_keepalive() {
    let (dialer, pool, clock) =
        setup(|options| options.keepalive(10 * SECOND).dial_backoff(MILLI, MILLI));
    drop(pool.acquire().unwrap());
    dialer.set(Verdict::Refuse);
    let warming = start(&pool, |pool| pool.warm_up(2, PATIENCE));
    for asked in 1..=20 {
        clock.advance(10 * SECOND);
        wait_until("the connection is pinged", || {
            pings(&dialer) == asked && pool.stats().in_use == 0
        });
    }
    dialer.set(Verdict::Connect);
    wait_until("the pool is warm", || {
        clock.advance(MILLI);
        warming.is_finished()
    });
    join(warming).unwrap();
    assert_eq!((pool.idle_count(), dialer.open()), (2, 2));
}

#[test]
fn background_prune_closes_expired_connections() {
    let (dialer, pool, clock) = setup(|options| {
        options.idle_timeout(10 * SECOND).max_conn_lifetime(60 * SECOND).background_prune(true)
    });
    drop(pool.acquire().unwrap());
    clock.advance(10 * SECOND);
    assert_eq!(dialer.open(), 1, "the time is not exceeded yet");
    clock.advance(MILLI);
    wait_until("the idle timeout closes it", || dialer.open() == 0);
    assert_eq!(pool.stats().closed.of(CloseReason::IdleTimeout), 1);
    // Used repeatedly until its lifetime ends.
    let began = clock.now();
    while clock.now() - began < 54 * SECOND {
        drop(pool.acquire().unwrap());
        clock.advance(9 * SECOND);
    }
    drop(pool.acquire().unwrap());
    clock.advance(6 * SECOND);
    wait_until("the lifetime closes it", || dialer.open() == 0);
    let closed = pool.stats().closed;
    assert_eq!((closed.of(CloseReason::Lifetime), closed.total(), dialer.dialed()), (1, 2, 2));
}

#[test]
fn without_background_prune_checkout_closes_expired() {
    let (dialer, pool, clock) = setup(|options| options.idle_timeout(SECOND));
    drop(pool.acquire().unwrap());
    clock.advance(60 * SECOND);
    assert_eq!(pool.prune(), 1);
    dialer.check(&pool, (1, 0, 0));
}

#[test]
fn jitter_spreads_the_ends_of_lifetimes() {
    let lifetime = 60 * SECOND;
    let (dialer, pool, clock) = setup(|options| {
        options.max_active(20).max_conn_lifetime(lifetime).max_conn_lifetime_jitter(20 * SECOND)
    });
    pool.warm_up(20, PATIENCE).unwrap();
    clock.advance(40 * SECOND - MILLI);
    assert_eq!(pool.prune(), 0, "no lifetime is shorter");
    clock.advance(10 * SECOND);
    let first_half = pool.prune();
    clock.advance(10 * SECOND + MILLI);
    let second_half = pool.prune();
    assert_eq!((first_half + second_half, dialer.open()), (20, 0), "and none is longer");
    assert!(first_half > 0 && second_half > 0, "{first_half} and {second_half}");
}

#[test]
fn keepalive_pings_and_replaces_dead_connections() {
    let (dialer, pool, clock) = setup(|options| options.keepalive(10 * SECOND).min_idle(2));
    wait_for_idle(&pool, 2);
    clock.advance(10 * SECOND - MILLI);
    assert_eq!(pings(&dialer), 0);
    clock.advance(MILLI);
    wait_until("both are pinged", || pings(&dialer) == 2 && pool.idle_count() == 2);
    assert_eq!((dialer.dialed(), pool.stats().closed.total()), (2, 0));
    dialer.hang_up();
    clock.advance(10 * SECOND);
    wait_until("both are replaced", || dialer.dialed() == 4 && pool.idle_count() == 2);
    assert_eq!((dialer.open(), pool.stats().closed.of(CloseReason::Health)), (2, 2));
    assert!(number(&mut pool.acquire().unwrap()) > 2);
}

/// Returns how many connections of the pool the server has.
fn known(server: &RedisServer) -> usize {
    let mut control = Dialer::url(server.url()).unwrap().dial().unwrap();
    pooled::known(&mut control)
}

fn id(conn: &mut Conn) -> i64 {
    conn.query("CLIENT", "ID").unwrap()
}

#[test]
fn min_idle_is_restored_after_a_real_restart() {
    let mut server = RedisServer::start();
    let options = Pool::builder(to(&server)).min_idle(3).keepalive(20 * MILLI);
    let pool = options.dial_backoff(MILLI, 50 * MILLI).build().unwrap();
    wait_for_idle(&pool, 3);
    assert_eq!(known(&server), 3);
    server.kill();
    wait_until("keepalive notices", || pool.stats().closed.of(CloseReason::Health) == 3);
    wait_until("dials fail", || pool.stats().dial_errors > 2);
    server.restart();
    wait_for_idle(&pool, 3);
    assert_eq!((known(&server), pool.stats().hits), (3, 0), "no caller has asked");
    pool.acquire().unwrap().call("PING", ()).unwrap();
}

#[test]
fn keepalive_prevents_the_timeout_of_a_real_server() {
    let server = RedisServer::builder().arg("--timeout", "2").start();
    let pool = Pool::builder(to(&server)).keepalive(100 * MILLI).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    let kept = id(&mut conn);
    drop(conn);
    // The server closes two silent connections, one after the other, so the pool's was idle longer
    // than the server's timeout.
    for _ in 0..2 {
        let mut quiet = to(&server).dial().unwrap();
        promptly("the end of a silent connection", || quiet.receive().unwrap_err());
    }
    assert_eq!(id(&mut pool.acquire().unwrap()), kept);
    assert_eq!(pool.stats().dialed.total(), 1);
}

#[test]
fn keepalive_of_a_frozen_server_delays_no_caller() {
    let server = RedisServer::start();
    let options = Pool::builder(to(&server)).max_active(2).wait(true);
    let pool = options.keepalive(20 * MILLI).cleanup_timeout(100 * MILLI).build().unwrap();
    pool.warm_up(2, PATIENCE).unwrap();
    server.freeze();
    wait_until("no connection is left", || pool.active_count() == 0);
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 2);
    server.thaw();
    promptly("the next", || pool.acquire().unwrap().call("PING", ()).unwrap());
}

#[test]
fn warm_up_succeeds_once_a_real_server_starts() {
    let mut server = RedisServer::start();
    let pool = Pool::builder(to(&server)).dial_backoff(MILLI, 20 * MILLI).build().unwrap();
    server.stop();
    let error = pool.warm_up(4, 30 * MILLI).unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("refused"), "{error}");
    let warming = start(&pool, |pool| pool.warm_up(4, PATIENCE));
    server.restart();
    join(warming).unwrap();
    assert_eq!((known(&server), pool.idle_count()), (4, 4));
}

#[test]
fn background_prune_ends_lifetimes_on_a_real_server() {
    let server = RedisServer::start();
    let clock = ManualClock::new();
    let options = Pool::builder(to(&server)).clock(clock.clone()).background_prune(true);
    let options = options.max_conn_lifetime(60 * SECOND).max_conn_lifetime_jitter(30 * SECOND);
    let pool = options.build().unwrap();
    pool.warm_up(4, PATIENCE).unwrap();
    let mut out = pool.acquire().unwrap();
    clock.advance(60 * SECOND);
    wait_until("only the one in use is left", || known(&server) == 1);
    out.call("PING", ()).unwrap();
    out.close().unwrap();
    wait_until("the last is closed at return", || known(&server) == 0);
    assert_eq!(pool.stats().closed.of(CloseReason::Lifetime), 4);
}
