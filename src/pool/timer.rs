//! The clock, and the one thread that wakes pools when work is due.
//!
//! The thread exists while a pool has an alarm set. It keeps no pool alive and only calls
//! [`Due::on_alarm`], which must return quickly, so that no pool waits for another.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::sync::{self, Condvar, Mutex, MutexGuard, global, spawn};

global! {
    static ALARMS: Mutex<Alarms> = Mutex::new(Alarms { set: Vec::new(), thread_runs: false });
    static CHANGED: Condvar = Condvar::new();
}

/// Something with work that becomes due.
pub(crate) trait Due: Send + Sync {
    /// Called on the timer's thread when the alarm's time has come.
    fn on_alarm(self: Arc<Self>);

    /// Returns true if alarms are no longer wanted.
    fn is_over(&self) -> bool;

    fn clock(&self) -> &Clock;
}

/// At most one alarm for each `Due`.
struct Alarms {
    set: Vec<Alarm>,
    thread_runs: bool,
}

struct Alarm {
    due: Weak<dyn Due>,
    /// By `clock`.
    at: Instant,
    clock: Clock,
}

impl Alarms {
    /// Sets the alarm, or moves it to the earlier of two times. Callers set alarms without the
    /// pool's lock, so an earlier alarm can come second; one that rings too early does no harm.
    fn set(&mut self, alarm: Alarm) {
        match self.set.iter_mut().find(|other| other.due.ptr_eq(&alarm.due)) {
            Some(other) => other.at = other.at.min(alarm.at),
            None => self.set.push(alarm),
        }
    }

    fn take_due(&mut self) -> Vec<Alarm> {
        let all = std::mem::take(&mut self.set);
        let (due, later) = all.into_iter().partition(|alarm| alarm.remaining().is_zero());
        self.set = later;
        due
    }
}

impl Alarm {
    fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(self.clock.now())
    }
}

/// Calls `on_alarm` at this time, unless an earlier alarm is set.
pub(crate) fn set_alarm(due: Arc<dyn Due>, at: Instant) {
    let weak = Arc::downgrade(&due);
    let mut alarms = ALARMS.lock();
    // A pool is over before its alarm is canceled, so a late caller sees it here.
    if due.is_over() {
        return;
    }
    alarms.set(Alarm { due: weak, at, clock: due.clock().clone() });
    if alarms.thread_runs {
        CHANGED.notify_one();
        return;
    }
    match spawn("redigo-upkeep", run) {
        Ok(()) => alarms.thread_runs = true,
        // The next alarm tries again.
        Err(error) => {
            drop(alarms);
            log::warn!(target: "redigo::pool", "cannot start the upkeep thread of pools: {error}");
        }
    }
}

/// Removes the alarm.
pub(crate) fn cancel_alarm(due: Arc<dyn Due>) {
    let weak = Arc::downgrade(&due);
    let mut alarms = ALARMS.lock();
    let before = alarms.set.len();
    alarms.set.retain(|alarm| !alarm.due.ptr_eq(&weak));
    if alarms.set.len() < before {
        CHANGED.notify_one();
    }
}

/// Looks at the clocks again, because one was set by hand.
#[cfg(feature = "testing")]
pub(crate) fn clocks_changed() {
    // Locking ensures that the thread has not looked at the clock yet or is asleep.
    drop(ALARMS.lock());
    CHANGED.notify_one();
}

fn run() {
    let mut alarms = ALARMS.lock();
    while !alarms.set.is_empty() {
        let due = alarms.take_due();
        if due.is_empty() {
            sleep(&mut alarms);
            continue;
        }
        // The last reference to a pool may be dropped here, which must not happen under the lock.
        drop(alarms);
        for alarm in due {
            if let Some(due) = alarm.due.upgrade() {
                due.on_alarm();
            }
        }
        alarms = ALARMS.lock();
    }
    alarms.thread_runs = false;
}

