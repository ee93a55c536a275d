//! The byte stream below a connection, and the handle that shuts it down.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A blocking byte stream in both directions.
///
/// All methods take `&self`, because one thread can read while another writes and a third shuts
/// the stream down. `TcpStream` and `UnixStream` implement this trait. Implement it for a tunnel,
/// a proxy or a stream that counts its bytes, and pass the stream to
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
/// /// Counts the bytes that are sent.
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
///
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let sent = Arc::new(AtomicUsize::new(0));
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// let mut conn = redigo::Dialer::tcp("").wrap(Counting(stream, Arc::clone(&sent)));
/// conn.send("PING", ())?;
/// conn.flush()?;
/// assert_eq!(sent.load(Ordering::Relaxed), b"*1\r\n$4\r\nPING\r\n".len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "net.Conn")]
pub trait Stream: Send + Sync {
    /// Waits for bytes and reads some of them. Returns 0 if the peer has closed the stream.
    ///
    /// # Errors
    /// Kind `WouldBlock` or `TimedOut` when the read timeout has passed, `Interrupted` if there
    /// are no bytes yet and the caller must try again. Any other error ends the stream.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes and returns how many.
    ///
    /// # Errors
    /// Like [`read`](Stream::read). The call after such an error begins with the same bytes.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sets how long one `read` can wait. The timeout is never zero; `None` means no limit.
    ///
    /// # Errors
    /// Any error ends the stream.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets how long one `write` can wait. The timeout is never zero; `None` means no limit.
    ///
    /// # Errors
    /// Any error ends the stream.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends the stream in both directions: reads and writes that wait on other threads return.
    /// Dropping the stream closes it.
    ///
    /// ```
    /// use redigo::{Stream, testing::MemoryStream};
    ///
    /// let stream = MemoryStream::silent();
    /// let reader = stream.clone();
    /// let waiting = std::thread::spawn(move || reader.read(&mut [0; 8]));
    /// stream.shutdown();
    /// assert!(matches!(waiting.join().unwrap(), Ok(0) | Err(_)));
    /// ```
    fn shutdown(&self);

    /// Returns what a read would find, without waiting and without consuming any bytes.
    ///
    /// The default implementation returns [`Peek::Unknown`]. Liveness checks then have no effect
    /// on this stream.
    ///
    /// # Errors
    /// Any error means that the stream is broken.
    ///
    /// ```
    /// use redigo::{Peek, Stream, testing::MemoryStream};
    ///
    /// let stream = MemoryStream::silent();
    /// assert_eq!(stream.peek()?, Peek::Quiet);
    /// stream.push("+OK\r\n");
    /// assert_eq!(stream.peek()?, Peek::Readable);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn peek(&self) -> io::Result<Peek> {
        Ok(Peek::Unknown)
    }
}

/// The result of [`Stream::peek`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peek {
    /// There is nothing to read, and the peer has not closed the stream.
    Quiet,
    /// There are bytes to read.
    Readable,
    /// The peer has closed the stream.
    Closed,
    /// The stream cannot answer.
    Unknown,
}

/// Ends a connection from another thread: a call that waits on it returns
/// [`Error::Canceled`](crate::Error::Canceled).
///
/// The handle does not keep the socket open, and it can outlive its connection. The handle of a
/// connection of a [`Pool`](crate::Pool) belongs to one checkout: it does nothing after the
/// connection was returned, and a connection that it has ended is not checked out again. After
/// [`detach`](crate::PooledConn::detach) it stays valid.
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
pub struct ShutdownHandle {
    inner: Arc<Inner>,
    /// The checkout that the handle belongs to. Without one, it is valid as long as the connection.
    checkout: Option<usize>,
}

struct Inner {
    /// The flags [`USED`] and [`LENT`], and above them the number of the checkout. One word, so that
    /// a shutdown comes either before the end of a checkout or after it.
    state: AtomicUsize,
    cut: Box<dyn Fn() + Send + Sync>,
}

/// The connection was shut down.
const USED: usize = 1;
/// There are handles of the current checkout.
const LENT: usize = 2;
/// The first checkout; the next one has twice this number.
const CHECKOUT: usize = 4;

