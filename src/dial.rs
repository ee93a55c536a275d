//! From an address to a connection that is ready for commands.

pub(crate) mod address;
mod budget;
pub(crate) mod dialer;
mod handshake;
#[cfg(feature = "tls")]
mod tls;
mod url;
