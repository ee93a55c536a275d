//! The core on plain integers: connections and waiters are numbers.

use std::time::Duration;

use super::*;
use crate::error::Error;
use crate::pool::core::backoff::Backoff;

mod breaker;
mod checkouts;
mod cleaning;
mod harness;
mod lifecycle;
mod maintenance;
mod model;
mod random;
mod registry;
mod regressions;

use harness::{AT_LIMIT, DIALING, Harness, Outcome, Step, grants, settings};

#[test]
fn idle_connections_are_granted_newest_first() {
    let mut pool = Harness::of(3).idle([1, 2, 3]);
    for conn in [3, 2, 1] {
        assert_eq!(pool.get(), grants(conn));
    }
    assert_eq!((pool.core.counters.hits, pool.core.counters.misses), (3, 3));
    assert_eq!(pool.counts(), (0, 3, 0));
}

#[test]
fn beyond_max_idle_the_oldest_idle_connection_is_closed() {
    let mut pool = Harness::new(CoreSettings { max_idle: 2, ..settings() });
    for (ticket, conn) in [(0, 1), (1, 2), (2, 3)] {
        assert_eq!(pool.get(), Step::answers(Outcome::Dial));
        assert_eq!(pool.own_dial_succeeds(ticket, conn), grants(conn));
    }
    assert_eq!((pool.check_in(2), pool.check_in(3)), (Step::default(), Step::default()));
    assert_eq!(pool.check_in(1), Step::default().closes([2]));
    assert_eq!(
        (pool.core.counters.closed.of(CloseReason::Overflow), pool.counts()),
        (1, (2, 0, 0))
    );
}

#[test]
fn at_max_active_a_caller_waits_or_fails() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.get_timeout(), AT_LIMIT);
    assert_eq!(pool.core.waiting(), 2);

    let mut pool =
        Harness::new(CoreSettings { max_active: Some(1), wait: false, ..settings() }).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
    assert_eq!(pool.get_timeout(), Step::answers(Outcome::Exhausted));
    assert_eq!((pool.core.waiting(), pool.core.counters.exhausted), (0, 2));
}

#[test]
fn a_returned_connection_goes_to_the_oldest_waiter() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get_timeout()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.check_in(1), Step::default().wakes(2));
    // Waiter 2 has not collected yet. A newcomer waits behind waiter 3.
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!((pool.collect(3), pool.collect(4)), (None, None));
    assert_eq!(pool.collect(2), Some(Outcome::Conn(1)));
    assert_eq!(pool.check_in(1), Step::default().wakes(3));
    assert_eq!(pool.collect(3), Some(Outcome::Conn(1)));
    assert_eq!(pool.collect(3), None, "a grant can be collected once");
}

#[test]
fn a_waiter_gets_a_returned_connection_while_its_dial_hangs() {
    let mut pool = Harness::of(2).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
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
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
    assert_eq!(pool.leave_queue(0), (0, Step::default()));
    assert_eq!(pool.dial_succeeds(1), Step::default());
    assert_eq!(pool.counts(), (1, 0, 0));
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.check_in(1), Step::default().closes([1]));
}

#[test]
fn each_waiter_gets_a_dial_while_slots_are_free() {
    let mut pool =
        Harness::new(CoreSettings { max_active: Some(3), max_concurrent_dials: 2, ..settings() });
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
    assert_eq!(pool.get_timeout(), DIALING, "at most two dials run");
    // One slot is left, for a caller that dials itself. Its connection goes to the oldest waiter.
    assert_eq!(pool.get(), Step::answers(Outcome::Dial));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.own_dial_succeeds(3, 1), DIALING.wakes(0));
    assert_eq!(pool.collect(0), Some(Outcome::Conn(1)));
    assert_eq!(pool.counts(), (0, 1, 2));
}

