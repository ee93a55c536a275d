//! The kinds of subscription commands.

use std::fmt;

/// The kind of subscription change that a
/// [`PubSubEvent::Subscription`](crate::PubSubEvent::Subscription) confirms.
///
/// ```
/// use redigo::SubscriptionKind;
///
/// assert_eq!(SubscriptionKind::PSubscribe.to_string(), "psubscribe");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscriptionKind {
    /// Subscribed to a channel.
    Subscribe,
    /// No longer subscribed to a channel.
    Unsubscribe,
    /// Subscribed to a pattern.
    PSubscribe,
    /// No longer subscribed to a pattern.
    PUnsubscribe,
    /// Subscribed to a shard channel.
    SSubscribe,
    /// No longer subscribed to a shard channel. A cluster also sends this on its own when it moves
    /// the channel to another node.
    SUnsubscribe,
}

impl SubscriptionKind {
    const ALL: [SubscriptionKind; 6] = [
        SubscriptionKind::Subscribe,
        SubscriptionKind::Unsubscribe,
        SubscriptionKind::PSubscribe,
        SubscriptionKind::PUnsubscribe,
        SubscriptionKind::SSubscribe,
        SubscriptionKind::SUnsubscribe,
    ];

    /// Returns the server's name for the kind, which redigo uses too: `subscribe`,
    /// `punsubscribe` and so on.
    ///
    /// ```
    /// use redigo::SubscriptionKind;
    ///
    /// assert_eq!(SubscriptionKind::SUnsubscribe.as_str(), "sunsubscribe");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            SubscriptionKind::Subscribe => "subscribe",
            SubscriptionKind::Unsubscribe => "unsubscribe",
            SubscriptionKind::PSubscribe => "psubscribe",
            SubscriptionKind::PUnsubscribe => "punsubscribe",
            SubscriptionKind::SSubscribe => "ssubscribe",
            SubscriptionKind::SUnsubscribe => "sunsubscribe",
        }
    }

    /// The command that requests it.
    pub(super) fn command(self) -> &'static str {
        match self {
            SubscriptionKind::Subscribe => "SUBSCRIBE",
            SubscriptionKind::Unsubscribe => "UNSUBSCRIBE",
            SubscriptionKind::PSubscribe => "PSUBSCRIBE",
            SubscriptionKind::PUnsubscribe => "PUNSUBSCRIBE",
            SubscriptionKind::SSubscribe => "SSUBSCRIBE",
            SubscriptionKind::SUnsubscribe => "SUNSUBSCRIBE",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<SubscriptionKind> {
        SubscriptionKind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == name)
    }
}

impl fmt::Display for SubscriptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_name_and_its_command() {
        for kind in SubscriptionKind::ALL {
            assert_eq!(SubscriptionKind::from_name(kind.as_str().as_bytes()), Some(kind));
            assert_eq!(kind.command(), kind.as_str().to_uppercase());
        }
        assert_eq!(SubscriptionKind::from_name(b"resubscribe"), None);
    }
}
