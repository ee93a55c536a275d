//! Which dials start, which waiters they cover, and which caller a failed dial fails.

use super::harness::{AT_LIMIT, DIALING, Harness, Outcome, Step, grants, settings};
use super::*;

const NANO: Duration = Duration::from_nanos(1);
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn limited(max_active: usize, max_concurrent_dials: usize) -> Harness {
    let max_active = Some(max_active);
    Harness::new(CoreSettings { max_active, max_concurrent_dials, ..settings() })
}

#[test]
fn each_waiter_gets_a_dial_while_slots_are_free() {
    let mut pool = limited(3, 2);
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    assert_eq!(pool.get(), DIALING, "at most two dials run");
    assert_eq!(pool.dial_succeeds(1), Step::default().wakes(0).dials(1));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(1));
    assert_eq!(pool.dial_succeeds(3), Step::default().wakes(2));
    assert_eq!((pool.counts(), pool.core.waiting()), ((0, 3, 0), 1));
}

#[test]
fn when_a_dial_ends_the_next_one_starts() {
    let mut pool = limited(4, 1);
    assert_eq!((pool.get(), pool.get(), pool.get()), (DIALING.dials(1), DIALING, DIALING));
    assert_eq!(pool.dial_succeeds(1), Step::default().wakes(0).dials(1));
    assert_eq!(pool.dial_fails(), Step::default().wakes(1).dials(1));
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(2));
    assert_eq!(pool.collect(1), Some(Outcome::Failed));
    assert_eq!(
        (pool.collect(0), pool.collect(2)),
        (Some(Outcome::Conn(1)), Some(Outcome::Conn(2)))
    );
}

#[test]
fn a_waiter_gets_a_returned_connection_while_its_dial_hangs() {
    let mut pool = Harness::of(2).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.check_in(1), Step::default().wakes(2));
    assert_eq!(pool.collect(2), Some(Outcome::Conn(1)));
    // No caller waits when the dial ends.
    assert_eq!(pool.counts(), (0, 1, 1));
    assert_eq!(pool.dial_succeeds(2), Step::default());
    assert_eq!((pool.core.counters.late_dials, pool.counts()), (1, (1, 1, 0)));
}

#[test]
fn a_late_connection_is_kept_beyond_max_idle_until_a_check_in() {
    let mut pool = Harness::new(CoreSettings { max_idle: 0, ..settings() });
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.leave_queue(0), 0);
    assert_eq!(pool.dial_succeeds(1), Step::default());
    assert_eq!(pool.counts(), (1, 0, 0));
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.check_in(1), Step::default().closes([1]));
}

#[test]
fn the_faster_dial_serves_the_older_waiter_and_the_other_one_swaps() {
    let mut pool = Harness::of(2);
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    assert_eq!(pool.nth_dial_succeeds(1, 1), Step::default().wakes(0), "no third dial");
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(1));
    assert_eq!(
        (pool.collect(0), pool.collect(1)),
        (Some(Outcome::Conn(1)), Some(Outcome::Conn(2)))
    );
}

#[test]
fn a_dial_whose_caller_has_left_covers_no_other_waiter() {
    let mut pool = Harness::of(4);
    for ticket in 0..3 {
        assert_eq!(pool.get(), DIALING.dials(1), "its own dial");
        assert_eq!(pool.leave_queue(ticket), 0);
    }
    assert_eq!(pool.get(), DIALING.dials(1), "the next caller does not wait for hanging dials");
    assert_eq!(pool.nth_dial_succeeds(3, 1), Step::default().wakes(3));
}

#[test]
fn the_failure_of_a_dial_whose_caller_has_left_fails_no_waiter() {
    let mut pool = Harness::of(2);
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.leave_queue(0), 0);
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.core.counters.dial_errors, 1);
    assert_eq!(pool.dial_succeeds(1), Step::default().wakes(1));
}

#[test]
fn a_failed_dial_fails_the_oldest_waiter_with_a_dial() {
    let mut pool = Harness::of(3).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    assert_eq!(
        pool.nth_dial_fails(1),
        Step::default().wakes(2),
        "the other dial is now waiter 3's"
    );
    assert_eq!(pool.collect(2), Some(Outcome::Failed));
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(3));
}

