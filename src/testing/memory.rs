//! A stream in memory, for tests of the bytes on the wire.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::stream::{Peek, Stream};
use crate::sync::{Condvar, Mutex};

/// A stream whose other end is the test: it reads the bytes that the test pushes and records the
/// bytes that are written. Clones are the same stream, so a test can keep one.
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
    /// The stream ends after the input.
    ends: bool,
    written: Vec<u8>,
    writes: usize,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    shutdowns: usize,
}

impl MemoryStream {
    /// Creates a stream that contains these bytes and then ends.
    ///
    /// ```
    /// use redigo::{Dialer, testing::MemoryStream};
    ///
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(":1\r\n"));
    /// assert_eq!(conn.query::<i64>("INCR", "k")?, 1);
    /// assert!(conn.receive().is_err()); // the end of the stream
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn new(input: impl AsRef<[u8]>) -> MemoryStream {
        let stream = MemoryStream::silent();
        stream.push(input);
        stream.end();
        stream
    }

    /// Creates an empty stream that does not end: reads wait for [`push`](MemoryStream::push), for
    /// their timeout, or for a shutdown.
    ///
    /// ```
    /// use redigo::{Dialer, testing::MemoryStream};
    /// use std::time::Duration;
    ///
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let error = conn.receive_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// ```
    pub fn silent() -> MemoryStream {
        let state = Mutex::new(State::default());
        MemoryStream(Arc::new(Inner { state, changed: Condvar::new() }))
    }

    /// Adds bytes for the client to read.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// let stream = MemoryStream::silent();
    /// stream.push("+OK\r\n");
    /// Dialer::tcp(":6379").wrap(stream).call("SET", ("k", 1))?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn push(&self, input: impl AsRef<[u8]>) {
        self.0.state.lock().input.extend(input.as_ref());
        self.0.changed.notify_all();
    }

    /// Ends the stream after the bytes pushed so far.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// let stream = MemoryStream::silent();
    /// stream.end();
    /// assert!(Dialer::tcp(":6379").wrap(stream).receive().is_err());
    /// ```
    pub fn end(&self) {
        self.0.state.lock().ends = true;
        self.0.changed.notify_all();
    }

    /// Returns the bytes that the client has written so far.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// let stream = MemoryStream::new("+PONG\r\n");
    /// Dialer::tcp(":6379").wrap(stream.clone()).call("PING", ())?;
    /// assert_eq!(stream.written(), b"*1\r\n$4\r\nPING\r\n");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn written(&self) -> Vec<u8> {
        self.0.state.lock().written.clone()
    }

    /// Returns the number of writes so far.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// let stream = MemoryStream::new("+OK\r\n+OK\r\n");
    /// let mut conn = Dialer::tcp(":6379").wrap(stream.clone());
    /// conn.pipeline().cmd("SET", ("a", 1)).cmd("SET", ("b", 2)).query::<()>()?;
    /// assert_eq!(stream.writes(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn writes(&self) -> usize {
        self.0.state.lock().writes
    }

    /// Returns the read timeout that was set last.
    ///
    /// ```
    /// # use redigo::{Stream, testing::MemoryStream};
    /// # use std::time::Duration;
    /// let stream = MemoryStream::silent();
    /// stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    /// assert_eq!(stream.read_timeout(), Some(Duration::from_secs(1)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_timeout(&self) -> Option<Duration> {
        self.0.state.lock().read_timeout
    }

    /// Returns the write timeout that was set last.
    ///
    /// ```
    /// # use redigo::{Stream, testing::MemoryStream};
    /// # use std::time::Duration;
    /// let stream = MemoryStream::silent();
    /// stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    /// assert_eq!(stream.write_timeout(), Some(Duration::from_secs(1)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_timeout(&self) -> Option<Duration> {
        self.0.state.lock().write_timeout
    }

    /// Returns true if the stream was shut down, or if only this handle is left.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// let stream = MemoryStream::silent();
    /// let conn = Dialer::tcp(":6379").wrap(stream.clone());
    /// assert!(!stream.is_closed());
    /// drop(conn);
    /// assert!(stream.is_closed());
    /// ```
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
