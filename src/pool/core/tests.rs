//! The core on plain integers: a connection is a number, and so is whoever waits.

use std::time::Duration;

use super::*;
use crate::error::Error;
use crate::pool::core::backoff::Backoff;

mod breaker;
mod harness;
mod lifecycle;
mod loans;
mod maintenance;
mod model;
mod random;
mod registry;
mod regressions;

use harness::{AT_LIMIT, DIALING, Lab, Said, Step, settings};

#[test]
fn what_is_idle_is_lent_newest_first() {
    let mut lab = Lab::of(3).idle([1, 2, 3]);
    for conn in [3, 2, 1] {
        assert_eq!(lab.get(), Step::says(Said::Take(conn)));
    }
    assert_eq!((lab.core.counters.hits, lab.core.counters.misses), (3, 3));
    assert_eq!(lab.counts(), (0, 3, 0));
}

#[test]
fn beyond_max_idle_the_one_idle_for_longest_is_closed() {
    let mut lab = Lab::new(CoreSettings { max_idle: 2, ..settings() });
    for (ticket, conn) in [(0, 1), (1, 2), (2, 3)] {
        assert_eq!(lab.get(), Step::says(Said::Dial));
        assert_eq!(lab.dialed(ticket, conn), Step::says(Said::Take(conn)));
    }
    assert_eq!((lab.put(2), lab.put(3)), (Step::default(), Step::default()));
    assert_eq!(lab.put(1), Step::default().closes([2]));
    assert_eq!((lab.core.counters.closed.of(CloseReason::Overflow), lab.counts()), (1, (2, 0, 0)));
}

#[test]
fn at_the_maximum_a_caller_waits_or_is_refused() {
    let mut lab = Lab::of(1).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.get(), AT_LIMIT);
    assert_eq!(lab.get_within(), AT_LIMIT);
    assert_eq!(lab.core.waiting(), 2);

    let mut lab = Lab::new(CoreSettings { max_active: 1, wait: false, ..settings() }).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.get(), Step::says(Said::Exhausted));
    assert_eq!(lab.get_within(), Step::says(Said::Exhausted));
    assert_eq!((lab.core.waiting(), lab.core.counters.exhausted), (0, 2));
}

#[test]
fn what_comes_back_goes_to_the_oldest_waiter_and_not_to_a_newcomer() {
    let mut lab = Lab::of(1).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!((lab.get(), lab.get_within()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(lab.put(1), Step::default().wakes(2));
    // Waiter 2 has not come yet. Whoever asks meanwhile has to wait behind 3.
    assert_eq!(lab.get(), AT_LIMIT);
    assert_eq!((lab.collect(3), lab.collect(4)), (None, None));
    assert_eq!(lab.collect(2), Some(Said::Take(1)));
    assert_eq!(lab.put(1), Step::default().wakes(3));
    assert_eq!(lab.collect(3), Some(Said::Take(1)));
    assert_eq!(lab.collect(3), None, "an outcome is there once");
}

#[test]
fn a_waiter_takes_what_comes_back_while_its_dial_hangs() {
    let mut lab = Lab::of(2).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.put(1), Step::default().wakes(2));
    assert_eq!(lab.collect(2), Some(Said::Take(1)));
    // The dial is for whoever waits when it ends. Nobody does.
    assert_eq!(lab.counts(), (0, 1, 1));
    assert_eq!(lab.job_done(2), Step::default());
    assert_eq!((lab.core.counters.late_dials, lab.counts()), (1, (1, 1, 0)));
}

#[test]
fn a_late_connection_is_kept_beyond_max_idle_until_one_comes_back() {
    let mut lab = Lab::new(CoreSettings { max_idle: 0, ..settings() });
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.give_up(0), (0, Step::default()));
    assert_eq!(lab.job_done(1), Step::default());
    assert_eq!(lab.counts(), (1, 0, 0));
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.put(1), Step::default().closes([1]));
}

#[test]
fn one_dial_is_started_for_each_who_waits_as_far_as_there_is_room() {
    let mut lab = Lab::new(CoreSettings { max_active: 3, max_jobs: 2, ..settings() });
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.get_within(), DIALING, "only two may dial at a time");
    // There is room for one more and a caller who dials. Its connection goes to the oldest.
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!(lab.get(), AT_LIMIT);
    assert_eq!(lab.dialed(3, 1), DIALING.wakes(0));
    assert_eq!(lab.collect(0), Some(Said::Take(1)));
    assert_eq!(lab.counts(), (0, 1, 2));
}

