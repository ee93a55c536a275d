//! From replies to values, and from values to arguments.

mod properties;
mod query;
mod records;
mod reply;
#[cfg(feature = "serde")]
mod scan;
#[cfg(feature = "serde")]
mod scan_args;
#[path = "../support/mod.rs"]
mod support;
