//! How long things took.

use std::fmt;
use std::time::Duration;

/// Up to 2^40 ns, some 18 minutes; the last one has whatever took longer.
const BUCKETS: usize = 41;

/// How often something took how long, in buckets that double: up to 1 ns, 2 ns, 4 ns … 18 minutes,
/// and longer.
///
/// ```
/// use redigo::{Dialer, Pool, testing::MemoryStream};
///
/// let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent())))
///     .track_borrows(true)
///     .build()?;
/// pool.acquire()?.close()?;
/// let use_time = pool.stats().use_time;
/// assert_eq!(use_time.count(), 1);
/// println!("half of the borrows were back within {:?}", use_time.quantile(0.5));
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    /// In nanoseconds.
    sum: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // The smallest power of two that is not less.
        let power = (u64::BITS - nanos.saturating_sub(1).leading_zeros()) as usize;
        self.buckets[power.min(BUCKETS - 1)] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    /// How many times were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together, at most some 580 years.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Their mean; zero when there are none.
    pub fn mean(&self) -> Duration {
        match self.count() {
            0 => Duration::ZERO,
            count => Duration::from_nanos(self.sum / count),
        }
    }

    /// The time that this part of them did not exceed, by the upper bound of its bucket: 0.5 is the
    /// median, 0.99 leaves one in a hundred. Zero when there are none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::Histogram;
    ///
    /// // That of a pool's dials, say: pool.stats().dial_time
    /// let dial_time = Histogram::default();
    /// if dial_time.quantile(0.99) > Duration::from_millis(100) {
    ///     println!("one dial in a hundred is slow: {dial_time:?}");
    /// }
    /// # assert_eq!(dial_time.quantile(0.99), Duration::ZERO);
    /// ```
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bound, count) in self.buckets() {
            seen += count;
            if seen >= rank {
                return bound;
            }
        }
        Duration::ZERO
    }

    /// The upper bound of each bucket, and how many times fell into it and not into the one before.
    /// The last bound is [`Duration::MAX`].
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.close()?;
    /// let dial_time = pool.stats().dial_time;
    /// assert_eq!(dial_time.buckets().map(|(_, count)| count).sum::<u64>(), 1);
    /// for (bound, count) in dial_time.buckets().filter(|(_, count)| *count > 0) {
    ///     println!("{count} within {bound:?}");
    /// }
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(power, &count)| {
            let last = power == BUCKETS - 1;
            (if last { Duration::MAX } else { Duration::from_nanos(1 << power) }, count)
        })
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; BUCKETS], sum: 0 }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        for (nanos, bound) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1025, 2048)] {
            let mut histogram = Histogram::default();
            histogram.record(Duration::from_nanos(nanos));
            let full: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
            assert_eq!(full, [(Duration::from_nanos(bound), 1)], "{nanos} ns");
        }
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        histogram.record(Duration::MAX);
        let longest = Duration::from_nanos(u64::MAX);
        assert_eq!((histogram.quantile(0.5), histogram.sum()), (Duration::MAX, longest));
    }

    #[test]
    fn quantiles_count_from_the_shortest() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.mean()), (Duration::ZERO, Duration::ZERO));
        (0..99).for_each(|_| histogram.record(Duration::from_nanos(4)));
        histogram.record(Duration::from_nanos(604));
        assert_eq!(histogram.quantile(0.99), Duration::from_nanos(4));
        assert_eq!(histogram.quantile(1.0), Duration::from_nanos(1024));
        assert_eq!((histogram.count(), histogram.mean()), (100, Duration::from_nanos(10)));
    }
}
