//! The options of a pool: what contradicts itself is refused, and zero means what it does in
//! redigo.

use std::time::Duration;

use redigo::{Dialer, Error, Pool, PoolBuilder};

#[path = "support/fake_conn.rs"]
mod fake_conn;
#[path = "support/wait.rs"]
mod wait;

use fake_conn::FakeDialer;
use wait::{PATIENCE, promptly};

#[track_caller]
fn is_refused(options: impl FnOnce(PoolBuilder) -> PoolBuilder, named: &[&str]) {
    let error = options(Pool::builder(Dialer::tcp(":6379"))).build().unwrap_err();
    assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
    for name in named {
        assert!(error.to_string().contains(name), "{error} does not name {name}");
    }
}

#[test]
fn options_that_contradict_each_other_are_named() {
    const SECOND: Duration = Duration::from_secs(1);
    is_refused(|options| options.wait(true), &["wait(true)", "max_active"]);
    is_refused(|options| options.wait(true).max_active(0), &["wait(true)", "max_active"]);
    is_refused(
        |options| options.max_active(1).wait(false).wait_timeout(SECOND),
        &["wait_timeout", "wait(false)"],
    );
    is_refused(|options| options.cleanup_timeout(Duration::ZERO), &["cleanup_timeout"]);
    is_refused(|options| options.max_concurrent_dials(0), &["max_concurrent_dials"]);
}

#[test]
fn what_belongs_together_is_accepted() {
    const SECOND: Duration = Duration::from_secs(1);
    let accepted = |options: fn(PoolBuilder) -> PoolBuilder| {
        options(FakeDialer::new().pool()).build().unwrap();
    };
    accepted(|options| options);
    accepted(|options| options.wait(false));
    accepted(|options| options.wait(true).max_active(1));
    accepted(|options| options.wait_timeout(SECOND));
    accepted(|options| options.wait_timeout(SECOND).max_active(1));
    accepted(|options| options.wait_timeout(SECOND).max_active(1).wait(true));
    accepted(|options| options.wait_timeout(Duration::ZERO).wait(false));
    accepted(|options| options.max_idle(5).max_active(2));
}

#[test]
fn building_dials_nothing() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(2).build().unwrap();
    dialer.check(&pool, (0, 0, 0));
}

/// How many of forty connections a pool with these options keeps.
fn kept_of_forty(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> usize {
    let pool = options(FakeDialer::new().pool()).build().unwrap();
    let conns: Vec<_> = (0..40).map(|_| pool.acquire().unwrap()).collect();
    drop(conns);
    pool.idle_count()
}

/// Without `max_idle` redigo keeps nothing (see docs/differences.md).
#[test]
fn how_many_are_kept() {
    assert_eq!(kept_of_forty(|options| options), 32);
    assert_eq!(kept_of_forty(|options| options.max_active(40)), 40);
    assert_eq!(kept_of_forty(|options| options.max_idle(5)), 5);
    assert_eq!(kept_of_forty(|options| options.max_idle(5).max_active(40)), 5);
    assert_eq!(kept_of_forty(|options| options.max_idle(0).max_active(40)), 0);
}

#[test]
fn zero_is_no_limit() {
    let dialer = FakeDialer::new();
    let clock = redigo::testing::ManualClock::new();
    let options = dialer.pool().max_idle(1).max_active(0).clock(clock.clone());
    let options = options.idle_timeout(Duration::ZERO).max_conn_lifetime(Duration::ZERO);
    let pool = options.wait_timeout(Duration::ZERO).build().unwrap();
    assert_eq!(pool.stats().max_active, None);
    drop(pool.acquire().unwrap());
    clock.advance(Duration::from_secs(1_000_000));
    assert_eq!(pool.prune(), 0);
    drop(pool.acquire().unwrap());
    dialer.check(&pool, (1, 1, 0));
}

#[test]
fn with_a_maximum_a_wait_timeout_implies_waiting() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(1).wait_timeout(Duration::from_millis(1)).build().unwrap();
    let conn = pool.get_timeout(PATIENCE).unwrap();
    let refused = promptly("a bounded get", || pool.acquire().unwrap_err());
    assert!(matches!(refused, Error::PoolTimeout(_)));
    drop(conn);
}

#[test]
fn debug_output_tells_the_numbers() {
    let pool = FakeDialer::new().pool().max_active(7).build().unwrap();
    let conn = pool.acquire().unwrap();
    let shown = format!("{pool:?}");
    assert!(shown.contains("max_active: Some(7)") && shown.contains("in_use: 1"), "{shown}");
    assert!(format!("{conn:?}").starts_with("PooledConn"));
}