#[test]
fn when_a_dial_ends_the_next_one_starts() {
    let mut pool =
        Harness::new(CoreSettings { max_active: Some(4), max_concurrent_dials: 1, ..settings() });
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
    assert_eq!((pool.get_timeout(), pool.get_timeout()), (DIALING, DIALING));
    // The dial thread is free again, two callers wait and three slots are free.
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
fn a_dialing_caller_is_served_after_older_waiters() {
    let mut pool = Harness::of(2).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
    assert_eq!(pool.close(1, CloseReason::Io), Step::default());
    assert_eq!(pool.get(), Step::answers(Outcome::Dial));
    // Caller 3 dials faster than the dial thread of caller 2: they swap connections.
    assert_eq!(pool.own_dial_succeeds(3, 2), DIALING.wakes(2));
    assert_eq!(pool.collect(2), Some(Outcome::Conn(2)));
    assert_eq!(pool.dial_succeeds(3), Step::default().wakes(3));
    assert_eq!(pool.collect(3), Some(Outcome::Conn(3)));
}

#[test]
fn without_wait_no_caller_waits_for_another_callers_dial() {
    let mut pool = Harness::new(CoreSettings {
        max_active: Some(3),
        max_concurrent_dials: 1,
        wait: false,
        ..settings()
    });
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
    assert_eq!(pool.get_timeout(), DIALING);
    assert_eq!(
        (pool.get(), pool.get()),
        (Step::answers(Outcome::Dial), Step::answers(Outcome::Dial))
    );
    // The dial of caller 2 is its own and the dial thread serves caller 1, so none serves caller 3.
    assert_eq!(pool.own_dial_succeeds(3, 1), Step::answers(Outcome::Exhausted).wakes(0));
}

#[test]
fn a_failed_own_dial_fails_its_caller_and_frees_the_slot() {
    let mut pool = Harness::of(1);
    assert_eq!(pool.get(), Step::answers(Outcome::Dial));
    assert_eq!((pool.get(), pool.get_timeout()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.own_dial_fails(), Step::default().wakes(1));
    assert_eq!((pool.collect(1), pool.collect(2)), (Some(Outcome::Dial), None));
    assert_eq!(pool.own_dial_fails(), Step::default().dials(1));
    // A dial thread's failure is the oldest waiter's.
    assert_eq!(pool.dial_fails(), Step::default().wakes(2));
    assert_eq!(pool.collect(2), Some(Outcome::Failed));
    assert_eq!((pool.core.counters.dial_errors, pool.counts()), (3, (0, 0, 0)));
}

#[test]
fn a_closed_connection_frees_a_slot_for_the_oldest_waiter() {
    let mut pool = Harness::of(1).idle([1]);
    for cause in [CloseReason::Io, CloseReason::Health, CloseReason::Discarded] {
        let oldest = pool.core.next_ticket + 1;
        assert_eq!(pool.get(), grants(1));
        assert_eq!(pool.get(), AT_LIMIT);
        assert_eq!(pool.close(1, cause), Step::default().wakes(oldest));
        assert_eq!(pool.collect(oldest), Some(Outcome::Dial));
        assert_eq!(pool.own_dial_succeeds(oldest, 1), grants(1));
        assert_eq!(pool.check_in(1), Step::default());
    }
    for reason in [CloseReason::Io, CloseReason::Health, CloseReason::Discarded] {
        assert_eq!(pool.core.counters.closed.of(reason), 1, "{reason}");
    }
}

#[test]
fn a_caller_with_an_invalid_connection_keeps_its_place_in_the_queue() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get_timeout(), grants(1));
    assert_eq!((pool.get_timeout(), pool.get_timeout()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.replace(1, 1, RequestDialer::Thread), DIALING.dials(1));
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(1));
    assert_eq!(pool.collect(1), Some(Outcome::Conn(2)));
    assert_eq!(pool.core.counters.closed.of(CloseReason::Health), 1);
}

#[test]
fn the_queue_keeps_its_order_when_a_waiter_leaves() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get_timeout(), pool.get_timeout()), (AT_LIMIT, AT_LIMIT));
    assert_eq!((pool.collect(2), pool.leave_queue(2)), (None, (0, Step::default())));
    assert_eq!(pool.core.waiting(), 1);
    assert_eq!(pool.check_in(1), Step::default().wakes(3));
    assert_eq!(pool.collect(3), Some(Outcome::Conn(1)));
}

#[test]
fn a_connection_idle_beyond_idle_timeout_is_closed() {
    let timeout = Duration::from_secs(300);
    let mut pool =
        Harness::new(CoreSettings { idle_timeout: Some(timeout), ..settings() }).idle([1, 2]);
    pool.now += timeout;
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.check_in(2), Step::default());
    pool.now += Duration::from_nanos(1);
    assert_eq!(pool.get(), grants(2).closes([1]));
    assert_eq!(
        (pool.core.counters.closed.of(CloseReason::IdleTimeout), pool.counts()),
        (1, (0, 1, 0))
    );
}

