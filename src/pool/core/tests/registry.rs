//! The registry: borrowers, use times, shutdown handles.

use super::harness::{Harness, grants, settings};
use super::*;
use crate::pool::core::registry::CheckoutInfo;

const SECOND: Duration = Duration::from_secs(1);

/// A pool that records checkouts, with three connections. Threads 1 and 2 hold one each; thread 1
/// checked out a second earlier.
fn two_in_use() -> Harness {
    let leak_threshold = Some(30 * SECOND);
    let settings = CoreSettings {
        leak_threshold,
        reclaim_leaked: true,
        track_borrows: true,
        has_timer: true,
        ..settings()
    };
    let mut pool = Harness { thread: Some(1), ..Harness::new(settings) }.idle([1, 2, 3]);
    assert_eq!(pool.get(), grants(3));
    pool.now += SECOND;
    pool.thread = Some(2);
    assert_eq!(pool.get(), grants(2));
    pool
}

/// The number of the thread and the time of the checkout.
fn summary(checkout: Option<CheckoutInfo>) -> Option<(u64, Instant)> {
    checkout.map(|checkout| (checkout.thread.number, checkout.since))
}

#[test]
fn the_oldest_checkout_is_known_overall_and_by_thread() {
    let pool = two_in_use();
    let registry = pool.core.registry();
    assert_eq!(summary(registry.oldest_checkout()), Some((1, pool.now - SECOND)));
    assert_eq!(summary(registry.oldest_checkout_of(1)), Some((1, pool.now - SECOND)));
    assert_eq!(
        summary(registry.oldest_checkout_of(2)),
        Some((2, pool.now)),
        "thread 1 was an earlier borrower"
    );
    assert_eq!(summary(registry.oldest_checkout_of(3)), None);
}

#[test]
fn the_use_time_is_known_until_check_in_or_reclaim() {
    let mut pool = two_in_use();
    let slot = pool.borrowed[&3].slot;
    pool.now += SECOND;
    assert_eq!(pool.core.registry().used_for(slot, pool.now), Some(2 * SECOND));
    assert!(!pool.core.registry().is_reclaimed(slot));
    pool.now += 28 * SECOND;
    let _ = pool.core.run_due(pool.now);
    assert!(pool.core.registry().is_reclaimed(slot));
    assert_eq!(pool.core.registry().used_for(slot, pool.now), None);
    let slot = pool.borrowed[&2].slot;
    assert!(!pool.core.registry().is_reclaimed(slot), "a second is left");
    let _ = pool.check_in(2);
    assert_eq!(pool.core.registry().used_for(slot, pool.now), None);
}

#[test]
fn overdue_checkouts_are_counted_until_check_in() {
    let mut pool = two_in_use();
    pool.core.settings.reclaim_leaked = false;
    let mut overdue = |after: Duration| {
        pool.now += after;
        let _ = pool.core.run_due(pool.now);
        pool.core.registry().overdue()
    };
    assert_eq!([28, 1, 1].map(|seconds| overdue(seconds * SECOND)), [0, 1, 2]);
    let _ = pool.check_in(3);
    assert_eq!(pool.core.registry().overdue(), 1);
}

#[test]
fn all_connections_but_reclaimed_ones_can_be_shut_down() {
    let mut pool = two_in_use();
    let threads_of_open_conns = |pool: &Harness| {
        let open = pool.core.registry().open_conns();
        let threads = open.map(|conn| summary(conn.checkout).map(|(thread, _)| thread));
        let mut threads: Vec<_> = threads.collect();
        threads.sort_unstable();
        threads
    };
    assert_eq!(threads_of_open_conns(&pool), [None, Some(1), Some(2)]);
    pool.now += 29 * SECOND;
    let _ = pool.core.run_due(pool.now);
    assert_eq!(threads_of_open_conns(&pool), [None, Some(2)]);
}
