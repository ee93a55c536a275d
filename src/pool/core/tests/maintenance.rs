//! Work that becomes due as time passes.

use super::harness::{AT_LIMIT, DIALING, Harness, Outcome, Step, grants, settings};
use super::*;

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

/// A pool with `min_idle`.
fn with_min_idle(min_idle: usize, max_active: usize) -> Harness {
    let mut pool = Harness::new(CoreSettings {
        min_idle,
        max_active: Some(max_active),
        has_timer: true,
        ..settings()
    });
    let begun = pool.prune();
    assert_eq!(
        begun,
        Step::default().dials(min_idle.min(pool.core.settings().max_concurrent_dials))
    );
    pool
}

fn pings(conn: u32) -> Step {
    Step { pings: Some(conn), ..Step::default() }
}

#[test]
fn min_idle_is_dialed_at_the_start_within_the_dial_limit() {
    let mut pool = with_min_idle(6, 10);
    assert_eq!(pool.counts(), (0, 0, 4), "the dial limit");
    for conn in 1..=2 {
        assert_eq!(pool.dial_succeeds(conn), Step::default().dials(1));
    }
    for conn in 3..=6 {
        assert_eq!(pool.dial_succeeds(conn), Step::default());
    }
    assert_eq!(pool.counts(), (6, 0, 0));
}

#[test]
fn min_idle_is_refilled_after_checkout_failure_and_expiry() {
    let mut pool = Harness { lifetime: Some(60 * SECOND), ..with_min_idle(1, 3) };
    assert_eq!(pool.dial_succeeds(1), Step::default());
    assert_eq!(pool.get(), grants(1).dials(1));
    assert_eq!(pool.dial_succeeds(2), Step::default());
    assert_eq!(pool.close(1, CloseReason::Io), Step::default());
    assert_eq!(pool.counts(), (1, 0, 0));
    // No caller is needed.
    assert_eq!(pool.due(), Some(60 * SECOND));
    assert_eq!(pool.after(60 * SECOND), Step::default().closes([2]).dials(1));
}

#[test]
fn min_idle_stays_within_max_active() {
    let mut pool = with_min_idle(2, 2);
    assert_eq!((pool.dial_succeeds(1), pool.dial_succeeds(2)), (Step::default(), Step::default()));
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.close(1, CloseReason::Io), Step::default().dials(1));
    assert_eq!(pool.counts(), (0, 1, 1));
}

#[test]
fn failed_min_idle_dials_are_repeated_after_growing_pauses() {
    let mut pool = with_min_idle(1, 3);
    for longest in [1, 2, 4, 8, 8] {
        assert_eq!(pool.dial_fails(), Step::default(), "not immediately");
        let pause = pool.due().unwrap();
        assert!(pause > longest * SECOND / 2 && pause <= longest * SECOND, "{pause:?}");
        assert_eq!(pool.after(pause - NANO), Step::default());
        assert_eq!(pool.after(NANO), Step::default().dials(1));
    }
    assert_eq!(pool.dial_succeeds(1), Step::default());
    assert_eq!(pool.due(), None, "nothing is due");
    // A success resets the pauses.
    assert_eq!(pool.get(), grants(1).dials(1));
    assert_eq!(pool.dial_fails(), Step::default());
    assert!(pool.due() <= Some(SECOND));
}

#[test]
fn waiters_are_dialed_for_during_a_pause() {
    let mut pool = with_min_idle(1, 3);
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.dial_succeeds(1), Step::default().wakes(0).dials(1));
}

#[test]
fn expired_connections_are_closed_on_time() {
    let settings = CoreSettings { idle_timeout: Some(10 * SECOND), has_timer: true, ..settings() };
    let mut pool = Harness { lifetime: Some(15 * SECOND), ..Harness::new(settings) }.idle([1, 2]);
    assert_eq!(pool.due(), Some(10 * SECOND + NANO));
    assert_eq!(pool.after(9 * SECOND), Step::default());
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.check_in(2), Step::default());
    assert_eq!(pool.after(SECOND), Step::default());
    assert_eq!(pool.after(NANO), Step::default().closes([1]));
    // Its lifetime ends before its idle timeout.
    assert_eq!(pool.due(), Some(5 * SECOND - NANO));
    assert_eq!(pool.after(5 * SECOND - NANO), Step::default().closes([2]));
    assert_eq!(pool.due(), None);
}

#[test]
fn without_a_timer_no_alarm_is_set() {
    let mut pool =
        Harness::new(CoreSettings { idle_timeout: Some(SECOND), ..settings() }).idle([1, 2]);
    assert_eq!((pool.get(), pool.due()), (grants(2), None));
    assert_eq!((pool.get(), pool.get()), (grants(1), DIALING.dials(1)));
    assert_eq!((pool.dial_fails(), pool.due()), (Step::default().wakes(4), None));
}

