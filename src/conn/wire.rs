//! RESP over a stream.

use std::io;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::args::ToArgs;
use crate::conn::command_buffer::Encoded;
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::{Peek, ShutdownHandle, Stream};
use crate::resp::decode::{Decoder, Limits};
use crate::resp::encode::{self, Gap};
use crate::value::Value;

/// More than this in the write buffer is written without waiting for a flush.
const SPILL: usize = 64 * 1024;
/// A buffer that has grown beyond this is given back when it is empty.
const KEEP: usize = 2 * SPILL;
/// One read takes at most this, unless it goes straight into a long string.
const READ: usize = 16 * 1024;

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

    fn write_encoded(&mut self, commands: Encoded<'_>, deadline: Option<Instant>) -> Result<()> {
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
    /// Writes the bytes, and counts what is written.
    fn write_all(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
        count: &mut usize,
    ) -> Result<()> {
        let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
        while let rest @ [_, ..] = &bytes[*count..] {
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

    /// Writes what is queued up to the last of the gaps, and into each gap the large argument that
    /// belongs there, from where it lies. What is behind the last one stays queued, and after a
    /// timeout all that was not written: whoever can go on later finds it.
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
                    // After any other error nobody goes on.
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

/// Arguments of the user's own were others when they were written again: nothing can come of it.
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
        if self.buffer.len() >= SPILL { self.flush(deadline) } else { Ok(()) }
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        let mut buffer = mem::take(&mut self.buffer);
        let mut count = 0;
        let written = self.write_all(&buffer, deadline, &mut count);
        match written {
            Ok(()) => buffer.clear(),
            // Whoever can go on later finds the rest.
            Err(_) => drop(buffer.drain(..count)),
        }
        buffer.shrink_to(KEEP);
        self.buffer = buffer;
        written
    }

    /// From where they lie. After a timeout what is not written is queued.
    fn write_encoded(&mut self, commands: Encoded<'_>, deadline: Option<Instant>) -> Result<()> {
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
                // The next round notices when time is up.
                Err(error) if is_timeout(&error) && deadline.is_some() => {}
                Err(error) if is_timeout(&error) => return Err(Error::Timeout(TimeoutKind::Read)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads if there is something to read. No time to wait is no timeout for a socket, but it can
    /// tell without waiting.
    fn fill_at_once(&mut self) -> Result<bool> {
        let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
        match stream.peek()? {
            Peek::Quiet | Peek::Unknown => Ok(false),
            Peek::Readable | Peek::Closed => self.fill(None).map(|()| true),
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
            Err(Error::Timeout(_)) => self.fill_at_once(),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::command_buffer::Queue;
    use crate::sync::Mutex;

    /// Takes so many bytes at a time, now and then has no room, and remembers what it took and
    /// from where.
    #[derive(Default)]
    struct Narrow {
        piece: usize,
        calls: Mutex<usize>,
        written: Mutex<Vec<u8>>,
        places: Mutex<Vec<usize>>,
    }

    impl Stream for Narrow {
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
            self.places.lock().push(bytes.as_ptr() as usize);
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

    fn narrow(piece: usize) -> (Wire, Arc<Narrow>) {
        let stream = Arc::new(Narrow { piece, ..Narrow::default() });
        (Wire::new(Arc::clone(&stream) as Arc<dyn Stream>, Limits::default()), stream)
    }

    /// Goes on until it is through, after every timeout.
    fn persist(wire: &mut Wire, mut outcome: Result<()>) {
        while let Err(error) = outcome {
            assert!(matches!(error, Error::Timeout(TimeoutKind::Write)), "{error}");
            outcome = wire.flush(None);
        }
    }

    #[test]
    fn large_arguments_go_out_whole_whatever_interrupts_them() {
        let large = "x".repeat(200_000);
        let larger = "y".repeat(300_000);
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        for piece in [1_000, 65_536, 250_000, usize::MAX] {
            let (mut wire, stream) = narrow(piece);
            for _ in 0..3 {
                let sent = wire.send("GET", &"k", None);
                persist(&mut wire, sent);
                let sent = wire.send("MSET", &("a", &large, "b", 1, "c", &larger), None);
                persist(&mut wire, sent);
            }
            let flushed = wire.flush(None);
            persist(&mut wire, flushed);
            let mset = ["MSET", "a", &large, "b", "1", "c", &larger].map(bulk).concat();
            let expected = format!("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*7\r\n{mset}").repeat(3);
            assert!(*stream.written.lock() == expected.as_bytes(), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_queue_goes_out_whole_behind_what_was_queued_before() {
        let mut queue = Queue::new();
        (0..1000).for_each(|at| queue.push("SET", &(at, "x".repeat(at))));
        for piece in [1_000, 65_536, usize::MAX] {
            let (mut wire, stream) = narrow(piece);
            wire.send("PING", &(), None).unwrap();
            let sent = wire.write_encoded(queue.range(0..400), None);
            persist(&mut wire, sent);
            let sent = wire.write_encoded(queue.range(400..1000), None);
            persist(&mut wire, sent);
            let expected = [b"*1\r\n$4\r\nPING\r\n", queue.range(0..1000).bytes()].concat();
            assert!(*stream.written.lock() == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_large_argument_is_written_from_where_it_lies() {
        let large = vec![b'x'; 10 << 20];
        let (mut wire, stream) = narrow(usize::MAX);
        wire.send("SET", &("k", &large), None).unwrap();
        assert!(wire.sender.buffer.capacity() < 1024, "no copy of it");
        persist(&mut wire, Ok(()));
        assert_eq!(stream.places.lock()[1], large.as_ptr() as usize);
        assert!(stream.written.lock().ends_with(&large[..1000]));
    }

    /// Whose first reply comes just when the time to wait for it is over.
    struct Late(Instant, Mutex<usize>);

    impl Stream for Late {
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
    fn a_poll_looks_once_more_when_its_time_is_over() {
        let end = Instant::now() + Duration::from_millis(5);
        let mut wire = Wire::new(Arc::new(Late(end, Mutex::default())), Limits::default());
        assert!(wire.poll(Some(end)).unwrap());
        assert_eq!(wire.receive(None).unwrap(), Value::Int(1));
        assert!(wire.poll(Some(end)).unwrap(), "the next is there as well");
        let quiet = Late(end, Mutex::default());
        let mut wire = Wire::new(Arc::new(quiet), Limits::default());
        assert!(!wire.poll(Some(end)).unwrap(), "nothing is there, and no time to wait");
    }

    #[test]
    fn arguments_that_change_end_the_connection() {
        use crate::args::ArgWriter;
        use std::cell::Cell;

        /// Writes another number of large arguments each time.
        struct Fickle(Cell<usize>, bool);
        impl ToArgs for Fickle {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                let turn = self.0.replace(self.0.get() + 1);
                let count = if self.1 { 3 - turn } else { 1 + turn };
                (0..count).for_each(|_| out.bytes(&[0; 100_000]));
            }
        }
        for more in [true, false] {
            let (mut wire, _) = narrow(usize::MAX);
            let error = wire.send("DEL", &Fickle(Cell::new(0), more), None).unwrap_err();
            assert!(error.is_fatal() && error.to_string().contains("changed"), "{error}");
        }
    }
}
