//! Connections that are closed as too many and dialled again: the commonest mistake in setting a
//! pool up, and one that nobody sees.

use std::time::{Duration, Instant};

/// How long is looked at before something is said, and how often it is at most.
const WINDOW: Duration = Duration::from_secs(60);
/// How many must be closed within a window, and dialled too.
const MANY: u64 = 20;

/// Watches the closing of idle connections that are too many.
#[derive(Debug, Default)]
pub(crate) struct ChurnDetector {
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    dialed_before: u64,
    closed: u64,
    /// The most that were open when one was closed.
    most_open: usize,
    warned: bool,
}

/// What there is to say: so many in this time, and how many idle ones would have been enough.
#[derive(Debug, PartialEq)]
pub(crate) struct Warning {
    pub(crate) closed: u64,
    pub(crate) dialed: u64,
    pub(crate) within: Duration,
    pub(crate) enough: usize,
}

impl ChurnDetector {
    /// So many were closed because more than `max_idle` were idle. `dialed` counts all dials so
    /// far, `open` what is open now.
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
        // Of two who count at once, the one with the smaller number may come later.
        let dialed = dialed.saturating_sub(window.dialed_before);
        if window.warned || window.closed < MANY || dialed < MANY {
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
    fn it_is_said_once_a_minute_with_the_number_to_set() {
        let (mut churn, began) = (ChurnDetector::default(), Instant::now());
        let mut said = Vec::new();
        for second in 0..130 {
            let now = began + Duration::from_secs(second);
            said.extend(churn.closed(1, second * 2, 8 + (second % 5) as usize, now));
        }
        let times: Vec<_> = said.iter().map(|warning| warning.within.as_secs()).collect();
        assert_eq!(times, [19, 19]);
        let expected =
            Warning { closed: 20, dialed: 38, within: Duration::from_secs(19), enough: 13 };
        assert_eq!(said[0], expected);
    }

    #[test]
    fn who_has_counted_before_may_come_later() {
        let (mut churn, now) = (ChurnDetector::default(), Instant::now());
        assert_eq!(churn.closed(30, 100, 8, now), None);
        assert_eq!(churn.closed(30, 99, 8, now), None);
    }

    #[test]
    fn a_burst_that_ends_is_no_churn() {
        let (mut churn, now) = (ChurnDetector::default(), Instant::now());
        assert_eq!(churn.closed(100, 100, 200, now), None, "nothing is dialled again");
        assert_eq!(churn.closed(100, 100, 100, now), None);
        let later = now + WINDOW;
        assert_eq!(churn.closed(19, 300, 100, later), None, "too few in this minute");
    }
}