#[test]
fn silent_connections_are_pinged_one_at_a_time() {
    let settings = CoreSettings {
        keepalive: Some(10 * SECOND),
        has_timer: true,
        max_active: Some(2),
        ..settings()
    };
    let mut pool = Harness::new(settings).idle([1, 2]);
    assert_eq!((pool.get(), pool.due()), (grants(2), Some(10 * SECOND)));
    assert_eq!(pool.after(NANO), Step::default());
    assert_eq!(pool.check_in(2), Step::default());
    assert_eq!(pool.after(10 * SECOND - 2 * NANO), Step::default());
    pool.now += 2 * NANO;
    let first = pool.take_ping().expect("a connection that was silent for ten seconds");
    assert_eq!((first.conn, pool.counts()), (1, (1, 1, 0)));
    assert_eq!(pool.after(Duration::ZERO), Step::default(), "one ping at a time");
    assert_eq!(pool.ping_ends(first, true), Step::default());
    let second = pool.take_ping().expect("the other connection");
    assert_eq!(pool.ping_ends(second, true), Step::default());
    assert_eq!(pool.after(Duration::ZERO), Step::default());
    assert_eq!((pool.due(), pool.counts()), (Some(10 * SECOND), (2, 0, 0)));
    // The idle connections are in their old order.
    assert_eq!(pool.get(), grants(2));
    // Connections in use are not pinged.
    assert_eq!(pool.after(10 * SECOND), pings(1));
}

#[test]
fn a_pinged_connection_counts_for_min_idle() {
    let mut pool = with_min_idle(1, 2);
    pool.core.settings.keepalive = Some(SECOND);
    assert_eq!(pool.dial_succeeds(1), Step::default());
    assert_eq!(pool.after(SECOND), pings(1));
    assert_eq!(pool.counts(), (0, 1, 0));
}

#[test]
fn a_connection_that_answers_a_ping_goes_to_a_waiter() {
    let settings = CoreSettings {
        keepalive: Some(SECOND),
        has_timer: true,
        max_active: Some(1),
        ..settings()
    };
    let mut pool = Harness::new(settings).idle([1]);
    pool.now += SECOND;
    let pinged = pool.take_ping().unwrap();
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.ping_ends(pinged, true), Step::default().wakes(1));
    assert_eq!(pool.collect(1), Some(Outcome::Conn(1)));
}

#[test]
fn a_connection_that_fails_its_ping_makes_the_others_suspect() {
    let settings = CoreSettings { keepalive: Some(SECOND), has_timer: true, ..settings() };
    let mut pool = Harness::new(settings).idle([1, 2]);
    pool.now += SECOND;
    let pinged = pool.take_ping().unwrap();
    let dead = pinged.conn;
    assert_eq!(pool.ping_ends(pinged, false), Step::default().closes([dead]));
    assert_eq!(pool.core.counters.closed.of(CloseReason::Health), 1);
    assert_eq!(pool.get(), grants(3 - dead));
    assert!(pool.borrowed[&(3 - dead)].suspect);
}

#[test]
fn a_ping_does_not_extend_the_idle_time() {
    let (keepalive, idle_timeout) = (Some(4 * SECOND), Some(10 * SECOND));
    let settings = CoreSettings { keepalive, idle_timeout, has_timer: true, ..settings() };
    let mut pool = Harness::new(settings).idle([1]);
    for _ in 0..2 {
        pool.now += 4 * SECOND;
        let pinged = pool.take_ping().unwrap();
        assert_eq!(pool.ping_ends(pinged, true), Step::default());
    }
    assert_eq!(pool.after(2 * SECOND + NANO), Step::default().closes([1]));
}

#[test]
fn a_connection_that_expires_in_use_is_closed_at_check_in() {
    let mut pool = Harness { lifetime: Some(SECOND), ..Harness::of(1) }.idle([1]);
    assert_eq!((pool.get(), pool.get()), (grants(1), AT_LIMIT));
    pool.now += SECOND;
    assert_eq!(pool.check_in(1), Step::default().closes([1]).dials(1));
    assert_eq!(pool.core.counters.closed.of(CloseReason::Lifetime), 1);
}

#[test]
fn fifo_grants_the_oldest_idle_connection() {
    let mut pool = Harness::new(CoreSettings { fifo: true, ..settings() }).idle([1, 2, 3]);
    for conn in [1, 2, 3] {
        assert_eq!(pool.get(), grants(conn));
    }
}
