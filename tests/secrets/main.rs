//! No secret is shown. The log is the whole program's: one test runs at a time.

mod capture;
mod dialing;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
mod urls;
