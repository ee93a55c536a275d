//! Byte streams: what a connection runs over, and how to get one.

pub(crate) mod resolve;
pub(crate) mod stream;
pub(crate) mod tcp;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(unix)]
pub(crate) mod unix;
