//! A histogram of durations with a bounded relative error.

use std::fmt;
use std::time::Duration;

/// Each power of two has eight buckets, so that a bucket is at most an eighth wider than its lower
/// bound.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// The largest bound that is not unlimited: 2^40 ns, some 18 minutes.
const MAX_POWER: usize = 40;
/// Up to 2^3 ns one bucket per nanosecond, then eight for each power, then one without a bound.
const BUCKETS: usize = (MAX_POWER - SUB_BITS as usize + 1) * SUB_BUCKETS + 1;

/// Counts durations in buckets, from 1 ns to some 18 minutes.
///
/// Each power of two is divided into eight buckets. The upper bound of a bucket is therefore less
/// than 12.5 % above any duration in it; up to 8 ns it is exact. One more bucket counts durations
/// above 2^40 ns, some 18 minutes.
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
/// println!("half of the borrows took at most {:?}", use_time.quantile(0.5));
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    /// 2.4 kB, on the heap so that a snapshot of a pool is cheap to move.
    buckets: Box<[u64; BUCKETS]>,
    /// In nanoseconds.
    sum: u64,
}

impl Histogram {
    /// Counts a duration. Allocates nothing, because pools record under their lock.
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[index(nanos)] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    /// Returns how many durations were recorded.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.close()?;
    /// assert_eq!(pool.stats().dial_time.count(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the exact sum of all durations, at most some 580 years.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// let conns = (pool.acquire()?, pool.acquire()?);
    /// let dial_time = pool.stats().dial_time;
    /// assert!(dial_time.sum() >= dial_time.mean());
    /// # drop(conns);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Returns the exact mean, or zero if the histogram is empty.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::Histogram;
    ///
    /// assert_eq!(Histogram::default().mean(), Duration::ZERO);
    /// ```
    pub fn mean(&self) -> Duration {
        match self.count() {
            0 => Duration::ZERO,
            count => Duration::from_nanos(self.sum / count),
        }
    }

    /// Returns the duration that this part of the recorded ones did not exceed: 0.5 is the median,
    /// 0.99 leaves one in a hundred. Returns zero if the histogram is empty.
    ///
    /// The result is the upper bound of a bucket: never below the true value, and less than 12.5 %
    /// above it. It is [`Duration::MAX`] if the true value is above 2^40 ns, some 18 minutes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::Histogram;
    ///
    /// // For example that of a pool's dials: pool.stats().dial_time
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

    /// Returns the inclusive upper bound of each bucket, and how many durations it has, in ascending
    /// order. The last bound is [`Duration::MAX`].
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.close()?;
    /// let dial_time = pool.stats().dial_time;
    /// assert_eq!(dial_time.buckets().map(|(_, count)| count).sum::<u64>(), 1);
    /// for (bound, count) in dial_time.buckets().filter(|(_, count)| *count > 0) {
    ///     println!("{count} within {bound:?}");
    /// }
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(index, &count)| (bound(index), count))
    }
}

/// Returns the bucket of a time. Bucket `i` has the times above the bound of `i - 1`, up to its own.
fn index(nanos: u64) -> usize {
    // Bounds are inclusive: a power of two is the last time of its bucket, not the first of the next.
    let below = nanos.saturating_sub(1);
    let width = u64::BITS - below.leading_zeros();
    let shift = width.saturating_sub(SUB_BITS + 1);
    // The upper four bits are 0 to 15; each further doubling adds eight buckets.
    let index = (below >> shift) as usize + shift as usize * SUB_BUCKETS;
    index.min(BUCKETS - 1)
}

fn bound(index: usize) -> Duration {
    if index == BUCKETS - 1 {
        return Duration::MAX;
    }
    let shift = (index / SUB_BUCKETS).saturating_sub(1);
    Duration::from_nanos(((index - shift * SUB_BUCKETS + 1) as u64) << shift)
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: Box::new([0; BUCKETS]), sum: 0 }
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

    fn of(times: impl IntoIterator<Item = Duration>) -> Histogram {
        let mut histogram = Histogram::default();
        times.into_iter().for_each(|time| histogram.record(time));
        histogram
    }

    #[test]
    fn time_is_counted_in_the_bucket_with_the_next_bound() {
        let bounds = [(0, 1), (1, 1), (2, 2), (7, 7), (8, 8), (9, 9), (16, 16), (17, 18)];
        for (nanos, bound) in [&bounds[..], &[(19, 20), (32, 32), (33, 36), (1025, 1152)]].concat()
        {
            let histogram = of([Duration::from_nanos(nanos)]);
            let full: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
            assert_eq!(full, [(Duration::from_nanos(bound), 1)], "{nanos} ns");
        }
        let histogram = of([Duration::MAX, Duration::MAX]);
        let longest = Duration::from_nanos(u64::MAX);
        assert_eq!((histogram.quantile(0.5), histogram.sum()), (Duration::MAX, longest));
    }

    #[test]
    fn bounds_ascend_without_gaps_up_to_2_to_the_40() {
        let bounds: Vec<_> = Histogram::default().buckets().map(|(bound, _)| bound).collect();
        assert!(bounds.is_sorted_by(|first, second| first < second));
        let largest = 1 << MAX_POWER;
        assert_eq!(bounds[BUCKETS - 2], Duration::from_nanos(largest));
        assert_eq!((index(largest), index(largest + 1)), (BUCKETS - 2, BUCKETS - 1));
        for (at, bound) in bounds[..BUCKETS - 1].iter().enumerate() {
            let nanos = u64::try_from(bound.as_nanos()).unwrap();
            assert_eq!((index(nanos), index(nanos + 1)), (at, at + 1), "{bound:?}");
        }
    }

    #[test]
    fn quantile_is_less_than_an_eighth_above_the_true_value() {
        for power in 0..MAX_POWER {
            for part in 0..1024 {
                let nanos = (1_u64 << power) + ((part << power) >> 10);
                let told = of([Duration::from_nanos(nanos)]).quantile(0.99).as_nanos();
                let error = told.checked_sub(u128::from(nanos)).unwrap();
                assert!(error * 8 < u128::from(nanos), "{nanos} ns is told as {told}");
            }
        }
    }

    #[test]
    fn quantiles_count_from_the_shortest() {
        let empty = Histogram::default();
        assert_eq!((empty.quantile(0.5), empty.mean()), (Duration::ZERO, Duration::ZERO));
        let nanos = std::iter::repeat_n(4, 99).chain([604]);
        let histogram = of(nanos.map(Duration::from_nanos));
        assert_eq!(histogram.quantile(0.99), Duration::from_nanos(4));
        assert_eq!(histogram.quantile(1.0), Duration::from_nanos(640));
        assert_eq!((histogram.count(), histogram.mean()), (100, Duration::from_nanos(10)));
    }
}
