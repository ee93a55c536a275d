//! No secret is shown. The log belongs to the whole program, so one test runs at a time.

mod capture;
mod dialing;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
mod urls;
