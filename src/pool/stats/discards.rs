//! Detects a program that drops many connections in a state that cannot be cleaned.

use std::time::{Duration, Instant};

/// The time over which discarded connections are counted, and the shortest time between two
/// warnings.
const WINDOW: Duration = Duration::from_secs(60);
/// The discarded connections within a window that make a warning.
const THRESHOLD: u64 = 20;

/// Counts connections that were dropped and then closed instead of cleaned.
#[derive(Debug, Default)]
pub(crate) struct DiscardDetector {
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    discarded: u64,
}

/// The discarded connections within a time.
#[derive(Debug, PartialEq)]
pub(crate) struct Warning {
    pub(crate) discarded: u64,
    pub(crate) within: Duration,
}

impl DiscardDetector {
    /// Counts a connection. Returns a warning once in each window.
    pub(crate) fn discarded(&mut self, now: Instant) -> Option<Warning> {
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= WINDOW;
        if self.window.as_ref().is_none_or(is_over) {
            self.window = Some(Window { began: now, discarded: 0 });
        }
        let window = self.window.as_mut()?;
        window.discarded += 1;
        (window.discarded == THRESHOLD).then(|| Warning {
            discarded: window.discarded,
            within: now.saturating_duration_since(window.began),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_discards_warn_once_a_minute() {
        let (mut detector, began) = (DiscardDetector::default(), Instant::now());
        let mut warnings = Vec::new();
        for second in 0..130 {
            warnings.extend(detector.discarded(began + Duration::from_secs(second)));
        }
        let expected = Warning { discarded: 20, within: Duration::from_secs(19) };
        assert_eq!(warnings.len(), 2);
        assert!(warnings.iter().all(|warning| *warning == expected), "{warnings:?}");
    }

    #[test]
    fn rare_discards_do_not_warn() {
        let (mut detector, began) = (DiscardDetector::default(), Instant::now());
        for minute in 0..10 {
            for _ in 0..19 {
                let now = began + Duration::from_secs(60 * minute);
                assert_eq!(detector.discarded(now), None);
            }
        }
    }
}
