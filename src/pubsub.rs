//! Publish and subscribe: a connection that listens.

pub(crate) mod conn;
pub(crate) mod event;
pub(crate) mod iter;
pub(crate) mod split;
pub(crate) mod subscriptions;
