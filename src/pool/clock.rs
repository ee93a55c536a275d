//! What time it is, for the core_settings of age.

use std::time::Instant;

/// The system's clock, or one that a test sets by hand.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    #[cfg(feature = "testing")]
    Manual(ManualClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::System => crate::sync::now(),
            #[cfg(feature = "testing")]
            Clock::Manual(clock) => clock.now(),
        }
    }
}

/// A clock that stands still until it is told to go on; clones are the same clock. Give it to
/// [`PoolBuilder::clock`](crate::PoolBuilder::clock).
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
pub struct ManualClock(std::sync::Arc<crate::sync::Mutex<Instant>>);

#[cfg(feature = "testing")]
impl ManualClock {
    /// A clock that stands at the present.
    pub fn new() -> ManualClock {
        ManualClock(std::sync::Arc::new(crate::sync::Mutex::new(Instant::now())))
    }

    /// Where it stands.
    pub fn now(&self) -> Instant {
        *self.0.lock()
    }

    /// Moves it on. What a pool has to do by then is done soon after, on threads of its own.
    ///
    /// # Panics
    /// When the time is beyond what an [`Instant`] can tell.
    pub fn advance(&self, time: std::time::Duration) {
        *self.0.lock() += time;
        crate::pool::upkeep::clock_was_set();
    }
}

#[cfg(feature = "testing")]
impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::new()
    }
}
