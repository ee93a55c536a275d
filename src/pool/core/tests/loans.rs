//! Who has what, for how long, and who waits for whom.

use super::harness::{AT_LIMIT, Lab, Said, Step, settings};
use super::*;

const THRESHOLD: Duration = Duration::from_secs(30);

fn lab(max_active: usize, reclaims: bool) -> Lab {
    let leak_threshold = Some(THRESHOLD);
    let settings =
        CoreSettings { max_active, leak_threshold, reclaims, tracks: true, ..settings() };
    Lab { thread: Some(1), ..Lab::new(CoreSettings { upkeep: true, ..settings }) }
}

/// The loans that are reported now.
fn overdue(lab: &mut Lab) -> Vec<Overdue> {
    lab.core.tick(lab.now).more.map_or(Vec::new(), |more| more.overdue)
}

#[test]
fn what_is_out_for_too_long_is_reported_once_and_again_when_it_comes_back() {
    let mut lab = lab(3, false).idle([1, 2]);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    lab.now += THRESHOLD / 2;
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    assert_eq!(lab.due(), Some(THRESHOLD / 2));
    lab.now += THRESHOLD / 2;
    let found = overdue(&mut lab);
    assert_eq!((found.len(), found[0].loan.since), (1, lab.now - THRESHOLD));
    assert!(found[0].cut.is_none());
    assert_eq!((overdue(&mut lab).len(), lab.due()), (0, Some(THRESHOLD / 2)));
    let back = lab.lent.remove(&2).unwrap();
    let actions = lab.core.put(back, Some(lab.now));
    assert_eq!(actions.more.unwrap().came_back.unwrap().since, lab.now - THRESHOLD);
    assert_eq!(lab.put(1), Step::default());
    assert_eq!((lab.core.counters.leaks, lab.counts()), (1, (2, 0, 0)));
    lab.now += THRESHOLD;
    assert_eq!(overdue(&mut lab).len(), 0);
    // The next loan of it is a new one.
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    lab.now += THRESHOLD;
    assert_eq!((overdue(&mut lab).len(), lab.core.counters.leaks), (1, 2));
}

#[test]
fn what_is_taken_back_makes_room_and_is_closed_when_it_comes() {
    let mut lab = lab(1, true).idle([1]);
    assert_eq!((lab.get(), lab.get()), (Step::says(Said::Take(1)), AT_LIMIT));
    lab.now += THRESHOLD;
    let actions = lab.core.tick(lab.now);
    assert!(actions.more.as_ref().unwrap().overdue[0].cut.is_some());
    assert_eq!(Step::of(actions), Step::default().wakes(2));
    assert_eq!(lab.collect(2), Some(Said::Dial));
    assert_eq!((lab.dialed(2, 2), lab.counts()), (Step::says(Said::Take(2)), (0, 1, 0)));
    assert!(lab.core.registry().loans().count() == 1, "it is nobody's");
    let back = lab.lent.remove(&1).unwrap();
    assert!(lab.core.registry().is_reclaimed(back.place));
    let more = lab.core.put(back, Some(lab.now)).more.unwrap();
    assert_eq!((more.close.len(), more.close[0].1), (1, CloseReason::Leak));
    assert!(more.came_back.is_some());
    assert_eq!((lab.counts(), lab.core.counters.closed.total()), ((0, 1, 0), 1));
    assert_eq!((lab.put(2), lab.counts()), (Step::default(), (1, 0, 0)));
}

#[test]
fn what_is_taken_back_may_come_back_broken_and_late() {
    let mut lab = lab(1, true).idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    lab.now += THRESHOLD;
    assert_eq!(overdue(&mut lab).len(), 1);
    assert_eq!(Step::of(lab.core.close()), Step::default());
    assert!(lab.core.is_drained());
    assert_eq!(lab.remove(1, CloseReason::Io), Step::default());
    let closed = &lab.core.counters.closed;
    assert_eq!((closed.of(CloseReason::Leak), closed.total(), lab.counts()), (1, 1, (0, 0, 0)));
}

#[test]
fn times_of_use_are_noted() {
    let mut lab =
        Lab { thread: Some(1), ..Lab::new(CoreSettings { tracks: true, ..settings() }) }.idle([1]);
    assert_eq!(lab.get(), Step::says(Said::Take(1)));
    lab.now += THRESHOLD;
    assert_eq!(lab.put(1), Step::default());
    let use_time = &lab.core.counters.use_time;
    assert_eq!((use_time.count(), use_time.sum()), (2, THRESHOLD));
}

/// A pool of so many in which a thread is told when it would wait for itself.
fn careful(max_active: usize) -> Lab {
    let settings = CoreSettings { max_active, tracks: true, refuses_deadlock: true, ..settings() };
    Lab::new(settings)
}

fn thread(lab: &mut Lab, number: u64) -> &mut Lab {
    lab.thread = Some(number);
    lab
}

/// Each dials for itself.
fn takes(lab: &mut Lab, conn: u32) {
    let ticket = lab.core.next_ticket;
    assert_eq!(lab.get(), Step::says(Said::Dial));
    assert_eq!(lab.dialed(ticket, conn), Step::says(Said::Take(conn)));
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told() {
    let mut lab = careful(2);
    takes(thread(&mut lab, 1), 1);
    takes(thread(&mut lab, 1), 2);
    assert_eq!(lab.get(), Step::says(Said::Deadlock));
    assert_eq!(lab.get_within(), Step::says(Said::Deadlock));
    assert_eq!((lab.core.counters.deadlocks, lab.core.waiting()), (2, 0));
    assert_eq!(thread(&mut lab, 2).get(), AT_LIMIT, "this one holds nothing");
}

#[test]
fn the_last_of_those_who_wait_for_each_other_is_told() {
    let mut lab = careful(2);
    takes(thread(&mut lab, 1), 1);
    takes(thread(&mut lab, 2), 2);
    assert_eq!(thread(&mut lab, 1).get(), AT_LIMIT, "the other may still give its own back");
    assert_eq!(thread(&mut lab, 2).get(), Step::says(Said::Deadlock));
}

#[test]
fn where_anything_may_still_come_free_one_waits() {
    // A dial that may yet serve whoever waits.
    let mut lab = careful(2);
    takes(thread(&mut lab, 1), 1);
    assert_eq!(thread(&mut lab, 2).get(), Step::says(Said::Dial));
    assert_eq!(thread(&mut lab, 1).get(), AT_LIMIT);
    // Room.
    let mut lab = careful(2);
    takes(thread(&mut lab, 1), 1);
    takes(thread(&mut lab, 1), 2);
    assert_eq!(lab.remove(2, CloseReason::Io), Step::default());
    takes(&mut lab, 3);
    // And where nobody has asked to be told.
    let settings = CoreSettings { max_active: 1, tracks: true, ..settings() };
    let mut lab = Lab { thread: Some(1), ..Lab::new(settings) };
    takes(&mut lab, 1);
    assert_eq!(lab.get(), AT_LIMIT);
}
