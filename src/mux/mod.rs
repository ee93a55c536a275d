//! One connection for many threads: a pure core in a thin shell.

pub(crate) mod core;
pub(crate) mod dialing;
pub(crate) mod handle;
#[allow(clippy::module_inception)]
pub(crate) mod mux;
pub(crate) mod patience;
pub(crate) mod refuse;
pub(crate) mod sharing;
pub(crate) mod sides;
pub(crate) mod slot;
pub(crate) mod stats;
pub(crate) mod working;
