//! Growing pauses between attempts, and the chance that keeps many clients from attempting at once.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// What is put off for longer is put off for ever; a sum of this and the time of day is still a time.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The first pause and the longest. Each is twice the one before; a random part of its second half
/// is left out, so that clients that failed together do not come back together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The pause after so many failures; the first is number 0.
    pub(crate) fn pause(&self, failure: u32, dice: &mut Jitter) -> Duration {
        let doubled = self.first.saturating_mul(1 << failure.min(30));
        let whole = doubled.min(self.longest).min(CENTURY);
        whole - dice.part_of(whole / 2)
    }
}

/// Random numbers: good enough to spread things, and the same from the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Jitter {
        // Zero would stay zero for ever.
        Jitter(seed | 1)
    }

    /// Seeded from the system.
    pub(crate) fn random() -> Jitter {
        Jitter::seeded(RandomState::new().build_hasher().finish())
    }

    /// Somewhere between nothing and all of it.
    pub(crate) fn part_of(&mut self, whole: Duration) -> Duration {
        // xorshift, of which the upper bits are the better ones.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        whole.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_leave_out_at_most_half() {
        let backoff =
            Backoff { first: Duration::from_millis(100), longest: Duration::from_millis(350) };
        let mut dice = Jitter::seeded(7);
        for (failure, whole) in [(0, 100), (1, 200), (2, 350), (3, 350), (40, 350), (u32::MAX, 350)]
        {
            let whole = Duration::from_millis(whole);
            for _ in 0..100 {
                let pause = backoff.pause(failure, &mut dice);
                assert!(pause > whole / 2 && pause <= whole, "{pause:?} after {failure}");
            }
        }
    }

    #[test]
    fn the_end_of_a_pause_is_a_time_whatever_the_options_say() {
        let backoff = Backoff { first: Duration::MAX, longest: Duration::MAX };
        let pause = backoff.pause(u32::MAX, &mut Jitter::random());
        assert!(std::time::Instant::now().checked_add(pause).is_some(), "{pause:?}");
    }

    #[test]
    fn parts_are_spread_over_the_whole() {
        let (mut dice, whole) = (Jitter::random(), Duration::from_secs(1));
        let mut thirds = [0; 3];
        for _ in 0..3000 {
            let third = dice.part_of(whole).as_millis() * 3 / 1000;
            thirds[usize::try_from(third).unwrap()] += 1;
        }
        assert!(thirds.iter().all(|&count| count > 700), "{thirds:?}");
    }
}
