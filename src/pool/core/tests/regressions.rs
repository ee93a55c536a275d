//! What faults that were planted line by line have shown to be untested.

use super::harness::{AT_LIMIT, DIALING, Lab, Said, Step, settings};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Out to be asked whether it lives, a second from now.
fn ask_one(lab: &mut Lab) -> Box<Entry<u32>> {
    lab.now += SECOND;
    let more = lab.core.tick(lab.now).more.expect("something to do");
    more.ask.expect("one to ask")
}

#[test]
fn one_that_has_answered_is_in_its_old_place() {
    let mut lab =
        Lab::new(CoreSettings { keepalive: Some(2 * SECOND), upkeep: true, ..settings() });
    for (ticket, conn) in [(0, 1), (1, 2), (2, 3)] {
        assert_eq!(lab.get(), Step::says(Said::Dial));
        assert_eq!(lab.dialed(ticket, conn), Step::says(Said::Take(conn)));
    }
    for conn in [1, 2, 3] {
        lab.now += SECOND / 4;
        let _ = lab.put(conn);
    }
    lab.now += SECOND / 2;
    let asked = ask_one(&mut lab);
    assert_eq!(asked.conn, 1);
    assert_eq!(Step::of(lab.core.checked(asked, true, lab.now)), Step::default());
    for conn in [3, 2, 1] {
        assert_eq!(lab.get().said, Some(Said::Take(conn)));
    }
}

#[test]
fn without_waiting_one_that_is_asked_is_waited_for_all_the_same_by_one() {
    let settings = CoreSettings {
        max_active: 1,
        wait: false,
        keepalive: Some(SECOND),
        upkeep: true,
        ..settings()
    };
    let mut lab = Lab::new(settings);
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!(lab.dialed(0, 1), Step::says(Said::Take(1)));
    assert_eq!(lab.get(), Step::says(Said::Exhausted));
    let _ = lab.put(1);
    let asked = ask_one(&mut lab);
    assert_eq!((lab.get(), lab.get()), (AT_LIMIT, Step::says(Said::Exhausted)));
    assert_eq!(Step::of(lab.core.checked(asked, true, lab.now)), Step::default().wakes(2));
    assert_eq!(lab.collect(2), Some(Said::Take(1)));
}

#[test]
fn a_pause_is_not_made_longer_by_what_fails_while_it_lasts() {
    let mut lab = Lab::new(CoreSettings { breaker: Some(1), upkeep: true, ..settings() });
    assert_eq!((lab.get(), lab.get()), (Step::says(Said::Dial), Step::says(Said::Dial)));
    let _ = lab.dial_failed();
    let until = lab.core.retry_at();
    assert!(until.is_some());
    lab.now += SECOND / 4;
    let _ = lab.dial_failed();
    assert_eq!(lab.core.retry_at(), until);
}

#[test]
fn there_is_one_probe_at_a_time() {
    let mut lab = Lab::new(CoreSettings { breaker: Some(1), upkeep: true, ..settings() });
    for _ in 0..3 {
        assert_eq!(lab.get(), Step::says(Said::Dial));
    }
    let _ = lab.dial_failed();
    lab.now = lab.core.retry_at().expect("a pause");
    assert_eq!(Step::of(lab.core.tick(lab.now)), Step::default().dials(1));
    // The breaker is closed by another dial, and opened by yet another.
    assert_eq!(lab.dialed(1, 1), Step::says(Said::Take(1)));
    let _ = lab.dial_failed();
    assert_eq!(lab.get(), Step::says(Said::BreakerOpen));
    assert_eq!(lab.core.retry_at(), None, "the end of the probe decides");
}

#[test]
fn a_probe_takes_no_room_that_there_is_not() {
    let settings = CoreSettings { max_active: 2, breaker: Some(1), upkeep: true, ..settings() };
    let mut lab = Lab::new(settings);
    for (ticket, conn) in [(0, 1), (1, 2)] {
        assert_eq!(lab.get(), Step::says(Said::Dial));
        assert_eq!(lab.dialed(ticket, conn), Step::says(Said::Take(conn)));
    }
    let _ = lab.remove(2, CloseReason::Io);
    assert_eq!(lab.get(), Step::says(Said::Dial));
    let _ = lab.dial_failed();
    let until = lab.core.retry_at().expect("a pause");
    // Now all that may be open is.
    let _ = lab.core.resize(1, 1);
    lab.now = until;
    assert_eq!(Step::of(lab.core.tick(lab.now)), Step::default());
    assert!(lab.core.retry_at().is_some_and(|at| at > lab.now), "it is put off");
    assert_eq!(lab.counts(), (0, 1, 0));
}

