//! A stream in a TLS session.

use std::io::{self, Read, Write};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::fault;
use super::pipe::{Outbox, Pipe};
use crate::net::stream::{Peek, Stream};
use crate::sync::Mutex;

/// The most plain text in one TLS record.
const RECORD: usize = 16 * 1024;
/// One read from the socket takes a whole record, with all that is around it, or several of a long
/// value.
const READ: usize = RECORD + 512;
const LONGEST_READ: usize = 16 * READ;
/// One write encrypts at most this many bytes, so that they go out in one system call.
const LONGEST_WRITE: usize = 4 * RECORD;
/// A peek looks at so many reads' worth of session tickets and the like. No server sends more.
const MOST_PEEKED: usize = 8;

/// A [`Stream`] of plain text over another of cipher text.
///
/// One call does at most one system call that waits. When that was not enough for any plain text,
/// as the peer sent a session ticket or a piece of a record, the outcome is `Interrupted`: the
/// caller looks at its deadline and calls again. A write that is called again is given the same
/// bytes as before, and maybe more behind them.
///
/// Locks are taken in the order reader, writer, session, and the session's is not held while
/// anything waits.
pub(crate) struct TlsStream {
    inner: Arc<dyn Stream>,
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    session: Mutex<native_tls::TlsStream<Pipe>>,
    outbox: Outbox,
    /// The name that the peer has proved, for errors.
    peer: String,
}

struct Reader {
    /// Where cipher text is read to.
    buffer: Vec<u8>,
    /// Plain text that a peek had to take out of the session.
    peeked: Option<u8>,
    /// The session has no plain text before it is fed.
    drained: bool,
    /// What came behind the plain text of the last read.
    fault: Option<io::Error>,
}

#[derive(Default)]
struct Writer {
    /// Cipher text on its way, of which the first bytes are gone.
    sealed: Vec<u8>,
    sent: usize,
    /// So many of the bytes that the caller is writing are in it.
    accepted: usize,
}

impl TlsStream {
    pub(super) fn new(
        inner: Arc<dyn Stream>,
        session: native_tls::TlsStream<Pipe>,
        outbox: Outbox,
        peer: &str,
    ) -> TlsStream {
        let buffer = vec![0; READ];
        TlsStream {
            inner,
            reader: Mutex::new(Reader { buffer, peeked: None, drained: false, fault: None }),
            writer: Mutex::default(),
            session: Mutex::new(session),
            outbox,
            peer: peer.to_owned(),
        }
    }

    /// Plain text out of the session, as much as there is: `None` when it needs more from the peer
    /// first, zero bytes when the peer has closed it.
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

    /// Waits for cipher text and gives it to the session; zero bytes at its end.
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

    /// Plain text into the session, as much as one write sends.
    fn seal(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session.lock();
        let mut rest = &bytes[..bytes.len().min(LONGEST_WRITE)];
        let all = rest.len();
        while !rest.is_empty() {
            match session.write(rest) {
                Ok(count) => rest = &rest[count..],
                // It wants to read first. Only TLS 1.2 has this, and no Redis server.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let why = "the server began a new TLS handshake in the middle of a write";
                    return Err(io::Error::new(io::ErrorKind::Unsupported, why));
                }
                Err(error) => return Err(fault::of_session(error, &self.peer)),
            }
        }
        Ok(all)
    }

    /// Sends what is sealed, and what the session has to say for itself.
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

    /// Sends what the session said while it read: its part of a new handshake. While somebody
    /// writes it goes with the next write: waiting for a peer that does not read before we read
    /// would be a deadlock.
    fn send_own(&self) -> io::Result<()> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        self.writer.try_lock().map_or(Ok(()), |mut writer| self.send(&mut writer))
    }

    /// As [`Stream::peek`], by whoever has the reader.
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
            // What is readable there need not be plain text: let the session see.
            match self.inner.peek()? {
                Peek::Readable => self.fetch(reader)?,
                other => return Ok(other),
            };
        }
        Ok(Peek::Unknown)
    }

    /// A server that turns a client away says why and closes. Whoever writes to it then finds the
    /// connection broken; the reason is in what has come.
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
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => Err(self.reason_for(error)),
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
    }

    /// Without TLS's own farewell, which would have to wait for its turn: a Redis reply says by
    /// itself where it ends.
    fn shutdown(&self) {
        self.inner.shutdown();
    }

    fn peek(&self) -> io::Result<Peek> {
        // Who reads finds whatever there is.
        self.reader.try_lock().map_or(Ok(Peek::Unknown), |mut reader| self.look(&mut reader))
    }
}

/// True for errors after which the same call may succeed.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
