//! One warning for each outage of the server, and one line when it is over.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::pool::inner::PoolInner;

/// A server that fails every other dial is reported this often.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// Whether dials fail, and what the log says about it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// When the first dial failed; `None` if the last dial succeeded.
    began: Option<Instant>,
    /// The log has a warning about this outage.
    is_logged: bool,
    last_warning: Option<Instant>,
}

impl Outage {
    /// A dial failed. Returns true if the log must get a warning.
    fn failed(&mut self, now: Instant) -> bool {
        self.began.get_or_insert(now);
        let is_recent = |last: Instant| now.saturating_duration_since(last) < MIN_INTERVAL;
        if self.is_logged || self.last_warning.is_some_and(is_recent) {
            return false;
        }
        self.is_logged = true;
        self.last_warning = Some(now);
        true
    }

    /// A dial succeeded. Returns the length of the outage if the log has a warning about it.
    fn succeeded(&mut self, now: Instant) -> Option<Duration> {
        let began = self.began.take();
        let is_logged = std::mem::take(&mut self.is_logged);
        began.filter(|_| is_logged).map(|began| now.saturating_duration_since(began))
    }
}

impl PoolInner {
    /// Warns about the first failed dial of an outage.
    pub(super) fn log_failed_dial(&self, error: &Error) {
        let now = self.now();
        let is_first = self.outage.lock().failed(now);
        if is_first {
            log::warn!(target: "redigo::pool", "{}a dial failed: {error}", self.prefix());
        }
    }

    /// Logs the end of an outage.
    pub(super) fn log_successful_dial(&self) {
        let now = self.now();
        let outage = self.outage.lock().succeeded(now);
        if let Some(outage) = outage {
            log::info!(
                target: "redigo::pool",
                "{}dials succeed again ({:.1} s after the first failure)",
                self.prefix(),
                outage.as_secs_f64(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_has_one_warning_and_one_end() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut outage = Outage::default();
        assert_eq!(outage.succeeded(start), None);
        assert!(outage.failed(start));
        assert!(!outage.failed(start + 60 * second));
        assert_eq!(outage.succeeded(start + 61 * second), Some(61 * second));
        assert_eq!(outage.succeeded(start + 62 * second), None);
    }

    #[test]
    fn flapping_server_is_reported_every_ten_seconds() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut outage = Outage::default();
        let mut warnings = 0;
        for seconds in 0..20 {
            warnings += u32::from(outage.failed(start + seconds * second));
            outage.succeeded(start + seconds * second);
        }
        assert_eq!(warnings, 2);
    }
}
