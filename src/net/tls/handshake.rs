//! The TLS handshake, within a deadline.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use native_tls::{HandshakeError, TlsConnector};

use super::fault::{self, Peer};
use super::pipe::{Outbox, Pipe};
use super::stream::TlsStream;
use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind, TlsErrorKind};
use crate::net::stream::Stream;

/// Makes a TLS session over the stream with a peer whose certificate has the name `name`. Errors
/// begin with the address.
///
/// # Errors
/// [`Error::Tls`], the end of the context (an expired deadline is of kind `TlsHandshake`), or an
/// error of the stream.
pub(crate) fn connect(
    connector: &TlsConnector,
    name: &str,
    address: &str,
    stream: Arc<dyn Stream>,
    ctx: &Context,
) -> Result<TlsStream> {
    // Shutting the stream down ends a handshake that waits for it.
    let weak = Arc::downgrade(&stream);
    let cut = ctx.on_cancel(move || {
        if let Some(stream) = weak.upgrade() {
            stream.shutdown();
        }
    })?;
    let peer = Peer { name: name.to_owned(), address: address.to_owned() };
    let mut exchange =
        Exchange { stream: &*stream, outbox: Outbox::default(), flights: 0, ctx, peer: &peer };
    let session = exchange.run(connector);
    let outbox = exchange.outbox;
    drop(cut);
    if ctx.is_canceled() {
        return Err(Error::Canceled);
    }
    session.map(|session| TlsStream::new(stream, session, outbox, peer))
}

/// A handshake in progress.
struct Exchange<'a> {
    stream: &'a dyn Stream,
    outbox: Outbox,
    /// The number of messages sent.
    flights: usize,
    ctx: &'a Context,
    peer: &'a Peer,
}

impl Exchange<'_> {
    fn run(&mut self, connector: &TlsConnector) -> Result<native_tls::TlsStream<Pipe>> {
        let mut greeted = false;
        let mut state = connector.connect(&self.peer.name, Pipe::new(self.outbox.clone()));
        loop {
            match state {
                Ok(session) => {
                    self.send()?;
                    return Ok(session);
                }
                Err(HandshakeError::WouldBlock(mut waiting)) => {
                    self.send()?;
                    let mut buffer = [0; 4096];
                    let count = self.receive(&mut buffer)?;
                    if !mem::replace(&mut greeted, true) {
                        fault::of_greeting(&buffer[..count], self.peer).map_or(Ok(()), Err)?;
                    }
                    waiting.get_mut().feed(&buffer[..count]);
                    state = waiting.handshake();
                }
                Err(HandshakeError::Failure(error)) => {
                    // An alert for the peer. The peer may be gone, so the result has no effect.
                    let _ = self.send();
                    return Err(fault::of_handshake(error, self.peer, self.flights).into());
                }
            }
        }
    }

    fn send(&mut self) -> Result<()> {
        let mut flight = Vec::new();
        self.outbox.move_to(&mut flight);
        self.flights += usize::from(!flight.is_empty());
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            self.stream.set_write_timeout(self.time_left()?)?;
            match self.stream.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => rest = &rest[count..],
                Err(error) => self.unless_transient(error)?,
            }
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        let closed = || self.peer.error(TlsErrorKind::Closed);
        loop {
            self.stream.set_read_timeout(self.time_left()?)?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(closed().into()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(closed().caused_by(error).into());
                }
                Err(error) => self.unless_transient(error)?,
            }
        }
    }

    fn time_left(&self) -> Result<Option<Duration>> {
        match self.ctx.remaining() {
            Some(left) if left.is_zero() => Err(TimeoutKind::TlsHandshake.into()),
            left => Ok(left),
        }
    }

    /// Returns `Ok` for errors after which the call can be repeated, while there is time.
    fn unless_transient(&self, error: io::Error) -> Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => match self.ctx.deadline() {
                Some(_) => Ok(()),
                None => Err(TimeoutKind::TlsHandshake.into()),
            },
            _ => Err(Error::io_context("TLS handshake", Arc::new(error))),
        }
    }
}
