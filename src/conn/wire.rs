//! RESP over a stream.

use std::io;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::args::ToArgs;
use crate::conn::command_buffer::EncodedCommands;
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::{Peek, ShutdownHandle, Stream};
use crate::resp::decode::{Decoder, Limits};
use crate::resp::encode::{self, Gap};
use crate::value::Value;

/// A write buffer of this size is written without waiting for a flush.
const FLUSH_AT: usize = 64 * 1024;
/// An empty write buffer keeps at most this capacity.
const RETAIN: usize = 2 * FLUSH_AT;
/// The most bytes of one read, unless it goes directly into a long string.
const READ_CHUNK: usize = 16 * 1024;

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
            sender: Sender { stream: Some(Arc::clone(&stream)), buffer: Vec::new(), timeout: None },
            receiver: Receiver {
                stream: Some(stream),
                decoder: Decoder::new(limits),
                buffer: Vec::new(),
                start: 0,
                end: 0,
                timeout: None,
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

    fn write_encoded(
        &mut self,
        commands: EncodedCommands<'_>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        self.sender.write_encoded(commands, deadline)
    }
}

impl RawReceive for Wire {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.receiver.receive(deadline)
    }

    fn open_list(&mut self, deadline: Option<Instant>) -> Result<usize> {
        self.receiver.open_list(deadline)
    }

    fn take_bulk(&mut self) -> Option<&[u8]> {
        self.receiver.take_bulk()
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
        let sender = Sender { stream: None, buffer: Vec::new(), timeout: None };
        let receiver = Receiver {
            stream: None,
            decoder: Decoder::new(Limits::default()),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            timeout: None,
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
        // Like redigo's close, this does not write the buffered commands.
        self.sender.stream = None;
        self.receiver.stream = None;
        self.sender.buffer = Vec::new();
        self.receiver.buffer = Vec::new();
    }
}

/// The timeout that was last set on the socket; unknown at first.
type CachedTimeout = Option<Option<Duration>>;

/// Returns the timeout for the next system call: the time left, rounded up to a millisecond, so
/// that calls in quick succession set the same timeout and skip the system call that sets it.
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
    timeout: CachedTimeout,
}

