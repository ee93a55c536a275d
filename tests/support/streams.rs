//! Streams between the crate and the test.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Peek, Stream};

/// Connects over this stream.
pub(crate) fn over(stream: &MemoryStream) -> Conn {
    Dialer::tcp(":6379").wrap(stream.clone())
}

/// Returns the bytes written to this stream, as text.
pub(crate) fn written(stream: &MemoryStream) -> String {
    String::from_utf8(stream.written()).unwrap()
}

/// A stream that returns its bytes in small pieces, or reports each read.
pub(crate) struct Tapped<S> {
    inner: S,
    piece: usize,
    on_read: Box<dyn Fn() + Send + Sync>,
}

impl<S> Tapped<S> {
    /// No read returns more than `piece` bytes.
    pub(crate) fn in_pieces(inner: S, piece: usize) -> Tapped<S> {
        Tapped { inner, piece, on_read: Box::new(|| {}) }
    }

    /// Calls `on_read` before each read.
    pub(crate) fn on_read(inner: S, on_read: impl Fn() + Send + Sync + 'static) -> Tapped<S> {
        Tapped { inner, piece: usize::MAX, on_read: Box::new(on_read) }
    }
}

impl<S: Stream> Stream for Tapped<S> {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.on_read)();
        let piece = self.piece.min(buffer.len());
        self.inner.read(&mut buffer[..piece])
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
    }

    fn shutdown(&self) {
        self.inner.shutdown();
    }

    fn peek(&self) -> io::Result<Peek> {
        self.inner.peek()
    }
}

/// A server in memory that records the dialed addresses and the written bytes.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) stream: MemoryStream,
    dialed: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Answers any commands with these bytes, and then ends.
    pub(crate) fn answering(replies: impl AsRef<[u8]>) -> Recorder {
        Recorder { stream: MemoryStream::new(replies), dialed: Arc::default() }
    }

    /// Returns the same dialer, but connected to this server.
    pub(crate) fn behind(&self, dialer: Dialer) -> Dialer {
        let recorder = self.clone();
        dialer.connector(move |_ctx, address| {
            recorder.dialed.lock().unwrap().push(address.to_string());
            Ok(Box::new(recorder.stream.clone()) as Box<dyn Stream>)
        })
    }

    /// Returns the dialed addresses.
    pub(crate) fn dialed(&self) -> Vec<String> {
        self.dialed.lock().unwrap().clone()
    }

    /// Returns the written bytes, as text.
    pub(crate) fn written(&self) -> String {
        written(&self.stream)
    }
}

/// Encodes a command of these words.
pub(crate) fn command(words: &[&str]) -> String {
    let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
}