#[test]
fn when_a_dial_ends_the_next_that_is_wanted_begins() {
    let mut lab = Lab::new(CoreSettings { max_active: 4, max_jobs: 1, ..settings() });
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!((lab.get_within(), lab.get_within()), (DIALING, DIALING));
    // The one dial thread is free again, and two still wait with room for three.
    assert_eq!(lab.job_done(1), Step::default().wakes(0).dials(1));
    assert_eq!(lab.job_failed(), Step::default().wakes(1).dials(1));
    assert_eq!(lab.job_done(2), Step::default().wakes(2));
    assert_eq!(lab.collect(1), Some(Said::Failed));
    assert_eq!((lab.collect(0), lab.collect(2)), (Some(Said::Take(1)), Some(Said::Take(2))));
}

#[test]
fn a_caller_who_dialed_is_served_after_those_who_came_before() {
    let mut lab = Lab::of(2).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.remove(1, CloseReason::Io), Step::default());
    assert_eq!(lab.get(), Step::says(Said::Dial));
    // 3 dialled faster than the thread that dials for 2, gives its connection to 2 and takes
    // over that dial.
    assert_eq!(lab.dialed(3, 2), DIALING.wakes(2));
    assert_eq!(lab.collect(2), Some(Said::Take(2)));
    assert_eq!(lab.job_done(3), Step::default().wakes(3));
    assert_eq!(lab.collect(3), Some(Said::Take(3)));
}

#[test]
fn without_waiting_nobody_is_left_to_hope_for_the_dial_of_another() {
    let mut lab = Lab::new(CoreSettings { max_active: 3, max_jobs: 1, wait: false, ..settings() });
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.get_within(), DIALING);
    assert_eq!((lab.get(), lab.get()), (Step::says(Said::Dial), Step::says(Said::Dial)));
    // What 2 dials is its own, and what the thread dials is for 1: nothing is left for 3.
    assert_eq!(lab.dialed(3, 1), Step::says(Said::Exhausted).wakes(0));
}

