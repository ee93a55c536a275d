//! The half of a subscriber that receives.

use std::time::Duration;

use super::event::PubSubEvent;
use super::replies::{self, Silence};
use crate::conn::split::ReceiveHalf;
use crate::context::Context;
use crate::error::{Error, Result};

/// The half of a [`PubSubConn`](crate::PubSubConn) that receives; see
/// [`PubSubConn::split`](crate::PubSubConn::split).
#[derive(Debug)]
pub struct PubSubReceiver<'a> {
    half: ReceiveHalf<'a>,
    silence: Silence,
}

impl<'a> PubSubReceiver<'a> {
    pub(super) fn new(half: ReceiveHalf<'a>, silence: Silence) -> PubSubReceiver<'a> {
        PubSubReceiver { half, silence }
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
        self.half.receive_timeout(timeout)?.convert()
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
        replies::event(self.half.poll(timeout))
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
        replies::event(self.half.poll_context(ctx, timeout))
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
