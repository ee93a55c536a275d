//! The pauses after failed dials.

use std::time::{Duration, Instant};

/// The pause after the first failure. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the end of the pause after this many earlier failures. A random part, up to half of the
/// pause, is left out, so that clients that failed together do not dial together.
pub(super) fn retry_at(failures: u32) -> Instant {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
    Instant::now() + pause.mul_f64(1.0 - fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_omit_at_most_half() {
        for (failures, whole) in [(0, 10), (1, 20), (4, 160), (7, 1000), (u32::MAX, 1000)] {
            let whole = Duration::from_millis(whole);
            for _ in 0..100 {
                let before = Instant::now();
                let end = retry_at(failures);
                assert!(end >= before + whole / 2, "after {failures}");
                assert!(end <= Instant::now() + whole, "after {failures}");
            }
        }
    }
}
