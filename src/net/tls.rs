//! TLS over any stream, through the system's library.
//!
//! A TLS session has one state for both directions, and native-tls needs exclusive access to it for
//! each read and write. If the session used the socket, a thread that waits for a reply would
//! prevent other threads from sending. So the session uses a pair of buffers in memory
//! (`pipe.rs`), and its lock is held only while it computes. The stream (`stream.rs`) waits for the
//! socket outside the lock, with one reader and one writer at the same time.

pub(crate) mod fault;
pub(crate) mod handshake;
mod pipe;
mod stream;
