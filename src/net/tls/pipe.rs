//! The buffers that a TLS session uses instead of a socket.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem;
use std::sync::Arc;

use crate::sync::Mutex;

/// A buffer that grew for a long value shrinks to this capacity.
const RETAIN: usize = 32 * 1024;

/// The two buffers between a session and its socket. Reading from an empty buffer is
/// `WouldBlock`; writing always succeeds.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Bytes from the peer for the session.
    inbox: VecDeque<u8>,
    outbox: Outbox,
}

/// Bytes from the session for the peer. It outlives a failed session, because it then holds the
/// alert for the peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Vec<u8>>>);

impl Pipe {
    pub(super) fn new(outbox: Outbox) -> Pipe {
        Pipe { inbox: VecDeque::new(), outbox }
    }

    /// Passes bytes from the peer to the session.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.inbox.shrink_to(bytes.len().max(RETAIN));
        self.inbox.extend(bytes);
    }
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Appends its bytes to the buffer.
    pub(super) fn move_to(&self, buffer: &mut Vec<u8>) {
        let mut outbox = self.0.lock();
        if buffer.is_empty() {
            buffer.shrink_to(outbox.len().max(RETAIN));
            mem::swap(buffer, &mut outbox);
        } else {
            buffer.append(&mut outbox);
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.inbox.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.inbox.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbox.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
