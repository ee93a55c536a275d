//! Events of the pool as a whole: resize, suspend, evict, warm up, close.

use super::harness::{AT_LIMIT, DIALING, Harness, Outcome, Step, grants, settings, waits};
use super::*;

const SUSPENDED: Step = waits(WaitReason::Suspended);

/// A pool with these connections, all in use.
fn all_in_use<const N: usize>(conns: [u32; N]) -> Harness {
    let mut pool = Harness::of(N).idle(conns);
    conns.iter().for_each(|_| assert!(pool.get().outcome.is_some()));
    assert_eq!(pool.counts(), (0, N, 0));
    pool
}

#[test]
fn shrinking_closes_idle_then_returned_connections() {
    let mut pool = Harness::of(4).idle([1, 2, 3, 4]);
    assert_eq!((pool.get(), pool.get()), (grants(4), grants(3)));
    assert_eq!(pool.resize(3, 3), Step::default().closes([1]));
    assert_eq!(pool.resize(1, 1), Step::default().closes([2]));
    assert_eq!(pool.get(), AT_LIMIT, "more than max_active are open");
    assert_eq!(pool.check_in(4), Step::default().closes([4]), "although a caller waits");
    assert_eq!(pool.check_in(3), Step::default().wakes(6));
    assert_eq!(pool.collect(6), Some(Outcome::Conn(3)));
    assert_eq!(pool.core.counters.closed.of(CloseReason::Overflow), 3);
}

#[test]
fn growing_serves_the_waiters_immediately() {
    let mut pool = all_in_use([1]);
    assert_eq!((pool.get(), pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.resize(3, 3), Step::default().dials(2));
    assert_eq!(pool.counts(), (0, 1, 2));
}

#[test]
fn a_smaller_max_idle_closes_the_oldest_idle_connections() {
    let mut pool = Harness::of(4).idle([1, 2, 3]);
    assert_eq!(pool.resize(4, 1), Step::default().closes([1, 2]));
    assert_eq!(pool.counts(), (1, 0, 0));
}

#[test]
fn a_suspended_pool_grants_and_dials_nothing() {
    let mut pool = Harness::of(3).idle([1, 2]);
    assert_eq!(pool.get(), grants(2));
    pool.core.suspend();
    assert_eq!((pool.get(), pool.get()), (SUSPENDED, SUSPENDED));
    assert_eq!(pool.check_in(2), Step::default(), "the connection becomes idle");
    assert_eq!(pool.get(), SUSPENDED);
    assert_eq!(pool.resume(), Step::default().wakes(3).wakes(4).dials(1));
    assert_eq!(pool.collect(3), Some(Outcome::Conn(2)));
    assert_eq!(pool.collect(4), Some(Outcome::Conn(1)));
    assert_eq!(pool.collect(5), None, "its dial is running");
}

#[test]
fn without_wait_callers_of_a_suspended_pool_wait_up_to_max_waiters() {
    let settings =
        CoreSettings { wait: false, max_active: Some(1), max_waiters: Some(2), ..settings() };
    let mut pool = Harness::new(settings);
    pool.core.suspend();
    assert_eq!((pool.get(), pool.get()), (SUSPENDED, SUSPENDED));
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
}

#[test]
fn a_connection_dialed_in_a_suspended_pool_is_kept() {
    let mut pool = Harness::of(3);
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    pool.core.suspend();
    assert_eq!((pool.dial_succeeds(1), pool.dial_succeeds(2)), (Step::default(), Step::default()));
    assert_eq!(pool.counts(), (2, 0, 0));
    assert_eq!(pool.resume(), Step::default().wakes(0).wakes(1));
    assert_eq!(pool.collect(0), Some(Outcome::Conn(2)));
    assert_eq!(pool.collect(1), Some(Outcome::Conn(1)));
}

#[test]
fn connections_that_expire_in_a_suspended_pool_are_not_granted() {
    let settings = CoreSettings { idle_timeout: Some(Duration::from_secs(1)), ..settings() };
    let mut pool = Harness::new(settings).idle([1]);
    pool.core.suspend();
    assert_eq!(pool.get(), SUSPENDED);
    pool.now += Duration::from_secs(2);
    assert_eq!(pool.resume(), Step::default().closes([1]).dials(1));
}

#[test]
fn evict_all_closes_idle_returned_and_dialed_connections() {
    let mut pool = Harness::of(4).idle([1, 2]);
    assert_eq!((pool.get(), pool.get()), (grants(2), grants(1)));
    assert_eq!((pool.check_in(1), pool.get(), pool.get()), {
        (Step::default(), grants(1), DIALING.dials(1))
    });
    assert_eq!(pool.check_in(1), Step::default().wakes(5));
    assert_eq!((pool.collect(5), pool.check_in(1)), (Some(Outcome::Conn(1)), Step::default()));
    assert_eq!(pool.evict_all(), Step::default().closes([1]));
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.check_in(2), Step::default().closes([2]));
    assert_eq!(pool.dial_succeeds(3), Step::default().closes([3]));
    assert_eq!(pool.core.counters.closed.of(CloseReason::Evicted), 3);
    assert_eq!(pool.dial_succeeds(4), Step::default().wakes(6));
}

