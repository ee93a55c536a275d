//! Durations for the `metrics` feature. Without it, nothing is recorded.

#[cfg(feature = "metrics")]
mod recorder;

#[cfg(feature = "metrics")]
pub(crate) use recorder::Meter;

/// A duration that is recorded when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) enum Timing {
    /// A dial that succeeded.
    Create,
    /// A checkout that succeeded.
    Wait,
    /// The use of a connection.
    Use,
}

/// Records nothing.
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
