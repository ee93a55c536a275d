//! The one place that names the lock library, so that a model checker can be put in its place.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
