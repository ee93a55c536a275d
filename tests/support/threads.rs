//! Threads whose progress a test can observe, so that it need not sleep.

use std::thread::{self, JoinHandle};

use redigo::Pool;

use super::wait::wait_until;

/// Returns the thread's result. Fails if the thread does not end soon, and passes on its panic.
#[track_caller]
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    wait_until("a thread ends", || thread.is_finished());
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Returns the results of the threads, in order.
#[track_caller]
pub(crate) fn join_all<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(join).collect()
}

/// Runs the caller on a new thread, with a handle of the pool.
pub(crate) fn start<T: Send + 'static>(
    pool: &Pool,
    caller: impl FnOnce(Pool) -> T + Send + 'static,
) -> JoinHandle<T> {
    let pool = pool.clone();
    thread::spawn(move || caller(pool))
}

/// Like [`start`], for a caller that must wait for a connection. Returns when it waits, so callers
/// enter the queue in the order of these calls.
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
