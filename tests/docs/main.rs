//! The documents and the examples say what is so.

// The documents are the same on every system.
#![cfg(unix)]
// Several examples include the same helpers.
#![allow(clippy::duplicate_mod)]

mod architecture;
mod matrix;
mod pool_guide;
#[cfg(feature = "serde")]
mod porting;
#[cfg(feature = "metrics")]
mod prometheus;
mod reliability;
#[cfg(feature = "tls")]
mod tls_guide;
