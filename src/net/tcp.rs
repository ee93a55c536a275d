//! TCP streams, and connecting them within a deadline.

mod race;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use self::race::Failures;
use super::resolve::resolve;
use super::stream::{Peek, Stream, peek_socket};
use crate::context::Context;
use crate::error::{Error, Result, TimeoutError, TimeoutKind};

/// The options of a new socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpOptions {
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

/// The range that systems accept: whole seconds in 15 bits.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(1);
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(i16::MAX as u64);
/// The longest that systems accept: milliseconds in 31 bits.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LONGEST_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Connects to the first address of the host that accepts.
///
/// # Errors
/// - [`Error::Timeout`] of kind `Connect` if the context ends and an address has not
///   answered.
/// - [`Error::Io`] with the reason of each address.
/// - [`Error::Canceled`].
pub(crate) fn connect(
    host: &str,
    port: u16,
    options: &TcpOptions,
    ctx: &Context,
) -> Result<TcpStream> {
    let addresses = resolve(host, port, ctx)?;
    let connected = match addresses.as_slice() {
        [address] => connect_to(*address, ctx)?.map_err(|error| vec![(*address, error)]),
        addresses => race::connect(addresses, ctx)?,
    };
    let socket = connected.map_err(|failures| failure(host, failures))?;
    set_options(&socket, options)
        .map_err(|error| Error::io_context("setting socket options", Arc::new(error)))?;
    Ok(TcpStream::from(socket))
}

/// Connects to one address. The inner error is `None` if it did not answer in time.
fn connect_to(
    address: SocketAddr,
    ctx: &Context,
) -> Result<std::result::Result<Socket, Option<io::Error>>> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP));
    let socket = match socket {
        Ok(socket) => Arc::new(socket),
        Err(error) => return Ok(Err(Some(error))),
    };
    // Shutting the socket down ends a connect in progress.
    let weak = Arc::downgrade(&socket);
    let cut = ctx.on_cancel(move || {
        if let Some(socket) = weak.upgrade() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    })?;
    // Also without a limit: unlike this call, a plain `connect` on a socket that was shut down
    // before it would wait.
    let timeout = ctx.remaining().unwrap_or(Duration::MAX);
    let connected = socket.connect_timeout(&address.into(), timeout);
    drop(cut);
    if ctx.is_canceled() {
        return Err(Error::Canceled);
    }
    match connected.and_then(|()| refuse_self_connect(&socket)) {
        // No cancellation holds the socket: `is_canceled` was false after `cut` was dropped.
        Ok(()) => Arc::try_unwrap(socket).map(Ok).map_err(|_| Error::Canceled),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Err(None)),
        Err(error) => Ok(Err(Some(error))),
    }
}

/// Makes one error of the addresses that did not accept.
fn failure(host: &str, failures: Failures) -> Error {
    let is_literal = |address: &SocketAddr| host.parse() == Ok(address.ip());
    let is_timeout = failures.iter().any(|(_, error)| error.is_none());
    let kind = failures.iter().rev().find_map(|(_, error)| error.as_ref().map(io::Error::kind));
    let target = match failures.as_slice() {
        [(address, _)] if !is_literal(address) => format!(" to {address}"),
        [_] => String::new(),
        // The reasons follow.
        many => many.iter().map(reason).collect::<Vec<_>>().join("; "),
    };
    let is_list = failures.len() != 1;
    if is_timeout {
        let colon = if is_list { ": " } else { "" };
        let error = TimeoutError::from(TimeoutKind::Connect);
        return error.during(format!("while connecting{colon}{target}")).into();
    }
    match failures.into_iter().next() {
        Some((_, Some(error))) if !is_list => {
            Error::io_context(format_args!("cannot connect{target}"), Arc::new(error))
        }
        _ => {
            let error = io::Error::new(kind.unwrap_or(io::ErrorKind::NotFound), target);
            Error::io_context("cannot connect", Arc::new(error))
        }
    }
}

fn reason((address, error): &(SocketAddr, Option<io::Error>)) -> String {
    match error {
        Some(error) => format!("{address}: {error}"),
        None => format!("{address}: no answer"),
    }
}

/// Refuses a connection of a socket with itself.
///
/// A connect to a local port in the ephemeral range can choose the same port as its own, and then
/// succeeds without a server. The server could not start while that connection exists.
fn refuse_self_connect(socket: &Socket) -> io::Result<()> {
    let (local, peer) = (socket.local_addr()?.as_socket(), socket.peer_addr()?.as_socket());
    if local.is_some() && local == peer {
        let why = "no server listens there (the connection reached its own port)";
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, why));
    }
    Ok(())
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
        let written = Write::write(&mut socket, bytes);
        // Windows does not say how many bytes of a write that timed out were sent.
        #[cfg(windows)]
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            Stream::shutdown(self);
        }
        written
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

    /// Returns an address at which no server listens.
    pub(super) fn refused() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// Returns an address that neither accepts nor refuses while the sockets exist: the queue of
    /// its listener is full.
    #[cfg(unix)]
    pub(super) fn full_queue() -> (Vec<Socket>, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![socket];
        let short = Duration::from_millis(200);
        while let Ok(stream) = TcpStream::connect_timeout(&address, short) {
            sockets.push(stream.into());
            assert!(sockets.len() < 16, "the queue never fills");
        }
        (sockets, address)
    }

    #[test]
    fn a_refused_connection_names_the_address() {
        let port = refused().port();
        for (host, expected) in [
            ("127.0.0.1", "cannot connect: ".to_owned()),
            ("localhost", format!("127.0.0.1:{port}: Connection refused")),
        ] {
            let error = connect(host, port, &OPTIONS, &Context::background()).unwrap_err();
            assert!(error.to_string().contains(&expected), "{error}");
            assert!(matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused));
        }
    }

    #[test]
    fn a_connection_of_a_socket_with_itself_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        let error = refuse_self_connect(&socket).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("its own port"), "{error}");
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
        let (_full, address) = full_queue();
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
