//! The commands of a subscriber: subscribe, unsubscribe and ping.

use super::PubSubConn;
use super::sender::PubSubSender;
use super::subscriptions::Subscriptions;
use crate::args::{ToArg, ToArgs};
use crate::conn::Conn;
use crate::error::Result;

/// Sending commands.
impl<C: AsRef<Conn> + AsMut<Conn>> PubSubConn<C> {
    /// Subscribes to channels. The server confirms each channel with an event.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SUBSCRIBE", ("news", "team:1", "team:2")).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let teams = vec!["team:1".to_string(), "team:2".to_string()];
    /// sub.subscribe(("news", teams))?; // three channels
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error, now or earlier. If the server refuses the command,
    /// [`receive`](PubSubConn::receive) returns its error.
    #[doc(alias = "Subscribe")]
    pub fn subscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.sender().subscribe(channels)
    }

    /// Ends the subscriptions to these channels. An empty list does nothing.
    ///
    /// [`unsubscribe_all`](PubSubConn::unsubscribe_all) ends all of them.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SUBSCRIBE").no_reply();
    /// # server.expect("UNSUBSCRIBE", "a").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.subscribe(("a", "b"))?;
    /// sub.unsubscribe("a")?;
    /// assert_eq!(sub.subscriptions().channels().collect::<Vec<_>>(), [b"b"]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "Unsubscribe")]
    pub fn unsubscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.sender().unsubscribe(channels)
    }

    /// Ends the subscriptions to all channels.
    ///
    /// The server confirms each of them, or, if there is none, sends one confirmation without a
    /// name.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SUBSCRIBE").no_reply();
    /// # server.expect("UNSUBSCRIBE", ()).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.subscribe(("a", "b"))?;
    /// sub.unsubscribe_all()?;
    /// assert!(sub.subscriptions().is_empty());
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "Unsubscribe")]
    pub fn unsubscribe_all(&mut self) -> Result<()> {
        self.sender().unsubscribe_all()
    }

    /// Subscribes to all channels that match one of the patterns, such as `news.*`.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PSUBSCRIBE", "news.*").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.psubscribe("news.*")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "PSubscribe")]
    pub fn psubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.sender().psubscribe(patterns)
    }

    /// Ends the subscriptions to these patterns. An empty list does nothing.
    ///
    /// [`punsubscribe_all`](PubSubConn::punsubscribe_all) ends all of them.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("PSUBSCRIBE").no_reply();
    /// # server.expect("PUNSUBSCRIBE", "news.*").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.psubscribe("news.*")?;
    /// sub.punsubscribe("news.*")?;
    /// assert!(sub.subscriptions().is_empty());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "PUnsubscribe")]
    pub fn punsubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.sender().punsubscribe(patterns)
    }

    /// Ends the subscriptions to all patterns.
    ///
    /// The server confirms each of them, or, if there is none, sends one confirmation without a
    /// name.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("PSUBSCRIBE").no_reply();
    /// # server.expect("PUNSUBSCRIBE", ()).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.psubscribe(("a.*", "b.*"))?;
    /// sub.punsubscribe_all()?;
    /// assert!(sub.subscriptions().is_empty());
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "PUnsubscribe")]
    pub fn punsubscribe_all(&mut self) -> Result<()> {
        self.sender().punsubscribe_all()
    }

    /// Subscribes to shard channels, which need Redis 7.
    ///
    /// In a cluster, all channels of one call must belong to the same slot, and the connection
    /// must be to the node that serves this slot.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SSUBSCRIBE", "orders").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.ssubscribe("orders")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    pub fn ssubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.sender().ssubscribe(shard_channels)
    }

    /// Ends the subscriptions to these shard channels. An empty list does nothing.
    ///
    /// [`sunsubscribe_all`](PubSubConn::sunsubscribe_all) ends all of them.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SSUBSCRIBE").no_reply();
    /// # server.expect("SUNSUBSCRIBE", "orders").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.ssubscribe("orders")?;
    /// sub.sunsubscribe("orders")?;
    /// assert!(sub.subscriptions().is_empty());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    pub fn sunsubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.sender().sunsubscribe(shard_channels)
    }

    /// Ends the subscriptions to all shard channels.
    ///
    /// The server confirms each of them, or, if there is none, sends one confirmation without a
    /// name.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SSUBSCRIBE").no_reply();
    /// # server.expect("SUNSUBSCRIBE", ()).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.ssubscribe(("a", "b"))?;
    /// sub.sunsubscribe_all()?;
    /// assert!(sub.subscriptions().is_empty());
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    pub fn sunsubscribe_all(&mut self) -> Result<()> {
        self.sender().sunsubscribe_all()
    }

    /// Subscribes to everything in `subscriptions`, usually on a new connection after the old one
    /// was lost.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SUBSCRIBE", ("a", "b")).no_reply().times(2);
    /// let mut sub = PubSubConn::new(server.conn());
    /// sub.subscribe(("a", "b"))?;
    /// // … and when the connection is lost:
    /// let wanted = sub.subscriptions().clone();
    /// sub = PubSubConn::new(server.conn());
    /// sub.resubscribe(&wanted)?;
    /// assert_eq!(sub.subscriptions(), &wanted);
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    pub fn resubscribe(&mut self, subscriptions: &Subscriptions) -> Result<()> {
        self.sender().resubscribe(subscriptions)
    }

    /// Sends a `PING`. The server answers with a [`PubSubEvent::Pong`](crate::PubSubEvent::Pong)
    /// that carries the same data.
    ///
    /// Before the first subscription and after the end of the last one, the server answers as on
    /// an ordinary connection. Then [`receive`](PubSubConn::receive) returns an error that is not
    /// fatal instead of an event.
    ///
    /// ```
    /// use redigo::PubSubEvent;
    /// # use redigo::{PubSubConn, testing::{ScriptedServer, pong}};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PING", "hi").reply(pong("hi"));
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.ping("hi")?;
    /// assert_eq!(sub.receive()?, PubSubEvent::Pong { data: b"hi".into() });
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`subscribe`](PubSubConn::subscribe).
    #[doc(alias = "Ping")]
    pub fn ping(&mut self, data: impl ToArg) -> Result<()> {
        self.sender().ping(data)
    }

    fn sender(&mut self) -> PubSubSender<'_> {
        self.split().0
    }
}
