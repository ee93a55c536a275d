//! Shared helpers of the tests. Each test program declares this module once, as `support`.
//!
//! `memory.rs` is not included here because it sets the program's allocator: tests that measure
//! memory include it themselves.

// No test program uses all of it.
#![allow(dead_code)]

#[cfg(feature = "tls")]
pub(crate) mod certs;
pub(crate) mod errors;
pub(crate) mod fake_conn;
pub(crate) mod fake_server;
pub(crate) mod fault_proxy;
pub(crate) mod live;
pub(crate) mod log_lines;
pub(crate) mod pooled;
#[cfg(feature = "metrics")]
pub(crate) mod recorder;
pub(crate) mod redis_server;
pub(crate) mod sharing;
pub(crate) mod streams;
pub(crate) mod threads;
#[cfg(feature = "tls")]
pub(crate) mod tls_server;
pub(crate) mod values;
pub(crate) mod wait;
