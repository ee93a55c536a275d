//! Measures several ways to do the same work, in turns and in one process, so that the machine's
//! noise affects all of them alike. The result is the ratio within a round.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The number of rounds. Each contender has one turn in a round, and each round starts with the next
/// contender.
const ROUNDS: usize = 31;

/// One way to do the work: does all operations once and returns the time.
pub(crate) type Turn<'a> = Box<dyn FnMut() -> Duration + 'a>;

/// One time per contender and round.
pub(crate) struct Measured(Vec<Vec<f64>>);

/// Runs all rounds. Each turn does `operations` operations.
pub(crate) fn rounds(operations: usize, contenders: Vec<Turn<'_>>) -> Measured {
    some_rounds(ROUNDS, operations, contenders)
}

pub(crate) fn some_rounds(
    rounds: usize,
    operations: usize,
    mut contenders: Vec<Turn<'_>>,
) -> Measured {
    let count = contenders.len();
    let mut times = vec![Vec::new(); count];
    for round in 0..=rounds {
        for at in (0..count).map(|turn| (turn + round) % count) {
            let elapsed = contenders[at]().as_nanos() as f64 / operations as f64;
            // The first round is a warm-up.
            if round > 0 {
                times[at].push(elapsed);
            }
        }
    }
    Measured(times)
}

impl Measured {
    /// Wraps times that were measured elsewhere.
    pub(crate) fn of(times: Vec<Vec<f64>>) -> Measured {
        Measured(times)
    }

    /// Returns a contender's median, in nanoseconds for one operation.
    pub(crate) fn nanos(&self, contender: usize) -> f64 {
        median(self.0[contender].clone())
    }

    /// Returns the median of the ratios, per round, of the first contender to another.
    pub(crate) fn ratio(&self, other: usize) -> f64 {
        median(self.0[0].iter().zip(&self.0[other]).map(|(ours, other)| ours / other).collect())
    }
}

pub(crate) fn median(times: Vec<f64>) -> f64 {
    percentile(times, 50.0)
}

pub(crate) fn percentile(mut times: Vec<f64>, percent: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = (times.len() as f64 * percent / 100.0) as usize;
    times[at.min(times.len() - 1)]
}

/// Times `operations` operations on this thread, including the drop of their results.
pub(crate) fn time<T>(operations: usize, mut operation: impl FnMut() -> T) -> Duration {
    let began = Instant::now();
    for _ in 0..operations {
        black_box(operation());
    }
    began.elapsed()
}

/// Times `operations` operations on each of `threads` threads, from the moment when all are ready.
pub(crate) fn time_threads<S, T>(
    threads: usize,
    operations: usize,
    start: impl Fn() -> S + Sync,
    operation: impl Fn(&mut S) -> T + Sync,
) -> Duration {
    let ready = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut state = start();
                    ready.wait();
                    time(operations, || operation(&mut state));
                })
            })
            .collect();
        ready.wait();
        let began = Instant::now();
        for worker in workers {
            worker.join().expect("a bench thread panicked");
        }
        began.elapsed()
    })
}
