//! Byte streams, and the ways to open them.

mod resolve;
pub(crate) mod stream;
pub(crate) mod tcp;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(unix)]
pub(crate) mod unix;
