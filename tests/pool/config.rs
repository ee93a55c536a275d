//! The options of a pool: contradictions are refused, and zero means the same as in redigo.

use std::time::Duration;

use redigo::{Dialer, Error, Pool, PoolBuilder};

use crate::support::fake_conn::FakeDialer;
use crate::support::wait::{PATIENCE, promptly};

#[track_caller]
fn is_refused(options: impl FnOnce(PoolBuilder) -> PoolBuilder, named: &[&str]) {
    let error = options(Pool::builder(Dialer::tcp(":6379"))).build().unwrap_err();
    assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
    for name in named {
        assert!(error.to_string().contains(name), "{error} does not name {name}");
    }
}

#[test]
fn contradicting_options_are_refused_by_name() {
    const SECOND: Duration = Duration::from_secs(1);
    is_refused(|options| options.wait(true), &["wait(true)", "max_active"]);
    is_refused(|options| options.wait(true).max_active(0), &["wait(true)", "max_active"]);
    is_refused(
        |options| options.max_active(1).wait(false).wait_timeout(SECOND),
        &["wait_timeout", "wait(false)"],
    );
    let ten = |options: PoolBuilder| options.max_active(10);
    is_refused(|options| options.max_waiters(5), &["max_waiters(5)", "wait(true)", "wait_timeout"]);
    is_refused(|options| ten(options).max_waiters(5), &["max_waiters(5)", "wait(true)"]);
    is_refused(
        |options| options.wait_timeout(SECOND).max_waiters(5),
        &["max_waiters(5)", "max_active"],
    );
    is_refused(|options| ten(options).min_idle(11), &["min_idle(11)", "max_active(10)"]);
    is_refused(|options| options.min_idle(4).max_idle(3), &["min_idle(4)", "max_idle(3)"]);
    is_refused(|options| options.min_idle(33), &["min_idle(33)", "max_idle(32)"]);
    is_refused(|options| options.cleanup_timeout(Duration::ZERO), &["cleanup_timeout"]);
    is_refused(|options| options.max_concurrent_dials(0), &["max_concurrent_dials"]);
}

#[test]
fn contradicting_times_are_refused_by_name() {
    const SECOND: Duration = Duration::from_secs(1);
    is_refused(
        |options| options.max_conn_lifetime_jitter(SECOND),
        &["max_conn_lifetime_jitter", "without max_conn_lifetime"],
    );
    is_refused(
        |options| options.max_conn_lifetime(SECOND).max_conn_lifetime_jitter(2 * SECOND),
        &["max_conn_lifetime_jitter(2s)", "max_conn_lifetime(1s)"],
    );
    for end in ["idle_timeout", "max_conn_lifetime"] {
        let ends = |options: PoolBuilder| match end {
            "idle_timeout" => options.idle_timeout(SECOND),
            _ => options.max_conn_lifetime(SECOND),
        };
        for begin in [SECOND, 2 * SECOND] {
            let told = format!("{end}(1s)");
            let (asks, looks) = (format!("keepalive({begin:?})"), format!("peek_after({begin:?})"));
            is_refused(|options| ends(options.keepalive(begin)), &[&told, &asks]);
            is_refused(|options| ends(options.peek_after(begin)), &[&told, &looks]);
        }
    }
    is_refused(
        |options| options.background_prune(true),
        &["background_prune", "idle_timeout", "max_conn_lifetime"],
    );
}

#[test]
fn contradicting_dial_and_borrow_options_are_refused_by_name() {
    const SECOND: Duration = Duration::from_secs(1);
    is_refused(
        |options| options.dial_backoff(2 * SECOND, SECOND),
        &["dial_backoff", "2s", "1s", "longest"],
    );
    is_refused(|options| options.dial_backoff(Duration::ZERO, SECOND), &["dial_backoff", "zero"]);
    is_refused(
        |options| options.dial_backoff(SECOND, SECOND).dial_retries(3).dial_budget(SECOND / 2),
        &["dial_retries(3)", "dial_budget(500ms)", "1s"],
    );
    is_refused(|options| options.reclaim_leaked(true), &["reclaim_leaked(true)", "leak_threshold"]);
    is_refused(
        |options| options.detect_deadlock(true).max_active(2),
        &["detect_deadlock(true)", "wait(true)"],
    );
    is_refused(
        |options| options.detect_deadlock(true).wait_timeout(SECOND),
        &["detect_deadlock(true)", "max_active"],
    );
}

#[test]
fn valid_combinations_are_accepted() {
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
    accepted(|options| options.max_active(2).wait(true).max_waiters(0));
    accepted(|options| options.max_active(2).wait_timeout(SECOND).max_waiters(5));
    accepted(|options| options.min_idle(2).max_active(2));
    accepted(|options| options.min_idle(40).max_active(50));
    accepted(|options| options.max_conn_lifetime(SECOND).max_conn_lifetime_jitter(SECOND));
    accepted(|options| options.keepalive(SECOND).peek_after(SECOND).idle_timeout(2 * SECOND));
    accepted(|options| options.keepalive(Duration::ZERO).idle_timeout(SECOND));
    accepted(|options| options.background_prune(true).max_conn_lifetime(SECOND));
    accepted(|options| options.dial_backoff(SECOND, SECOND).dial_budget(SECOND / 2));
    accepted(|options| options.dial_retries(3).dial_budget(SECOND));
    accepted(|options| options.breaker(0).leak_threshold(Duration::ZERO));
    accepted(|options| options.leak_threshold(SECOND).reclaim_leaked(true));
    accepted(|options| options.detect_deadlock(true).max_active(2).wait(true));
}

#[test]
fn building_dials_nothing() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(2).build().unwrap();
    dialer.check(&pool, (0, 0, 0));
}

/// Returns how many of forty connections a pool with these options keeps.
fn kept_of_forty(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> usize {
    let pool = options(FakeDialer::new().pool()).build().unwrap();
    let conns: Vec<_> = (0..40).map(|_| pool.acquire().unwrap()).collect();
    drop(conns);
    pool.idle_count()
}

/// redigo's default for `max_idle` is 0 (see docs/differences.md).
#[test]
fn max_idle_defaults_to_max_active_or_32() {
    assert_eq!(kept_of_forty(|options| options), 32);
    assert_eq!(kept_of_forty(|options| options.max_active(40)), 40);
    assert_eq!(kept_of_forty(|options| options.max_idle(5)), 5);
    assert_eq!(kept_of_forty(|options| options.max_idle(5).max_active(40)), 5);
    assert_eq!(kept_of_forty(|options| options.max_idle(0).max_active(40)), 0);
}

#[test]
fn zero_means_no_limit() {
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
fn wait_timeout_implies_waiting() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(1).wait_timeout(Duration::from_millis(1)).build().unwrap();
    let conn = pool.get_timeout(PATIENCE).unwrap();
    let refused = promptly("a bounded get", || pool.acquire().unwrap_err());
    assert!(matches!(refused, Error::PoolTimeout(_)));
    drop(conn);
}

#[test]
fn debug_output_of_a_pool_shows_its_counts() {
    let pool = FakeDialer::new().pool().max_active(7).build().unwrap();
    let conn = pool.acquire().unwrap();
    let shown = format!("{pool:?}");
    assert!(shown.contains("max_active: Some(7)") && shown.contains("in_use: 1"), "{shown}");
    assert!(format!("{conn:?}").starts_with("PooledConn"));
}
