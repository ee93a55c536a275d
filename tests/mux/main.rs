//! The multiplexed connection: calls, and what goes wrong with them.

mod calls;
mod faults;
#[path = "../support/mod.rs"]
mod support;
