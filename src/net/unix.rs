//! Unix sockets, and connecting them within a deadline.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
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
    let place = |error: io::Error| Error::io_context("cannot connect", Arc::new(error));
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
            return Err(TimeoutKind::Connect.into());
        }
        // The system would take a timeout below a microsecond for no timeout.
        let slice = left.clamp(Duration::from_millis(1), SLICE);
        socket.set_write_timeout(Some(slice)).map_err(place)?;
        match socket.connect(&address) {
            Ok(()) => break,
            Err(error) if is_transient(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // The system reports the same for a file that is not a socket.
                let why = format!("{error}; no server listens there, or it is not a socket");
                return Err(place(io::Error::new(error.kind(), why)));
            }
            Err(error) => return Err(place(error)),
        }
    }
    socket.set_write_timeout(None).map_err(place)?;
    Ok(UnixStream::from(socket))
}

/// Returns true for errors after which the connect can be repeated: a full queue, a signal.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Returns the error of a path that has a NUL byte, which would silently end the path.
///
/// On Linux a NUL at the beginning is a name in the abstract namespace.
pub(crate) fn validate(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let is_abstract = cfg!(any(target_os = "linux", target_os = "android"));
    let has_nul = bytes.iter().skip(usize::from(is_abstract)).any(|&byte| byte == 0);
    if has_nul {
        return Err(Error::InvalidConfig("the path of the Unix socket has a NUL byte".into()));
    }
    Ok(())
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
    fn a_missing_socket_is_an_error() {
        let error = connect(Path::new("/nonexistent/redis.sock"), &Context::background());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("cannot connect: No such file"), "{error}");
    }

    #[test]
    fn a_path_with_a_nul_byte_is_invalid() {
        for path in ["/run/redis\0.sock", "/run/redis.sock\0"] {
            let error = validate(Path::new(path)).unwrap_err();
            assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
        }
        validate(Path::new("/run/redis.sock")).unwrap();
        assert_eq!(validate(Path::new("\0redis")).is_ok(), cfg!(target_os = "linux"));
    }

    /// A signal interrupts a connect that waits, and the connect must continue.
    #[test]
    fn an_interrupted_connect_is_repeated() {
        assert!(is_transient(&io::ErrorKind::Interrupted.into()));
        assert!(is_transient(&io::ErrorKind::WouldBlock.into()));
        assert!(!is_transient(&io::ErrorKind::ConnectionRefused.into()));
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
