//! The connection that listens.

use std::fmt;
use std::time::Duration;

use super::event::PubSubEvent;
use super::iter;
use super::split::{PubSubReceiver, PubSubSender};
use super::subscriptions::Subscriptions;
use crate::args::{ToArg, ToArgs};
use crate::conn::Conn;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::pool::pooled_conn::PooledConn;

/// A connection that subscribes to channels and receives what is published there.
///
/// It is made of a [`Conn`], of a [`PooledConn`], or of a `&mut` to either. Subscribing only sends:
/// the server confirms every channel with an event of its own, which comes in order with the
/// messages.
///
/// ```
/// use redigo::{Dialer, PubSubConn, PubSubEvent};
///
/// # let server = redigo::testing::MemoryStream::new(concat!(
/// #     "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
/// #     "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n",
/// #     "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n",
/// # ));
/// let conn = Dialer::tcp(":6379").wrap(server); // or .dial()?
/// let mut sub = PubSubConn::new(conn);
/// sub.subscribe("news")?;
/// loop {
///     match sub.receive()? {
///         PubSubEvent::Message { channel, data, .. } => {
///             assert_eq!((&channel[..], &data[..]), (&b"news"[..], &b"hello"[..]));
///             sub.unsubscribe(())?; // from all
///         }
///         PubSubEvent::Subscription { count: 0, .. } => break,
///         _ => {}
///     }
/// }
/// sub.close()?;
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Waiting
///
/// | | waits | when nothing comes |
/// |---|---|---|
/// | [`receive`](PubSubConn::receive), [`iter`](PubSubConn::iter) | as long as the connection's read timeout | the connection has failed |
/// | [`receive_timeout`](PubSubConn::receive_timeout), [`receive_context`](PubSubConn::receive_context) | as told | the connection has failed |
/// | [`poll`](PubSubConn::poll), [`timeout_iter`](PubSubConn::timeout_iter) | as told | `None`: go on |
///
/// A subscriber may hear nothing for hours, so give it no read timeout, or
/// [`ping`](PubSubConn::ping) more often than that: then silence means that the server is gone.
/// `examples/pubsub.rs` pings every minute, and subscribes again on a new connection after the
/// server has restarted.
///
/// # Two threads
///
/// While one thread waits, another can subscribe, unsubscribe and ping: see
/// [`split`](PubSubConn::split). From anywhere else, a [`Context`] or the connection's
/// [`shutdown_handle`](Conn::shutdown_handle) ends the wait.
///
/// # Errors
///
/// An error reply of the server, and a reply that is no pub/sub event, leave the connection as it
/// is. Everything else ends it, as on a [`Conn`].
#[doc(alias = "redis.PubSubConn")]
pub struct PubSubConn<C = Conn> {
    conn: C,
    subscriptions: Subscriptions,
}

impl<C: AsRef<Conn> + AsMut<Conn>> PubSubConn<C> {
    /// Makes a subscriber of a connection, without sending anything.
    pub fn new(conn: C) -> PubSubConn<C> {
        PubSubConn { conn, subscriptions: Subscriptions::default() }
    }

