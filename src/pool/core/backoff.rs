//! Growing pauses between attempts, and the random jitter that spreads clients over time.

use std::time::Duration;

/// A limit below which the sum of a duration and an instant cannot overflow.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Pauses that double up to a maximum. Up to half of each is cut at random, so that clients that
/// failed together do not retry together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// Returns the pause after a failure. The first failure has the number 0.
    pub(crate) fn pause(&self, failure: u32, jitter: &mut Jitter) -> Duration {
        let doubled = self.first.saturating_mul(1 << failure.min(30));
        let whole = doubled.min(self.longest).min(CENTURY);
        whole - jitter.part_of(whole / 2)
    }
}

/// Random durations, reproducible from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(fastrand::Rng);

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Jitter {
        Jitter(fastrand::Rng::with_seed(seed))
    }

    /// Returns a random duration between zero and `whole`.
    pub(crate) fn part_of(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.0.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_lose_at_most_half() {
        let backoff =
            Backoff { first: Duration::from_millis(100), longest: Duration::from_millis(350) };
        let mut jitter = Jitter::seeded(7);
        for (failure, whole) in [(0, 100), (1, 200), (2, 350), (3, 350), (40, 350), (u32::MAX, 350)]
        {
            let whole = Duration::from_millis(whole);
            for _ in 0..100 {
                let pause = backoff.pause(failure, &mut jitter);
                assert!(pause > whole / 2 && pause <= whole, "{pause:?} after {failure}");
            }
        }
    }

    #[test]
    fn the_end_of_the_longest_pause_is_a_valid_instant() {
        let backoff = Backoff { first: Duration::MAX, longest: Duration::MAX };
        let pause = backoff.pause(u32::MAX, &mut Jitter::seeded(1));
        assert!(std::time::Instant::now().checked_add(pause).is_some(), "{pause:?}");
    }

    #[test]
    fn parts_are_spread_evenly() {
        let (mut jitter, whole) = (Jitter::seeded(1), Duration::from_secs(1));
        let mut thirds = [0; 3];
        for _ in 0..3000 {
            let third = jitter.part_of(whole).as_millis() * 3 / 1000;
            thirds[usize::try_from(third).unwrap()] += 1;
        }
        assert!(thirds.iter().all(|&count| count > 700), "{thirds:?}");
    }
}
