//! TLS over any stream, through the system's library.
//!
//! A TLS session is one machine for both directions, and native-tls wants it whole for each read
//! and write. Were it to use the socket itself, a thread that waits for a reply would keep others
//! from sending. So the session never touches the socket: it works on a pair of buffers in memory
//! (`pipe.rs`), and is locked only while it computes. Waiting, for bytes to come or for room to
//! send, is done beside it (`stream.rs`), by one reader and one writer at once.

pub(crate) mod fault;
pub(crate) mod handshake;
mod pipe;
mod stream;
