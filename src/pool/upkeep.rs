//! The upkeep of all pools: one thread that sleeps until something is due somewhere.
//!
//! It is there while a pool has something to come, keeps no pool alive, and does nothing itself: what
//! is due is done on a thread of the pool it is due for, so that no pool waits for another's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::error::Error;
use crate::pool::clock::Clock;
use crate::pool::core::Entry;
use crate::pool::inner::PoolInner;
use crate::sync::{self, Condvar, Mutex, MutexGuard, global, spawn};

global! {
    static ALARMS: Mutex<Alarms> = Mutex::new(Alarms { due: Vec::new(), thread_runs: false });
    static RING: Condvar = Condvar::new();
}

/// What is due when, for each pool at most once.
struct Alarms {
    due: Vec<Alarm>,
    thread_runs: bool,
}

struct Alarm {
    pool: Weak<PoolInner>,
    /// By the pool's clock.
    at: Instant,
    clock: Clock,
}

impl Alarms {
    /// The sooner one stays: who says when something is due says it without the pool's lock, and may
    /// be late. One that rings too soon does no harm.
    fn set(&mut self, alarm: Alarm) {
        match self.due.iter_mut().find(|other| other.pool.ptr_eq(&alarm.pool)) {
            Some(other) => other.at = other.at.min(alarm.at),
            None => self.due.push(alarm),
        }
    }

    fn take_due(&mut self) -> Vec<Alarm> {
        let all = std::mem::take(&mut self.due);
        let (due, to_come) = all.into_iter().partition(|alarm| alarm.remaining().is_zero());
        self.due = to_come;
        due
    }
}

impl Alarm {
    /// How long it is until then.
    fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(self.clock.now())
    }
}

/// Has the pool's upkeep done at this time, if not before.
pub(crate) fn alarm(pool: &Arc<PoolInner>, at: Instant) {
    let weak = Arc::downgrade(pool);
    let mut alarms = ALARMS.lock();
    // A pool is closed before it is forgotten, so whoever comes too late sees it.
    if pool.lifetime().is_canceled() {
        return;
    }
    alarms.set(Alarm { pool: weak, at, clock: pool.settings().clock.clone() });
    if alarms.thread_runs {
        RING.notify_one();
        return;
    }
    match spawn("redigo-upkeep", run) {
        Ok(()) => alarms.thread_runs = true,
        // The next alarm tries again.
        Err(error) => {
            drop(alarms);
            log::warn!(target: "redigo::pool", "no thread for the upkeep of pools: {error}");
        }
    }
}

/// This pool needs no upkeep any more.
pub(crate) fn forget(pool: &Arc<PoolInner>) {
    let weak = Arc::downgrade(pool);
    let mut alarms = ALARMS.lock();
    let before = alarms.due.len();
    alarms.due.retain(|alarm| !alarm.pool.ptr_eq(&weak));
    if alarms.due.len() < before {
        RING.notify_one();
    }
}

/// A clock that is set by hand has been.
#[cfg(feature = "testing")]
pub(crate) fn clock_was_set() {
    // Through the mutex, so that the thread either has not looked at the clock yet or is asleep.
    drop(ALARMS.lock());
    RING.notify_one();
}

fn run() {
    let mut alarms = ALARMS.lock();
    while !alarms.due.is_empty() {
        let due = alarms.take_due();
        if due.is_empty() {
            sleep(&mut alarms);
            continue;
        }
        // A pool may end here, which must not be under the lock.
        drop(alarms);
        for alarm in due {
            if let Some(pool) = alarm.pool.upgrade() {
                pool.on_alarm();
            }
        }
        alarms = ALARMS.lock();
    }
    alarms.thread_runs = false;
}

fn sleep(alarms: &mut MutexGuard<'_, Alarms>) {
    let next = alarms.due.iter().map(Alarm::remaining).min();
    // As good as for ever when it is centuries away.
    match next.and_then(|remaining| sync::now().checked_add(remaining)) {
        Some(wake) => drop(RING.wait_until(alarms, wake)),
        None => RING.wait(alarms),
    }
}

impl PoolInner {
    /// Does what is due, and asks idle connections one after the other, as long as there are some
    /// to be asked.
    pub(crate) fn run_upkeep(self: &Arc<Self>) {
        loop {
            let now = self.now();
            let mut actions = self.core().tick(now);
            let to_ask = actions.more.as_mut().and_then(|more| more.ask.take());
            self.carry_out(actions);
            let Some(mut member) = to_ask else { return };
            let alive = self.answers(&mut member);
            let now = self.now();
            let actions = self.core().checked(member, alive, now);
            self.carry_out(actions);
        }
    }

    fn answers(&self, member: &mut Entry<Conn>) -> bool {
        let conn = &mut member.conn;
        let asked = catch_unwind(AssertUnwindSafe(|| {
            conn.call_timeout(self.settings().cleanup_timeout, "PING", ())?;
            Ok(conn.is_clean())
        }));
        let asked = asked.unwrap_or_else(|panic| Err(Error::panicked("a keepalive", &*panic)));
        if let Err(error) = &asked {
            log::debug!(target: "redigo::pool", "an idle connection does not answer: {error}");
        }
        matches!(asked, Ok(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    /// Two threads were told by the core when something is due, and say so in the wrong order.
    #[test]
    fn a_later_alarm_does_not_take_the_place_of_a_sooner_one() {
        let (clock, now) = (Clock::System, Instant::now());
        let alarm = |at| Alarm { pool: Weak::new(), at, clock: clock.clone() };
        let mut alarms = Alarms { due: Vec::new(), thread_runs: false };
        for seconds in [5, 1, 3600] {
            alarms.set(alarm(now + Duration::from_secs(seconds)));
        }
        let due: Vec<_> = alarms.due.iter().map(|alarm| alarm.at - now).collect();
        assert_eq!(due, [Duration::from_secs(1)]);
    }

    /// Otherwise the thread would stay for the sake of a pool that is closed.
    #[test]
    fn who_comes_too_late_to_a_closed_pool_sets_no_alarm() {
        let pool = Pool::builder_with(|_| Err(Error::other("nobody dials"))).build().unwrap();
        let rings = || {
            let weak = Arc::downgrade(pool.inner());
            ALARMS.lock().due.iter().any(|alarm| alarm.pool.ptr_eq(&weak))
        };
        let hour = Instant::now() + Duration::from_secs(3600);
        alarm(pool.inner(), hour);
        assert!(rings());
        pool.close();
        assert!(!rings());
        alarm(pool.inner(), hour);
        assert!(!rings());
    }
}
