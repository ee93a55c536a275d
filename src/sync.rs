//! The one place that names the lock library, and whatever else a thread waits with: so that a model
//! checker can be put in its place.

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

    /// Values that all pools share, made when they are first used.
    macro_rules! global {
        ($(static $name:ident: $type:ty = $value:expr;)+) => {
            $(static $name: std::sync::LazyLock<$type> = std::sync::LazyLock::new(|| $value);)+
        };
    }
    pub(crate) use global;

    /// What time it is for those who wait.
    pub(crate) fn now() -> Instant {
        Instant::now()
    }

    /// Runs the work on a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new().name(name.into()).spawn(work).map(drop)
    }
}
