//! The core on plain integers: connections and waiters are numbers.

use std::time::Duration;

use super::dials::DialId;
use super::types::Dialed;
use super::*;
use crate::error::Error;
use crate::pool::core::backoff::Backoff;

mod breaker;
mod checkouts;
mod cleaning;
mod dials;
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
    pool.take_all([1, 2, 3]);
    assert_eq!((pool.check_in(2), pool.check_in(3)), (Step::default(), Step::default()));
    assert_eq!(pool.check_in(1), Step::default().closes([2]));
    let overflow = pool.core.counters.closed.of(CloseReason::Overflow);
    assert_eq!((overflow, pool.counts()), (1, (2, 0, 0)));
}

#[test]
fn at_max_active_a_caller_waits_or_fails() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.core.waiting(), 2);

    let settings = CoreSettings { max_active: Some(1), wait: false, ..settings() };
    let mut pool = Harness::new(settings).idle([1]);
    assert_eq!(pool.get(), grants(1));
    let exhausted = || Step::answers(Outcome::Exhausted);
    assert_eq!((pool.get(), pool.get()), (exhausted(), exhausted()));
    assert_eq!((pool.core.waiting(), pool.core.counters.exhausted), (0, 2));
}

#[test]
fn a_returned_connection_goes_to_the_oldest_waiter() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT));
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
fn a_closed_connection_frees_a_slot_for_the_oldest_waiter() {
    let mut pool = Harness::of(1).idle([1]);
    let reasons = [CloseReason::Io, CloseReason::Health, CloseReason::Discarded];
    for reason in reasons {
        let oldest = pool.core.next_ticket + 1;
        assert_eq!(pool.get(), grants(1));
        assert_eq!(pool.get(), AT_LIMIT);
        assert_eq!(pool.close(1, reason), Step::default().dials(1));
        assert_eq!(pool.dial_succeeds(1), Step::default().wakes(oldest));
        assert_eq!(pool.collect(oldest), Some(Outcome::Conn(1)));
        assert_eq!(pool.check_in(1), Step::default());
    }
    for reason in reasons {
        assert_eq!(pool.core.counters.closed.of(reason), 1, "{reason}");
    }
}

#[test]
fn a_caller_with_an_invalid_connection_keeps_its_place_in_the_queue() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.replace(1, 1), DIALING.dials(1));
    assert_eq!(pool.dial_succeeds(2), Step::default().wakes(1));
    assert_eq!(pool.collect(1), Some(Outcome::Conn(2)));
    assert_eq!(pool.core.counters.closed.of(CloseReason::Health), 1);
}

#[test]
fn the_queue_keeps_its_order_when_a_waiter_leaves() {
    let mut pool = Harness::of(1).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT));
    assert_eq!((pool.collect(2), pool.leave_queue(2)), (None, 0));
    assert_eq!(pool.core.waiting(), 1);
    assert_eq!(pool.check_in(1), Step::default().wakes(3));
    assert_eq!(pool.collect(3), Some(Outcome::Conn(1)));
}

#[test]
fn a_connection_idle_beyond_idle_timeout_is_closed() {
    let timeout = Duration::from_secs(300);
    let settings = CoreSettings { idle_timeout: Some(timeout), ..settings() };
    let mut pool = Harness::new(settings).idle([1, 2]);
    pool.now += timeout;
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.check_in(2), Step::default());
    pool.now += Duration::from_nanos(1);
    assert_eq!(pool.get(), grants(2).closes([1]));
    let closed = pool.core.counters.closed.of(CloseReason::IdleTimeout);
    assert_eq!((closed, pool.counts()), (1, (0, 1, 0)));
}

#[test]
fn a_connection_that_reaches_its_lifetime_is_closed() {
    let lifetime = Duration::from_secs(300);
    let mut pool = Harness { lifetime: Some(lifetime), ..Harness::new(settings()) }.idle([1, 2]);
    pool.now += lifetime - Duration::from_nanos(1);
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.check_in(2), Step::default());
    pool.now += Duration::from_nanos(1);
    assert_eq!(pool.get(), DIALING.dials(1).closes([2, 1]));
    let closed = pool.core.counters.closed.of(CloseReason::Lifetime);
    assert_eq!((closed, pool.counts()), (2, (0, 0, 1)));
}

#[test]
fn prune_closes_expired_connections_by_either_rule() {
    let (timeout, lifetime) = (Duration::from_secs(10), Duration::from_secs(60));
    let settings = CoreSettings { idle_timeout: Some(timeout), ..settings() };
    let mut pool = Harness { lifetime: Some(lifetime), ..Harness::new(settings) }.idle([1, 2, 3]);
    pool.now += lifetime - timeout;
    // Connections 4 and 5 are younger than the others and are returned later.
    assert_eq!(pool.prune(), Step::default().closes([1, 2, 3]));
    pool.take_all([4, 5]);
    assert_eq!(pool.check_in(4), Step::default());
    pool.now += timeout;
    assert_eq!(pool.check_in(5), Step::default());
    pool.now += Duration::from_nanos(1);
    assert_eq!(pool.prune(), Step::default().closes([4]));
    pool.now += lifetime;
    assert_eq!(pool.prune(), Step::default().closes([5]));
    let closed = pool.core.counters.closed.of(CloseReason::IdleTimeout);
    assert_eq!((closed, pool.counts()), (5, (0, 0, 0)));
}

#[test]
fn a_closed_pool_closes_connections_and_refuses_callers() {
    let mut pool = Harness::of(4).idle([1, 2]);
    assert_eq!(pool.get(), grants(2));
    assert_eq!(pool.close_pool(), Step::default().closes([1]));
    assert_eq!(pool.close_pool(), Step::default(), "closing twice does nothing");
    assert_eq!(pool.get(), Step::answers(Outcome::Closed));
    assert_eq!(pool.check_in(2), Step::default().closes([2]));
    assert_eq!(pool.counts(), (0, 0, 0));
}

#[test]
fn close_wakes_every_waiter_and_discards_running_dials() {
    let mut pool = Harness::of(2).idle([1]);
    assert_eq!(pool.get(), grants(1));
    assert_eq!((pool.get(), pool.get(), pool.get()), (DIALING.dials(1), AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.close(1, CloseReason::Discarded), Step::default().dials(1));
    assert_eq!(pool.close_pool(), Step::default().wakes(2).wakes(3).wakes(4));
    for ticket in [2, 3, 4] {
        assert_eq!(pool.collect(ticket), Some(Outcome::Closed));
    }
    assert_eq!(pool.dial_succeeds(2), Step::default().closes([2]));
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.counts(), (0, 0, 0));
}
