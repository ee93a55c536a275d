//! What becomes due as time passes, and that it is looked at then.

use super::harness::{AT_LIMIT, DIALING, Lab, Said, Step, settings};
use super::*;

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

/// A pool that keeps so many ready.
fn keeps(min_idle: usize, max_active: usize) -> Lab {
    let mut lab = Lab::new(CoreSettings { min_idle, max_active, upkeep: true, ..settings() });
    let begun = Step::of(lab.core.prune(lab.now));
    assert_eq!(begun, Step::default().dials(min_idle.min(lab.core.settings().max_jobs)));
    lab
}

fn asks(conn: u32) -> Step {
    Step { asks: Some(conn), ..Step::default() }
}

/// The connection that the upkeep is to ask now, if there is one.
fn to_ask(lab: &mut Lab) -> Option<Box<Entry<u32>>> {
    lab.core.tick(lab.now).more.and_then(|more| more.ask)
}

#[test]
fn so_many_are_dialed_before_anybody_asks_a_few_at_a_time() {
    let mut lab = keeps(6, 10);
    assert_eq!(lab.counts(), (0, 0, 4), "no more than may be dialled at a time");
    for conn in 1..=2 {
        assert_eq!(lab.job_done(conn), Step::default().dials(1));
    }
    for conn in 3..=6 {
        assert_eq!(lab.job_done(conn), Step::default());
    }
    assert_eq!(lab.counts(), (6, 0, 0));
}

#[test]
fn whatever_is_lent_lost_or_too_old_is_replaced() {
    let mut lab = Lab { lifetime: Some(60 * SECOND), ..keeps(1, 3) };
    assert_eq!(lab.job_done(1), Step::default());
    assert_eq!(lab.get(), Step::says(Said::Take(1)).dials(1));
    assert_eq!(lab.job_done(2), Step::default());
    assert_eq!(lab.remove(1, CloseReason::Io), Step::default());
    assert_eq!(lab.counts(), (1, 0, 0));
    // Nobody asks, and still.
    assert_eq!(lab.due(), Some(60 * SECOND));
    assert_eq!(lab.after(60 * SECOND), Step::default().closes([2]).dials(1));
}

#[test]
fn nothing_is_kept_ready_beyond_the_maximum() {
    let mut lab = keeps(2, 2);
    assert_eq!((lab.job_done(1), lab.job_done(2)), (Step::default(), Step::default()));
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    assert_eq!(lab.get_within(), Step::says(Said::Take(1)));
    assert_eq!(lab.remove(1, CloseReason::Io), Step::default().dials(1));
    assert_eq!(lab.counts(), (0, 1, 1));
}

#[test]
fn failed_dials_are_made_again_after_pauses_that_grow() {
    let mut lab = keeps(1, 3);
    for longest in [1, 2, 4, 8, 8] {
        assert_eq!(lab.job_failed(), Step::default(), "not at once");
        let pause = lab.due().unwrap();
        assert!(pause > longest * SECOND / 2 && pause <= longest * SECOND, "{pause:?}");
        assert_eq!(lab.after(pause - NANO), Step::default());
        assert_eq!(lab.after(NANO), Step::default().dials(1));
    }
    assert_eq!(lab.job_done(1), Step::default());
    assert_eq!(lab.due(), None, "there is nothing to come");
    // It has worked since, so the pauses begin anew.
    assert_eq!(lab.get(), Step::says(Said::Take(1)).dials(1));
    assert_eq!(lab.job_failed(), Step::default());
    assert!(lab.due() <= Some(SECOND));
}

#[test]
fn a_pause_is_not_for_those_who_wait() {
    let mut lab = keeps(1, 3);
    assert_eq!(lab.job_failed(), Step::default());
    assert_eq!(lab.get_within(), DIALING.dials(1));
    assert_eq!(lab.job_done(1), Step::default().wakes(0).dials(1));
}

#[test]
fn what_is_too_old_is_closed_when_it_is() {
    let settings = CoreSettings { idle_timeout: Some(10 * SECOND), upkeep: true, ..settings() };
    let mut lab = Lab { lifetime: Some(15 * SECOND), ..Lab::new(settings) }.idle([1, 2]);
    assert_eq!(lab.due(), Some(10 * SECOND + NANO));
    assert_eq!(lab.after(9 * SECOND), Step::default());
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    assert_eq!(lab.put(2), Step::default());
    assert_eq!(lab.after(SECOND), Step::default());
    assert_eq!(lab.after(NANO), Step::default().closes([1]));
    // By its lifetime, which is over before it has been idle for long.
    assert_eq!(lab.due(), Some(5 * SECOND - NANO));
    assert_eq!(lab.after(5 * SECOND - NANO), Step::default().closes([2]));
    assert_eq!(lab.due(), None);
}

