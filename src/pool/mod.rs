//! The pool: a pure state machine in a thin shell.

pub(crate) mod backoff;
pub(crate) mod borrower;
pub mod check;
pub(crate) mod churn;
pub(crate) mod clock;
pub(crate) mod closing;
pub(crate) mod config;
pub(crate) mod core;
pub(crate) mod dialing;
pub(crate) mod histogram;
pub(crate) mod hooks;
pub(crate) mod lending;
pub(crate) mod meter;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
#[cfg(all(test, shuttle))]
mod models;
#[allow(clippy::module_inception)]
pub(crate) mod pool;
pub(crate) mod pooled;
pub(crate) mod reason;
pub(crate) mod shared;
pub(crate) mod stats;
pub(crate) mod upkeep;
pub(crate) mod waiter;
pub(crate) mod warming;
pub(crate) mod workers;
