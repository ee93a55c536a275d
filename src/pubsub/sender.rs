//! The half of a subscriber that sends.

use std::fmt;

use super::owned::OwnedSender;
use super::subscription_kind::SubscriptionKind;
use super::subscriptions::Subscriptions;
use crate::args::{Args, ToArg, ToArgs};
use crate::conn::split::SendHalf;
use crate::error::{Error, Result};

/// The half of a [`PubSubConn`](crate::PubSubConn) that subscribes, unsubscribes and pings.
///
/// [`PubSubConn::split`](crate::PubSubConn::split) returns one that borrows the subscriber;
/// [`PubSubConn::into_split`](crate::PubSubConn::into_split) returns an owned one, a
/// `PubSubSender<'static>`.
pub struct PubSubSender<'a>(Sending<'a>);

enum Sending<'a> {
    Borrowed(SendHalf<'a>, &'a mut Subscriptions),
    Owned(Box<OwnedSender>),
}

impl<'a> PubSubSender<'a> {
    pub(super) fn new(
        half: SendHalf<'a>,
        subscriptions: &'a mut Subscriptions,
    ) -> PubSubSender<'a> {
        PubSubSender(Sending::Borrowed(half, subscriptions))
    }

    pub(super) fn owned(sender: OwnedSender) -> PubSubSender<'a> {
        PubSubSender(Sending::Owned(Box::new(sender)))
    }

    /// Returns a borrowed half unchanged.
    pub(super) fn into_owned(self) -> std::result::Result<OwnedSender, PubSubSender<'a>> {
        match self.0 {
            Sending::Owned(sender) => Ok(*sender),
            borrowed => Err(PubSubSender(borrowed)),
        }
    }

    fn parts(&mut self) -> (SendHalf<'_>, &mut Subscriptions) {
        match &mut self.0 {
            Sending::Borrowed(half, subscriptions) => (half.reborrow(), subscriptions),
            Sending::Owned(owned) => {
                let OwnedSender { half, subscriptions, .. } = &mut **owned;
                (half.half(), subscriptions)
            }
        }
    }

    /// Subscribes to channels, like [`PubSubConn::subscribe`](crate::PubSubConn::subscribe).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SUBSCRIBE", ("a", "b")).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.subscribe(("a", "b"))?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "Subscribe")]
    pub fn subscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::Subscribe, &channels)
    }

    /// Ends subscriptions to channels, like
    /// [`PubSubConn::unsubscribe`](crate::PubSubConn::unsubscribe).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("UNSUBSCRIBE", "a").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.unsubscribe("a")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "Unsubscribe")]
    pub fn unsubscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.unsubscribe_from(SubscriptionKind::Unsubscribe, &channels)
    }

    /// Ends the subscriptions to all channels, like
    /// [`PubSubConn::unsubscribe_all`](crate::PubSubConn::unsubscribe_all).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("UNSUBSCRIBE", ()).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.unsubscribe_all()?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "Unsubscribe")]
    pub fn unsubscribe_all(&mut self) -> Result<()> {
        self.unsubscribe_from_all(SubscriptionKind::Unsubscribe)
    }

    /// Subscribes to patterns, like [`PubSubConn::psubscribe`](crate::PubSubConn::psubscribe).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PSUBSCRIBE", "news.*").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.psubscribe("news.*")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "PSubscribe")]
    pub fn psubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::PSubscribe, &patterns)
    }

    /// Ends subscriptions to patterns, like
    /// [`PubSubConn::punsubscribe`](crate::PubSubConn::punsubscribe).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PUNSUBSCRIBE", "news.*").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.punsubscribe("news.*")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "PUnsubscribe")]
    pub fn punsubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.unsubscribe_from(SubscriptionKind::PUnsubscribe, &patterns)
    }

    /// Ends the subscriptions to all patterns, like
    /// [`PubSubConn::punsubscribe_all`](crate::PubSubConn::punsubscribe_all).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PUNSUBSCRIBE", ()).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.punsubscribe_all()?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "PUnsubscribe")]
    pub fn punsubscribe_all(&mut self) -> Result<()> {
        self.unsubscribe_from_all(SubscriptionKind::PUnsubscribe)
    }

    /// Subscribes to shard channels, like
    /// [`PubSubConn::ssubscribe`](crate::PubSubConn::ssubscribe).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SSUBSCRIBE", "orders").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.ssubscribe("orders")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn ssubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::SSubscribe, &shard_channels)
    }

    /// Ends subscriptions to shard channels, like
    /// [`PubSubConn::sunsubscribe`](crate::PubSubConn::sunsubscribe).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SUNSUBSCRIBE", "orders").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.sunsubscribe("orders")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn sunsubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.unsubscribe_from(SubscriptionKind::SUnsubscribe, &shard_channels)
    }

    /// Ends the subscriptions to all shard channels, like
    /// [`PubSubConn::sunsubscribe_all`](crate::PubSubConn::sunsubscribe_all).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("SUNSUBSCRIBE", ()).no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.sunsubscribe_all()?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn sunsubscribe_all(&mut self) -> Result<()> {
        self.unsubscribe_from_all(SubscriptionKind::SUnsubscribe)
    }

    /// Subscribes to everything in `subscriptions`, like
    /// [`PubSubConn::resubscribe`](crate::PubSubConn::resubscribe).
    ///
    /// ```
    /// # use redigo::{PubSubConn, Subscriptions, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// # let wanted = Subscriptions::default();
    /// let (mut sender, _receiver) = sub.split();
    /// sender.resubscribe(&wanted)?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn resubscribe(&mut self, subscriptions: &Subscriptions) -> Result<()> {
        for (kind, names) in subscriptions.commands() {
            self.queue(kind, &Args::new().args(&names))?;
        }
        self.flush()
    }

    /// Returns the subscriptions, like
    /// [`PubSubConn::subscriptions`](crate::PubSubConn::subscriptions).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SUBSCRIBE").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.subscribe("news")?;
    /// assert_eq!(sender.subscriptions().len(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn subscriptions(&self) -> &Subscriptions {
        match &self.0 {
            Sending::Borrowed(_, subscriptions) => subscriptions,
            Sending::Owned(owned) => &owned.subscriptions,
        }
    }

    /// Sends a `PING`, like [`PubSubConn::ping`](crate::PubSubConn::ping).
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PING", "hi").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// let (mut sender, _receiver) = sub.split();
    /// sender.ping("hi")?; // the receiver gets a Pong
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "Ping")]
    pub fn ping(&mut self, data: impl ToArg) -> Result<()> {
        let (mut half, _) = self.parts();
        half.send("PING", data)?;
        half.flush()
    }

    /// Returns the error that ended the connection, in either half, or `None` while it is usable.
    pub fn err(&self) -> Option<&Error> {
        match &self.0 {
            Sending::Borrowed(half, _) => half.err(),
            Sending::Owned(owned) => owned.half.err(),
        }
    }

    fn change(&mut self, kind: SubscriptionKind, names: &dyn ToArgs) -> Result<()> {
        self.queue(kind, &Args::new().args(names))?;
        self.flush()
    }

    fn unsubscribe_from(&mut self, kind: SubscriptionKind, names: &dyn ToArgs) -> Result<()> {
        let names = Args::new().args(names);
        if names.is_empty() {
            // Sent without names, the command would end all subscriptions.
            return self.err().map_or(Ok(()), |error| Err(error.clone()));
        }
        self.queue(kind, &names)?;
        self.flush()
    }

    fn unsubscribe_from_all(&mut self, kind: SubscriptionKind) -> Result<()> {
        let (mut half, subscriptions) = self.parts();
        subscriptions.record_all(kind);
        half.send(kind.command(), ())?;
        half.flush()
    }

    fn queue(&mut self, kind: SubscriptionKind, names: &Args) -> Result<()> {
        let (mut half, subscriptions) = self.parts();
        // Recorded even if sending fails: a new connection must subscribe to it too.
        subscriptions.record(kind, names);
        half.send(kind.command(), names)
    }

    fn flush(&mut self) -> Result<()> {
        self.parts().0.flush()
    }
}

impl fmt::Debug for PubSubSender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubSender")
            .field("err", &self.err())
            .field("subscriptions", self.subscriptions())
            .finish_non_exhaustive()
    }
}
