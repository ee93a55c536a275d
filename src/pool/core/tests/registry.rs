//! What the registry tells: who has what, since when, and how to reach it.

use super::harness::{Lab, Said, Step, settings};
use super::*;
use crate::pool::core::registry::CheckoutInfo;

const SECOND: Duration = Duration::from_secs(1);

/// A pool that notes its loans, with three connections of which the threads 1 and 2 have one each,
/// the first since a second before the other.
fn two_lent() -> Lab {
    let leak_threshold = Some(30 * SECOND);
    let settings =
        CoreSettings { leak_threshold, reclaims: true, tracks: true, upkeep: true, ..settings() };
    let mut lab = Lab { thread: Some(1), ..Lab::new(settings) }.idle([1, 2, 3]);
    assert_eq!(lab.get(), Step::says(Said::Take(3)));
    lab.now += SECOND;
    lab.thread = Some(2);
    assert_eq!(lab.get(), Step::says(Said::Take(2)));
    lab
}

/// The number of the thread, and when it was lent.
fn told(lent: Option<CheckoutInfo>) -> Option<(u64, Instant)> {
    lent.map(|lent| (lent.thread.number, lent.since))
}

#[test]
fn the_oldest_loan_is_told_of_all_and_of_each_thread() {
    let lab = two_lent();
    let registry = lab.core.registry();
    assert_eq!(told(registry.oldest_loan()), Some((1, lab.now - SECOND)));
    assert_eq!(told(registry.oldest_loan_of(1)), Some((1, lab.now - SECOND)));
    assert_eq!(told(registry.oldest_loan_of(2)), Some((2, lab.now)), "thread 1 had it before");
    assert_eq!(told(registry.oldest_loan_of(3)), None);
}

#[test]
fn how_long_one_has_been_out_is_told_until_it_is_back_or_given_up() {
    let mut lab = two_lent();
    let place = lab.lent[&3].place;
    lab.now += SECOND;
    assert_eq!(lab.core.registry().out_for(place, lab.now), Some(2 * SECOND));
    assert!(!lab.core.registry().is_reclaimed(place));
    lab.now += 28 * SECOND;
    let _ = lab.core.tick(lab.now);
    assert!(lab.core.registry().is_reclaimed(place));
    assert_eq!(lab.core.registry().out_for(place, lab.now), None);
    let place = lab.lent[&2].place;
    assert!(!lab.core.registry().is_reclaimed(place), "a second is left");
    let _ = lab.put(2);
    assert_eq!(lab.core.registry().out_for(place, lab.now), None);
}

#[test]
fn those_that_are_out_for_too_long_are_counted_until_they_are_back() {
    let mut lab = two_lent();
    lab.core.settings.reclaims = false;
    let mut overdue = |after: Duration| {
        lab.now += after;
        let _ = lab.core.tick(lab.now);
        lab.core.registry().overdue()
    };
    assert_eq!([28, 1, 1].map(|seconds| overdue(seconds * SECOND)), [0, 1, 2]);
    let _ = lab.put(3);
    assert_eq!(lab.core.registry().overdue(), 1);
}

#[test]
fn every_connection_can_be_reached_lent_or_not_but_those_that_are_given_up() {
    let mut lab = two_lent();
    let reached = |lab: &Lab| {
        let loans =
            lab.core.registry().handles().map(|(_, loan)| told(loan).map(|(thread, _)| thread));
        let mut loans: Vec<_> = loans.collect();
        loans.sort_unstable();
        loans
    };
    assert_eq!(reached(&lab), [None, Some(1), Some(2)]);
    lab.now += 29 * SECOND;
    let _ = lab.core.tick(lab.now);
    assert_eq!(reached(&lab), [None, Some(2)]);
}
