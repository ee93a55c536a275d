//! TLS: connections, options and errors.

mod connections;
mod faults;
mod options;
#[path = "../support/mod.rs"]
mod support;
