//! One connection that many threads share.

mod calls;
mod connections;
mod deadlines;
#[path = "../support/mod.rs"]
mod support;
mod writing;
