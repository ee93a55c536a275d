//! What time it is, for the rules of age.

use std::time::Instant;

/// The system's clock, or one that a test sets by hand.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    #[cfg(feature = "testing")]
    Manual(crate::testing::ManualClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::System => Instant::now(),
            #[cfg(feature = "testing")]
            Clock::Manual(clock) => clock.now(),
        }
    }
}
