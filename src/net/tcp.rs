//! TCP streams, and connecting them within a deadline.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::resolve::resolve;
use super::stream::{Peek, Stream, peek_socket};
use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};

/// The options of a new socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpOptions {
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

/// Each address gets an equal share of the remaining time, but at least this.
const LEAST_SHARE: Duration = Duration::from_secs(2);

/// The range that systems accept: whole seconds in 15 bits.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(1);
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(i16::MAX as u64);
/// The longest that systems accept: milliseconds in 31 bits.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LONGEST_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Connects to the first address of the host that accepts.
pub(crate) fn connect(
    host: &str,
    port: u16,
    options: &TcpOptions,
    ctx: &Context,
) -> Result<TcpStream> {
    let addresses = resolve(host, port, ctx)?;
    let mut failed = Error::Timeout(TimeoutKind::Connect);
    for (tried, address) in addresses.iter().enumerate() {
        let share = match ctx.remaining() {
            Some(Duration::ZERO) => return Err(Error::Timeout(TimeoutKind::Connect)),
            Some(left) => {
                let share = left / (addresses.len() - tried) as u32;
                Some(share.max(LEAST_SHARE).min(left))
            }
            None => None,
        };
        match connect_to(*address, options, share, ctx) {
            Ok(stream) => return Ok(stream),
            Err(Error::Canceled) => return Err(Error::Canceled),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn connect_to(
    address: SocketAddr,
    options: &TcpOptions,
    timeout: Option<Duration>,
    ctx: &Context,
) -> Result<TcpStream> {
    let place = |error: io::Error| {
        Error::io_context(format_args!("connecting to {address}"), Arc::new(error))
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP));
    let socket = Arc::new(socket.map_err(place)?);
    // Shutting the socket down ends a connect in progress.
    let weak = Arc::downgrade(&socket);
    let cut = ctx.on_cancel(move || {
        if let Some(socket) = weak.upgrade() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    })?;
    // Also without a limit: unlike this call, a plain `connect` on a socket that was shut down
    // before it would wait.
    let connected = socket.connect_timeout(&address.into(), timeout.unwrap_or(Duration::MAX));
    drop(cut);
    if ctx.is_canceled() {
        return Err(Error::Canceled);
    }
    match connected {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            return Err(Error::Timeout(TimeoutKind::Connect));
        }
        Err(error) => return Err(place(error)),
    }
    set_options(&socket, options).map_err(place)?;
    // No cancellation holds the socket: `is_canceled` was false after `cut` was dropped.
    let socket = Arc::try_unwrap(socket).map_err(|_| Error::Canceled)?;
    Ok(TcpStream::from(socket))
}

fn set_options(socket: &Socket, options: &TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(idle) = options.keep_alive {
        let idle = idle.clamp(SHORTEST_KEEP_ALIVE, LONGEST_KEEP_ALIVE);
        let keep_alive = TcpKeepalive::new().with_time(idle);
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows))]
        let keep_alive = keep_alive.with_interval(idle);
        socket.set_tcp_keepalive(&keep_alive)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(timeout) = options.user_timeout {
        let timeout = timeout.clamp(Duration::from_millis(1), LONGEST_USER_TIMEOUT);
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    Ok(())
}

impl Stream for TcpStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = self;
        Read::read(&mut socket, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self;
        Write::write(&mut socket, bytes)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        TcpStream::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        TcpStream::set_write_timeout(self, timeout)
    }

    fn shutdown(&self) {
        let _ = TcpStream::shutdown(self, Shutdown::Both);
    }

    fn peek(&self) -> io::Result<Peek> {
        peek_socket(&SockRef::from(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Instant;

    const OPTIONS: TcpOptions =
        TcpOptions { keep_alive: Some(Duration::from_secs(300)), user_timeout: None };

    #[test]
    fn options_are_on_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = TcpOptions { user_timeout: Some(Duration::from_secs(7)), ..OPTIONS };
        let port = listener.local_addr().unwrap().port();
        let stream = connect("127.0.0.1", port, &options, &Context::background()).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(300));
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn a_refused_connection_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = connect("127.0.0.1", port, &OPTIONS, &Context::background()).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("connecting to 127.0.0.1:{port}: ")),
            "{error}"
        );
        assert!(matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn a_peek_reports_quiet_readable_and_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(Stream::peek(&stream).unwrap(), Peek::Quiet);
        peer.write_all(b"x").unwrap();
        wait_until(|| Stream::peek(&stream).unwrap() == Peek::Readable);
        assert_eq!(Stream::read(&stream, &mut [0; 8]).unwrap(), 1);
        drop(peer);
        wait_until(|| Stream::peek(&stream).unwrap() == Peek::Closed);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn canceling_ends_a_connect_without_an_answer() {
        // The queue of this listener is full, so further connects wait forever.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let short = Duration::from_millis(200);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, short) {
            queued.push(stream);
            assert!(queued.len() < 16, "the queue never fills");
        }
        let (ctx, cancel) = Context::background().with_cancel();
        let waiting = std::thread::spawn(move || {
            connect("127.0.0.1", address.port(), &OPTIONS, &ctx).unwrap_err()
        });
        std::thread::sleep(Duration::from_millis(50));
        cancel.cancel();
        assert!(waiting.join().unwrap().is_canceled());
    }

    fn wait_until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "the condition never became true");
            std::thread::yield_now();
        }
    }
}
