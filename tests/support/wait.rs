//! Waiting for what another thread or process does, and for nothing longer than that.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What a test gives to something that takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Short, where it must pass; so no test waits for it to be long enough.
pub(crate) const SHORT: Duration = Duration::from_millis(50);
/// Long, where it must not pass.
pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLI: Duration = Duration::from_millis(1);

/// For tests that want the machine, or what is counted for the whole program, for themselves.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs what must end by itself. If it ends late the test fails; if it does not end at all, the
/// whole program does, as no thread can be stopped from outside.
#[track_caller]
pub(crate) fn promptly<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    let name = what.to_owned();
    let watchdog = thread::spawn(move || {
        if is_done.recv_timeout(6 * PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Past the harness, which would keep it for a test that never ends.
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
