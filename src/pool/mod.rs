//! The pool: a pure state machine in a thin shell.

pub mod check;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod core;
pub(crate) mod dialing;
pub(crate) mod lending;
#[allow(clippy::module_inception)]
pub(crate) mod pool;
pub(crate) mod pooled;
pub(crate) mod stats;
pub(crate) mod waiter;