impl ShutdownHandle {
    /// Returns a handle that runs `cut`, for implementations of
    /// [`RawConn`](crate::raw::RawConn).
    ///
    /// The function must make waiting calls return with an error. It should hold the connection
    /// through a [`Weak`](std::sync::Weak).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use redigo::{ShutdownHandle, Stream, testing::MemoryStream};
    ///
    /// let stream = Arc::new(MemoryStream::silent());
    /// let weak = Arc::downgrade(&stream);
    /// let handle = ShutdownHandle::new(move || {
    ///     if let Some(stream) = weak.upgrade() {
    ///         stream.shutdown();
    ///     }
    /// });
    /// handle.shutdown();
    /// assert!(stream.is_closed());
    /// ```
    pub fn new(cut: impl Fn() + Send + Sync + 'static) -> ShutdownHandle {
        let inner = Inner { state: AtomicUsize::new(0), cut: Box::new(cut) };
        ShutdownHandle { inner: Arc::new(inner), checkout: None }
    }

    /// Ends the connection. Further calls have no effect.
    ///
    /// ```
    /// use redigo::{Dialer, testing::MemoryStream};
    ///
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n"));
    /// conn.shutdown_handle().shutdown();
    /// assert!(conn.call("PING", ()).unwrap_err().is_canceled());
    /// ```
    pub fn shutdown(&self) {
        let used = |state: usize| {
            let is_valid = self.checkout.is_none_or(|own| own == state / CHECKOUT);
            is_valid.then_some(state | USED)
        };
        let state = &self.inner.state;
        if state.fetch_update(Ordering::AcqRel, Ordering::Acquire, used).is_ok() {
            (self.inner.cut)();
        }
    }

    /// Returns true after a call of `shutdown`.
    pub(crate) fn is_used(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) & USED != 0
    }

    /// Ends the stream after a failure; `is_used` stays as it is.
    pub(crate) fn cut(&self) {
        (self.inner.cut)();
    }

    /// Returns a handle that belongs to the current checkout.
    pub(crate) fn of_checkout(&self) -> ShutdownHandle {
        let state = self.inner.state.fetch_or(LENT, Ordering::AcqRel);
        ShutdownHandle { inner: Arc::clone(&self.inner), checkout: Some(state / CHECKOUT) }
    }

    /// Ends the current checkout: its handles do nothing from now on. Returns false if the
    /// connection was shut down before.
    #[inline]
    pub(crate) fn end_checkout(&self) -> bool {
        let state = self.inner.state.load(Ordering::Acquire);
        match state & (USED | LENT) {
            0 => true,
            LENT => {
                let next = (state & !LENT).wrapping_add(CHECKOUT);
                // Fails if a handle is used at this moment.
                let ends = Ordering::AcqRel;
                self.inner.state.compare_exchange(state, next, ends, Ordering::Acquire).is_ok()
            }
            _ => false,
        }
    }

    /// Returns a number that no other connection has while this one exists.
    #[inline]
    pub(crate) fn conn_id(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("used", &self.is_used()).finish()
    }
}

/// Peeks at one byte of a socket without waiting.
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
    /// `MSG_PEEK` has this value on every system with sockets.
    const PEEK: i32 = 2;
    if let Some(dont_wait) = DONT_WAIT {
        return socket.recv_with_flags(byte, PEEK | dont_wait);
    }
    socket.set_nonblocking(true)?;
    let peeked = socket.peek(byte);
    socket.set_nonblocking(false)?;
    peeked
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn handle() -> (ShutdownHandle, Arc<AtomicBool>) {
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        (ShutdownHandle::new(move || cut.store(true, Ordering::SeqCst)), is_cut)
    }

    #[test]
    fn handle_does_nothing_after_its_checkout() {
        let (conn, is_cut) = handle();
        let first = conn.of_checkout();
        assert!(conn.end_checkout());
        first.shutdown();
        assert!(!conn.is_used() && !is_cut.load(Ordering::SeqCst));
        let second = conn.of_checkout();
        first.shutdown();
        assert!(!conn.is_used());
        second.shutdown();
        assert!(conn.is_used() && is_cut.load(Ordering::SeqCst));
        assert!(!conn.end_checkout(), "it was shut down");
    }

    #[test]
    fn handle_of_the_connection_is_valid_in_every_checkout() {
        let (conn, is_cut) = handle();
        let _lent = conn.of_checkout();
        assert!(conn.end_checkout());
        conn.clone().shutdown();
        assert!(is_cut.load(Ordering::SeqCst) && !conn.end_checkout());
    }

    #[test]
    fn shutdown_comes_before_the_end_of_a_checkout_or_after_it() {
        for _ in 0..200 {
            let (conn, is_cut) = handle();
            let lent = conn.of_checkout();
            let other = std::thread::spawn(move || lent.shutdown());
            let returned = conn.end_checkout();
            other.join().unwrap();
            assert_eq!(returned, !is_cut.load(Ordering::SeqCst));
        }
    }
}