    /// Subscribes to channels. There is a confirmation for each.
    ///
    /// ```
    /// # use redigo::{Dialer, PubSubConn, testing::MemoryStream};
    /// # let server = MemoryStream::silent();
    /// # let mut sub = PubSubConn::new(Dialer::tcp(":6379").wrap(server.clone()));
    /// let rooms = vec!["room:1".to_string(), "room:2".to_string()];
    /// sub.subscribe(("news", rooms))?; // three channels
    /// # assert!(server.written().starts_with(b"*4\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error, now or of before. What the server refuses comes from
    /// [`receive`](PubSubConn::receive).
    #[doc(alias = "Subscribe")]
    pub fn subscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.sender().subscribe(channels)
    }

    /// Ends the subscription to channels; `()` and an empty list mean all of them.
    ///
    /// # Errors
    /// As [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "Unsubscribe")]
    pub fn unsubscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.sender().unsubscribe(channels)
    }

    /// Subscribes to all channels that match the patterns, such as `news.*`.
    ///
    /// # Errors
    /// As [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "PSubscribe")]
    pub fn psubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.sender().psubscribe(patterns)
    }

    /// Ends the subscription to patterns; `()` and an empty list mean all of them.
    ///
    /// # Errors
    /// As [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "PUnsubscribe")]
    pub fn punsubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.sender().punsubscribe(patterns)
    }

    /// Subscribes to shard channels, which need Redis 7. In a cluster those of one command must
    /// be of one slot, and this connection to the node that has it.
    ///
    /// # Errors
    /// As [`subscribe`](PubSubConn::subscribe).
    pub fn ssubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.sender().ssubscribe(shard_channels)
    }

    /// Ends the subscription to shard channels; `()` and an empty list mean all of them.
    ///
    /// # Errors
    /// As [`subscribe`](PubSubConn::subscribe).
    pub fn sunsubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.sender().sunsubscribe(shard_channels)
    }

    /// Subscribes to all of this, usually on a new connection to what the lost one had.
    ///
    /// ```
    /// # use redigo::{Dialer, PubSubConn, testing::MemoryStream};
    /// # let dial = || Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// # let mut sub = PubSubConn::new(dial());
    /// sub.subscribe(("a", "b"))?;
    /// // … and when the connection is lost:
    /// let wanted = sub.subscriptions().clone();
    /// sub = PubSubConn::new(dial());
    /// sub.resubscribe(&wanted)?;
    /// assert_eq!(sub.subscriptions(), &wanted);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`subscribe`](PubSubConn::subscribe).
    pub fn resubscribe(&mut self, subscriptions: &Subscriptions) -> Result<()> {
        self.sender().resubscribe(subscriptions)
    }

    /// What it has subscribed to through this object and not given up.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Sends a `PING`, which comes back as a [`PubSubEvent::Pong`] with the same data.
    ///
    /// Before the first subscription, and after the last has ended, the server answers it as it
    /// does on any connection: then there is no event, but an error that is not fatal.
    ///
    /// # Errors
    /// As [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "Ping")]
    pub fn ping(&mut self, data: impl ToArg) -> Result<()> {
        self.sender().ping(data)
    }

    /// Waits for the next event, as long as the connection's read timeout.
    ///
    /// # Errors
    /// - [`Error::Server`] when the server refuses something: not fatal.
    /// - [`Error::Convert`] for a reply that is no pub/sub event, or of a kind that this crate does
    ///   not know; the error names it. Not fatal.
    /// - Any fatal error: the connection is of no more use.
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<PubSubEvent> {
        self.conn.as_mut().receive()?.convert()
    }

    /// As [`receive`](PubSubConn::receive), within this time from now instead of the connection's
    /// own read timeout. `None` waits as long as it takes.
    ///
    /// # Errors
    /// As [`receive`](PubSubConn::receive). A timeout ends the connection, as in redigo;
    /// [`poll`](PubSubConn::poll) is the wait that does not.
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<PubSubEvent> {
        self.conn.as_mut().receive_timeout(timeout)?.convert()
    }

    /// As [`receive`](PubSubConn::receive), but no longer than the context lasts.
    ///
    /// # Errors
    /// As [`receive`](PubSubConn::receive); the end of the context ends the connection.
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<PubSubEvent> {
        self.conn.as_mut().receive_context(ctx)?.convert()
    }

    /// Waits at most this long for the next event to begin. When none does, the answer is `None`
    /// and the connection is as it was. Zero only looks.
    ///
    /// So one thread can listen and do other things in between, such as asking whether the server
    /// is still there:
    ///
    /// ```
    /// # use redigo::{Dialer, PubSubConn, testing::MemoryStream};
    /// # use std::time::Duration;
    /// # let mut sub = PubSubConn::new(Dialer::tcp(":6379").wrap(MemoryStream::silent()));
    /// # let minute = Duration::from_millis(1);
    /// let mut asked = false;
    /// let lost = loop {
    ///     match sub.poll(minute) {
    ///         Ok(Some(event)) => {
    ///             println!("{event:?}");
    ///             asked = false;
    ///         }
    ///         Ok(None) if asked => break None, // silent for a minute after a ping
    ///         Ok(None) => {
    ///             sub.ping("still there?")?;
    ///             asked = true;
    ///         }
    ///         Err(error) => break Some(error),
    ///     }
    /// };
    /// # assert!(lost.is_none());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`receive`](PubSubConn::receive).
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<PubSubEvent>> {
        let reply = self.conn.as_mut().poll(timeout)?;
        reply.map(|reply| reply.convert()).transpose()
    }

    /// The events as they come, each waited for as by [`receive`](PubSubConn::receive). It ends
    /// behind the error that ends the connection; other errors are items in between.
    ///
    /// ```
    /// # use redigo::{Dialer, PubSubConn, testing::MemoryStream};
    /// # let server = MemoryStream::new("*2\r\n$4\r\npong\r\n$2\r\nhi\r\n");
    /// # let mut sub = PubSubConn::new(Dialer::tcp(":6379").wrap(server));
    /// for event in sub.iter() {
    ///     match event {
    ///         Ok(event) => println!("{event:?}"),
    ///         Err(error) => eprintln!("{error}"), // the last is why the connection has ended
    ///     }
    /// }
    /// # assert!(sub.err().is_some());
    /// ```
    pub fn iter(&mut self) -> impl Iterator<Item = Result<PubSubEvent>> {
        iter::blocking(self.conn.as_mut())
    }

    /// The events that come without a pause of more than this, each waited for as by
    /// [`poll`](PubSubConn::poll). It ends when there is such a pause, with nothing lost; zero
    /// gives those that are there already.
    ///
    /// ```
    /// # use redigo::{Dialer, PubSubConn, testing::MemoryStream};
    /// # use std::time::Duration;
    /// # let server = MemoryStream::silent();
    /// # let mut sub = PubSubConn::new(Dialer::tcp(":6379").wrap(server.clone()));
    /// # server.push("*2\r\n$4\r\npong\r\n$2\r\nhi\r\n");
    /// for event in sub.timeout_iter(Duration::from_millis(50)) {
    ///     println!("{:?}", event?);
    /// }
    /// assert!(sub.err().is_none());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn timeout_iter(&mut self, timeout: Duration) -> impl Iterator<Item = Result<PubSubEvent>> {
        iter::timeout(self.conn.as_mut(), timeout)
    }

    /// Splits it, so that one thread can subscribe, unsubscribe and ping while another receives.
    ///
    /// Both halves borrow, so the threads are those of a [`std::thread::scope`]. Many threads
    /// share the sender in a mutex, which is held for as long as sending takes and not while
    /// somebody waits for an event.
    ///
    /// ```
    /// use redigo::{Dialer, PubSubConn, PubSubEvent};
    ///
    /// # let server = redigo::testing::MemoryStream::silent();
    /// # let conn = Dialer::tcp(":6379").wrap(server.clone());
    /// let mut sub = PubSubConn::new(conn);
    /// let (mut sender, mut receiver) = sub.split();
    /// std::thread::scope(|scope| {
    ///     let listener = scope.spawn(move || {
    ///         let mut seen = Vec::new();
    ///         for event in receiver.iter() {
    ///             match event? {
    ///                 PubSubEvent::Message { data, .. } => seen.push(data),
    ///                 PubSubEvent::Subscription { count: 0, .. } => break,
    ///                 _ => {}
    ///             }
    ///         }
    ///         Ok::<_, redigo::Error>(seen)
    ///     });
    ///     sender.subscribe("news")?;
    ///     // … until the program is told to end:
    ///     sender.unsubscribe(())?;
    /// #   server.push("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    /// #   server.push("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    /// #   server.push("*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
    ///     let seen = listener.join().unwrap()?;
    /// #   assert_eq!(seen, [b"hi"]);
    ///     Ok::<(), redigo::Error>(())
    /// })?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn split(&mut self) -> (PubSubSender<'_>, PubSubReceiver<'_>) {
        let (sender, receiver) = self.conn.as_mut().split();
        (PubSubSender::new(sender, &mut self.subscriptions), PubSubReceiver::new(receiver))
    }

    /// The error that ended the connection; `None` while it is usable.
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<&Error> {
        self.conn.as_ref().err()
    }

    fn sender(&mut self) -> PubSubSender<'_> {
        self.split().0
    }
}

