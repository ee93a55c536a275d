//! Conversion of replies to values, and of values to arguments.

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
