//! Measuring several ways to do the same work side by side: in turns, in one process, so that the
//! noise of the machine meets all of them alike. What counts is the ratio within a round.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How many rounds there are. Each gives every contender one turn, and each begins with another.
const ROUNDS: usize = 31;

/// One way to do the work: does it once over and says how long that took.
pub(crate) type Turn<'a> = Box<dyn FnMut() -> Duration + 'a>;

/// What was measured: for each contender, one time for each round.
pub(crate) struct Measured(Vec<Vec<f64>>);

/// Lets the contenders take turns at so many operations.
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
            let taken = contenders[at]().as_nanos() as f64 / operations as f64;
            // The first round is for warming up.
            if round > 0 {
                times[at].push(taken);
            }
        }
    }
    Measured(times)
}

impl Measured {
    /// From times that were taken elsewhere.
    pub(crate) fn of(times: Vec<Vec<f64>>) -> Measured {
        Measured(times)
    }

    /// The median of one contender, in nanoseconds for one operation.
    pub(crate) fn nanos(&self, contender: usize) -> f64 {
        median(self.0[contender].clone())
    }

    /// The median of the ratios of the first contender to another, round by round.
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

/// The time of so many operations on this thread. What they give is dropped within that time.
pub(crate) fn time<T>(operations: usize, mut operation: impl FnMut() -> T) -> Duration {
    let began = Instant::now();
    for _ in 0..operations {
        black_box(operation());
    }
    began.elapsed()
}

/// The time in which each of some threads does so many operations, from the moment when all
/// are ready.
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
            worker.join().expect("a worker of the bench");
        }
        began.elapsed()
    })
}
