//! From an address to a connection that is ready.

pub(crate) mod dialer;
pub(crate) mod handshake;
pub(crate) mod url;
