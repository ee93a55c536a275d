//! RESP over a stream.

use std::io;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::raw::{RawConn, RawReceive, RawSend};
use crate::args::ToArgs;
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::{Peek, ShutdownHandle, Stream};
use crate::resp::decode::{Decoder, Limits};
use crate::resp::encode;
use crate::value::Value;

/// More than this in the write buffer is written without waiting for a flush.
const SPILL: usize = 64 * 1024;
/// A buffer that has grown beyond this is given back when it is empty.
const KEEP: usize = 2 * SPILL;
/// One read takes at most this, unless it goes straight into a long string.
const READ: usize = 16 * 1024;
/// The most that is set aside for one read into a long string.
const LONGEST_READ: usize = 1 << 20;

/// A connection that speaks RESP over a [`Stream`].
pub(crate) struct Wire {
    sender: Sender,
    receiver: Receiver,
    shutdown: ShutdownHandle,
}

impl Wire {
    pub(crate) fn new(stream: Arc<dyn Stream>, limits: Limits) -> Wire {
        let weak: Weak<dyn Stream> = Arc::downgrade(&stream);
        let shutdown = ShutdownHandle::new(move || {
            if let Some(stream) = weak.upgrade() {
                stream.shutdown();
            }
        });
        Wire {
            sender: Sender { stream: Some(Arc::clone(&stream)), buffer: Vec::new(), armed: None },
            receiver: Receiver {
                stream: Some(stream),
                decoder: Decoder::new(limits),
                buffer: Vec::new(),
                start: 0,
                end: 0,
                armed: None,
            },
            shutdown,
        }
    }
}

impl RawSend for Wire {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.sender.send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.sender.flush(deadline)
    }
}

impl RawReceive for Wire {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.receiver.receive(deadline)
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.receiver.poll(deadline)
    }
}

impl RawConn for Wire {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        (&mut self.sender, &mut self.receiver)
    }

    fn halves(&mut self) -> Option<(Box<dyn RawSend>, Box<dyn RawReceive>)> {
        let sender = Sender { stream: None, buffer: Vec::new(), armed: None };
        let receiver = Receiver {
            stream: None,
            decoder: Decoder::new(Limits::default()),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            armed: None,
        };
        Some((
            Box::new(mem::replace(&mut self.sender, sender)),
            Box::new(mem::replace(&mut self.receiver, receiver)),
        ))
    }

    fn has_unread(&self) -> bool {
        self.receiver.has_unread()
    }

    fn peek(&self) -> Result<Peek> {
        let stream = self.receiver.stream.as_ref().ok_or(Error::ConnClosed)?;
        Ok(stream.peek()?)
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    fn close(&mut self) {
        // Only what holds the stream: what was queued is lost, as redigo's close does not flush.
        self.sender.stream = None;
        self.receiver.stream = None;
        self.sender.buffer = Vec::new();
        self.receiver.buffer = Vec::new();
    }
}

/// The timeout that a socket was last given; unknown before the first.
type Armed = Option<Option<Duration>>;

/// The timeout for the next system call: what is left, rounded up to a whole millisecond, so
/// that calls in quick succession under one kind of limit agree and touch the socket once.
fn time_left(deadline: Option<Instant>, kind: TimeoutKind) -> Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Timeout(kind));
    }
    let whole = u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    Ok(Some(Duration::from_millis(whole)))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

struct Sender {
    stream: Option<Arc<dyn Stream>>,
    buffer: Vec<u8>,
    armed: Armed,
}

impl Sender {
    /// Writes the buffer, and counts what is written.
    fn write_all(&mut self, deadline: Option<Instant>, count: &mut usize) -> Result<()> {
        let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
        while let rest @ [_, ..] = &self.buffer[*count..] {
            let left = time_left(deadline, TimeoutKind::Write)?;
            if self.armed != Some(left) {
                stream.set_write_timeout(left)?;
                self.armed = Some(left);
            }
            match stream.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => *count += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The next round notices when time is up.
                Err(error) if is_timeout(&error) && deadline.is_some() => {}
                Err(error) if is_timeout(&error) => return Err(Error::Timeout(TimeoutKind::Write)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl RawSend for Sender {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        encode::command(&mut self.buffer, command, |out| args.write_args(out));
        if self.buffer.len() >= SPILL { self.flush(deadline) } else { Ok(()) }
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        let mut count = 0;
        let written = self.write_all(deadline, &mut count);
        match written {
            Ok(()) => self.buffer.clear(),
            // Whoever can go on later finds the rest.
            Err(_) => drop(self.buffer.drain(..count)),
        }
        self.buffer.shrink_to(KEEP);
        written
    }
}

struct Receiver {
    stream: Option<Arc<dyn Stream>>,
    decoder: Decoder,
    /// Received and not yet used: `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    armed: Armed,
}

impl Receiver {
    fn has_unread(&self) -> bool {
        self.start < self.end || !self.decoder.is_at_boundary()
    }

    /// Reads into the buffer, or into the long string that is being received.
    fn fill(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.make_room();
        loop {
            let left = time_left(deadline, TimeoutKind::Read)?;
            let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
            if self.armed != Some(left) {
                stream.set_read_timeout(left)?;
                self.armed = Some(left);
            }
            let read = match self.decoder.bulk_room() {
                Some((place, missing)) if self.start == self.end && missing >= READ => {
                    let read = read_into(stream, place, missing);
                    read.inspect(|&count| self.decoder.bulk_read(count))
                }
                _ => stream.read(&mut self.buffer[self.end..]).inspect(|count| self.end += count),
            };
            match read {
                Ok(0) => return Err(self.closed_by_peer()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The next round notices when time is up.
                Err(error) if is_timeout(&error) && deadline.is_some() => {}
                Err(error) if is_timeout(&error) => return Err(Error::Timeout(TimeoutKind::Read)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Leaves room for a read behind what the buffer holds.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > READ {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // Only a line longer than the buffer gets here, and the decoder bounds lines.
            self.buffer.resize((self.buffer.len() * 2).max(READ), 0);
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

/// Reads into the room behind `place`, which grows with what came so far.
fn read_into(stream: &dyn Stream, place: &mut Vec<u8>, missing: usize) -> io::Result<usize> {
    let before = place.len();
    let room = missing.min(before.clamp(READ, LONGEST_READ));
    place.resize(before + room, 0);
    let read = stream.read(&mut place[before..]);
    place.truncate(before + *read.as_ref().unwrap_or(&0));
    read
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

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        if self.has_unread() {
            return Ok(true);
        }
        let now_or_never = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if now_or_never {
            // No time to wait is no timeout for a socket; whether there is something it can tell.
            let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
            if matches!(stream.peek()?, Peek::Quiet | Peek::Unknown) {
                return Ok(false);
            }
            return self.fill(None).map(|()| true);
        }
        match self.fill(deadline) {
            Ok(()) => Ok(true),
            Err(Error::Timeout(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
