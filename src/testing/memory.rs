//! A stream in memory.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::stream::{Peek, Stream};
use crate::sync::{Condvar, Mutex};

/// A stream whose other end is the test: it reads what the test has put there and keeps what is
/// written. Clones are the same stream, so that a test can keep one.
///
/// ```
/// use redigo::{Dialer, testing::MemoryStream};
///
/// let stream = MemoryStream::new("+PONG\r\n");
/// let mut conn = Dialer::tcp(":6379").wrap(stream.clone());
/// assert_eq!(conn.query::<String>("PING", ())?, "PONG");
/// assert_eq!(stream.written(), b"*1\r\n$4\r\nPING\r\n");
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryStream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    input: VecDeque<u8>,
    /// Whether the end of the input is the end of the stream.
    ends: bool,
    written: Vec<u8>,
    writes: usize,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    shutdowns: usize,
}

impl MemoryStream {
    /// A stream that has these bytes to read, and then ends.
    pub fn new(input: impl AsRef<[u8]>) -> MemoryStream {
        let stream = MemoryStream::silent();
        stream.push(input);
        stream.end();
        stream
    }

    /// A stream that has nothing to read and does not end: reads wait for
    /// [`push`](MemoryStream::push), for their timeout or for a shutdown.
    pub fn silent() -> MemoryStream {
        let state = Mutex::new(State::default());
        MemoryStream(Arc::new(Inner { state, changed: Condvar::new() }))
    }

    /// Adds bytes to read.
    pub fn push(&self, input: impl AsRef<[u8]>) {
        self.0.state.lock().input.extend(input.as_ref());
        self.0.changed.notify_all();
    }

    /// Ends the stream behind what there is to read.
    pub fn end(&self) {
        self.0.state.lock().ends = true;
        self.0.changed.notify_all();
    }

    /// Everything written so far.
    pub fn written(&self) -> Vec<u8> {
        self.0.state.lock().written.clone()
    }

    /// Sets room aside for what will be written, for tests that count allocations.
    pub fn reserve_for_writes(&self, bytes: usize) {
        self.0.state.lock().written.reserve(bytes);
    }

    /// How many times something was written.
    pub fn writes(&self) -> usize {
        self.0.state.lock().writes
    }

    /// The read timeout that was set last.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.0.state.lock().read_timeout
    }

    /// The write timeout that was set last.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.0.state.lock().write_timeout
    }

    /// True once the stream was shut down, or only the test still holds it.
    pub fn is_closed(&self) -> bool {
        self.0.state.lock().shutdowns > 0 || Arc::strong_count(&self.0) == 1
    }
}

impl Stream for MemoryStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        let timeout = state.read_timeout;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        while state.input.is_empty() && !state.ends && state.shutdowns == 0 {
            let timed_out = match deadline {
                Some(at) => self.0.changed.wait_until(&mut state, at).timed_out(),
                None => {
                    self.0.changed.wait(&mut state);
                    false
                }
            };
            if timed_out {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        io::Read::read(&mut state.input, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.shutdowns > 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.written.extend_from_slice(bytes);
        state.writes += 1;
        Ok(bytes.len())
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.state.lock().read_timeout = timeout;
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.state.lock().write_timeout = timeout;
        Ok(())
    }

    fn shutdown(&self) {
        self.0.state.lock().shutdowns += 1;
        self.0.changed.notify_all();
    }

    fn peek(&self) -> io::Result<Peek> {
        let state = self.0.state.lock();
        Ok(match () {
            () if !state.input.is_empty() => Peek::Readable,
            () if state.ends || state.shutdowns > 0 => Peek::Closed,
            () => Peek::Quiet,
        })
    }
}
