//! Who is told how long things took. Without the feature `metrics`: nobody.

#[cfg(feature = "metrics")]
pub(crate) use crate::pool::stats::metrics::Meter;

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) enum Timing {
    /// A dial that succeeds.
    Create,
    /// Getting a connection, for one who gets one.
    Wait,
    /// A loan.
    Use,
}

/// Nobody is told.
#[cfg(not(feature = "metrics"))]
#[derive(Debug, Clone)]
pub(crate) struct Meter;

#[cfg(not(feature = "metrics"))]
impl Meter {
    pub(crate) fn off() -> Meter {
        Meter
    }

    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn record(&self, _timing: Timing, _took: std::time::Duration) {}
}
