//! What a connection is meant to be subscribed to.

use std::collections::BTreeSet;
use std::fmt;

use super::event::{SubscriptionKind, Text};
use crate::args::{Args, ToArgs};

/// What one has subscribed to and not given up, whether or not the server has confirmed it: what
/// a new connection has to [subscribe to again](crate::PubSubConn::resubscribe) when this one
/// is lost.
///
/// ```
/// # use redigo::{Dialer, PubSubConn, testing::MemoryStream};
/// # let conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
/// let mut sub = PubSubConn::new(conn);
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
    /// The channels, in the order of their bytes.
    pub fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(Vec::as_slice)
    }

    /// The patterns, in the order of their bytes.
    pub fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.patterns.iter().map(Vec::as_slice)
    }

    /// The shard channels, in the order of their bytes.
    pub fn shard_channels(&self) -> impl Iterator<Item = &[u8]> {
        self.shard_channels.iter().map(Vec::as_slice)
    }

    /// How many there are of all three.
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes note of a command.
    pub(super) fn note(&mut self, kind: SubscriptionKind, names: &dyn ToArgs) {
        let names = Args::new().args(names);
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

    /// The commands that ask for all of it.
    pub(super) fn commands(&self) -> Vec<(SubscriptionKind, Vec<&[u8]>)> {
        let whole = [
            (SubscriptionKind::Subscribe, self.channels().collect::<Vec<_>>()),
            (SubscriptionKind::PSubscribe, self.patterns().collect()),
        ];
        let whole = whole.into_iter().filter(|(_, names)| !names.is_empty());
        // A cluster takes only shard channels of one slot in one command.
        let single = self.shard_channels().map(|name| (SubscriptionKind::SSubscribe, vec![name]));
        whole.chain(single).collect()
    }
}

fn add<'a>(set: &mut BTreeSet<Vec<u8>>, names: impl Iterator<Item = &'a [u8]>) {
    set.extend(names.map(<[u8]>::to_vec));
}

fn remove<'a>(set: &mut BTreeSet<Vec<u8>>, names: impl Iterator<Item = &'a [u8]>) {
    let mut names = names.peekable();
    if names.peek().is_none() {
        // None named means all.
        set.clear();
    }
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