fn sleep(alarms: &mut MutexGuard<'_, Alarms>) {
    let next = alarms.set.iter().map(Alarm::remaining).min();
    // Centuries are as good as forever.
    match next.and_then(|remaining| sync::now().checked_add(remaining)) {
        Some(wake) => drop(CHANGED.wait_until(alarms, wake)),
        None => CHANGED.wait(alarms),
    }
}

/// The source of a pool's time.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    #[cfg(feature = "testing")]
    Manual(ManualClock),
}

impl Clock {
    /// Returns the time of a clock that a test sets.
    pub(crate) fn manual_now(&self) -> Option<Instant> {
        match self {
            Clock::System => None,
            #[cfg(feature = "testing")]
            Clock::Manual(clock) => Some(clock.now()),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::System => sync::now(),
            #[cfg(feature = "testing")]
            Clock::Manual(clock) => clock.now(),
        }
    }
}

/// A clock for tests that moves only when it is told to. Clones share the same time.
///
/// Pass it to [`PoolBuilder::clock`](crate::PoolBuilder::clock).
///
/// ```
/// use std::time::Duration;
/// use redigo::testing::ManualClock;
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(300));
/// assert_eq!(clock.now() - before, Duration::from_secs(300));
/// ```
#[derive(Debug, Clone)]
#[cfg(feature = "testing")]
#[doc(alias = "SetNowFunc")]
pub struct ManualClock(Arc<Mutex<Instant>>);

#[cfg(feature = "testing")]
impl ManualClock {
    /// Creates a clock that shows the current time.
    ///
    /// ```
    /// use std::time::Instant;
    /// use redigo::testing::ManualClock;
    ///
    /// assert!(ManualClock::new().now() <= Instant::now());
    /// ```
    pub fn new() -> ManualClock {
        ManualClock(Arc::new(Mutex::new(Instant::now())))
    }

    /// Returns the time that the clock shows.
    ///
    /// ```
    /// use redigo::testing::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// assert_eq!(clock.now(), clock.clone().now());
    /// ```
    pub fn now(&self) -> Instant {
        *self.0.lock()
    }

    /// Moves the clock forward. Pools do the work that becomes due soon after, on their own threads.
    ///
    /// # Panics
    /// If the new time is too late for an [`Instant`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::testing::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_millis(1));
    /// assert!(clock.now() > before);
    /// ```
    pub fn advance(&self, time: Duration) {
        *self.0.lock() += time;
        clocks_changed();
    }
}

#[cfg(feature = "testing")]
impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Work {
        over: AtomicBool,
        clock: Clock,
    }

    impl Due for Work {
        fn on_alarm(self: Arc<Self>) {}

        fn is_over(&self) -> bool {
            self.over.load(Ordering::Relaxed)
        }

        fn clock(&self) -> &Clock {
            &self.clock
        }
    }

    fn hour_from_now() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn a_later_alarm_does_not_replace_an_earlier_one() {
        let (clock, now) = (Clock::System, Instant::now());
        let due: Weak<dyn Due> = Weak::<Work>::new();
        let mut alarms = Alarms { set: Vec::new(), thread_runs: false };
        for seconds in [5, 1, 3600] {
            let at = now + Duration::from_secs(seconds);
            alarms.set(Alarm { due: due.clone(), at, clock: clock.clone() });
        }
        let set: Vec<_> = alarms.set.iter().map(|alarm| alarm.at - now).collect();
        assert_eq!(set, [Duration::from_secs(1)]);
    }

    /// Otherwise the thread would stay for a closed pool.
    #[test]
    fn nothing_that_is_over_gets_an_alarm() {
        let work = Arc::new(Work::default());
        let due: Arc<dyn Due> = Arc::<Work>::clone(&work);
        let is_set = || {
            let weak = Arc::downgrade(&due);
            ALARMS.lock().set.iter().any(|alarm| alarm.due.ptr_eq(&weak))
        };
        set_alarm(Arc::clone(&due), hour_from_now());
        assert!(is_set());
        work.over.store(true, Ordering::Relaxed);
        cancel_alarm(Arc::clone(&due));
        assert!(!is_set());
        set_alarm(Arc::clone(&due), hour_from_now());
        assert!(!is_set());
    }
}
