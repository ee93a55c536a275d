//! The two halves of a subscriber, for two threads.

use std::time::Duration;

use super::event::{PubSubEvent, SubscriptionKind};
use super::iter;
use super::subscriptions::Subscriptions;
use crate::args::{ToArg, ToArgs};
use crate::conn::split::{ReceiveHalf, SendHalf};
use crate::context::Context;
use crate::error::{Error, Result};

/// The half of a [`PubSubConn`](crate::PubSubConn) that subscribes, unsubscribes and pings; see
/// [`PubSubConn::split`](crate::PubSubConn::split).
#[derive(Debug)]
pub struct PubSubSender<'a> {
    half: SendHalf<'a>,
    subscriptions: &'a mut Subscriptions,
}

/// The half of a [`PubSubConn`](crate::PubSubConn) that receives; see
/// [`PubSubConn::split`](crate::PubSubConn::split).
#[derive(Debug)]
pub struct PubSubReceiver<'a> {
    half: ReceiveHalf<'a>,
}

impl<'a> PubSubSender<'a> {
    pub(super) fn new(
        half: SendHalf<'a>,
        subscriptions: &'a mut Subscriptions,
    ) -> PubSubSender<'a> {
        PubSubSender { half, subscriptions }
    }

    /// As [`PubSubConn::subscribe`](crate::PubSubConn::subscribe).
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "Subscribe")]
    pub fn subscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::Subscribe, &channels)
    }

    /// As [`PubSubConn::unsubscribe`](crate::PubSubConn::unsubscribe).
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "Unsubscribe")]
    pub fn unsubscribe(&mut self, channels: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::Unsubscribe, &channels)
    }

    /// As [`PubSubConn::psubscribe`](crate::PubSubConn::psubscribe).
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "PSubscribe")]
    pub fn psubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::PSubscribe, &patterns)
    }

    /// As [`PubSubConn::punsubscribe`](crate::PubSubConn::punsubscribe).
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "PUnsubscribe")]
    pub fn punsubscribe(&mut self, patterns: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::PUnsubscribe, &patterns)
    }

    /// As [`PubSubConn::ssubscribe`](crate::PubSubConn::ssubscribe).
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn ssubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::SSubscribe, &shard_channels)
    }

    /// As [`PubSubConn::sunsubscribe`](crate::PubSubConn::sunsubscribe).
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn sunsubscribe(&mut self, shard_channels: impl ToArgs) -> Result<()> {
        self.change(SubscriptionKind::SUnsubscribe, &shard_channels)
    }

    /// As [`PubSubConn::resubscribe`](crate::PubSubConn::resubscribe).
    ///
    /// # Errors
    /// A fatal error of either half.
    pub fn resubscribe(&mut self, subscriptions: &Subscriptions) -> Result<()> {
        for (kind, names) in subscriptions.commands() {
            self.queue(kind, &names)?;
        }
        self.half.flush()
    }

    /// As [`PubSubConn::subscriptions`](crate::PubSubConn::subscriptions).
    pub fn subscriptions(&self) -> &Subscriptions {
        self.subscriptions
    }

    /// As [`PubSubConn::ping`](crate::PubSubConn::ping).
    ///
    /// # Errors
    /// A fatal error of either half.
    #[doc(alias = "Ping")]
    pub fn ping(&mut self, data: impl ToArg) -> Result<()> {
        self.half.send("PING", data)?;
        self.half.flush()
    }

    /// As [`PubSubConn::err`](crate::PubSubConn::err).
    pub fn err(&self) -> Option<&Error> {
        self.half.err()
    }

    fn change(&mut self, kind: SubscriptionKind, names: &dyn ToArgs) -> Result<()> {
        self.queue(kind, names)?;
        self.half.flush()
    }

    fn queue(&mut self, kind: SubscriptionKind, names: &dyn ToArgs) -> Result<()> {
        // Noted whether or not it can be sent: a new connection should have it too.
        self.subscriptions.note(kind, names);
        self.half.send(kind.command(), names)
    }
}

impl<'a> PubSubReceiver<'a> {
    pub(super) fn new(half: ReceiveHalf<'a>) -> PubSubReceiver<'a> {
        PubSubReceiver { half }
    }

    /// As [`PubSubConn::receive`](crate::PubSubConn::receive).
    ///
    /// # Errors
    /// As there, and a fatal error of the other half.
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<PubSubEvent> {
        self.half.receive()?.convert()
    }

    /// As [`PubSubConn::receive_timeout`](crate::PubSubConn::receive_timeout).
    ///
    /// # Errors
    /// As there, and a fatal error of the other half.
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<PubSubEvent> {
        self.half.receive_timeout(timeout)?.convert()
    }

    /// As [`PubSubConn::receive_context`](crate::PubSubConn::receive_context).
    ///
    /// # Errors
    /// As there, and a fatal error of the other half.
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<PubSubEvent> {
        self.half.receive_context(ctx)?.convert()
    }

    /// As [`PubSubConn::poll`](crate::PubSubConn::poll).
    ///
    /// # Errors
    /// As there, and a fatal error of the other half.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<PubSubEvent>> {
        self.half.poll(timeout)?.map(|reply| reply.convert()).transpose()
    }

    /// As [`PubSubConn::iter`](crate::PubSubConn::iter).
    pub fn iter(&mut self) -> impl Iterator<Item = Result<PubSubEvent>> {
        iter::blocking(&mut self.half)
    }

    /// As [`PubSubConn::timeout_iter`](crate::PubSubConn::timeout_iter).
    pub fn timeout_iter(&mut self, timeout: Duration) -> impl Iterator<Item = Result<PubSubEvent>> {
        iter::timeout(&mut self.half, timeout)
    }

    /// As [`PubSubConn::err`](crate::PubSubConn::err).
    pub fn err(&self) -> Option<&Error> {
        self.half.err()
    }
}