#[test]
fn a_failed_min_idle_dial_fails_no_waiter() {
    let settings = CoreSettings { max_active: Some(1), min_idle: 1, has_timer: true, ..settings() };
    let mut pool = Harness::new(settings);
    assert_eq!(pool.prune(), Step::default().dials(1));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.dial_fails(), Step::default().dials(1), "now a dial for the waiter");
    assert_eq!(pool.dial_fails(), Step::default().wakes(0));
    assert_eq!(pool.collect(0), Some(Outcome::Failed));
}

#[test]
fn a_failed_probe_fails_no_caller_that_waits_at_the_limit() {
    let settings = CoreSettings { breaker: Some(1), has_timer: true, ..settings() };
    let mut pool = Harness::new(CoreSettings { max_active: Some(2), ..settings });
    pool.take(1);
    assert_eq!((pool.get(), pool.dial_fails()), (DIALING.dials(1), Step::default().wakes(1)));
    let pause = pool.due().expect("a pause");
    assert_eq!(pool.after(pause), Step::default().dials(1));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.check_in(1), Step::default().wakes(2));
    assert_eq!(pool.collect(2), Some(Outcome::Conn(1)));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.check_in(1), Step::default().wakes(3));
    assert_eq!(pool.collect(3), Some(Outcome::Conn(1)));
}

#[test]
fn a_dial_older_than_a_second_does_not_count_against_the_limit() {
    let mut pool = limited(8, 1);
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.get(), DIALING, "one dial at a time");
    let check = pool.core.next_dial_check(pool.now).expect("a check");
    pool.now += SECOND;
    assert_eq!(pool.check_dials(), Step::default());
    pool.now += NANO;
    assert_eq!(check, pool.now);
    assert_eq!(pool.check_dials(), Step::default().dials(1));
    // Its connection goes to the oldest waiter, whose hung dial covers no other.
    assert_eq!(pool.nth_dial_succeeds(1, 1), Step::default().wakes(0).dials(1));
    assert_eq!(pool.nth_dial_succeeds(1, 2), Step::default().wakes(1));
    assert_eq!(pool.counts(), (0, 2, 1));
}

#[test]
fn hung_dials_are_limited_to_four_times_the_limit() {
    let mut pool = limited(100, 2);
    for started in [2, 2, 2, 2, 0] {
        let dials: usize = (0..3).map(|_| pool.get().dials).sum();
        assert_eq!(dials, started);
        pool.now += SECOND + NANO;
        for ticket in 0..pool.core.next_ticket {
            pool.leave_queue(ticket);
        }
    }
    assert_eq!(pool.counts(), (0, 0, 8));
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.get(), DIALING.dials(1));
}

#[test]
fn hung_dials_do_not_exceed_the_free_slots() {
    let mut pool = limited(2, 2);
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    pool.now += SECOND + NANO;
    assert_eq!((pool.check_dials(), pool.get()), (Step::default(), AT_LIMIT));
}

#[test]
fn a_dial_is_hung_only_beyond_the_typical_dial() {
    let mut pool = limited(8, 1);
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.dial_succeeds_after(0, 1, 3 * SECOND), Step::default().wakes(0));
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING));
    pool.now += 3 * SECOND;
    assert_eq!(pool.check_dials(), Step::default());
    pool.now += NANO;
    assert_eq!(pool.check_dials(), Step::default().dials(1));
}

#[test]
fn a_swapped_dial_that_pauses_covers_its_waiter_no_longer() {
    let mut pool = Harness::of(3);
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    assert_eq!(pool.nth_dial_succeeds(1, 1), Step::default().wakes(0));
    assert_eq!(pool.dial_pauses(), Step::default().dials(1));
    assert_eq!(pool.nth_dial_succeeds(1, 2), Step::default().wakes(1));
}

#[test]
fn a_paused_dial_covers_its_own_caller_and_no_other() {
    let mut pool = Harness::of(3);
    assert_eq!((pool.get(), pool.dial_pauses()), (DIALING.dials(1), Step::default()));
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.nth_dial_succeeds(1, 1), Step::default().wakes(0).dials(1), "no swap");
}

#[test]
fn a_swapped_dial_that_hangs_covers_its_waiter_no_longer() {
    let mut pool = Harness::of(3);
    assert_eq!(pool.get(), DIALING.dials(1));
    pool.now += 500 * MILLI;
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.nth_dial_succeeds(1, 1), Step::default().wakes(0));
    let check = pool.core.next_dial_check(pool.now).expect("a check");
    pool.now += 500 * MILLI + NANO;
    assert_eq!(check, pool.now);
    assert_eq!(pool.check_dials(), Step::default().dials(1));
}

