//! One connection: commands out, replies in.

pub(crate) mod batch;
pub(crate) mod command;
#[allow(clippy::module_inception)]
pub(crate) mod conn;
pub(crate) mod exchange;
pub(crate) mod limit;
pub(crate) mod observer;
pub(crate) mod pipeline;
pub(crate) mod queue;
pub(crate) mod raw;
pub(crate) mod reset;
pub(crate) mod split;
pub(crate) mod status;
pub(crate) mod transaction;
pub(crate) mod wire;
pub(crate) mod within;
