//! What is said to the pool as a whole.

use super::harness::{AT_LIMIT, DIALING, Lab, Said, Step, settings, waits};
use super::*;

const SUSPENDED: Step = waits(Cause::Suspended);

/// A pool of so many that are all lent.
fn all_lent<const N: usize>(conns: [u32; N]) -> Lab {
    let mut lab = Lab::of(N).idle(conns);
    conns.iter().for_each(|_| assert!(lab.get().said.is_some()));
    assert_eq!(lab.counts(), (0, N, 0));
    lab
}

#[test]
fn a_smaller_pool_closes_what_is_idle_and_then_what_comes_back() {
    let mut lab = Lab::of(4).idle([1, 2, 3, 4]);
    assert_eq!((lab.get(), lab.get()), (Step::says(Said::Take(4)), Step::says(Said::Take(3))));
    assert_eq!(Step::of(lab.core.resize(3, 3)), Step::default().closes([1]));
    assert_eq!(Step::of(lab.core.resize(1, 1)), Step::default().closes([2]));
    assert_eq!(lab.get(), AT_LIMIT, "there are more than may be");
    assert_eq!(lab.put(4), Step::default().closes([4]), "though somebody waits");
    assert_eq!(lab.put(3), Step::default().wakes(6));
    assert_eq!(lab.collect(6), Some(Said::Take(3)));
    assert_eq!(lab.core.counters.closed.of(CloseReason::Overflow), 3);
}

#[test]
fn a_larger_pool_serves_those_who_wait_at_once() {
    let mut lab = all_lent([1]);
    assert_eq!((lab.get(), lab.get_within(), lab.get_within()), (AT_LIMIT, AT_LIMIT, AT_LIMIT));
    assert_eq!(Step::of(lab.core.resize(3, 3)), Step::default().wakes(2).dials(1));
    assert_eq!(lab.collect(2), Some(Said::Dial));
    assert_eq!(lab.counts(), (0, 1, 2));
}

#[test]
fn less_is_kept_from_now_on() {
    let mut lab = Lab::of(4).idle([1, 2, 3]);
    assert_eq!(Step::of(lab.core.resize(4, 1)), Step::default().closes([1, 2]));
    assert_eq!(lab.counts(), (1, 0, 0));
}

#[test]
fn a_suspended_pool_lends_nothing_and_dials_nothing() {
    let mut lab = Lab::of(3).idle([1, 2]);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    lab.core.suspend();
    assert_eq!((lab.get(), lab.get_within()), (SUSPENDED, SUSPENDED));
    assert_eq!(lab.put(2), Step::default(), "it comes back, and stays");
    assert_eq!(lab.get_within(), SUSPENDED);
    assert_eq!(Step::of(lab.core.resume(lab.now)), Step::default().wakes(3).wakes(4).dials(1));
    assert_eq!((lab.collect(3), lab.collect(4)), (Some(Said::Take(2)), Some(Said::Take(1))));
    assert_eq!(lab.collect(5), None, "this one is dialled for");
}

#[test]
fn who_would_not_wait_otherwise_waits_for_the_end_of_it_but_not_too_many() {
    let mut lab =
        Lab::new(CoreSettings { wait: false, max_active: 1, max_waiters: 2, ..settings() });
    lab.core.suspend();
    assert_eq!((lab.get(), lab.get()), (SUSPENDED, SUSPENDED));
    assert_eq!(lab.get(), Step::says(Said::Exhausted));
}

#[test]
fn a_dial_that_ends_in_a_suspended_pool_is_kept() {
    let mut lab = Lab::of(3);
    assert_eq!((lab.get(), lab.get_within()), (Step::says(Said::Dial), DIALING.dials(1)));
    lab.core.suspend();
    assert_eq!(lab.dialed(0, 1), SUSPENDED);
    assert_eq!(lab.job_done(2), Step::default());
    assert_eq!(lab.counts(), (2, 0, 0));
    assert_eq!(Step::of(lab.core.resume(lab.now)), Step::default().wakes(0).wakes(1));
    assert_eq!((lab.collect(0), lab.collect(1)), (Some(Said::Take(2)), Some(Said::Take(1))));
}

#[test]
fn what_has_become_too_old_meanwhile_is_not_lent() {
    let settings = CoreSettings { idle_timeout: Some(Duration::from_secs(1)), ..settings() };
    let mut lab = Lab::new(settings).idle([1]);
    lab.core.suspend();
    assert_eq!(lab.get_within(), SUSPENDED);
    lab.now += Duration::from_secs(2);
    assert_eq!(Step::of(lab.core.resume(lab.now)), Step::default().closes([1]).dials(1));
}