#[test]
fn a_failed_dial_is_its_own_callers_and_its_place_is_free() {
    let mut lab = Lab::of(1);
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!((lab.get(), lab.get_within()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(lab.dial_failed(), Step::default().wakes(1));
    assert_eq!((lab.collect(1), lab.collect(2)), (Some(Said::Dial), None));
    assert_eq!(lab.dial_failed(), Step::default().dials(1));
    // No caller dials now: it is the oldest waiter's.
    assert_eq!(lab.job_failed(), Step::default().wakes(2));
    assert_eq!(lab.collect(2), Some(Said::Failed));
    assert_eq!((lab.core.counters.dial_errors, lab.counts()), (3, (0, 0, 0)));
}

#[test]
fn a_removed_connection_makes_room_for_the_oldest_waiter() {
    let mut lab = Lab::of(1).idle([1]);
    for cause in [CloseReason::Io, CloseReason::Health, CloseReason::Discarded] {
        let oldest = lab.core.next_ticket + 1;
        assert_eq!(lab.get(), Step::says(Said::Take(1)));
        assert_eq!(lab.get(), AT_LIMIT);
        assert_eq!(lab.remove(1, cause), Step::default().wakes(oldest));
        assert_eq!(lab.collect(oldest), Some(Said::Dial));
        assert_eq!(lab.dialed(oldest, 1), Step::says(Said::Take(1)));
        assert_eq!(lab.put(1), Step::default());
    }
    for reason in [CloseReason::Io, CloseReason::Health, CloseReason::Discarded] {
        assert_eq!(lab.core.counters.closed.of(reason), 1, "{reason}");
    }
}

#[test]
fn whoever_gets_a_bad_connection_is_not_sent_to_the_end_of_the_queue() {
    let mut lab = Lab::of(1).idle([1]);
    assert_eq!(lab.get_within(), Step::says(Said::Take(1)));
    assert_eq!((lab.get_within(), lab.get_within()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(lab.retry(1, 1, Caller::Waits), DIALING.dials(1));
    assert_eq!(lab.job_done(2), Step::default().wakes(1));
    assert_eq!(lab.collect(1), Some(Said::Take(2)));
    assert_eq!(lab.core.counters.closed.of(CloseReason::Health), 1);
}

#[test]
fn one_who_gives_up_leaves_the_others_in_order() {
    let mut lab = Lab::of(1).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!((lab.get_within(), lab.get_within()), (AT_LIMIT, AT_LIMIT));
    assert_eq!((lab.collect(2), lab.give_up(2)), (None, (0, Step::default())));
    assert_eq!(lab.core.waiting(), 1);
    assert_eq!(lab.put(1), Step::default().wakes(3));
    assert_eq!(lab.collect(3), Some(Said::Take(1)));
}

#[test]
fn idle_for_longer_than_the_timeout_is_too_long() {
    let timeout = Duration::from_secs(300);
    let mut lab = Lab::new(CoreSettings { idle_timeout: Some(timeout), ..settings() }).idle([1, 2]);
    lab.now += timeout;
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    assert_eq!(lab.put(2), Step::default());
    lab.now += Duration::from_nanos(1);
    assert_eq!(lab.get(), Step::says(Said::Take(2)).closes([1]));
    assert_eq!(
        (lab.core.counters.closed.of(CloseReason::IdleTimeout), lab.counts()),
        (1, (0, 1, 0))
    );
}

#[test]
fn as_old_as_the_lifetime_is_too_old() {
    let lifetime = Duration::from_secs(300);
    let mut lab = Lab { lifetime: Some(lifetime), ..Lab::new(settings()) }.idle([1, 2]);
    lab.now += lifetime - Duration::from_nanos(1);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    assert_eq!(lab.put(2), Step::default());
    lab.now += Duration::from_nanos(1);
    assert_eq!(lab.get(), Step::says(Said::Dial).closes([2, 1]));
    assert_eq!((lab.core.counters.closed.of(CloseReason::Lifetime), lab.counts()), (2, (0, 0, 1)));
}

#[test]
fn pruning_takes_what_is_too_old_by_either_rule() {
    let (timeout, lifetime) = (Duration::from_secs(10), Duration::from_secs(60));
    let settings = CoreSettings { idle_timeout: Some(timeout), ..settings() };
    let mut lab = Lab { lifetime: Some(lifetime), ..Lab::new(settings) }.idle([1, 2, 3]);
    lab.now += lifetime - timeout;
    // 4 is younger than the others, and 3 and 4 have come back later than 1 and 2.
    assert_eq!(lab.get(), Step::says(Said::Dial).closes([1, 2, 3]));
    assert_eq!(lab.dialed(3, 4), Step::says(Said::Take(4)));
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!(lab.dialed(4, 5), Step::says(Said::Take(5)));
    assert_eq!(lab.put(4), Step::default());
    lab.now += timeout;
    assert_eq!(lab.put(5), Step::default());
    lab.now += Duration::from_nanos(1);
    assert_eq!(Step::of(lab.core.prune(lab.now)), Step::default().closes([4]));
    lab.now += lifetime;
    assert_eq!(Step::of(lab.core.prune(lab.now)), Step::default().closes([5]));
    assert_eq!(
        (lab.core.counters.closed.of(CloseReason::IdleTimeout), lab.counts()),
        (5, (0, 0, 0))
    );
}

#[test]
fn closing_ends_everything_once_it_comes_by() {
    let mut lab = Lab::of(4).idle([1, 2]);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    assert_eq!(Step::of(lab.core.close()), Step::default().closes([1]));
    assert_eq!(Step::of(lab.core.close()), Step::default(), "twice is the same as once");
    assert_eq!((lab.get(), lab.get_within()), (Step::says(Said::Closed), Step::says(Said::Closed)));
    assert_eq!(lab.put(2), Step::default().closes([2]));
    assert_eq!(lab.counts(), (0, 0, 0));
}

#[test]
fn closing_wakes_everyone_and_dials_under_way_come_to_nothing() {
    let mut lab = Lab::of(3).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!((lab.get(), lab.get_within()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(lab.remove(1, CloseReason::Discarded), Step::default().dials(1));
    assert_eq!(Step::of(lab.core.close()), Step::default().wakes(3).wakes(4).wakes(5));
    for ticket in [3, 4, 5] {
        assert_eq!(lab.collect(ticket), Some(Said::Closed));
    }
    assert_eq!(lab.dialed(2, 2), Step::says(Said::Closed).closes([2]));
    assert_eq!(lab.job_done(3), Step::default().closes([3]));
    assert_eq!(lab.job_failed(), Step::default());
    assert_eq!(lab.counts(), (0, 0, 0));
}

#[test]
fn who_was_to_dial_when_the_pool_was_closed_does_not() {
    let mut lab = Lab::of(1).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.get(), AT_LIMIT);
    assert_eq!(lab.remove(1, CloseReason::Io), Step::default().wakes(2));
    assert_eq!(Step::of(lab.core.close()), Step::default());
    assert_eq!(lab.collect(2), Some(Said::Closed));
    assert_eq!(lab.counts(), (0, 0, 0));
}
