//! Connections that were dropped in an unclean state.

use super::harness::{AT_LIMIT, Harness, Outcome, Step, settings};
use super::*;
use crate::pool::core::cleaning::Unclean;

impl Harness {
    /// Drops an unclean connection. Returns the work for a new cleaner, if there is one.
    fn drop_unclean(&mut self, conn: u32) -> Option<Unclean<u32>> {
        let dropped = Disposition::Clean { dropped: self.now };
        let actions = self.end(conn, dropped, Some(self.now));
        assert!(actions.wake.is_none(), "nothing came back");
        actions.deferred.and_then(|deferred| deferred.clean)
    }

    /// A waiter collects its connection and drops it unclean.
    fn drop_granted(&mut self, ticket: u64) -> Option<Unclean<u32>> {
        let Some(Outcome::Conn(conn)) = self.collect(ticket) else { panic!("no connection") };
        self.drop_unclean(conn)
    }

    /// A cleaner ends with this outcome. Returns its next work.
    fn cleaned(
        &mut self,
        unclean: Unclean<u32>,
        disposition: Disposition,
    ) -> (Option<Unclean<u32>>, Step) {
        let mut actions = Actions::none();
        let now = Some(self.now);
        let next = self.core.cleaned(unclean.entry, disposition, now, &mut actions);
        (next, self.effects(actions))
    }
}

/// A pool in which all these connections are in use.
fn all_in_use(conns: std::ops::RangeInclusive<u32>, settings: CoreSettings) -> Harness {
    let mut pool =
        Harness::new(CoreSettings { max_active: Some(conns.clone().count()), ..settings });
    conns.for_each(|conn| pool.take(conn));
    pool
}

#[test]
fn a_connection_keeps_its_slot_until_it_is_clean() {
    let mut pool = all_in_use(1..=1, settings());
    let unclean = pool.drop_unclean(1).expect("a connection to clean");
    assert_eq!((unclean.entry.conn, unclean.waited_since), (1, None));
    assert_eq!((pool.counts(), pool.core.stats(pool.now).cleaning), ((0, 1, 0), 1));
    assert_eq!(pool.get(), AT_LIMIT);
    let (next, step) = pool.cleaned(unclean, Disposition::Return);
    assert!(next.is_none());
    assert_eq!(step, Step::default().wakes(1));
    assert_eq!(pool.collect(1), Some(Outcome::Conn(1)));
    assert_eq!((pool.counts(), pool.core.stats(pool.now).cleaning), ((0, 1, 0), 0));
}

#[test]
fn a_connection_that_cannot_be_cleaned_frees_its_slot() {
    let mut pool = all_in_use(1..=1, settings());
    let unclean = pool.drop_unclean(1).expect("a connection to clean");
    let (next, step) = pool.cleaned(unclean, Disposition::Close(CloseReason::Io));
    assert!(next.is_none());
    assert_eq!((step, pool.counts()), (Step::default().closes([1]), (0, 0, 0)));
    assert_eq!(pool.core.counters.closed.of(CloseReason::Io), 1);
}

/// When all slots are being cleaned, no slot is lost and a waiter is served by the first.
#[test]
fn beyond_the_limit_connections_wait_for_a_cleaner_in_order() {
    let mut pool = all_in_use(1..=4, settings());
    let first = pool.drop_unclean(1).expect("a free cleaner");
    let second = pool.drop_unclean(2).expect("a free cleaner");
    assert!(pool.drop_unclean(3).is_none() && pool.drop_unclean(4).is_none());
    assert_eq!((pool.core.stats(pool.now).cleaning, pool.counts()), (4, (0, 4, 0)));
    assert_eq!(pool.get(), AT_LIMIT);

    let (third, step) = pool.cleaned(first, Disposition::Return);
    assert_eq!(step, Step::default().wakes(4));
    let third = third.expect("a connection that waited");
    assert_eq!((third.entry.conn, third.waited_since), (3, Some(pool.now)));
    assert!(pool.drop_granted(4).is_none(), "both cleaners are busy");
    let (fourth, _) = pool.cleaned(second, Disposition::Return);
    let fourth = fourth.expect("a connection that waited");
    assert_eq!(fourth.entry.conn, 4);
    let (fifth, _) = pool.cleaned(third, Disposition::Return);
    assert_eq!(fifth.as_ref().map(|unclean| unclean.entry.conn), Some(1));
    for unclean in [Some(fourth), fifth].into_iter().flatten() {
        assert!(pool.cleaned(unclean, Disposition::Return).0.is_none());
    }
    assert_eq!((pool.core.stats(pool.now).cleaning, pool.counts()), (0, (4, 0, 0)));
}

