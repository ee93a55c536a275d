//! What a connection needs of a byte stream.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A blocking byte stream in both directions.
///
/// All methods take `&self`, as those of [`std::net::TcpStream`] can, because one thread may read
/// while another writes and a third shuts the stream down. `TcpStream` and `UnixStream` are
/// streams; a tunnel, a proxy or a stream that counts its bytes can be one too, given to
/// [`Dialer::connector`](crate::Dialer::connector) or [`Dialer::wrap`](crate::Dialer::wrap).
///
/// ```
/// use std::io;
/// use std::net::TcpStream;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::time::Duration;
/// use redigo::{Peek, Stream};
///
/// /// Counts what is sent.
/// struct Counting(TcpStream, Arc<AtomicUsize>);
///
/// impl Stream for Counting {
///     fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
///         Stream::read(&self.0, buffer)
///     }
///     fn write(&self, bytes: &[u8]) -> io::Result<usize> {
///         let count = Stream::write(&self.0, bytes)?;
///         self.1.fetch_add(count, Ordering::Relaxed);
///         Ok(count)
///     }
///     fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
///         self.0.set_read_timeout(timeout)
///     }
///     fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
///         self.0.set_write_timeout(timeout)
///     }
///     fn shutdown(&self) {
///         Stream::shutdown(&self.0);
///     }
///     fn peek(&self) -> io::Result<Peek> {
///         Stream::peek(&self.0)
///     }
/// }
/// ```
#[doc(alias = "net.Conn")]
pub trait Stream: Send + Sync {
    /// Waits for bytes and reads some. Zero means that the peer has closed the stream.
    ///
    /// # Errors
    /// Kind `WouldBlock` or `TimedOut` when the read timeout has passed, `Interrupted` when there
    /// is nothing yet and the caller is to try again.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes.
    ///
    /// # Errors
    /// As for [`read`](Stream::read). The call after such an error begins with the same bytes.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// The longest that one `read` may wait; never zero, `None` for no limit.
    ///
    /// # Errors
    /// When the stream is of no more use.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// The longest that one `write` may wait; never zero, `None` for no limit.
    ///
    /// # Errors
    /// When the stream is of no more use.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends the stream in both directions at once: reads and writes that wait on other threads
    /// return. The stream itself is closed when it is dropped.
    fn shutdown(&self);

    /// What a read would find, without waiting and without taking anything. The default says
    /// [`Peek::Unknown`], which costs the liveness checks their use on this stream.
    ///
    /// # Errors
    /// When the stream is broken.
    fn peek(&self) -> io::Result<Peek> {
        Ok(Peek::Unknown)
    }
}

/// What [`Stream::peek`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peek {
    /// Nothing to read, and the peer is there as far as one can see.
    Quiet,
    /// Bytes are waiting.
    Readable,
    /// The peer has closed the stream.
    Closed,
    /// This stream cannot tell.
    Unknown,
}

/// Ends a connection from another thread: a call that waits on it returns
/// [`Error::Canceled`](crate::Error::Canceled).
///
/// The handle keeps no socket open and outlives its connection without harm.
///
/// ```
/// use redigo::{Dialer, testing::MemoryStream};
///
/// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
/// let handle = conn.shutdown_handle();
/// let waiting = std::thread::spawn(move || conn.call("BLPOP", ("queue", 0)));
/// handle.shutdown();
/// assert!(waiting.join().unwrap().unwrap_err().is_canceled());
/// ```
#[derive(Clone)]
pub struct ShutdownHandle(Arc<Inner>);

struct Inner {
    used: AtomicBool,
    cut: Box<dyn Fn() + Send + Sync>,
}

impl ShutdownHandle {
    /// A handle that runs `cut`, which must make waiting calls return with an error. For those
    /// who implement [`RawConn`](crate::raw::RawConn); it should hold the connection weakly.
    pub fn new(cut: impl Fn() + Send + Sync + 'static) -> ShutdownHandle {
        ShutdownHandle(Arc::new(Inner { used: AtomicBool::new(false), cut: Box::new(cut) }))
    }

    /// Ends the connection. Once is enough; more does no harm.
    pub fn shutdown(&self) {
        self.0.used.store(true, Ordering::Release);
        (self.0.cut)();
    }

    /// True once somebody has asked for the end.
    pub(crate) fn is_used(&self) -> bool {
        self.0.used.load(Ordering::Acquire)
    }

    /// Ends the stream because it failed, not because somebody asked.
    pub(crate) fn cut(&self) {
        (self.0.cut)();
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("used", &self.is_used()).finish()
    }
}

/// One byte looked at on a socket, without waiting and without taking it.
pub(crate) fn peek_socket(socket: &socket2::SockRef<'_>) -> io::Result<Peek> {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match peek_now(socket, &mut byte) {
        Ok(0) => Ok(Peek::Closed),
        Ok(_) => Ok(Peek::Readable),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Peek::Quiet),
        Err(error) => Err(error),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const DONT_WAIT: Option<i32> = Some(0x40);
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "openbsd",
    target_os = "netbsd"
))]
const DONT_WAIT: Option<i32> = Some(0x80);
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "openbsd",
    target_os = "netbsd"
)))]
const DONT_WAIT: Option<i32> = None;

fn peek_now(
    socket: &socket2::SockRef<'_>,
    byte: &mut [std::mem::MaybeUninit<u8>],
) -> io::Result<usize> {
    /// The same on every system with sockets.
    const PEEK: i32 = 2;
    if let Some(dont_wait) = DONT_WAIT {
        return socket.recv_with_flags(byte, PEEK | dont_wait);
    }
    socket.set_nonblocking(true)?;
    let peeked = socket.peek(byte);
    socket.set_nonblocking(false)?;
    peeked
}
