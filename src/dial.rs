//! From an address to a connection that is ready.

pub(crate) mod dialer;
pub(crate) mod handshake;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod url;
