//! One connection that many threads share.

mod calls;
mod connections;
mod deadlines;
mod dialing;
mod hang_up;
mod logger;
mod panics;
#[path = "../support/mod.rs"]
mod support;
mod writing;
