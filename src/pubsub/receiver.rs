//! The half of a subscriber that receives.

use std::fmt;
use std::time::Duration;

use super::event::PubSubEvent;
use super::owned::OwnedReceiver;
use super::replies::{self, Replies, Silence};
use crate::conn::deadline::Deadline;
use crate::conn::split::ReceiveHalf;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::Value;

/// The half of a [`PubSubConn`](crate::PubSubConn) that receives.
///
/// [`PubSubConn::split`](crate::PubSubConn::split) returns one that borrows the subscriber;
/// [`PubSubConn::into_split`](crate::PubSubConn::into_split) returns an owned one, a
/// `PubSubReceiver<'static>`.
pub struct PubSubReceiver<'a> {
    half: Receiving<'a>,
    silence: Silence,
}

enum Receiving<'a> {
    Borrowed(ReceiveHalf<'a>),
    Owned(Box<OwnedReceiver>),
}

impl Receiving<'_> {
    fn half(&mut self) -> ReceiveHalf<'_> {
        match self {
            Receiving::Borrowed(half) => half.reborrow(),
            Receiving::Owned(owned) => owned.half.half(),
        }
    }

    fn err(&self) -> Option<&Error> {
        match self {
            Receiving::Borrowed(half) => half.err(),
            Receiving::Owned(owned) => owned.half.err(),
        }
    }
}

impl Replies for Receiving<'_> {
    fn receive(&mut self) -> Result<Value> {
        self.half().receive()
    }

    fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.half().receive_context(ctx)
    }

    fn poll(&mut self, timeout: Option<Duration>) -> Result<Option<Value>> {
        self.half().poll_until(Deadline::after(timeout))
    }

    fn poll_context(&mut self, ctx: &Context, timeout: Option<Duration>) -> Result<Option<Value>> {
        self.half().poll_context(ctx, timeout)
    }

    fn fail(&mut self, error: Error) -> Error {
        self.half().fail(error)
    }

    fn has_ended(&self) -> bool {
        self.err().is_some()
    }
}

impl<'a> PubSubReceiver<'a> {
    pub(super) fn new(half: ReceiveHalf<'a>, silence: Silence) -> PubSubReceiver<'a> {
        PubSubReceiver { half: Receiving::Borrowed(half), silence }
    }

    pub(super) fn owned(receiver: OwnedReceiver, silence: Silence) -> PubSubReceiver<'a> {
        PubSubReceiver { half: Receiving::Owned(Box::new(receiver)), silence }
    }

    /// Returns a borrowed half unchanged.
    pub(super) fn into_owned(
        self,
    ) -> std::result::Result<(OwnedReceiver, Silence), PubSubReceiver<'a>> {
        match self.half {
            Receiving::Owned(receiver) => Ok((*receiver, self.silence)),
            half => Err(PubSubReceiver { half, silence: self.silence }),
        }
    }

    /// Waits for the next event, like [`PubSubConn::receive`](crate::PubSubConn::receive).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, message}};
    /// # let server = ScriptedServer::new();
    /// # server.push(message("news", "hello"));
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (_sender, mut receiver) = sub.split();
    /// println!("{:?}", receiver.receive()?);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as there, and a fatal error of the other half.
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<PubSubEvent> {
        self.silence.receive(&mut self.half)
    }

    /// Waits at most `timeout` for the next event, like
    /// [`PubSubConn::receive_timeout`](crate::PubSubConn::receive_timeout). A timeout ends the
    /// connection.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, message}};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.push(message("news", "hello"));
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (_sender, mut receiver) = sub.split();
    /// println!("{:?}", receiver.receive_timeout(Duration::from_secs(5))?);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as there, and a fatal error of the other half.
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<PubSubEvent> {
        self.half.half().receive_timeout(timeout)?.convert()
    }

    /// Waits for the next event until the context ends, like
    /// [`PubSubConn::receive_context`](crate::PubSubConn::receive_context).
    ///
    /// ```
    /// # use redigo::{Context, PubSubConn, testing::{ScriptedServer, message}};
    /// # let server = ScriptedServer::new();
    /// # server.push(message("news", "hello"));
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (_sender, mut receiver) = sub.split();
    /// println!("{:?}", receiver.receive_context(&Context::background())?);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as there, and a fatal error of the other half.
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<PubSubEvent> {
        self.silence.receive_context(&mut self.half, ctx)
    }

    /// Waits at most `timeout` for the next event to begin, like
    /// [`PubSubConn::poll`](crate::PubSubConn::poll). The connection stays usable.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (_sender, mut receiver) = sub.split();
    /// assert_eq!(receiver.poll(Duration::from_millis(10))?, None);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as there, and a fatal error of the other half.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<PubSubEvent>> {
        replies::event(self.half.half().poll(timeout))
    }

    /// Waits for the next event to begin, at most `timeout` and until the context ends, like
    /// [`PubSubConn::poll_context`](crate::PubSubConn::poll_context). The end of the context ends
    /// the connection; the timeout does not.
    ///
    /// ```
    /// # use redigo::{Context, PubSubConn, testing::ScriptedServer};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (_sender, mut receiver) = sub.split();
    /// let ctx = Context::background();
    /// assert_eq!(receiver.poll_context(&ctx, Duration::from_millis(10))?, None);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as there, and a fatal error of the other half.
    pub fn poll_context(
        &mut self,
        ctx: &Context,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Option<PubSubEvent>> {
        replies::event(self.half.half().poll_context(ctx, timeout))
    }

    /// Returns an iterator over the events, like [`PubSubConn::iter`](crate::PubSubConn::iter).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, message}};
    /// # let server = ScriptedServer::new();
    /// # server.push(message("news", "hello"));
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (_sender, mut receiver) = sub.split();
    /// for event in receiver.iter() {
    ///     println!("{event:?}");
    /// }
    /// ```
    pub fn iter(&mut self) -> impl Iterator<Item = Result<PubSubEvent>> {
        replies::blocking(&mut self.half, self.silence)
    }

    /// Returns an iterator that ends when `timeout` passes without an event, like
    /// [`PubSubConn::timeout_iter`](crate::PubSubConn::timeout_iter).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, message}};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.push(message("news", "hello"));
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (_sender, mut receiver) = sub.split();
    /// assert_eq!(receiver.timeout_iter(Duration::ZERO).count(), 1);
    /// ```
    pub fn timeout_iter(&mut self, timeout: Duration) -> impl Iterator<Item = Result<PubSubEvent>> {
        replies::timeout(&mut self.half, timeout)
    }

    /// Returns the error that ended the connection, in either half, or `None` while it is usable.
    pub fn err(&self) -> Option<&Error> {
        self.half.err()
    }
}

impl fmt::Debug for PubSubReceiver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubReceiver").field("err", &self.err()).finish_non_exhaustive()
    }
}
