//! Recorded checkouts: leaks, reclaimed connections, use times, deadlocks.

use super::harness::{AT_LIMIT, DIALING, Harness, Outcome, Step, grants, settings};
use super::*;

const THRESHOLD: Duration = Duration::from_secs(30);

fn harness(max_active: usize, reclaim_leaked: bool) -> Harness {
    let leak_threshold = Some(THRESHOLD);
    let settings = CoreSettings {
        max_active: Some(max_active),
        leak_threshold,
        reclaim_leaked,
        track_borrows: true,
        ..settings()
    };
    Harness { thread: Some(1), ..Harness::new(CoreSettings { has_timer: true, ..settings }) }
}

/// The checkouts that are reported as leaks now.
fn overdue(pool: &mut Harness) -> Vec<Overdue> {
    pool.core.run_due(pool.now).deferred.map_or(Vec::new(), |deferred| deferred.overdue)
}

#[test]
fn a_leak_is_reported_once_and_again_at_check_in() {
    let mut pool = harness(3, false).idle([1, 2]);
    assert_eq!(pool.get(), grants(2));
    pool.now += THRESHOLD / 2;
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.due(), Some(THRESHOLD / 2));
    pool.now += THRESHOLD / 2;
    let found = overdue(&mut pool);
    assert_eq!((found.len(), found[0].checkout.since), (1, pool.now - THRESHOLD));
    assert!(found[0].shutdown.is_none());
    assert_eq!((overdue(&mut pool).len(), pool.due()), (0, Some(THRESHOLD / 2)));
    let actions = pool.end(2, Disposition::Return, Some(pool.now));
    assert_eq!(actions.deferred.unwrap().late_return.unwrap().since, pool.now - THRESHOLD);
    assert_eq!(pool.check_in(1), Step::default());
    assert_eq!((pool.core.counters.leaks, pool.counts()), (1, (2, 0, 0)));
    pool.now += THRESHOLD;
    assert_eq!(overdue(&mut pool).len(), 0);
    // Its next checkout is a new one.
    assert_eq!(pool.get(), grants(1));
    pool.now += THRESHOLD;
    assert_eq!((overdue(&mut pool).len(), pool.core.counters.leaks), (1, 2));
}

#[test]
fn a_reclaimed_connection_frees_its_slot_and_is_closed_at_check_in() {
    let mut pool = harness(1, true).idle([1]);
    assert_eq!((pool.get(), pool.get()), (grants(1), AT_LIMIT));
    pool.now += THRESHOLD;
    let actions = pool.core.run_due(pool.now);
    assert!(actions.deferred.as_ref().unwrap().overdue[0].shutdown.is_some());
    assert_eq!(pool.effects(actions), Step::default().dials(1));
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(2));
    assert_eq!((pool.collect(2), pool.counts()), (Some(Outcome::Conn(2)), (0, 1, 0)));
    let checkouts = pool.core.registry().checkouts().count();
    assert_eq!(checkouts, 1, "the reclaimed one no longer counts");
    assert!(pool.core.registry().is_reclaimed(pool.borrowed[&1].slot));
    let deferred = pool.end(1, Disposition::Return, Some(pool.now)).deferred.unwrap();
    assert_eq!((deferred.close.len(), deferred.close[0].reason), (1, CloseReason::Leak));
    assert!(deferred.late_return.is_some());
    assert_eq!((pool.counts(), pool.core.counters.closed.total()), ((0, 1, 0), 1));
    assert_eq!((pool.check_in(2), pool.counts()), (Step::default(), (1, 0, 0)));
}

#[test]
fn a_reclaimed_connection_can_come_back_broken_after_close() {
    let mut pool = harness(1, true).idle([1]);
    assert_eq!(pool.get(), grants(1));
    pool.now += THRESHOLD;
    assert_eq!(overdue(&mut pool).len(), 1);
    assert_eq!(pool.close_pool(), Step::default());
    assert!(pool.core.is_drained());
    assert_eq!(pool.close(1, CloseReason::Io), Step::default());
    let closed = &pool.core.counters.closed;
    assert_eq!((closed.of(CloseReason::Leak), closed.total(), pool.counts()), (1, 1, (0, 0, 0)));
}

#[test]
fn use_times_are_recorded() {
    let mut pool = Harness {
        thread: Some(1),
        ..Harness::new(CoreSettings { track_borrows: true, ..settings() })
    }
    .idle([1]);
    assert_eq!(pool.get(), grants(1));
    pool.now += THRESHOLD;
    assert_eq!(pool.check_in(1), Step::default());
    let use_time = &pool.core.counters.use_time;
    assert_eq!((use_time.count(), use_time.sum()), (2, THRESHOLD));
}

/// A pool with `detect_deadlock`.
fn detects_deadlock(max_active: usize) -> Harness {
    let settings = CoreSettings {
        max_active: Some(max_active),
        track_borrows: true,
        detect_deadlock: true,
        ..settings()
    };
    Harness::new(settings)
}

fn on_thread(pool: &mut Harness, number: u64) -> &mut Harness {
    pool.thread = Some(number);
    pool
}

#[test]
fn a_thread_that_would_wait_for_itself_fails() {
    let mut pool = detects_deadlock(2);
    on_thread(&mut pool, 1).take(1);
    on_thread(&mut pool, 1).take(2);
    assert_eq!(pool.get(), Step::answers(Outcome::Deadlock));
    assert_eq!((pool.core.counters.deadlocks, pool.core.waiting()), (1, 0));
    assert_eq!(on_thread(&mut pool, 2).get(), AT_LIMIT, "this thread holds no connection");
}

#[test]
fn the_last_thread_of_a_deadlock_fails() {
    let mut pool = detects_deadlock(2);
    on_thread(&mut pool, 1).take(1);
    on_thread(&mut pool, 2).take(2);
    assert_eq!(on_thread(&mut pool, 1).get(), AT_LIMIT, "thread 2 can still return its connection");
    assert_eq!(on_thread(&mut pool, 2).get(), Step::answers(Outcome::Deadlock));
}

/// Thread 1 leaves the queue at its deadline, and can return its connection then.
#[test]
fn a_wait_with_a_deadline_is_no_part_of_a_deadlock() {
    let mut pool = detects_deadlock(2);
    on_thread(&mut pool, 1).take(1);
    on_thread(&mut pool, 2).take(2);
    pool.has_deadline = true;
    assert_eq!(on_thread(&mut pool, 1).get(), AT_LIMIT);
    pool.has_deadline = false;
    assert_eq!(on_thread(&mut pool, 2).get(), AT_LIMIT);
}

#[test]
fn a_caller_waits_if_a_connection_can_still_become_free() {
    // A dial is running.
    let mut pool = detects_deadlock(2);
    on_thread(&mut pool, 1).take(1);
    assert_eq!(on_thread(&mut pool, 2).get(), DIALING.dials(1));
    assert_eq!(on_thread(&mut pool, 1).get(), AT_LIMIT);
    // A slot is free.
    let mut pool = detects_deadlock(2);
    on_thread(&mut pool, 1).take(1);
    on_thread(&mut pool, 1).take(2);
    assert_eq!(pool.close(2, CloseReason::Io), Step::default());
    pool.take(3);
    // The option is off.
    let settings = CoreSettings { max_active: Some(1), track_borrows: true, ..settings() };
    let mut pool = Harness { thread: Some(1), ..Harness::new(settings) };
    pool.take(1);
    assert_eq!(pool.get(), AT_LIMIT);
}
