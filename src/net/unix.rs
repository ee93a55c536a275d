//! Unix sockets, and connecting them within a deadline.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::stream::{Peek, Stream, peek_socket};
use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};

/// The longest time until a cancellation is noticed.
const SLICE: Duration = Duration::from_millis(50);

/// Connects to the socket at this path.
pub(crate) fn connect(path: &Path, ctx: &Context) -> Result<UnixStream> {
    let place = |error: io::Error| {
        Error::io_context(format_args!("connecting to {}", path.display()), Arc::new(error))
    };
    let address = SockAddr::unix(path).map_err(place)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(place)?;
    // A local connect waits only while the server's queue is full. Only the send timeout ends
    // that wait, so the loop waits in slices and checks the context between them.
    loop {
        if ctx.is_canceled() {
            return Err(Error::Canceled);
        }
        let left = ctx.remaining().unwrap_or(SLICE);
        if left.is_zero() {
            return Err(Error::Timeout(TimeoutKind::Connect));
        }
        // The system would take a timeout below a microsecond for no timeout.
        let slice = left.clamp(Duration::from_millis(1), SLICE);
        socket.set_write_timeout(Some(slice)).map_err(place)?;
        match socket.connect(&address) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(place(error)),
        }
    }
    socket.set_write_timeout(None).map_err(place)?;
    Ok(UnixStream::from(socket))
}

impl Stream for UnixStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = self;
        Read::read(&mut socket, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self;
        Write::write(&mut socket, bytes)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        UnixStream::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        UnixStream::set_write_timeout(self, timeout)
    }

    fn shutdown(&self) {
        let _ = UnixStream::shutdown(self, Shutdown::Both);
    }

    fn peek(&self) -> io::Result<Peek> {
        peek_socket(&SockRef::from(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_missing_socket() {
        let error = connect(Path::new("/nonexistent/redis.sock"), &Context::background());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("connecting to /nonexistent/redis.sock: "), "{error}");
    }

    #[test]
    fn a_path_too_long_for_a_socket_fails() {
        let path = "x".repeat(500);
        assert!(connect(Path::new(&path), &Context::background()).is_err());
    }

    #[test]
    fn a_peek_reports_quiet_readable_and_closed() {
        let (stream, mut peer) = UnixStream::pair().unwrap();
        assert_eq!(Stream::peek(&stream).unwrap(), Peek::Quiet);
        peer.write_all(b"x").unwrap();
        assert_eq!(Stream::peek(&stream).unwrap(), Peek::Readable);
        assert_eq!(Stream::read(&stream, &mut [0; 8]).unwrap(), 1);
        drop(peer);
        assert_eq!(Stream::peek(&stream).unwrap(), Peek::Closed);
    }
}
