//! RESP over a stream: [`Wire`].

mod receiver;
mod sender;

use std::io;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use self::receiver::Receiver;
use self::sender::Sender;
use crate::args::ToArgs;
use crate::conn::command_buffer::EncodedCommands;
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::error::{Result, ServerError, TimeoutKind};
use crate::net::stream::{Peek, ShutdownHandle, Stream};
use crate::resp::decode::Limits;
use crate::value::Value;

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
            sender: Sender::new(Some(Arc::clone(&stream))),
            receiver: Receiver::new(Some(stream), limits),
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

    fn last_error(&mut self) -> Option<ServerError> {
        self.receiver.last_error()
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
        let sender = Sender::new(None);
        let receiver = Receiver::new(None, Limits::default());
        self.sender.resume_writes();
        Some((
            Box::new(mem::replace(&mut self.sender, sender)),
            Box::new(mem::replace(&mut self.receiver, receiver)),
        ))
    }

    fn has_unread(&self) -> bool {
        self.receiver.has_unread()
    }

    fn peek(&self) -> Result<Peek> {
        self.receiver.peek()
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    fn close(&mut self) {
        // Like redigo's close, this does not write the buffered commands.
        self.sender.close();
        self.receiver.close();
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
        return Err(kind.into());
    }
    let whole = u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    Ok(Some(Duration::from_millis(whole)))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
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
        let mut wire = Wire::new(Arc::clone(&stream) as Arc<dyn Stream>, Limits::default());
        wire.sender.resume_writes();
        (wire, stream)
    }

    /// Continues after every timeout until all bytes are written.
    fn write_rest(wire: &mut Wire, mut outcome: Result<()>) {
        while let Err(error) = outcome {
            assert_eq!(error.timeout_kind(), Some(TimeoutKind::Write));
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

    #[test]
    fn write_that_times_out_keeps_no_copy_of_the_rest() {
        let large = vec![b'x'; 10 << 20];
        let mut commands = CommandBuffer::new();
        commands.push("SET", &("k", &large));
        let stream = Arc::new(NarrowStream { piece: 1_000, ..NarrowStream::default() });
        let mut wire = Wire::new(stream, Limits::default());
        let timed_out = Err(Some(TimeoutKind::Write));
        let sent = wire.send("SET", &("k", &large), None);
        assert_eq!(sent.map_err(|error| error.timeout_kind()), timed_out);
        let sent = wire.write_encoded(commands.range(0..1), None);
        assert_eq!(sent.map_err(|error| error.timeout_kind()), timed_out);
        assert!(wire.sender.buffer.capacity() < 1024);
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