#[test]
fn a_caller_with_an_invalid_connection_waits_for_its_own_dial_again() {
    let mut pool = Harness::of(3).idle([1]);
    assert_eq!((pool.get(), pool.get()), (grants(1), DIALING.dials(1)));
    assert_eq!(pool.check_in(1), Step::default().wakes(2));
    assert_eq!(pool.collect(2), Some(Outcome::Conn(1)));
    assert_eq!(pool.replace(2, 1), DIALING, "no second dial");
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(2));
}

#[test]
fn a_failure_of_an_older_generation_fails_no_caller() {
    let settings = CoreSettings { breaker: Some(1), has_timer: true, ..settings() };
    let mut pool = Harness::new(settings);
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.evict_all(), Step::default().dials(1), "the waiter gets a new dial");
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!((pool.core.counters.dial_errors, pool.due()), (1, None), "the breaker is closed");
    assert_eq!(pool.dial_succeeds(1), Step::default().wakes(0));
}

#[test]
fn a_failure_in_a_suspended_pool_fails_no_caller() {
    let settings = CoreSettings { breaker: Some(1), has_timer: true, ..settings() };
    let mut pool = Harness::new(settings);
    assert_eq!(pool.get(), DIALING.dials(1));
    pool.core.suspend();
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!((pool.core.counters.dial_errors, pool.due()), (1, None), "the breaker is closed");
    assert_eq!(pool.resume(), Step::default().dials(1));
    assert_eq!(pool.dial_succeeds(1), Step::default().wakes(0));
}

#[test]
fn an_evicted_or_suspended_dial_is_not_retried() {
    let mut pool = Harness::of(3);
    assert_eq!((pool.get(), pool.dial_pauses()), (DIALING.dials(1), Step::default()));
    let id = pool.dials[0];
    assert!(pool.core.retry_dial(id));
    pool.core.suspend();
    assert!(!pool.core.retry_dial(id));
    let _ = pool.resume();
    assert!(pool.core.retry_dial(id));
    let _ = pool.evict_all();
    assert!(!pool.core.retry_dial(id));
}

#[test]
fn evicted_dials_do_not_count_against_the_limit() {
    let mut pool = limited(4, 1);
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING));
    assert_eq!(pool.evict_all(), Step::default().dials(1));
}

#[test]
fn a_dial_that_has_not_begun_belongs_to_the_new_generation() {
    let mut pool = Harness { dials_wait: true, ..Harness::of(3) };
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.evict_all(), Step::default());
    pool.core.begin_dial(pool.dials[0], pool.now);
    assert_eq!(pool.dial_succeeds(1), Step::default().wakes(0));
}

#[test]
fn the_oldest_dial_and_its_attempts_are_known() {
    let mut pool = Harness::of(3);
    assert_eq!(pool.core.oldest_dial(pool.now), None);
    assert_eq!(pool.get(), DIALING.dials(1));
    pool.now += SECOND;
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.dial_pauses(), Step::default());
    assert!(pool.core.retry_dial(pool.dials[0]));
    pool.now += SECOND;
    let stats = pool.core.stats(pool.now);
    assert_eq!((stats.oldest_dial_age, stats.oldest_dial_attempts), (Some(2 * SECOND), 2));
    assert_eq!(stats.dial_attempts, 3);
    assert_eq!(pool.dial_fails(), Step::default().wakes(0));
    let stats = pool.core.stats(pool.now);
    assert_eq!((stats.oldest_dial_age, stats.oldest_dial_attempts), (Some(SECOND), 1));
}

#[test]
fn without_wait_callers_beyond_the_free_slots_fail() {
    let mut pool = limited(3, 1);
    pool.core.settings.wait = false;
    assert_eq!((pool.get(), pool.get(), pool.get()), (DIALING.dials(1), DIALING, DIALING));
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
}

#[test]
fn without_wait_a_caller_waits_for_a_dial_that_no_other_waits_for() {
    let mut pool = limited(1, 1);
    pool.core.settings.wait = false;
    assert_eq!((pool.get(), pool.leave_queue(0)), (DIALING.dials(1), 0));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
    assert_eq!(pool.leave_queue(1), 0);
    pool.now += SECOND + NANO;
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted), "the dial hangs");
}
