//! Threads whose progress a test can watch, instead of sleeping for long enough.

use std::thread::{self, JoinHandle};

use redigo::Pool;

use super::wait::wait_until;

/// What the thread returns. It has to return soon, and its panic is this thread's.
#[track_caller]
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    wait_until("a thread ends", || thread.is_finished());
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What the threads return, in their order.
#[track_caller]
pub(crate) fn join_all<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(join).collect()
}

/// Runs the caller on a thread of its own, with a handle of the pool.
pub(crate) fn start<T: Send + 'static>(
    pool: &Pool,
    caller: impl FnOnce(Pool) -> T + Send + 'static,
) -> JoinHandle<T> {
    let pool = pool.clone();
    thread::spawn(move || caller(pool))
}

/// As [`start`] for one who has to wait for a connection; returns when it does. So whoever is
/// started first is first in the queue.
#[track_caller]
pub(crate) fn start_waiting<T: Send + 'static>(
    pool: &Pool,
    caller: impl FnOnce(Pool) -> T + Send + 'static,
) -> JoinHandle<T> {
    let others = pool.stats().waiting;
    let thread = start(pool, caller);
    wait_until("a caller waits", || pool.stats().waiting == others + 1);
    thread
}
