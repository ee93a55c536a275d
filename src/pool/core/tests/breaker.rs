//! The breaker: after failed dials in a row, callers fail immediately and probes run.

use super::harness::{AT_LIMIT, DIALING, Harness, Outcome, Step, grants, settings};
use super::*;

/// A pool whose breaker opens with the second failure in a row.
fn harness(max_active: usize) -> Harness {
    let max_active = Some(max_active);
    Harness::new(CoreSettings { max_active, breaker: Some(2), has_timer: true, ..settings() })
}

/// A pool whose breaker is open.
fn broken(max_active: usize) -> Harness {
    let mut pool = harness(max_active);
    for _ in 0..2 {
        dial_fails(&mut pool);
    }
    pool
}

/// A caller's dial fails.
fn dial_fails(pool: &mut Harness) {
    let ticket = pool.core.next_ticket;
    assert_eq!(pool.get(), DIALING.dials(1));
    assert_eq!(pool.dial_fails(), Step::default().wakes(ticket));
    assert_eq!(pool.collect(ticket), Some(Outcome::Failed));
}

fn refused() -> Step {
    Step::answers(Outcome::BreakerOpen)
}

/// The time until the next probe. An alarm that was set before can ring earlier.
fn pause(pool: &Harness) -> Option<Duration> {
    pool.core.paused_until().map(|at| at.saturating_duration_since(pool.now))
}

/// Lets the pause pass.
fn pause_ends(pool: &mut Harness) -> Step {
    let pause = pause(pool).expect("a pause");
    pool.after(pause)
}

#[test]
fn the_breaker_opens_after_consecutive_failures() {
    let mut pool = harness(3);
    dial_fails(&mut pool);
    // A success resets the count.
    pool.take(1);
    dial_fails(&mut pool);
    assert_eq!(pool.due(), None);
    dial_fails(&mut pool);
    assert_eq!((pool.get(), pool.get()), (refused(), refused()));
    assert_eq!(pool.core.counters.breaker_refusals, 2);
}

#[test]
fn an_open_breaker_still_grants_idle_connections() {
    let mut pool = harness(3).idle([1]);
    assert_eq!(pool.get(), grants(1));
    dial_fails(&mut pool);
    dial_fails(&mut pool);
    assert_eq!(pool.get(), refused());
    assert_eq!(pool.check_in(1), Step::default());
    assert_eq!(pool.get(), grants(1));
}

#[test]
fn an_open_breaker_probes_after_growing_pauses() {
    let mut pool = broken(3);
    for longest in [1, 2, 4] {
        let (pause, longest) = (pause(&pool).unwrap(), Duration::from_secs(longest));
        assert!(pause > longest / 2 && pause <= longest, "{pause:?}");
        assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
        assert_eq!(pool.after(Duration::from_millis(900)), Step::default(), "one probe at a time");
        assert_eq!(pool.get(), refused());
        assert_eq!(pool.dial_fails(), Step::default());
    }
}

/// Otherwise one lost packet would keep the breaker open until the dial gives up.
#[test]
fn a_probe_that_hangs_does_not_keep_the_breaker_open() {
    let mut pool = broken(3);
    assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
    let next = pause(&pool).expect("the time for the next probe");
    assert!(next >= Duration::from_secs(1), "{next:?}: a slow probe does not hang");
    assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
    assert_eq!(pool.nth_dial_succeeds(1, 1), Step::default());
    assert_eq!(pool.get(), grants(1), "the breaker is closed");
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.get(), DIALING.dials(1), "one failure does not open it");
}

/// A server that hangs costs no more than a dial for each pause.
#[test]
fn probes_of_a_server_that_hangs_start_after_growing_pauses() {
    let mut pool = broken(8);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
        pauses.push(pause(&pool).expect("a pause"));
    }
    assert!(pauses[4] > Duration::from_secs(4), "{pauses:?}");
}

#[test]
fn a_successful_probe_closes_the_breaker() {
    let mut pool = broken(3);
    assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
    assert_eq!(pool.dial_succeeds(1), Step::default());
    assert_eq!((pool.counts(), pool.core.counters.dialed.probe), ((1, 0, 0), 1));
    assert_eq!(pool.core.counters.late_dials, 0, "a probe is never late");
    assert_eq!(pool.get(), grants(1));
    dial_fails(&mut pool);
    assert_eq!(pause(&pool), None, "one failure does not open the breaker");
}

#[test]
fn waiters_that_would_need_a_dial_fail_when_the_breaker_opens() {
    let mut pool = harness(2).idle([1]);
    assert_eq!((pool.get(), pool.get()), (grants(1), DIALING.dials(1)));
    assert_eq!((pool.get(), pool.get()), (AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.dial_fails(), Step::default().wakes(2).dials(1));
    assert_eq!(pool.dial_fails(), Step::default().wakes(3).wakes(4));
    assert_eq!((pool.collect(3), pool.collect(4)), (Some(Outcome::Failed), refused().outcome));
}

#[test]
fn waiters_behind_an_invalid_connection_fail_with_an_open_breaker() {
    let mut pool = harness(1).idle([1]);
    pool.core.dial_health.broken = true;
    assert_eq!((pool.get(), pool.get(), pool.get()), (grants(1), AT_LIMIT, AT_LIMIT));
    assert_eq!(pool.replace(1, 1), refused().wakes(2).wakes(3));
    assert_eq!(pool.collect(2), Some(Outcome::BreakerOpen));
    assert_eq!(pool.core.waiting(), 0);
}

#[test]
fn a_suspended_pool_probes_after_resume() {
    let mut pool = broken(3);
    pool.core.suspend();
    assert_eq!(pause_ends(&mut pool), Step::default(), "a suspended pool does not dial");
    assert_eq!(pool.due(), None, "nothing is due while suspended");
    assert_eq!(pool.resume(), Step::default().dials(1));

    // Resumed during the pause, it probes after the pause.
    let mut pool = broken(3);
    let pause = pool.due().unwrap();
    pool.core.suspend();
    assert_eq!(pool.after(pause / 2), Step::default());
    assert_eq!(pool.resume(), Step::default());
    assert_eq!(pool.due(), Some(pause - pause / 2));
    assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
}

#[test]
fn a_probe_that_fails_in_a_suspended_pool_is_repeated() {
    let mut pool = broken(3);
    assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
    pool.core.suspend();
    assert_eq!(pool.dial_fails(), Step::default());
    assert_eq!(pool.resume(), Step::default());
    assert_eq!(pause_ends(&mut pool), Step::default().dials(1));
}

#[test]
fn evict_all_closes_the_breaker() {
    let mut pool = broken(3);
    assert_eq!(pool.evict_all(), Step::default());
    assert_eq!(pool.get(), DIALING.dials(1));
}

#[test]
fn without_a_breaker_every_caller_dials() {
    let mut pool = Harness::new(CoreSettings { has_timer: true, ..settings() });
    for _ in 0..100 {
        dial_fails(&mut pool);
    }
    assert_eq!(pool.due(), None);
}
