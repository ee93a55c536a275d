//! When dials fail in a row: nobody waits for another, and one is tried now and then.

use super::harness::{AT_LIMIT, DIALING, Lab, Said, Step, settings};
use super::*;

/// A pool whose breaker opens with the second failure in a row.
fn lab(max_active: usize) -> Lab {
    Lab::new(CoreSettings { max_active, breaker: Some(2), upkeep: true, ..settings() })
}

/// With its breaker open, after the dials of two callers.
fn broken(max_active: usize) -> Lab {
    let mut lab = lab(max_active);
    for _ in 0..2 {
        assert_eq!(lab.get(), Step::says(Said::Dial));
        assert_eq!(lab.dial_failed(), Step::default());
    }
    lab
}

/// The pause is over.
fn pause_ends(lab: &mut Lab) -> Step {
    let pause = lab.due().expect("a pause");
    lab.after(pause)
}

fn probe_fails(lab: &mut Lab) -> Step {
    Step::of(lab.core.job_failed(JobCause::Probe, &Error::other("refused"), lab.now))
}

fn probe_succeeds(lab: &mut Lab, conn: u32) -> Step {
    let fresh = lab.fresh(conn);
    Step::of(lab.core.job_done(JobCause::Probe, fresh, lab.now))
}

#[test]
fn it_opens_with_so_many_failures_in_a_row() {
    let mut lab = lab(3);
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!(lab.dial_failed(), Step::default());
    // A success in between: what was before does not count.
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.job_done(1), Step::default().wakes(1));
    assert_eq!(lab.collect(1), Some(Said::Take(1)));
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!((lab.dial_failed(), lab.due()), (Step::default(), None));
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.job_failed(), Step::default().wakes(3));
    assert_eq!(lab.collect(3), Some(Said::Failed));
    assert_eq!(lab.get(), Step::says(Said::BreakerOpen));
    assert_eq!(lab.get_within(), Step::says(Said::BreakerOpen));
    assert_eq!(lab.core.counters.breaker_refusals, 2);
}

#[test]
fn what_is_idle_is_lent_all_the_same() {
    let mut lab = lab(3).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    for _ in 0..2 {
        assert_eq!(lab.get(), Step::says(Said::Dial));
        assert_eq!(lab.dial_failed(), Step::default());
    }
    assert_eq!(lab.get(), Step::says(Said::BreakerOpen));
    assert_eq!(lab.put(1), Step::default());
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
}

#[test]
fn one_dial_is_tried_after_each_pause_and_the_pauses_grow() {
    let mut lab = broken(3);
    for longest in [1, 2, 4] {
        let (pause, longest) = (lab.due().unwrap(), Duration::from_secs(longest));
        assert!(pause > longest / 2 && pause <= longest, "{pause:?}");
        assert_eq!(pause_ends(&mut lab), Step::default().dials(1));
        assert_eq!(lab.after(Duration::from_secs(60)), Step::default(), "one at a time");
        assert_eq!(lab.get(), Step::says(Said::BreakerOpen));
        assert_eq!(probe_fails(&mut lab), Step::default());
    }
}

#[test]
fn the_connection_that_succeeds_is_kept_and_all_is_as_before() {
    let mut lab = broken(3);
    assert_eq!(pause_ends(&mut lab), Step::default().dials(1));
    assert_eq!(probe_succeeds(&mut lab, 1), Step::default());
    assert_eq!((lab.counts(), lab.core.counters.dialed.probe), ((1, 0, 0), 1));
    assert_eq!(lab.core.counters.late_dials, 0, "nobody had asked for it");
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!((lab.dial_failed(), lab.due()), (Step::default(), None), "one is not two");
}

#[test]
fn those_who_wait_for_others_connections_are_told_when_they_would_have_to_dial() {
    let mut lab = lab(2).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!((lab.get(), lab.get(), lab.get()), (Step::says(Said::Dial), AT_LIMIT, AT_LIMIT));
    assert_eq!(lab.dial_failed(), Step::default().wakes(3));
    assert_eq!(lab.collect(3), Some(Said::Dial));
    assert_eq!(lab.dial_failed(), Step::default().wakes(4));
    assert_eq!(lab.collect(4), Some(Said::BreakerOpen));
}

#[test]
fn so_are_those_behind_one_whose_connection_was_of_no_use() {
    let mut lab = lab(1).idle([1]);
    lab.core.retry.broken = true;
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!((lab.get(), lab.get()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(lab.retry(1, 1, Caller::Dials), Step::says(Said::BreakerOpen).wakes(2).wakes(3));
    assert_eq!(lab.collect(2), Some(Said::BreakerOpen));
    assert_eq!(lab.core.waiting(), 0);
}

#[test]
fn a_suspended_pool_tries_when_it_is_resumed() {
    let mut lab = broken(3);
    lab.core.suspend();
    assert_eq!(pause_ends(&mut lab), Step::default(), "it dials nothing");
    assert_eq!(lab.due(), None, "and nothing is due meanwhile");
    assert_eq!(Step::of(lab.core.resume(lab.now)), Step::default().dials(1));

    // Resumed before the pause is over, it tries when that is.
    let mut lab = broken(3);
    let pause = lab.due().unwrap();
    lab.core.suspend();
    assert_eq!(lab.after(pause / 2), Step::default());
    assert_eq!(Step::of(lab.core.resume(lab.now)), Step::default());
    assert_eq!(lab.due(), Some(pause - pause / 2));
    assert_eq!(pause_ends(&mut lab), Step::default().dials(1));
}

#[test]
fn a_new_generation_has_no_past() {
    let mut lab = broken(3);
    assert_eq!(Step::of(lab.core.evict_all()), Step::default());
    assert_eq!(lab.get(), Step::says(Said::Dial));
}

#[test]
fn without_a_breaker_every_caller_may_try() {
    let mut lab = Lab::new(CoreSettings { upkeep: true, ..settings() });
    for _ in 0..100 {
        assert_eq!(lab.get(), Step::says(Said::Dial));
        assert_eq!(lab.dial_failed(), Step::default());
    }
    assert_eq!(lab.due(), None);
}
