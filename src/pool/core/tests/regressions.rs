//! Tests for faults that were planted line by line and that no other test found.

use super::harness::{AT_LIMIT, DIALING, Harness, Outcome, Step, grants, settings};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Returns the connection that is pinged a second from now.
fn ping_one(pool: &mut Harness) -> Box<Entry<u32>> {
    pool.now += SECOND;
    pool.take_ping().expect("a connection to ping")
}

#[test]
fn a_pinged_connection_returns_to_its_old_position() {
    let mut pool =
        Harness::new(CoreSettings { keepalive: Some(2 * SECOND), has_timer: true, ..settings() });
    pool.take_all([1, 2, 3]);
    for conn in [1, 2, 3] {
        pool.now += SECOND / 4;
        let _ = pool.check_in(conn);
    }
    pool.now += SECOND / 2;
    let pinged = ping_one(&mut pool);
    assert_eq!(pinged.conn, 1);
    assert_eq!(pool.ping_ends(pinged, true), Step::default());
    for conn in [3, 2, 1] {
        assert_eq!(pool.get().outcome, Some(Outcome::Conn(conn)));
    }
}

#[test]
fn without_wait_one_caller_waits_for_a_pinged_connection() {
    let settings = CoreSettings {
        max_active: Some(1),
        wait: false,
        keepalive: Some(SECOND),
        has_timer: true,
        ..settings()
    };
    let mut pool = Harness::new(settings);
    pool.take(1);
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
    let _ = pool.check_in(1);
    let pinged = ping_one(&mut pool);
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, Step::answers(Outcome::Exhausted)));
    assert_eq!(pool.ping_ends(pinged, true), Step::default().wakes(2));
    assert_eq!(pool.collect(2), Some(Outcome::Conn(1)));
}

#[test]
fn a_failure_during_a_pause_does_not_extend_it() {
    let mut pool = Harness::new(CoreSettings { breaker: Some(1), has_timer: true, ..settings() });
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    let _ = pool.dial_fails();
    let until = pool.core.paused_until();
    assert!(until.is_some());
    pool.now += SECOND / 4;
    let _ = pool.dial_fails();
    assert_eq!(pool.core.paused_until(), until);
}

#[test]
fn a_probe_of_an_earlier_outage_does_not_delay_the_next() {
    let mut pool = Harness::new(CoreSettings { breaker: Some(1), has_timer: true, ..settings() });
    for _ in 0..3 {
        assert_eq!(pool.get(), DIALING.dials(1));
    }
    let _ = pool.dial_fails();
    pool.now = pool.core.paused_until().expect("a pause");
    assert_eq!(pool.after(Duration::ZERO), Step::default().dials(1));
    // Another dial closes the breaker and a third opens it again.
    assert_eq!((pool.dial_succeeds(1), pool.get()), (Step::default(), grants(1)));
    let _ = pool.dial_fails();
    assert_eq!(pool.get(), Step::answers(Outcome::BreakerOpen));
    assert!(pool.core.paused_until().is_some());
}

#[test]
fn a_probe_needs_a_free_slot() {
    let settings =
        CoreSettings { max_active: Some(2), breaker: Some(1), has_timer: true, ..settings() };
    let mut pool = Harness::new(settings);
    pool.take_all([1, 2]);
    let _ = pool.close(2, CloseReason::Io);
    assert_eq!(pool.get(), DIALING.dials(1));
    let _ = pool.dial_fails();
    let until = pool.core.paused_until().expect("a pause");
    // No slot is free now.
    let _ = pool.resize(1, 1);
    pool.now = until;
    assert_eq!(pool.after(Duration::ZERO), Step::default());
    assert!(pool.core.paused_until().is_some_and(|at| at > pool.now), "the probe is delayed");
    assert_eq!(pool.counts(), (0, 1, 0));
}

#[test]
fn work_that_could_not_start_is_rescheduled() {
    let mut pool =
        Harness::new(CoreSettings { keepalive: Some(SECOND), has_timer: true, ..settings() });
    let later = pool.now + SECOND;
    let alarm = pool.core.reschedule(later).deferred.and_then(|deferred| deferred.alarm);
    assert_eq!(alarm, Some(later));
    drop(pool.core.close());
    assert!(pool.core.reschedule(later).deferred.is_none(), "a closed pool sets no alarm");
}

#[test]
fn detached_and_late_connections_are_counted() {
    let mut pool = Harness::of(2);
    assert_eq!(pool.get().dials, 1);
    assert_eq!(pool.leave_queue(0), 0);
    let _ = pool.dial_succeeds(1);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.core.counters.late_dials, pool.core.counters.late_reused), (1, 1));
    drop(pool.end(1, Disposition::Detach, None));
    assert_eq!((pool.core.counters.detached, pool.core.counters.closed.total()), (1, 0));
}

#[test]
fn a_probe_counts_against_max_concurrent_dials() {
    let mut pool = Harness::new(CoreSettings {
        max_concurrent_dials: 1,
        breaker: Some(1),
        has_timer: true,
        ..settings()
    });
    // The first dial hangs, and its failure opens the breaker while the second one runs.
    assert_eq!(pool.get(), DIALING.dials(1));
    pool.now += SECOND + Duration::from_nanos(1);
    assert_eq!(pool.get(), DIALING.dials(1));
    let _ = pool.dial_fails();
    pool.now = pool.core.paused_until().expect("a pause");
    assert_eq!(pool.after(Duration::ZERO), Step::default());
    assert!(pool.core.paused_until().is_some_and(|at| at > pool.now), "the probe is delayed");
}

#[test]
fn a_pinged_connection_counts_once_in_a_warm_up() {
    let mut pool =
        Harness::new(CoreSettings { keepalive: Some(SECOND), has_timer: true, ..settings() })
            .idle([1]);
    let pinged = ping_one(&mut pool);
    assert_eq!(pool.begin_warm_up(3), Step::default().dials(2));
    assert_eq!(pool.ping_ends(pinged, true), Step::default());
}

#[test]
fn a_pool_without_max_active_reports_none() {
    let mut pool = Harness::new(settings());
    assert_eq!(pool.core.settings().max_active, None);
    let _ = pool.resize(3, 3);
    assert_eq!(pool.core.settings().max_active, Some(3));
}

#[test]
fn only_an_earlier_alarm_is_passed_to_the_timer() {
    let settings = CoreSettings { idle_timeout: Some(SECOND), has_timer: true, ..settings() };
    let mut pool = Harness { lifetime: Some(2 * SECOND), ..Harness::new(settings) }.idle([1, 2]);
    let alarm_at_check_in = |pool: &mut Harness, conn| {
        let actions = pool.end(conn, Disposition::Return, Some(pool.now));
        actions.deferred.and_then(|deferred| deferred.alarm)
    };
    let due = pool.core.alarm;
    assert!(due.is_some());
    assert_eq!((pool.get(), pool.get()), (grants(2), grants(1)));
    assert_eq!((alarm_at_check_in(&mut pool, 1), pool.core.alarm), (None, due), "not earlier");
    pool.borrowed.get_mut(&2).expect("a connection in use").expires = Some(pool.now + SECOND / 2);
    let earlier = Some(pool.now + SECOND / 2);
    assert_eq!((alarm_at_check_in(&mut pool, 2), pool.core.alarm), (earlier, earlier));
}
