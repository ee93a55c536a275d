//! Measuring two or more ways side by side: in turns, in one process, so that the noise of the
//! machine meets all of them alike. What counts is the ratio of the medians.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// How many turns each contender gets.
pub(crate) const ROUNDS: usize = 31;

/// One way to do the work, and what its turns took.
pub(crate) struct Contender<'a> {
    name: &'static str,
    turn: Box<dyn FnMut() -> Duration + 'a>,
    taken: Vec<Duration>,
}

impl<'a> Contender<'a> {
    /// `turn` does the work once over and says how long that took.
    pub(crate) fn new(name: &'static str, turn: impl FnMut() -> Duration + 'a) -> Contender<'a> {
        Contender { name, turn: Box::new(turn), taken: Vec::new() }
    }
}

/// Lets the contenders take turns, and prints the medians for one of `operations` and the
/// ratios of the first to each other.
pub(crate) fn compare(what: &str, operations: usize, mut contenders: Vec<Contender<'_>>) {
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let taken = (contender.turn)();
            // The first round is for warming up.
            if round > 0 {
                contender.taken.push(taken);
            }
        }
    }
    let medians: Vec<f64> = contenders
        .iter_mut()
        .map(|contender| median(&mut contender.taken).as_nanos() as f64 / operations as f64)
        .collect();
    print!("{what:<28}");
    for (contender, nanos) in contenders.iter().zip(&medians) {
        print!("  {:>9} {nanos:>9.0} ns", contender.name);
    }
    for (contender, nanos) in contenders.iter().zip(&medians).skip(1) {
        print!("  vs {} {:.2}", contender.name, medians[0] / nanos);
    }
    println!();
}

pub(crate) fn median(taken: &mut [Duration]) -> Duration {
    percentile(taken, 50.0)
}

pub(crate) fn percentile(taken: &mut [Duration], percent: f64) -> Duration {
    taken.sort_unstable();
    let at = (taken.len() as f64 * percent / 100.0) as usize;
    taken[at.min(taken.len() - 1)]
}

/// The time of so many operations on this thread.
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
    let ready = Arc::new(Barrier::new(threads + 1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (ready, start, operation) = (Arc::clone(&ready), &start, &operation);
                scope.spawn(move || {
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
