//! Detects a pool that closes idle connections above `max_idle` and dials new ones all the time.

use std::time::{Duration, Instant};

/// The time over which closes and dials are counted, and the shortest time between two warnings.
const WINDOW: Duration = Duration::from_secs(60);
/// The closes, and the dials, within a window that make a warning.
const THRESHOLD: u64 = 20;

/// Counts idle connections that are closed because of `max_idle`.
#[derive(Debug, Default)]
pub(crate) struct ChurnDetector {
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    dialed_before: u64,
    closed: u64,
    /// The largest number of open connections at a close.
    most_open: usize,
    warned: bool,
}

/// The closes and dials within a time, and the `max_idle` that would have avoided them.
#[derive(Debug, PartialEq)]
pub(crate) struct Warning {
    pub(crate) closed: u64,
    pub(crate) dialed: u64,
    pub(crate) within: Duration,
    pub(crate) enough: usize,
}

impl ChurnDetector {
    /// Counts connections that were closed because more than `max_idle` were idle. `dialed` is the
    /// number of all dials so far, `open` the connections that are open now.
    pub(crate) fn closed(
        &mut self,
        count: u64,
        dialed: u64,
        open: usize,
        now: Instant,
    ) -> Option<Warning> {
        let over = |window: &Window| now.saturating_duration_since(window.began) >= WINDOW;
        if self.window.as_ref().is_none_or(over) {
            self.window = None;
        }
        let window = self.window.get_or_insert(Window {
            began: now,
            dialed_before: dialed,
            closed: 0,
            most_open: 0,
            warned: false,
        });
        window.closed += count;
        window.most_open = window.most_open.max(open + usize::try_from(count).unwrap_or(0));
        // Threads read `dialed` before they get here, so a smaller number can come later.
        let dialed = dialed.saturating_sub(window.dialed_before);
        if window.warned || window.closed < THRESHOLD || dialed < THRESHOLD {
            return None;
        }
        window.warned = true;
        Some(Warning {
            closed: window.closed,
            dialed,
            within: now.saturating_duration_since(window.began),
            enough: window.most_open,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_churn_warns_once_a_minute_with_the_number_to_set() {
        let (mut churn, began) = (ChurnDetector::default(), Instant::now());
        let mut warnings = Vec::new();
        for second in 0..130 {
            let now = began + Duration::from_secs(second);
            warnings.extend(churn.closed(1, second * 2, 8 + (second % 5) as usize, now));
        }
        let times: Vec<_> = warnings.iter().map(|warning| warning.within.as_secs()).collect();
        assert_eq!(times, [19, 19]);
        let expected =
            Warning { closed: 20, dialed: 38, within: Duration::from_secs(19), enough: 13 };
        assert_eq!(warnings[0], expected);
    }

    #[test]
    fn smaller_number_of_dials_that_comes_later_is_no_churn() {
        let (mut churn, now) = (ChurnDetector::default(), Instant::now());
        assert_eq!(churn.closed(30, 100, 8, now), None);
        assert_eq!(churn.closed(30, 99, 8, now), None);
    }

    #[test]
    fn burst_that_ends_is_no_churn() {
        let (mut churn, now) = (ChurnDetector::default(), Instant::now());
        assert_eq!(churn.closed(100, 100, 200, now), None, "nothing is dialed again");
        assert_eq!(churn.closed(100, 100, 100, now), None);
        let later = now + WINDOW;
        assert_eq!(churn.closed(19, 300, 100, later), None, "too few in this minute");
    }
}
