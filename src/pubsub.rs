//! Publish/subscribe: subscribing, receiving events, and the two halves of a subscriber.

mod commands;
pub(crate) mod event;
mod owned;
pub(crate) mod receiver;
mod replies;
pub(crate) mod sender;
pub(crate) mod subscription_kind;
pub(crate) mod subscriptions;
mod waiting;

use std::fmt;

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::pool::pooled_conn::PooledConn;
use receiver::PubSubReceiver;
use replies::Silence;
use sender::PubSubSender;
use subscriptions::Subscriptions;

/// A connection that subscribes to channels and receives the messages published there.
///
/// It wraps a [`Conn`], a [`PooledConn`], or a `&mut` to either. The subscribe methods send the
/// command and return immediately. The server confirms each channel with a
/// [`PubSubEvent::Subscription`](crate::PubSubEvent::Subscription), which arrives in order with
/// the messages.
///
/// ```
/// use redigo::{PubSubConn, PubSubEvent};
/// use redigo::testing::{ScriptedServer, message, subscription};
///
/// let server = ScriptedServer::new();
/// # server
/// #     .expect("SUBSCRIBE", "news")
/// #     .reply(subscription("subscribe", "news", 1))
/// #     .then_push(message("news", "hello"));
/// # server.expect("UNSUBSCRIBE", "news").reply(subscription("unsubscribe", "news", 0));
/// let mut sub = PubSubConn::new(server.conn()); // or a connection from a Dialer or a Pool
/// sub.subscribe("news")?;
/// loop {
///     match sub.receive()? {
///         PubSubEvent::Message { channel, data, .. } => {
///             assert_eq!((&channel[..], &data[..]), (&b"news"[..], &b"hello"[..]));
///             sub.unsubscribe("news")?;
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
/// | | waits at most | if no event arrives |
/// |---|---|---|
/// | [`receive`](PubSubConn::receive), [`iter`](PubSubConn::iter) | the [`silence_timeout`](PubSubConn::silence_timeout) | the connection fails |
/// | [`receive_timeout`](PubSubConn::receive_timeout), [`receive_context`](PubSubConn::receive_context) | the given time | the connection fails |
/// | [`poll`](PubSubConn::poll), [`poll_context`](PubSubConn::poll_context), [`timeout_iter`](PubSubConn::timeout_iter) | the given time | `None`; the connection stays usable |
///
/// A subscriber can be silent for hours, so the silence timeout is none on a pooled connection.
/// On a connection from a [`Dialer`](crate::Dialer) it is the read timeout. To notice an
/// unreachable server, call [`ping`](PubSubConn::ping) more often than the silence timeout: then
/// silence means that the server does not answer. `examples/pubsub.rs` pings after each silent
/// interval, and after a restart of the server it subscribes again on a new connection.
///
/// # Two threads
///
/// While one thread waits, another can subscribe, unsubscribe and ping: see
/// [`split`](PubSubConn::split) and [`into_split`](PubSubConn::into_split). Any other thread can end the wait with a
/// [`Context`](crate::Context) or with the connection's
/// [`shutdown_handle`](Conn::shutdown_handle).
///
/// # Errors
///
/// An error reply from the server, or a reply that is not a pub/sub event, leaves the connection
/// usable. Every other error ends the connection, as on a [`Conn`].
#[doc(alias = "redis.PubSubConn")]
pub struct PubSubConn<C = Conn> {
    conn: C,
    subscriptions: Subscriptions,
    silence: Silence,
}

impl<C: AsRef<Conn> + AsMut<Conn>> PubSubConn<C> {
    /// Wraps a connection as a subscriber, without sending anything.
    ///
    /// ```
    /// use redigo::{PubSubConn, testing::ScriptedServer};
    ///
    /// let sub = PubSubConn::new(ScriptedServer::new().conn());
    /// assert!(sub.subscriptions().is_empty());
    /// ```
    pub fn new(conn: C) -> PubSubConn<C> {
        let silence = Silence::default_for(conn.as_ref());
        PubSubConn { conn, subscriptions: Subscriptions::default(), silence }
    }