impl<C> PubSubConn<C> {
    /// The connection.
    pub fn get_ref(&self) -> &C {
        &self.conn
    }

    /// The connection. What is subscribed to on it is not among the
    /// [`subscriptions`](PubSubConn::subscriptions).
    pub fn get_mut(&mut self) -> &mut C {
        &mut self.conn
    }

    /// The connection, as it is. Before its next command, end all subscriptions and receive until
    /// the count is zero: an event still to come would be taken for the reply.
    pub fn into_inner(self) -> C {
        self.conn
    }
}

impl PubSubConn<Conn> {
    /// Closes the connection: [`Conn::close`].
    ///
    /// # Errors
    /// The error that had ended it before, if one had.
    #[doc(alias = "Close")]
    pub fn close(self) -> Result<()> {
        self.conn.close()
    }
}

impl PubSubConn<PooledConn> {
    /// Ends all subscriptions and gives the connection back to its pool, within the pool's
    /// [`cleanup_timeout`](crate::PoolBuilder::cleanup_timeout): [`PooledConn::close`]. Messages
    /// that come meanwhile are dropped. Without this, it does not go back but is closed.
    ///
    /// ```
    /// use redigo::{Pool, PubSubConn};
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # use std::time::Duration;
    /// # let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent())))
    /// #     .cleanup_timeout(Duration::from_millis(1))
    /// #     .build()?;
    ///
    /// let mut sub = PubSubConn::new(pool.acquire()?);
    /// sub.subscribe("news")?;
    /// // This server says nothing, so the connection does not go back.
    /// assert!(sub.close().unwrap_err().is_timeout());
    /// assert_eq!(pool.active_count(), 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error that ended the connection, if one did, now or before.
    #[doc(alias = "Close")]
    pub fn close(self) -> Result<()> {
        self.conn.close()
    }
}

impl<C: fmt::Debug> fmt::Debug for PubSubConn<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubConn")
            .field("conn", &self.conn)
            .field("subscriptions", &self.subscriptions)
            .finish()
    }
}