/// Otherwise a port of a program that uses one connection at a time would fail after each drop.
#[test]
fn without_wait_one_caller_waits_for_a_connection_that_is_cleaned() {
    let mut pool = all_in_use(1..=1, CoreSettings { wait: false, ..settings() });
    assert_eq!(pool.get(), Step::answers(Outcome::Exhausted));
    let unclean = pool.drop_unclean(1).expect("a connection to clean");
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, Step::answers(Outcome::Exhausted)));
    let (_, step) = pool.cleaned(unclean, Disposition::Return);
    assert_eq!(step, Step::default().wakes(2));
    assert_eq!(pool.collect(2), Some(Outcome::Conn(1)));
}

#[test]
fn a_connection_that_is_cleaned_counts_for_min_idle() {
    let mut pool = all_in_use(1..=1, settings());
    let _ = pool.resize(2, 2);
    pool.core.settings.min_idle = 1;
    let actions = pool.end(1, Disposition::Clean { dropped: pool.now }, Some(pool.now));
    assert_eq!(pool.effects(actions), Step { cleans: Some(1), ..Step::default() });
    assert_eq!(pool.prune(), Step::default(), "no dial is needed");
}

#[test]
fn the_use_of_a_dropped_connection_ends_at_the_drop() {
    let settings = CoreSettings {
        max_active: Some(1),
        track_borrows: true,
        leak_threshold: Some(Duration::from_secs(1)),
        has_timer: true,
        ..settings()
    };
    let mut pool = Harness { thread: Some(1), ..Harness::new(settings) };
    pool.take(1);
    let unclean = pool.drop_unclean(1).expect("a connection to clean");
    assert_eq!(pool.core.counters.use_time.count(), 1);
    pool.now += Duration::from_secs(60);
    assert!(pool.core.run_due(pool.now).deferred.is_none_or(|found| found.overdue.is_empty()));
    assert_eq!(pool.cleaned(unclean, Disposition::Return).1, Step::default());
    assert_eq!(pool.core.counters.use_time.count(), 1);
}

#[test]
fn a_reclaimed_connection_is_not_cleaned() {
    let settings = CoreSettings {
        max_active: Some(1),
        track_borrows: true,
        leak_threshold: Some(Duration::from_secs(1)),
        reclaim_leaked: true,
        has_timer: true,
        ..settings()
    };
    let mut pool = Harness { thread: Some(1), ..Harness::new(settings) };
    pool.take(1);
    let _ = pool.after(Duration::from_secs(1));
    let dropped = Disposition::Clean { dropped: pool.now };
    let actions = pool.end(1, dropped, Some(pool.now));
    assert_eq!(pool.effects(actions), Step::default().closes([1]));
    assert_eq!((pool.counts(), pool.core.stats(pool.now).cleaning), ((0, 0, 0), 0));
}

#[test]
fn a_closed_pool_is_drained_when_the_last_connection_is_clean() {
    let mut pool = all_in_use(1..=1, settings());
    let unclean = pool.drop_unclean(1).expect("a connection to clean");
    let _ = pool.close_pool();
    pool.core.watch(77);
    assert!(!pool.core.is_drained());
    let (_, step) = pool.cleaned(unclean, Disposition::Return);
    assert_eq!(step, Step::default().wakes(77).closes([1]));
    assert!(pool.core.is_drained());
}

/// Its connection will be closed when it ends.
#[test]
fn a_closed_pool_with_a_running_dial_is_drained() {
    let mut pool = Harness::of(1);
    let _ = pool.get();
    let _ = pool.close_pool();
    assert!(pool.core.is_drained());
}
