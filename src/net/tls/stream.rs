//! A stream in a TLS session.

use std::io::{self, Read, Write};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::fault::{self, Peer};
use super::pipe::{Outbox, Pipe};
use crate::net::stream::{Peek, Stream};
use crate::sync::Mutex;

/// The most plain text in one TLS record.
const RECORD: usize = 16 * 1024;
/// One read from the socket takes a whole record with its header, or several records of a long
/// value.
const READ: usize = RECORD + 512;
const LONGEST_READ: usize = 16 * READ;
/// One write encrypts at most this many bytes, to send them in one system call.
const LONGEST_WRITE: usize = 4 * RECORD;
/// A peek reads at most this often to skip session tickets and similar records.
const MOST_PEEKED: usize = 8;

/// A [`Stream`] of plaintext over a stream of ciphertext.
///
/// One call makes at most one blocking system call. If that yields no plaintext, for example
/// because the peer sent a session ticket or a part of a record, the result is `Interrupted`: the
/// caller checks its deadline and calls again. A repeated write gets the same bytes again,
/// possibly followed by more.
///
/// The lock order is reader, writer, session. The session's lock is not held while a thread waits.
pub(crate) struct TlsStream {
    inner: Arc<dyn Stream>,
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    session: Mutex<native_tls::TlsStream<Pipe>>,
    outbox: Outbox,
    /// For errors.
    peer: Peer,
}

struct Reader {
    /// The buffer for ciphertext.
    buffer: Vec<u8>,
    /// Plaintext that a peek took out of the session.
    peeked: Option<u8>,
    /// The session has no plaintext until it gets more bytes.
    drained: bool,
    /// The error that followed the plaintext of the last read.
    fault: Option<io::Error>,
}

#[derive(Default)]
struct Writer {
    /// Ciphertext to send. The first `sent` bytes are already sent.
    sealed: Vec<u8>,
    sent: usize,
    /// The number of the caller's bytes that `sealed` contains.
    accepted: usize,
}

impl TlsStream {
    pub(super) fn new(
        inner: Arc<dyn Stream>,
        session: native_tls::TlsStream<Pipe>,
        outbox: Outbox,
        peer: Peer,
    ) -> TlsStream {
        let buffer = vec![0; READ];
        TlsStream {
            inner,
            reader: Mutex::new(Reader { buffer, peeked: None, drained: false, fault: None }),
            writer: Mutex::default(),
            session: Mutex::new(session),
            outbox,
            peer,
        }
    }

    /// Takes plaintext out of the session. Returns `None` if the session needs more bytes from the
    /// peer, and 0 if the peer has closed the session.
    fn open(&self, reader: &mut Reader, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut session = self.session.lock();
        let mut filled = 0;
        while filled < buffer.len() && !reader.drained && reader.fault.is_none() {
            match session.read(&mut buffer[filled..]) {
                Ok(0) => return Ok(Some(filled)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => reader.drained = true,
                Err(error) => reader.fault = Some(fault::of_session(error, &self.peer)),
            }
        }
        match reader.fault.take_if(|_| filled == 0) {
            Some(fault) => Err(fault),
            None => Ok((filled > 0).then_some(filled)),
        }
    }

    /// Waits for ciphertext and passes it to the session. Returns 0 at the end of the stream.
    fn fetch(&self, reader: &mut Reader) -> io::Result<usize> {
        let count = self.inner.read(&mut reader.buffer)?;
        self.session.lock().get_mut().feed(&reader.buffer[..count]);
        reader.drained = false;
        if count == reader.buffer.len() {
            reader.buffer.resize((2 * count).min(LONGEST_READ), 0);
        } else if count < RECORD && reader.buffer.len() > READ {
            reader.buffer = vec![0; READ];
        }
        Ok(count)
    }

    /// Puts plaintext into the session, as much as one write sends.
    fn seal(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session.lock();
        let mut rest = &bytes[..bytes.len().min(LONGEST_WRITE)];
        let all = rest.len();
        while !rest.is_empty() {
            match session.write(rest) {
                Ok(count) => rest = &rest[count..],
                // Renegotiation, which only TLS 1.2 has and no Redis server starts.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let why = "the server began a new TLS handshake during a write";
                    return Err(io::Error::new(io::ErrorKind::Unsupported, why));
                }
                Err(error) => return Err(fault::of_session(error, &self.peer)),
            }
        }
        Ok(all)
    }

    /// Sends the ciphertext, including the session's own messages.
    fn send(&self, writer: &mut Writer) -> io::Result<()> {
        self.outbox.move_to(&mut writer.sealed);
        if writer.sealed.is_empty() {
            return Ok(());
        }
        match self.inner.write(&writer.sealed[writer.sent..])? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => writer.sent += count,
        }
        if writer.sent < writer.sealed.len() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        writer.sealed.clear();
        writer.sent = 0;
        Ok(())
    }

    /// Sends the messages that the session made while it read. If another thread writes, the next
    /// write sends them: waiting for a peer that reads only after we read would be a deadlock.
    fn send_own(&self) -> io::Result<()> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        self.writer.try_lock().map_or(Ok(()), |mut writer| self.send(&mut writer))
    }

    /// Like [`Stream::peek`], but with the reader locked.
    fn look(&self, reader: &mut Reader) -> io::Result<Peek> {
        if reader.peeked.is_some() {
            return Ok(Peek::Readable);
        }
        for _ in 0..MOST_PEEKED {
            let mut byte = [0];
            match self.open(reader, &mut byte)? {
                Some(0) => return Ok(Peek::Closed),
                Some(_) => {
                    reader.peeked = Some(byte[0]);
                    return Ok(Peek::Readable);
                }
                None => {}
            }
            // Readable ciphertext may contain no plaintext, so the session must decide.
            match self.inner.peek()? {
                Peek::Readable => self.fetch(reader)?,
                other => return Ok(other),
            };
        }
        Ok(Peek::Unknown)
    }

    /// Returns the reason for a failed write. A server that refuses a client sends an alert and
    /// closes: the write fails, and the reason is in the bytes received.
    fn reason_for(&self, broken: io::Error) -> io::Error {
        match self.reader.try_lock().map(|mut reader| self.look(&mut reader)) {
            Some(Err(reason)) if fault::is_of_tls(&reason) => reason,
            _ => broken,
        }
    }
}

impl Stream for TlsStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.reader.lock();
        if let (Some(byte), Some(first)) = (reader.peeked, buffer.first_mut()) {
            reader.peeked = None;
            *first = byte;
            return Ok(1);
        }
        if let Some(count) = self.open(&mut reader, buffer)? {
            return Ok(count);
        }
        self.send_own()?;
        if self.fetch(&mut reader)? == 0 {
            return Ok(0);
        }
        self.open(&mut reader, buffer)?.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut writer = self.writer.lock();
        if writer.accepted == 0 {
            writer.accepted = self.seal(bytes)?;
        }
        match self.send(&mut writer) {
            Ok(()) => Ok(mem::take(&mut writer.accepted)),
            Err(error) if is_transient(&error) => Err(error),
            Err(error) => Err(self.reason_for(error)),
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
    }

    /// Does not send `close_notify`, which would have to wait. A truncated Redis reply is visible
    /// without it.
    fn shutdown(&self) {
        self.inner.shutdown();
    }

    fn peek(&self) -> io::Result<Peek> {
        // A thread that reads holds the lock, and finds the bytes itself.
        self.reader.try_lock().map_or(Ok(Peek::Unknown), |mut reader| self.look(&mut reader))
    }
}

/// Returns true for errors after which the same call can succeed.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
