//! The subscriptions that a program has asked for.

use std::collections::BTreeSet;
use std::fmt;

use super::event::Text;
use super::subscription_kind::SubscriptionKind;
use crate::args::Args;

/// The channels, patterns and shard channels that a subscriber has asked for and not given up,
/// whether or not the server has confirmed them.
///
/// When the connection is lost, a new one can [subscribe again](crate::PubSubConn::resubscribe)
/// to all of them.
///
/// ```
/// # use redigo::{PubSubConn, testing::ScriptedServer};
/// # let server = ScriptedServer::new();
/// # server.expect_any("SUBSCRIBE").no_reply();
/// # server.expect_any("PSUBSCRIBE").no_reply();
/// # server.expect_any("UNSUBSCRIBE").no_reply();
/// let mut sub = PubSubConn::new(server.conn());
/// sub.subscribe(("a", "b"))?;
/// sub.psubscribe("news.*")?;
/// sub.unsubscribe("a")?;
///
/// let wanted = sub.subscriptions();
/// assert_eq!(wanted.channels().collect::<Vec<_>>(), [b"b"]);
/// assert_eq!(wanted.patterns().collect::<Vec<_>>(), [b"news.*"]);
/// assert_eq!(wanted.len(), 2);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
    shard_channels: BTreeSet<Vec<u8>>,
}

impl Subscriptions {
    /// Returns the channels, sorted by their bytes.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SUBSCRIBE").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.subscribe(("b", "a"))?;
    /// assert_eq!(sub.subscriptions().channels().collect::<Vec<_>>(), [b"a", b"b"]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(Vec::as_slice)
    }

    /// Returns the patterns, sorted by their bytes.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("PSUBSCRIBE").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.psubscribe("news.*")?;
    /// assert_eq!(sub.subscriptions().patterns().collect::<Vec<_>>(), [b"news.*"]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.patterns.iter().map(Vec::as_slice)
    }

    /// Returns the shard channels, sorted by their bytes.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SSUBSCRIBE").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.ssubscribe("orders")?;
    /// assert_eq!(sub.subscriptions().shard_channels().collect::<Vec<_>>(), [b"orders"]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn shard_channels(&self) -> impl Iterator<Item = &[u8]> {
        self.shard_channels.iter().map(Vec::as_slice)
    }

    /// Returns the number of channels, patterns and shard channels together.
    ///
    /// ```
    /// # use redigo::{PubSubConn, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("SUBSCRIBE").no_reply();
    /// # let mut sub = PubSubConn::new(server.conn());
    /// sub.subscribe(("a", "b"))?;
    /// assert_eq!(sub.subscriptions().len(), 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Returns true if there are none.
    ///
    /// ```
    /// assert!(redigo::Subscriptions::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records a command.
    pub(super) fn record(&mut self, kind: SubscriptionKind, names: &Args) {
        let names = names.iter();
        match kind {
            SubscriptionKind::Subscribe => add(&mut self.channels, names),
            SubscriptionKind::PSubscribe => add(&mut self.patterns, names),
            SubscriptionKind::SSubscribe => add(&mut self.shard_channels, names),
            SubscriptionKind::Unsubscribe => remove(&mut self.channels, names),
            SubscriptionKind::PUnsubscribe => remove(&mut self.patterns, names),
            SubscriptionKind::SUnsubscribe => remove(&mut self.shard_channels, names),
        }
    }

    /// Records an unsubscribe command without names, which is about all names of its kind.
    pub(super) fn record_all(&mut self, kind: SubscriptionKind) {
        match kind {
            SubscriptionKind::Subscribe | SubscriptionKind::Unsubscribe => self.channels.clear(),
            SubscriptionKind::PSubscribe | SubscriptionKind::PUnsubscribe => self.patterns.clear(),
            SubscriptionKind::SSubscribe | SubscriptionKind::SUnsubscribe => {
                self.shard_channels.clear();
            }
        }
    }

    /// The commands that subscribe to all of it.
    pub(super) fn commands(&self) -> Vec<(SubscriptionKind, Vec<&[u8]>)> {
        let groups = [
            (SubscriptionKind::Subscribe, self.channels().collect::<Vec<_>>()),
            (SubscriptionKind::PSubscribe, self.patterns().collect()),
        ];
        let groups = groups.into_iter().filter(|(_, names)| !names.is_empty());
        // A cluster accepts only shard channels of the same slot in one command.
        let single = self.shard_channels().map(|name| (SubscriptionKind::SSubscribe, vec![name]));
        groups.chain(single).collect()
    }
}

fn add<'a>(set: &mut BTreeSet<Vec<u8>>, names: impl Iterator<Item = &'a [u8]>) {
    set.extend(names.map(<[u8]>::to_vec));
}

fn remove<'a>(set: &mut BTreeSet<Vec<u8>>, names: impl Iterator<Item = &'a [u8]>) {
    names.for_each(|name| {
        set.remove(name);
    });
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriptions")
            .field("channels", &self.channels().map(Text).collect::<Vec<_>>())
            .field("patterns", &self.patterns().map(Text).collect::<Vec<_>>())
            .field("shard_channels", &self.shard_channels().map(Text).collect::<Vec<_>>())
            .finish()
    }
}