#[test]
fn a_connection_that_reaches_its_lifetime_is_closed() {
    let lifetime = Duration::from_secs(300);
    let mut pool = Harness { lifetime: Some(lifetime), ..Harness::new(settings()) }.idle([1, 2]);
    pool.now += lifetime - Duration::from_nanos(1);
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.check_in(2), Step::default());
    pool.now += Duration::from_nanos(1);
    assert_eq!(pool.get(), Step::answers(Outcome::Dial).closes([2, 1]));
    assert_eq!(
        (pool.core.counters.closed.of(CloseReason::Lifetime), pool.counts()),
        (2, (0, 0, 1))
    );
}

#[test]
fn prune_closes_expired_connections_by_either_rule() {
    let (timeout, lifetime) = (Duration::from_secs(10), Duration::from_secs(60));
    let settings = CoreSettings { idle_timeout: Some(timeout), ..settings() };
    let mut pool = Harness { lifetime: Some(lifetime), ..Harness::new(settings) }.idle([1, 2, 3]);
    pool.now += lifetime - timeout;
    // Connections 4 and 5 are younger than the others and are returned later.
    assert_eq!(pool.get(), Step::answers(Outcome::Dial).closes([1, 2, 3]));
    assert_eq!(pool.own_dial_succeeds(3, 4), grants(4));
    assert_eq!(pool.get(), Step::answers(Outcome::Dial));
    assert_eq!(pool.own_dial_succeeds(4, 5), grants(5));
    assert_eq!(pool.check_in(4), Step::default());
    pool.now += timeout;
    assert_eq!(pool.check_in(5), Step::default());
    pool.now += Duration::from_nanos(1);
    assert_eq!(Step::of(pool.core.prune(pool.now)), Step::default().closes([4]));
    pool.now += lifetime;
    assert_eq!(Step::of(pool.core.prune(pool.now)), Step::default().closes([5]));
    assert_eq!(
        (pool.core.counters.closed.of(CloseReason::IdleTimeout), pool.counts()),
        (5, (0, 0, 0))
    );
}

#[test]
fn a_closed_pool_closes_connections_and_refuses_callers() {
    let mut pool = Harness::of(4).idle([1, 2]);
    assert_eq!(pool.get(), grants(2));
    assert_eq!(Step::of(pool.core.close()), Step::default().closes([1]));
    assert_eq!(Step::of(pool.core.close()), Step::default(), "closing twice does nothing");
    assert_eq!(
        (pool.get(), pool.get_timeout()),
        (Step::answers(Outcome::Closed), Step::answers(Outcome::Closed))
    );
    assert_eq!(pool.check_in(2), Step::default().closes([2]));
    assert_eq!(pool.counts(), (0, 0, 0));
}

#[test]
fn close_wakes_every_waiter_and_discards_running_dials() {
    let mut pool = Harness::of(3).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.get(), Step::answers(Outcome::Dial));
    assert_eq!(pool.get_timeout(), DIALING.dials(1));
    assert_eq!((pool.get(), pool.get_timeout()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.close(1, CloseReason::Discarded), Step::default().dials(1));
    assert_eq!(Step::of(pool.core.close()), Step::default().wakes(3).wakes(4).wakes(5));
    for ticket in [3, 4, 5] {
        assert_eq!(pool.collect(ticket), Some(Outcome::Closed));
    }
    assert_eq!(pool.own_dial_succeeds(2, 2), Step::answers(Outcome::Closed).closes([2]));
    assert_eq!(pool.dial_succeeds(3), Step::default().closes([3]));
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.counts(), (0, 0, 0));
}

#[test]
fn a_waiter_told_to_dial_does_not_after_close() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!(pool.get(), AT_LIMIT);
    assert_eq!(pool.close(1, CloseReason::Io), Step::default().wakes(2));
    assert_eq!(Step::of(pool.core.close()), Step::default());
    assert_eq!(pool.collect(2), Some(Outcome::Closed));
    assert_eq!(pool.counts(), (0, 0, 0));
}