#[test]
fn max_waiters_limits_the_waiters() {
    let settings = CoreSettings { max_active: Some(1), max_waiters: Some(2), ..settings() };
    let mut pool = Harness::new(settings).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
    assert_eq!(pool.core.counters.exhausted, 1);
    assert_eq!(pool.check_in(1), Step::default().wakes(2));
    assert_eq!(pool.get(), AT_LIMIT, "one waiter has left the queue");
}

#[test]
fn waiters_that_a_dial_will_serve_do_not_count_as_waiters() {
    let mut pool = Harness::new(CoreSettings {
        max_active: Some(3),
        max_waiters: Some(1),
        max_concurrent_dials: 2,
        ..settings()
    });
    assert_eq!((pool.get(), pool.get()), (DIALING.dials(1), DIALING.dials(1)));
    assert_eq!((pool.get(), pool.get()), (DIALING, DIALING));
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
}

#[test]
fn a_warm_up_counts_connections_in_use() {
    let mut pool = Harness::of(8).idle([1, 2]);
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.begin_warm_up(4), Step::default().dials(2));
    pool.core.watch(77);
    assert_eq!(pool.dial_succeeds(3), Step::default().wakes(77));
    assert_eq!(pool.dial_succeeds(4), Step::default());
    pool.core.end_warm_up(4);
    assert_eq!(pool.close(2, CloseReason::Io), Step::default(), "the warm-up has ended");
    assert_eq!(pool.counts(), (3, 0, 0));
}

#[test]
fn the_larger_of_two_warm_ups_counts() {
    let mut pool = Harness::of(8);
    assert_eq!(pool.begin_warm_up(1), Step::default().dials(1));
    assert_eq!(pool.begin_warm_up(3), Step::default().dials(2));
    pool.core.end_warm_up(3);
    assert_eq!((pool.dial_succeeds(1), pool.dial_succeeds(2)), (Step::default(), Step::default()));
    pool.core.watch(77);
    assert_eq!(pool.dial_fails(), Step::default().wakes(77));
    let redialed = pool.core.redial(pool.now + Duration::from_secs(9));
    assert_eq!(pool.effects(redialed), Step::default());
}

/// Otherwise `close_and_wait` would sleep until its timeout.
#[test]
fn the_last_check_in_of_a_closed_pool_wakes_watchers() {
    let mut pool = all_in_use([1, 2]);
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.close_pool(), Step::default().wakes(4).wakes(5));
    pool.core.watch(77);
    assert_eq!(pool.check_in(2), Step::default().closes([2]));
    assert!(!pool.core.is_drained());
    assert_eq!(pool.check_in(1), Step::default().wakes(77).closes([1]));
    assert!(pool.core.is_drained());
    assert_eq!(pool.collect(4), Some(Outcome::Closed));
}

#[test]
fn the_last_invalid_connection_of_a_closed_pool_wakes_watchers() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.close_pool(), Step::default());
    pool.core.watch(7);
    assert_eq!(pool.replace(1, 1), Step::answers(Outcome::Closed).wakes(7));
}

#[test]
fn a_connection_stays_suspect_through_a_suspension() {
    let mut pool = Harness::of(2).idle([1, 2]);
    assert_eq!(pool.get(), grants(2));
    pool.core.suspend();
    assert_eq!(pool.get(), SUSPENDED);
    assert_eq!(pool.close(2, CloseReason::Io), Step::default());
    assert_eq!(pool.resume(), Step::default().wakes(3));
    assert_eq!(pool.collect(3), Some(Outcome::Conn(1)));
    assert!(pool.borrowed[&1].suspect);
}

#[test]
fn a_connection_dialed_in_a_suspended_pool_can_expire() {
    let idle_timeout = Some(Duration::from_secs(5));
    let mut pool = Harness::new(CoreSettings { idle_timeout, has_timer: true, ..settings() });
    assert_eq!(pool.get(), DIALING.dials(1));
    pool.core.suspend();
    assert_eq!(pool.dial_succeeds(1), Step::default());
    assert!(pool.due() > idle_timeout);
}