    /// Splits the subscriber, so that one thread can subscribe, unsubscribe and ping while another
    /// thread receives.
    ///
    /// Both halves borrow the subscriber, so the threads must be those of a
    /// [`std::thread::scope`]. Many threads can share the sender in a mutex: the lock is held only
    /// while a command is written, never while a thread waits for an event.
    ///
    /// ```
    /// use redigo::{PubSubConn, PubSubEvent};
    /// use redigo::testing::{ScriptedServer, message, subscription};
    ///
    /// let server = ScriptedServer::new();
    /// # server.stay_open();
    /// # server
    /// #     .expect("SUBSCRIBE", "news")
    /// #     .reply(subscription("subscribe", "news", 1))
    /// #     .then_push(message("news", "hi"));
    /// # server.expect("UNSUBSCRIBE", "news").reply(subscription("unsubscribe", "news", 0));
    /// let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, mut receiver) = sub.split();
    /// std::thread::scope(|scope| {
    ///     let listener = scope.spawn(move || {
    ///         let mut messages = Vec::new();
    ///         for event in receiver.iter() {
    ///             match event? {
    ///                 PubSubEvent::Message { data, .. } => messages.push(data),
    ///                 PubSubEvent::Subscription { count: 0, .. } => break,
    ///                 _ => {}
    ///             }
    ///         }
    ///         Ok::<_, redigo::Error>(messages)
    ///     });
    ///     sender.subscribe("news")?;
    ///     // … until the program shuts down:
    ///     sender.unsubscribe("news")?;
    ///     assert_eq!(listener.join().unwrap()?, [b"hi"]);
    ///     Ok::<(), redigo::Error>(())
    /// })?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn split(&mut self) -> (PubSubSender<'_>, PubSubReceiver<'_>) {
        let (sender, receiver) = self.conn.as_mut().split();
        let sender = PubSubSender::new(sender, &mut self.subscriptions);
        (sender, PubSubReceiver::new(receiver, self.silence))
    }

    /// Splits the subscriber into owned halves, for threads without a common scope.
    ///
    /// Both halves can move to other threads and into other values.
    /// [`reunite`](PubSubConn::reunite) makes a subscriber of them again. When both halves are
    /// dropped, the connection is dropped too, which is the same as dropping the subscriber.
    ///
    /// ```
    /// use redigo::{PubSubConn, PubSubEvent};
    /// use redigo::testing::{ScriptedServer, message, subscription};
    ///
    /// let server = ScriptedServer::new();
    /// # server.stay_open();
    /// # server
    /// #     .expect("SUBSCRIBE", "news")
    /// #     .reply(subscription("subscribe", "news", 1))
    /// #     .then_push(message("news", "hi"));
    /// # server.expect("UNSUBSCRIBE", ()).reply(subscription("unsubscribe", "news", 0));
    /// let (mut sender, mut receiver) = PubSubConn::new(server.conn()).into_split()?;
    /// let listener = std::thread::spawn(move || {
    ///     let events = receiver.iter().map_while(Result::ok);
    ///     let last = |event: &PubSubEvent| {
    ///         matches!(event, PubSubEvent::Subscription { count: 0, .. })
    ///     };
    ///     events.take_while(|event| !last(event)).count()
    /// });
    /// sender.subscribe("news")?;
    /// // … until the program shuts down:
    /// sender.unsubscribe_all()?;
    /// assert_eq!(listener.join().unwrap(), 2); // a confirmation and a message
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error that ended the connection earlier. [`Error::Unsupported`] for a
    /// [`RawConn`](crate::raw::RawConn) without halves.
    pub fn into_split(self) -> Result<(PubSubSender<'static>, PubSubReceiver<'static>)>
    where
        C: Send + 'static,
    {
        let (sender, receiver) = owned::split(self.conn, self.subscriptions)?;
        Ok((PubSubSender::owned(sender), PubSubReceiver::owned(receiver, self.silence)))
    }

    /// Makes a subscriber of the two halves that [`into_split`](PubSubConn::into_split) returned.
    ///
    /// `C` must be the type of the connection that was split.
    ///
    /// ```
    /// # use redigo::{Conn, PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// let (sender, receiver) = PubSubConn::new(server.conn()).into_split()?;
    /// // … both threads have ended …
    /// let sub = PubSubConn::<Conn>::reunite(sender, receiver).expect("halves of one subscriber");
    /// sub.close()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The halves, if they are of different subscribers or of a connection of another type.
    #[allow(clippy::result_large_err, reason = "the halves are returned unchanged")]
    pub fn reunite(
        sender: PubSubSender<'static>,
        receiver: PubSubReceiver<'static>,
    ) -> std::result::Result<PubSubConn<C>, (PubSubSender<'static>, PubSubReceiver<'static>)>
    where
        C: 'static,
    {
        let sender = match sender.into_owned() {
            Ok(sender) => sender,
            Err(sender) => return Err((sender, receiver)),
        };
        let (receiver, silence) = match receiver.into_owned() {
            Ok(receiver) => receiver,
            Err(receiver) => return Err((PubSubSender::owned(sender), receiver)),
        };
        match owned::reunite(sender, receiver) {
            Ok((conn, subscriptions)) => Ok(PubSubConn { conn, subscriptions, silence }),
            Err((sender, receiver)) => {
                Err((PubSubSender::owned(sender), PubSubReceiver::owned(receiver, silence)))
            }
        }
    }

    /// Returns the error that ended the connection, or `None` while it is usable.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// let mut sub = PubSubConn::new(server.conn());
    /// assert!(sub.err().is_none());
    /// server.disconnect();
    /// sub.receive().unwrap_err();
    /// assert!(sub.err().is_some());
    /// ```
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<&Error> {
        self.conn.as_ref().err()
    }
}

