//! The receiving side of [`Wire`](super::Wire).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CachedTimeout, is_timeout, time_left};
use crate::conn::raw::RawReceive;
use crate::error::{Error, Result, ServerError, TimeoutKind};
use crate::net::stream::{Peek, Stream};
use crate::resp::decode::{Decoder, Limits};
use crate::value::Value;

/// The most bytes of one read, unless it goes directly into a long string.
const READ_CHUNK: usize = 16 * 1024;
/// The time for a read that should not wait.
const GRACE: Duration = Duration::from_millis(10);

/// The receiving side: a stream, a read buffer and a decoder.
pub(super) struct Receiver {
    stream: Option<Arc<dyn Stream>>,
    decoder: Decoder,
    /// `buffer[start..end]` is received and not yet decoded.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    timeout: CachedTimeout,
}

impl Receiver {
    pub(super) fn new(stream: Option<Arc<dyn Stream>>, limits: Limits) -> Receiver {
        let decoder = Decoder::new(limits);
        Receiver { stream, decoder, buffer: Vec::new(), start: 0, end: 0, timeout: None }
    }

    pub(super) fn peek(&self) -> Result<Peek> {
        let stream = self.stream.as_ref().ok_or(Error::ConnClosed)?;
        Ok(stream.peek()?)
    }

    /// Drops the stream and the bytes that are not decoded.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.buffer = Vec::new();
    }

    pub(super) fn has_unread(&self) -> bool {
        self.start < self.end || !self.decoder.is_at_boundary()
    }

    /// Reads into the buffer, or directly into the long string that is being received.
    fn fill(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.make_room();
        loop {
            let left = time_left(deadline, TimeoutKind::Read)?;
            let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
            if self.timeout != Some(left) {
                stream.set_read_timeout(left)?;
                self.timeout = Some(left);
            }
            let read = match self.decoder.bulk_room().filter(|_| self.start == self.end) {
                Some(room) => stream.read(room).inspect(|&count| self.decoder.bulk_read(count)),
                None => {
                    stream.read(&mut self.buffer[self.end..]).inspect(|count| self.end += count)
                }
            };
            match read {
                Ok(0) => return Err(self.closed_by_peer()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The next iteration checks the deadline.
                Err(error) if is_timeout(&error) && deadline.is_some() => {}
                Err(error) if is_timeout(&error) => return Err(TimeoutKind::Read.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads if there are bytes to read. A socket cannot be read with a timeout of zero, but it
    /// can be looked at without waiting.
    fn fill_without_waiting(&mut self) -> Result<bool> {
        let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
        match stream.peek()? {
            Peek::Quiet | Peek::Unknown => Ok(false),
            Peek::Readable | Peek::Closed => {
                // Only a part of a TLS record may have arrived.
                let deadline = Instant::now().checked_add(GRACE);
                match self.fill(deadline) {
                    Ok(()) => Ok(true),
                    Err(Error::Timeout(_)) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Makes room for a read behind the bytes in the buffer.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > READ_CHUNK {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // Only a line longer than the buffer needs this, and the decoder limits lines.
            self.buffer.resize((self.buffer.len() * 2).max(READ_CHUNK), 0);
        }
    }

    fn closed_by_peer(&self) -> Error {
        let what = if self.has_unread() {
            "the server closed the connection in the middle of a reply"
        } else {
            "the server closed the connection"
        };
        io::Error::new(io::ErrorKind::UnexpectedEof, what).into()
    }
}

impl RawReceive for Receiver {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        loop {
            let progress = self.decoder.decode(&self.buffer[self.start..self.end])?;
            self.start += progress.consumed;
            if let Some(reply) = progress.reply {
                return Ok(reply);
            }
            self.fill(deadline)?;
        }
    }

    fn open_list(&mut self, deadline: Option<Instant>) -> Result<usize> {
        loop {
            if let Some((used, length)) =
                self.decoder.open_list(&self.buffer[self.start..self.end])?
            {
                self.start += used;
                return Ok(length);
            }
            self.fill(deadline)?;
        }
    }

    fn take_bulk(&mut self) -> Option<&[u8]> {
        let (used, bytes) = self.decoder.take_bulk(&self.buffer[self.start..self.end])?;
        self.start += used;
        Some(bytes)
    }

    fn last_error(&mut self) -> Option<ServerError> {
        /// Longer replies than this are not searched.
        const MAX_BYTES: usize = 1024 * 1024;
        let mut last = None;
        let mut budget = MAX_BYTES;
        loop {
            let progress = self.decoder.decode(&self.buffer[self.start..self.end]).ok()?;
            self.start += progress.consumed;
            budget = budget.saturating_sub(progress.consumed);
            match progress.reply {
                Some(Value::Error(error)) => last = Some(error),
                Some(_) => last = None,
                // The bytes of the last reply may still be in the socket.
                None if budget == 0 || !matches!(self.fill_without_waiting(), Ok(true)) => {
                    return last;
                }
                None => {}
            }
        }
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        if self.has_unread() {
            return Ok(true);
        }
        match self.fill(deadline) {
            Ok(()) => Ok(true),
            Err(Error::Timeout(_)) => self.fill_without_waiting(),
            Err(error) => Err(error),
        }
    }

    fn half_has_unread(&self) -> bool {
        self.has_unread()
    }

    fn half_peek(&self) -> Result<Peek> {
        self.peek()
    }
}