#[test]
fn evicted_are_the_idle_now_the_lent_when_they_come_back_and_dials_when_they_end() {
    let mut lab = Lab::of(3).idle([1, 2]);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    let before = (lab.fresh(3), lab.fresh(4));
    assert_eq!(Step::of(lab.core.evict_all()), Step::default().closes([1]));
    assert_eq!((lab.get(), lab.get_within()), (Step::says(Said::Dial), DIALING.dials(1)));
    assert_eq!(lab.put(2), Step::default().closes([2]));
    let asker = lab.asker(Caller::Dials);
    let reply = lab.core.dialed(Ticket(3), asker, before.0, || 3);
    assert_eq!(lab.step(reply), Step::says(Said::Dial).closes([3]), "once more");
    let done = lab.core.job_done(JobCause::Demand, before.1, lab.now);
    assert_eq!(Step::of(done), Step::default().closes([4]).dials(1), "somebody waits");
    assert_eq!(lab.core.counters.closed.of(CloseReason::Evicted), 4);
    assert_eq!((lab.dialed(3, 5), lab.collect(4)), (Step::says(Said::Take(5)), None));
}

#[test]
fn so_many_may_wait_and_no_more() {
    let mut lab = Lab::new(CoreSettings { max_active: 1, max_waiters: 2, ..settings() }).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!((lab.get(), lab.get_within()), (AT_LIMIT, AT_LIMIT));
    assert_eq!((lab.get(), lab.get_within()), {
        (Step::says(Said::Exhausted), Step::says(Said::Exhausted))
    });
    assert_eq!(lab.core.counters.exhausted, 2);
    assert_eq!(lab.put(1), Step::default().wakes(2));
    assert_eq!(lab.get(), AT_LIMIT, "there is one place again");
}

#[test]
fn those_whom_a_dial_will_serve_do_not_count() {
    let mut lab =
        Lab::new(CoreSettings { max_active: 3, max_waiters: 1, max_jobs: 2, ..settings() });
    assert_eq!((lab.get_within(), lab.get_within()), (DIALING.dials(1), DIALING.dials(1)));
    assert_eq!((lab.get_within(), lab.get_within()), (DIALING, DIALING));
    assert_eq!(lab.get_within(), Step::says(Said::Exhausted));
}

#[test]
fn warming_up_counts_what_is_in_use() {
    let mut lab = Lab::of(8).idle([1, 2]);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    assert_eq!(Step::of(lab.core.warm_up(4)), Step::default().dials(2));
    lab.core.watch(77);
    assert_eq!(lab.job_done(3), Step::default().wakes(77));
    assert_eq!(lab.job_done(4), Step::default());
    lab.core.cool_down(4);
    assert_eq!(lab.remove(2, CloseReason::Io), Step::default(), "it is over");
    assert_eq!(lab.counts(), (3, 0, 0));
}

#[test]
fn the_larger_of_two_warmings_counts() {
    let mut lab = Lab::of(8);
    assert_eq!(Step::of(lab.core.warm_up(1)), Step::default().dials(1));
    assert_eq!(Step::of(lab.core.warm_up(3)), Step::default().dials(2));
    lab.core.cool_down(3);
    assert_eq!((lab.job_done(1), lab.job_done(2)), (Step::default(), Step::default()));
    lab.core.watch(77);
    assert_eq!(lab.job_failed(), Step::default().wakes(77));
    assert_eq!(Step::of(lab.core.dial_again(lab.now + Duration::from_secs(9))), Step::default());
}

/// Otherwise whoever waits for the last connection would wait for the end of their patience.
#[test]
fn whoever_waits_for_the_last_connection_is_told() {
    let mut lab = all_lent([1, 2]);
    assert_eq!((lab.get(), lab.get_within()), (AT_LIMIT, AT_LIMIT));
    // Woken up to dial, and has not come by.
    assert_eq!(lab.remove(2, CloseReason::Io), Step::default().wakes(4));
    assert_eq!(Step::of(lab.core.close()), Step::default().wakes(5));
    lab.core.watch(77);
    assert!(!lab.core.is_drained());
    assert_eq!(lab.put(1), Step::default().wakes(77).closes([1]));
    assert!(lab.core.is_drained());
    assert_eq!(lab.collect(4), Some(Said::Closed));
    assert!(lab.core.is_drained());
}

#[test]
fn whoever_waits_for_the_last_connection_is_told_when_it_fails_its_test() {
    let mut lab = Lab::of(1).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(Step::of(lab.core.close()), Step::default());
    lab.core.watch(7);
    assert_eq!(lab.retry(1, 1, Caller::Dials), Step::says(Said::Closed).wakes(7));
}

#[test]
fn what_was_in_doubt_is_after_a_pause_too() {
    let mut lab = Lab::of(2).idle([1, 2]);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    lab.core.suspend();
    assert_eq!(lab.get(), waits(Cause::Suspended));
    assert_eq!(lab.remove(2, CloseReason::Io), Step::default());
    assert_eq!(Step::of(lab.core.resume(lab.now)), Step::default().wakes(3));
    assert_eq!(lab.collect(3), Some(Said::Take(1)));
    assert!(lab.lent[&1].doubtful);
}

#[test]
fn what_was_dialed_into_a_pause_is_looked_after() {
    let idle_timeout = Some(Duration::from_secs(5));
    let mut lab = Lab::new(CoreSettings { idle_timeout, upkeep: true, ..settings() });
    assert_eq!(lab.get(), Step::says(Said::Dial));
    lab.core.suspend();
    assert_eq!(lab.dialed(0, 1), waits(Cause::Suspended));
    assert!(lab.due() > idle_timeout);
}
