//! What the tests have in common. Each program of tests declares it once, as `support`.
//!
//! `memory.rs` is not among them, as it sets the program's allocator: who measures includes it.

// No program uses all of it.
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
