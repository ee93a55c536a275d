//! A peer that sends given bytes in pieces of given sizes.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redigo::{Conn, Dialer, Error, Peek, Stream, Value};

/// A stream that returns its bytes in pieces, one for each read, then ends. Keeps the written bytes.
#[derive(Clone)]
pub(crate) struct Pieces(Arc<Mutex<State>>);

struct State {
    input: Vec<u8>,
    at: usize,
    /// The sizes of the pieces, repeated. If empty, each read gets as many bytes as it asks for.
    sizes: Vec<usize>,
    reads: usize,
    written: Vec<u8>,
}

impl Pieces {
    pub(crate) fn new(input: &[u8], sizes: &[usize]) -> Pieces {
        let (input, sizes) = (input.to_vec(), sizes.to_vec());
        Pieces(Arc::new(Mutex::new(State { input, at: 0, sizes, reads: 0, written: Vec::new() })))
    }

    pub(crate) fn conn(&self) -> Conn {
        Dialer::tcp(":6379").wrap(self.clone())
    }

    pub(crate) fn written(&self) -> Vec<u8> {
        self.0.lock().unwrap().written.clone()
    }
}

impl Stream for Pieces {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        let wanted = match state.sizes.len() {
            0 => usize::MAX,
            count => state.sizes[state.reads % count].max(1),
        };
        state.reads += 1;
        let (from, left) = (state.at, state.input.len() - state.at);
        let count = wanted.min(left).min(buffer.len());
        buffer[..count].copy_from_slice(&state.input[from..from + count]);
        state.at += count;
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().written.extend_from_slice(bytes);
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
        Ok(Peek::Unknown)
    }
}

/// Returns all replies in the bytes, and the error at the end: the end of the stream, or a protocol
/// error.
pub(crate) fn replies(input: &[u8], sizes: &[usize]) -> (Vec<Value>, String) {
    let mut conn = Pieces::new(input, sizes).conn();
    let mut replies = Vec::new();
    loop {
        match conn.receive() {
            Ok(reply) => replies.push(reply),
            Err(Error::Server(error)) => replies.push(Value::Error(error)),
            Err(error) => {
                assert!(error.is_fatal(), "an error that is not fatal: {error:?}");
                return (replies, error.to_string());
            }
        }
    }
}
