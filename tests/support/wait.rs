//! Waiting for another thread or process.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The limit for work that takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A short timeout, for tests where it must pass.
pub(crate) const SHORT: Duration = Duration::from_millis(50);
/// A long timeout, for tests where it must not pass.
pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLI: Duration = Duration::from_millis(1);

/// Locks out other tests, for tests that need the machine or program-wide counters.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs an action that must end by itself. If it ends late, the test fails. If it does not end, the
/// whole program aborts, because no thread can be stopped from outside.
#[track_caller]
pub(crate) fn promptly<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    let name = what.to_owned();
    let watchdog = thread::spawn(move || {
        if is_done.recv_timeout(6 * PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not captured by the harness, which would hold it back.
            let _ = writeln!(std::io::stderr(), "it hangs: {name}");
            std::process::abort();
        }
    });
    let start = Instant::now();
    let outcome = action();
    let elapsed = start.elapsed();
    drop(done);
    let _ = watchdog.join();
    assert!(elapsed < PATIENCE, "{what} took {elapsed:?}");
    outcome
}