#[test]
fn without_upkeep_nobody_is_told_when_anything_is_due() {
    let mut lab = Lab::new(CoreSettings { idle_timeout: Some(SECOND), ..settings() }).idle([1, 2]);
    assert_eq!((lab.get(), lab.due()), (Step::says(Said::Take(2)), None));
    assert_eq!((lab.get(), lab.get()), (Step::says(Said::Take(1)), Step::says(Said::Dial)));
    assert_eq!((lab.dial_failed(), lab.due()), (Step::default(), None));
}

#[test]
fn those_that_have_said_nothing_for_long_are_asked_one_after_the_other() {
    let settings =
        CoreSettings { keepalive: Some(10 * SECOND), upkeep: true, max_active: 2, ..settings() };
    let mut lab = Lab::new(settings).idle([1, 2]);
    assert_eq!((lab.get(), lab.due()), (Step::says(Said::Take(2)), Some(10 * SECOND)));
    assert_eq!(lab.after(NANO), Step::default());
    assert_eq!(lab.put(2), Step::default());
    assert_eq!(lab.after(10 * SECOND - 2 * NANO), Step::default());
    lab.now += 2 * NANO;
    let first = to_ask(&mut lab).expect("one that has said nothing for ten seconds");
    assert_eq!((first.conn, lab.counts()), (1, (1, 1, 0)));
    assert_eq!(lab.after(Duration::ZERO), Step::default(), "one at a time");
    assert_eq!(Step::of(lab.core.checked(first, true, lab.now)), Step::default());
    let second = to_ask(&mut lab).expect("the other");
    assert_eq!(Step::of(lab.core.checked(second, true, lab.now)), Step::default());
    assert_eq!(lab.after(Duration::ZERO), Step::default());
    assert_eq!((lab.due(), lab.counts()), (Some(10 * SECOND), (2, 0, 0)));
    // They are in their old places.
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    // What is in use is not asked.
    assert_eq!(lab.after(10 * SECOND), asks(1));
}

#[test]
fn one_that_is_asked_is_not_replaced() {
    let mut lab = keeps(1, 2);
    lab.core.settings.keepalive = Some(SECOND);
    assert_eq!(lab.job_done(1), Step::default());
    assert_eq!(lab.after(SECOND), asks(1));
    assert_eq!(lab.counts(), (0, 1, 0));
}

#[test]
fn one_that_answers_goes_to_who_waits_by_then() {
    let settings =
        CoreSettings { keepalive: Some(SECOND), upkeep: true, max_active: 1, ..settings() };
    let mut lab = Lab::new(settings).idle([1]);
    lab.now += SECOND;
    let asked = to_ask(&mut lab).unwrap();
    assert_eq!(lab.get(), AT_LIMIT);
    assert_eq!(Step::of(lab.core.checked(asked, true, lab.now)), Step::default().wakes(1));
    assert_eq!(lab.collect(1), Some(Said::Take(1)));
}

#[test]
fn one_that_does_not_answer_is_closed_and_the_others_are_in_doubt() {
    let settings = CoreSettings { keepalive: Some(SECOND), upkeep: true, ..settings() };
    let mut lab = Lab::new(settings).idle([1, 2]);
    lab.now += SECOND;
    let asked = to_ask(&mut lab).unwrap();
    let dead = asked.conn;
    assert_eq!(Step::of(lab.core.checked(asked, false, lab.now)), Step::default().closes([dead]));
    assert_eq!(lab.core.counters.closed.of(CloseReason::Health), 1);
    assert_eq!(lab.get(), Step::says(Said::Take(3 - dead)));
    assert!(lab.lent[&(3 - dead)].doubtful);
}

#[test]
fn being_asked_does_not_make_it_younger() {
    let (keepalive, idle_timeout) = (Some(4 * SECOND), Some(10 * SECOND));
    let settings = CoreSettings { keepalive, idle_timeout, upkeep: true, ..settings() };
    let mut lab = Lab::new(settings).idle([1]);
    for _ in 0..2 {
        lab.now += 4 * SECOND;
        let asked = to_ask(&mut lab).unwrap();
        assert_eq!(Step::of(lab.core.checked(asked, true, lab.now)), Step::default());
    }
    assert_eq!(lab.after(2 * SECOND + NANO), Step::default().closes([1]));
}

#[test]
fn one_that_came_of_age_while_it_was_out_is_closed_when_it_comes_back() {
    let mut lab = Lab { lifetime: Some(SECOND), ..Lab::of(1) }.idle([1]);
    assert_eq!((lab.get(), lab.get()), (Step::says(Said::Take(1)), AT_LIMIT));
    lab.now += SECOND;
    assert_eq!(lab.put(1), Step::default().wakes(2).closes([1]));
    assert_eq!(lab.collect(2), Some(Said::Dial));
    assert_eq!(lab.core.counters.closed.of(CloseReason::Lifetime), 1);
}

#[test]
fn first_in_is_first_out_if_told_so() {
    let mut lab = Lab::new(CoreSettings { fifo: true, ..settings() }).idle([1, 2, 3]);
    for conn in [1, 2, 3] {
        assert_eq!(lab.get(), Step::says(Said::Take(conn)));
    }
}