impl Sender {
    /// Writes the bytes, and counts the bytes that are written.
    fn write_all(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
        count: &mut usize,
    ) -> Result<()> {
        let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
        while let rest @ [_, ..] = &bytes[*count..] {
            let left = time_left(deadline, TimeoutKind::Write)?;
            if self.timeout != Some(left) {
                stream.set_write_timeout(left)?;
                self.timeout = Some(left);
            }
            match stream.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => *count += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The next iteration checks the deadline.
                Err(error) if is_timeout(&error) && deadline.is_some() => {}
                Err(error) if is_timeout(&error) => return Err(Error::Timeout(TimeoutKind::Write)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes the buffer up to the last gap, and into each gap its large argument, without copying
    /// it. The bytes behind the last gap stay in the buffer, and after a timeout all bytes that
    /// were not written, so that a later call can continue.
    fn write_with_gaps(
        &mut self,
        gaps: &[Gap],
        args: &dyn ToArgs,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let queued = mem::take(&mut self.buffer);
        let mut outcome = Ok(());
        let mut done = 0;
        let mut gaps = gaps.iter();
        encode::fill_gaps(|out| args.write_args(out), &mut |arg| match gaps.next() {
            Some(gap) if gap.length == arg.len() => {
                for piece in [&queued[done..gap.at], arg] {
                    let mut count = 0;
                    if outcome.is_ok() {
                        outcome = self.write_all(piece, deadline, &mut count);
                    }
                    // After any other error the connection has ended.
                    if let Err(Error::Timeout(_)) = outcome {
                        self.buffer.extend_from_slice(&piece[count..]);
                    }
                }
                done = gap.at;
            }
            _ => outcome = Err(changed()),
        });
        self.buffer.extend_from_slice(&queued[done..]);
        if gaps.next().is_some() { Err(changed()) } else { outcome }
    }
}

/// The error for arguments that differ when they are written a second time.
fn changed() -> Error {
    let what = "the arguments of a command changed while it was being sent";
    io::Error::new(io::ErrorKind::InvalidInput, what).into()
}

impl RawSend for Sender {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        let gaps = encode::command(&mut self.buffer, command, |out| args.write_args(out));
        if !gaps.is_empty() {
            return self.write_with_gaps(&gaps, args, deadline);
        }
        if self.buffer.len() >= FLUSH_AT { self.flush(deadline) } else { Ok(()) }
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        let mut buffer = mem::take(&mut self.buffer);
        let mut count = 0;
        let written = self.write_all(&buffer, deadline, &mut count);
        match written {
            Ok(()) => buffer.clear(),
            // A later call can continue with the rest.
            Err(_) => drop(buffer.drain(..count)),
        }
        buffer.shrink_to(RETAIN);
        self.buffer = buffer;
        written
    }

    /// Writes the commands without copying them. Bytes that are not written go into the buffer.
    fn write_encoded(
        &mut self,
        commands: EncodedCommands<'_>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let bytes = commands.bytes();
        let mut count = 0;
        let written =
            self.flush(deadline).and_then(|()| self.write_all(bytes, deadline, &mut count));
        self.buffer.extend_from_slice(&bytes[count..]);
        written
    }
}

struct Receiver {
    stream: Option<Arc<dyn Stream>>,
    decoder: Decoder,
    /// `buffer[start..end]` is received and not yet decoded.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    timeout: CachedTimeout,
}

impl Receiver {
    fn has_unread(&self) -> bool {
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
                Err(error) if is_timeout(&error) => return Err(Error::Timeout(TimeoutKind::Read)),
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
            Peek::Readable | Peek::Closed => self.fill(None).map(|()| true),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::command_buffer::CommandBuffer;
    use crate::sync::Mutex;

    /// Takes `piece` bytes at a time, has no room at each third call, and records the bytes and
    /// their addresses.
    #[derive(Default)]
    struct NarrowStream {
        piece: usize,
        calls: Mutex<usize>,
        written: Mutex<Vec<u8>>,
        addresses: Mutex<Vec<usize>>,
    }

    impl Stream for NarrowStream {
        fn read(&self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            let mut calls = self.calls.lock();
            *calls += 1;
            if *calls % 3 == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.piece);
            self.written.lock().extend_from_slice(&bytes[..count]);
            self.addresses.lock().push(bytes.as_ptr() as usize);
            Ok(count)
        }
        fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
        fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
        fn shutdown(&self) {}
    }

    fn narrow(piece: usize) -> (Wire, Arc<NarrowStream>) {
        let stream = Arc::new(NarrowStream { piece, ..NarrowStream::default() });
        (Wire::new(Arc::clone(&stream) as Arc<dyn Stream>, Limits::default()), stream)
    }

    /// Continues after every timeout until all bytes are written.
    fn write_rest(wire: &mut Wire, mut outcome: Result<()>) {
        while let Err(error) = outcome {
            assert!(matches!(error, Error::Timeout(TimeoutKind::Write)), "{error}");
            outcome = wire.flush(None);
        }
    }

    #[test]
    fn large_arguments_arrive_complete_after_partial_writes() {
        let large = "x".repeat(200_000);
        let larger = "y".repeat(300_000);
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        for piece in [1_000, 65_536, 250_000, usize::MAX] {
            let (mut wire, stream) = narrow(piece);
            for _ in 0..3 {
                let sent = wire.send("GET", &"k", None);
                write_rest(&mut wire, sent);
                let sent = wire.send("MSET", &("a", &large, "b", 1, "c", &larger), None);
                write_rest(&mut wire, sent);
            }
            let flushed = wire.flush(None);
            write_rest(&mut wire, flushed);
            let mset = ["MSET", "a", &large, "b", "1", "c", &larger].map(bulk).concat();
            let expected = format!("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*7\r\n{mset}").repeat(3);
            assert!(*stream.written.lock() == expected.as_bytes(), "in pieces of {piece}");
        }
    }

    #[test]
    fn encoded_commands_follow_the_write_buffer() {
        let mut commands = CommandBuffer::new();
        (0..1000).for_each(|at| commands.push("SET", &(at, "x".repeat(at))));
        for piece in [1_000, 65_536, usize::MAX] {
            let (mut wire, stream) = narrow(piece);
            wire.send("PING", &(), None).unwrap();
            let sent = wire.write_encoded(commands.range(0..400), None);
            write_rest(&mut wire, sent);
            let sent = wire.write_encoded(commands.range(400..1000), None);
            write_rest(&mut wire, sent);
            let expected = [b"*1\r\n$4\r\nPING\r\n", commands.range(0..1000).bytes()].concat();
            assert!(*stream.written.lock() == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn large_argument_is_not_copied() {
        let large = vec![b'x'; 10 << 20];
        let (mut wire, stream) = narrow(usize::MAX);
        wire.send("SET", &("k", &large), None).unwrap();
        assert!(wire.sender.buffer.capacity() < 1024, "no copy of it");
        write_rest(&mut wire, Ok(()));
        assert_eq!(stream.addresses.lock()[1], large.as_ptr() as usize);
        assert!(stream.written.lock().ends_with(&large[..1000]));
    }

    /// Has its first reply exactly when the deadline has passed.
    struct LateStream(Instant, Mutex<usize>);

    impl Stream for LateStream {
        fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut calls = self.1.lock();
            *calls += 1;
            if *calls == 1 {
                std::thread::sleep(self.0.saturating_duration_since(Instant::now()));
                return Err(io::ErrorKind::WouldBlock.into());
            }
            buffer[..4].copy_from_slice(b":1\r\n");
            Ok(4)
        }
        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
        fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
        fn shutdown(&self) {}
        fn peek(&self) -> io::Result<Peek> {
            Ok(if *self.1.lock() == 0 { Peek::Quiet } else { Peek::Readable })
        }
    }

    #[test]
    fn poll_looks_once_more_after_its_deadline() {
        let end = Instant::now() + Duration::from_millis(5);
        let mut wire = Wire::new(Arc::new(LateStream(end, Mutex::default())), Limits::default());
        assert!(wire.poll(Some(end)).unwrap());
        assert_eq!(wire.receive(None).unwrap(), Value::Int(1));
        assert!(wire.poll(Some(end)).unwrap(), "the next reply is there");
        let quiet = LateStream(end, Mutex::default());
        let mut wire = Wire::new(Arc::new(quiet), Limits::default());
        assert!(!wire.poll(Some(end)).unwrap(), "there is no reply");
    }

    #[test]
    fn arguments_that_change_end_the_connection() {
        use crate::args::ArgWriter;
        use std::cell::Cell;

        /// Writes a different number of large arguments each time.
        struct Changing(Cell<usize>, bool);
        impl ToArgs for Changing {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                let turn = self.0.replace(self.0.get() + 1);
                let count = if self.1 { 3 - turn } else { 1 + turn };
                (0..count).for_each(|_| out.bytes(&[0; 100_000]));
            }
        }
        for more in [true, false] {
            let (mut wire, _) = narrow(usize::MAX);
            let error = wire.send("DEL", &Changing(Cell::new(0), more), None).unwrap_err();
            assert!(error.is_fatal() && error.to_string().contains("changed"), "{error}");
        }
    }
}