#[test]
fn what_nobody_could_do_when_it_was_due_is_due_again() {
    let mut lab = Lab::new(CoreSettings { keepalive: Some(SECOND), upkeep: true, ..settings() });
    let later = lab.now + SECOND;
    let alarm = lab.core.put_off(later).more.and_then(|more| more.alarm);
    assert_eq!(alarm, Some(later));
    drop(lab.core.close());
    assert!(lab.core.put_off(later).more.is_none(), "a closed pool has no upkeep");
}

#[test]
fn what_is_taken_away_and_what_comes_late_is_counted() {
    let mut lab = Lab::of(2);
    assert_eq!(lab.get_within().dials, 1);
    assert_eq!(lab.give_up(0).0, 0);
    let _ = lab.job_done(1);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!((lab.core.counters.late_dials, lab.core.counters.late_reused), (1, 1));
    let place = lab.lent.remove(&1).expect("it was lent").place;
    drop(lab.core.remove(place, None, None));
    assert_eq!((lab.core.counters.detached, lab.core.counters.closed.total()), (1, 0));
}

#[test]
fn a_probe_does_not_run_beside_more_dials_than_may() {
    let mut lab =
        Lab::new(CoreSettings { max_jobs: 1, breaker: Some(1), upkeep: true, ..settings() });
    assert_eq!((lab.get(), lab.get_within()), (Step::says(Said::Dial), DIALING.dials(1)));
    // Nobody is left whom the dial thread would serve, and the breaker opens while it dials.
    let _ = lab.give_up(1);
    let _ = lab.dial_failed();
    lab.now = lab.core.retry_at().expect("a pause");
    assert_eq!(Step::of(lab.core.tick(lab.now)), Step::default());
    assert!(lab.core.retry_at().is_some_and(|at| at > lab.now), "it is put off");
}

#[test]
fn one_that_is_asked_counts_once_for_those_who_warm_the_pool_up() {
    let mut lab =
        Lab::new(CoreSettings { keepalive: Some(SECOND), upkeep: true, ..settings() }).idle([1]);
    let asked = ask_one(&mut lab);
    assert_eq!(Step::of(lab.core.warm_up(3)), Step::default().dials(2));
    assert_eq!(Step::of(lab.core.checked(asked, true, lab.now)), Step::default());
}

#[test]
fn a_pool_without_a_maximum_says_so() {
    let mut lab = Lab::new(settings());
    assert_eq!(lab.core.max_active(), None);
    let _ = lab.core.resize(3, 3);
    assert_eq!(lab.core.max_active(), Some(3));
}

#[test]
fn whoever_sees_to_the_upkeep_is_told_of_what_is_due_sooner_and_of_nothing_else() {
    let settings = CoreSettings { idle_timeout: Some(SECOND), upkeep: true, ..settings() };
    let mut lab = Lab { lifetime: Some(2 * SECOND), ..Lab::new(settings) }.idle([1, 2]);
    let told = |lab: &mut Lab, conn| {
        let member = lab.lent.remove(&conn).expect("it was lent");
        lab.core.put(member, Some(lab.now)).more.and_then(|more| more.alarm)
    };
    let due = lab.core.alarm;
    assert!(due.is_some());
    assert_eq!((lab.get(), lab.get()), (Step::says(Said::Take(2)), Step::says(Said::Take(1))));
    assert_eq!((told(&mut lab, 1), lab.core.alarm), (None, due), "it is not sooner");
    lab.lent.get_mut(&2).expect("it was lent").expires = Some(lab.now + SECOND / 2);
    let sooner = Some(lab.now + SECOND / 2);
    assert_eq!((told(&mut lab, 2), lab.core.alarm), (sooner, sooner));
}