impl<C> PubSubConn<C> {
    /// Returns the channels, patterns and shard channels that were subscribed to through this
    /// value and not unsubscribed since.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SUBSCRIBE").no_reply();
    /// let mut sub = PubSubConn::new(server.conn());
    /// sub.subscribe(("news", "sport"))?;
    /// assert_eq!(sub.subscriptions().len(), 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Returns the wrapped connection.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let sub = PubSubConn::new(ScriptedServer::new().conn());
    /// let stop = sub.get_ref().shutdown_handle(); // ends the wait of another thread
    /// # drop(stop);
    /// ```
    pub fn get_ref(&self) -> &C {
        &self.conn
    }

    /// Returns the wrapped connection for sending commands directly.
    ///
    /// Channels subscribed to that way are not among the
    /// [`subscriptions`](PubSubConn::subscriptions).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("CLIENT", ("SETNAME", "listener")).ok();
    /// let mut sub = PubSubConn::new(server.conn());
    /// // Before the first subscription, this is an ordinary connection.
    /// sub.get_mut().call("CLIENT", ("SETNAME", "listener"))?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn get_mut(&mut self) -> &mut C {
        &mut self.conn
    }

    /// Returns the wrapped connection, without sending anything.
    ///
    /// Before its next command, end all subscriptions and receive events until the count is zero.
    /// Otherwise an event that is still on its way is taken for the reply to that command.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PING", ()).reply("PONG");
    /// let sub = PubSubConn::new(server.conn());
    /// let mut conn = sub.into_inner();
    /// conn.call("PING", ())?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn into_inner(self) -> C {
        self.conn
    }
}

impl PubSubConn<Conn> {
    /// Closes the connection; see [`Conn::close`].
    ///
    /// # Errors
    /// The error that ended the connection earlier, if there is one.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// PubSubConn::new(server.conn()).close()?;
    /// assert_eq!(server.open_conns(), 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Close")]
    pub fn close(self) -> Result<()> {
        self.conn.close()
    }
}

impl PubSubConn<PooledConn> {
    /// Ends all subscriptions and returns the connection to its pool; see [`PooledConn::close`].
    ///
    /// It takes at most the pool's
    /// [`cleanup_timeout`](crate::PoolBuilder::cleanup_timeout). Messages that arrive during this
    /// time are dropped. Dropping the subscriber does the same on a thread of the pool.
    ///
    /// ```
    /// use redigo::{Pool, PubSubConn};
    /// # use redigo::{Value, testing::{ScriptedServer, subscription}};
    /// # let server = ScriptedServer::unordered();
    /// # server.expect("SUBSCRIBE", "news").reply(subscription("subscribe", "news", 1));
    /// # server.expect("UNSUBSCRIBE", ()).reply(subscription("unsubscribe", "news", 0));
    /// # server.expect("PUNSUBSCRIBE", ()).reply(subscription("punsubscribe", Value::Nil, 0));
    /// # server.expect_any("ECHO").reply_with(|args| Ok(args[0].into()));
    /// # let pool = Pool::builder(server.dialer()).build()?;
    ///
    /// let mut sub = PubSubConn::new(pool.acquire()?);
    /// sub.subscribe("news")?;
    /// sub.close()?;
    /// assert_eq!(pool.idle_count(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error that ended the connection, either earlier or during the cleanup.
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
