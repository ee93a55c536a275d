//! The waits of a subscriber: for one event, or as an iterator.

use std::time::Duration;

use super::PubSubConn;
use super::event::PubSubEvent;
use super::replies::{self, Silence};
use crate::conn::Conn;
use crate::context::Context;
use crate::error::Result;

/// Receiving events.
impl<C: AsRef<Conn> + AsMut<Conn>> PubSubConn<C> {
    /// Sets how long [`receive`](PubSubConn::receive),
    /// [`receive_context`](PubSubConn::receive_context) and [`iter`](PubSubConn::iter) wait for the
    /// next event to begin.
    ///
    /// When the timeout passes, the connection ends. `None` or zero removes the limit. The rest of
    /// an event that has begun must arrive within the connection's read timeout.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, pong}};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # let conn = server.conn();
    /// let mut sub = PubSubConn::new(conn).silence_timeout(Duration::from_secs(90));
    /// # server.push(pong(""));
    /// sub.receive()?; // a ping every 60 s keeps the connection alive
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to no limit on a pooled connection, because a pool's read timeout is meant for
    /// commands, and to the read timeout on any other connection.
    pub fn silence_timeout(mut self, timeout: impl Into<Option<Duration>>) -> PubSubConn<C> {
        let timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self.silence = Silence::AtMost(timeout);
        self
    }

    /// Waits for the next event, at most for the
    /// [`silence_timeout`](PubSubConn::silence_timeout).
    ///
    /// ```
    /// # use redigo::{PubSubConn, PubSubEvent, testing::{ScriptedServer, message}};
    /// # let server = ScriptedServer::new();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// # server.push(message("news", "hello"));
    /// if let PubSubEvent::Message { data, .. } = sub.receive()? {
    ///     assert_eq!(data, b"hello");
    /// }
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::Server`](crate::Error::Server) if the server refuses a command. Not fatal.
    /// - [`Error::Convert`](crate::Error::Convert) for a reply that is not a pub/sub event, or an
    ///   event of an unknown kind, which the error names. Not fatal.
    /// - Any fatal error: the connection has ended.
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<PubSubEvent> {
        self.silence.receive(self.conn.as_mut())
    }

    /// Like [`receive`](PubSubConn::receive), but the whole event must arrive within `timeout` from
    /// now. `None` waits forever.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, message}};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// # server.push(message("news", "hello"));
    /// let event = sub.receive_timeout(Duration::from_secs(5))?;
    /// println!("{event:?}");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`receive`](PubSubConn::receive). A timeout ends the connection, as in
    /// redigo. [`poll`](PubSubConn::poll) is the wait whose timeout does not.
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<PubSubEvent> {
        self.conn.as_mut().receive_timeout(timeout)?.convert()
    }

    /// Like [`receive`](PubSubConn::receive), but the wait also ends when the context ends.
    ///
    /// ```
    /// # use redigo::{Context, PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.stay_open();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// cancel.cancel(); // from another thread, while `receive_context` waits
    /// assert!(sub.receive_context(&ctx).unwrap_err().is_canceled());
    /// ```
    ///
    /// # Errors
    /// The same as for [`receive`](PubSubConn::receive). The end of the context ends the
    /// connection.
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<PubSubEvent> {
        self.silence.receive_context(self.conn.as_mut(), ctx)
    }

    /// Waits at most `timeout` for the next event to begin. Zero only looks.
    ///
    /// If no event begins in time, the result is `None` and the connection stays usable, so one
    /// thread can listen and do other work in between. For example, it can check whether the
    /// server is still reachable:
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, pong}};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("PING").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let minute = Duration::from_secs(60);
    /// let mut pinged = false;
    /// let lost = loop {
    ///     match sub.poll(minute) {
    ///         Ok(Some(event)) => {
    ///             println!("{event:?}");
    ///             pinged = false;
    ///         }
    ///         Ok(None) if pinged => break None, // silent for a minute after a ping
    ///         Ok(None) => {
    ///             sub.ping("still there?")?;
    ///             pinged = true;
    ///         }
    ///         Err(error) => break Some(error),
    ///     }
    /// };
    /// # assert!(lost.is_none());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`receive`](PubSubConn::receive). An event that has begun must be complete
    /// within the read timeout.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<PubSubEvent>> {
        replies::event(self.conn.as_mut().poll(timeout))
    }

    /// Waits for the next event to begin, at most `timeout` and until the context ends.
    ///
    /// Like [`poll`](PubSubConn::poll), but another thread can cancel the wait, which then returns
    /// within milliseconds even if the server hangs. `None` as the timeout waits until the context
    /// ends. A listener that stops on request and notices an unreachable server needs one thread:
    ///
    /// ```
    /// use redigo::{Context, Error, PubSubConn, PubSubEvent, Result};
    /// # use std::time::Duration;
    ///
    /// fn listen(ctx: &Context, sub: &mut PubSubConn, idle: Duration) -> Result<()> {
    ///     let mut pinged = false;
    ///     loop {
    ///         match sub.poll_context(ctx, idle)? {
    ///             Some(PubSubEvent::Message { data, .. }) => println!("{data:?}"),
    ///             Some(_) => {}
    ///             None if pinged => return Err(Error::other("no answer to a ping")),
    ///             None => {
    ///                 sub.ping("")?;
    ///                 pinged = true;
    ///                 continue;
    ///             }
    ///         }
    ///         pinged = false;
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The same as for [`receive`](PubSubConn::receive). The end of the context ends the
    /// connection; the timeout does not.
    pub fn poll_context(
        &mut self,
        ctx: &Context,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Option<PubSubEvent>> {
        replies::event(self.conn.as_mut().poll_context(ctx, timeout))
    }

    /// Returns an iterator over the events, which waits for each like
    /// [`receive`](PubSubConn::receive).
    ///
    /// The error that ends the connection is the last item. Other errors are items between the
    /// events.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, message}};
    /// # let server = ScriptedServer::new();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// # server.push(message("news", "hello"));
    /// for event in sub.iter() {
    ///     match event {
    ///         Ok(event) => println!("{event:?}"),
    ///         Err(error) => eprintln!("{error}"), // the last one says why the connection ended
    ///     }
    /// }
    /// assert!(sub.err().is_some());
    /// ```
    pub fn iter(&mut self) -> impl Iterator<Item = Result<PubSubEvent>> {
        replies::blocking(self.conn.as_mut(), self.silence)
    }

    /// Returns an iterator over the events, which waits for each like [`poll`](PubSubConn::poll)
    /// and ends when `timeout` passes without an event.
    ///
    /// Nothing is lost at the end, so a new iterator continues with the next event. A timeout of
    /// zero gives the events that have already arrived.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, message}};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// # server.push(message("news", "hello"));
    /// for event in sub.timeout_iter(Duration::from_millis(50)) {
    ///     println!("{:?}", event?);
    /// }
    /// assert!(sub.err().is_none());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn timeout_iter(&mut self, timeout: Duration) -> impl Iterator<Item = Result<PubSubEvent>> {
        replies::timeout(self.conn.as_mut(), timeout)
    }
}
