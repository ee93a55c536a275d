//! Publish and subscribe.

mod subscriptions;
#[path = "../support/mod.rs"]
mod support;
