//! The only module that names the lock library and the other primitives that threads wait with, so
//! that a model checker can replace them.

#[cfg(all(test, shuttle))]
pub(crate) mod model;

#[cfg(all(test, shuttle))]
pub(crate) use model::*;
#[cfg(not(all(test, shuttle)))]
pub(crate) use system::*;

#[cfg(not(all(test, shuttle)))]
mod system {
    use std::io;
    use std::time::Instant;

    pub(crate) use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread_local;

    /// Defines statics that are created at their first use.
    macro_rules! global {
        ($(static $name:ident: $type:ty = $value:expr;)+) => {
            $(static $name: std::sync::LazyLock<$type> = std::sync::LazyLock::new(|| $value);)+
        };
    }
    pub(crate) use global;

    /// Returns the current time, for waiting.
    pub(crate) fn now() -> Instant {
        Instant::now()
    }

    /// Returns a seed for jitter.
    pub(crate) fn random_seed() -> u64 {
        fastrand::u64(..)
    }

    /// Runs the work on a new thread.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new().name(name.into()).spawn(work).map(drop)
    }
}
