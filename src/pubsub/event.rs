//! What a subscribed connection receives.

use std::fmt;

use crate::error::{ConvertError, Error, Result};
use crate::from_value::{FromValue, quoted};
use crate::value::Value;

/// What the server pushes to a subscribed connection.
///
/// Channels and data are bytes, as they are for the server; `String::from_utf8_lossy` shows them.
/// An event is also what such a reply [converts](Value::convert) to, for those who receive on a
/// [`Conn`](crate::Conn) of their own.
///
/// ```
/// use redigo::{PubSubEvent, Value};
///
/// let reply = Value::from(vec![Value::from("message"), Value::from("news"), Value::from("hi")]);
/// match reply.convert()? {
///     PubSubEvent::Message { channel, data, .. } => {
///         assert_eq!(channel, b"news");
///         assert_eq!(String::from_utf8_lossy(&data), "hi");
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PubSubEvent {
    /// Somebody has published something (`message`, `pmessage` and `smessage`).
    #[doc(alias = "redis.Message")]
    Message {
        /// The channel, or shard channel, that it was published to.
        channel: Vec<u8>,
        /// The pattern that matched the channel, if the subscription is to a pattern. Who is
        /// subscribed to the channel as well gets the message twice.
        pattern: Option<Vec<u8>>,
        /// What was published.
        data: Vec<u8>,
    },
    /// The server confirms that it has begun or ended a subscription: once for each channel.
    #[doc(alias = "redis.Subscription")]
    Subscription {
        /// What has happened.
        kind: SubscriptionKind,
        /// The channel, pattern or shard channel; `None` when all were to end and there was none.
        channel: Option<Vec<u8>>,
        /// How many channels and patterns the connection is subscribed to now, or, where the kind
        /// is of shard channels, how many of those. At zero (of both) it is an ordinary
        /// connection again.
        count: u64,
    },
    /// The answer to a [`ping`](crate::PubSubConn::ping).
    #[doc(alias = "redis.Pong")]
    Pong {
        /// What the ping said.
        data: Vec<u8>,
    },
}

/// What a [`PubSubEvent::Subscription`] confirms.
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
    /// No longer subscribed to a shard channel. A cluster says so unasked when it moves the
    /// channel to another node.
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

    /// The server's name for it, which is redigo's too: `subscribe`, `punsubscribe` …
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

    /// The command that asks for it.
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

    fn named(name: &[u8]) -> Option<SubscriptionKind> {
        SubscriptionKind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == name)
    }
}

impl fmt::Display for SubscriptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromValue for PubSubEvent {
    const WANTED: &'static str = "a pub/sub event";

    fn from_value(value: Value) -> Result<PubSubEvent> {
        let mut fields = match value {
            Value::Array(items) => Fields { items: items.into_iter().enumerate() },
            Value::Nil => return Err(Error::Nil),
            Value::Error(error) => return Err(error.into()),
            other => return Err(ConvertError::new(Self::WANTED, other.kind()).into()),
        };
        let kind = fields.bytes("a kind of pub/sub event")?;
        match kind.as_slice() {
            b"message" | b"smessage" => Ok(PubSubEvent::Message {
                channel: fields.bytes("a channel")?,
                pattern: None,
                data: fields.bytes("a message")?,
            }),
            b"pmessage" => {
                let pattern = fields.bytes("a pattern")?;
                Ok(PubSubEvent::Message {
                    channel: fields.bytes("a channel")?,
                    pattern: Some(pattern),
                    data: fields.bytes("a message")?,
                })
            }
            b"pong" => Ok(PubSubEvent::Pong { data: fields.bytes("what the ping said")? }),
            name => match SubscriptionKind::named(name) {
                Some(kind) => Ok(PubSubEvent::Subscription {
                    kind,
                    channel: fields.bytes_or_nil("a channel")?,
                    count: fields.count("a number of subscriptions")?,
                }),
                None => Err(ConvertError::new("a kind of pub/sub event", quoted(name)).into()),
            },
        }
    }
}

/// The elements of an event, one after the other. Any that are left over are ignored.
struct Fields {
    items: std::iter::Enumerate<std::vec::IntoIter<Value>>,
}

impl Fields {
    fn bytes(&mut self, wanted: &'static str) -> Result<Vec<u8>> {
        match self.next(wanted)? {
            (_, Value::Bulk(bytes)) => Ok(bytes),
            (_, Value::Simple(bytes)) => Ok(bytes.into_owned()),
            (index, other) => Err(misfit(wanted, index, other)),
        }
    }

    fn bytes_or_nil(&mut self, wanted: &'static str) -> Result<Option<Vec<u8>>> {
        match self.next(wanted)? {
            (_, Value::Nil) => Ok(None),
            (_, Value::Bulk(bytes)) => Ok(Some(bytes)),
            (_, Value::Simple(bytes)) => Ok(Some(bytes.into_owned())),
            (index, other) => Err(misfit(wanted, index, other)),
        }
    }

    fn count(&mut self, wanted: &'static str) -> Result<u64> {
        match self.next(wanted)? {
            (index, Value::Int(count)) => u64::try_from(count)
                .map_err(|_| ConvertError::new(wanted, count.to_string()).in_element(index).into()),
            (index, other) => Err(misfit(wanted, index, other)),
        }
    }

    fn next(&mut self, wanted: &'static str) -> Result<(usize, Value)> {
        let end = || ConvertError::new(wanted, "the end of the list").into();
        self.items.next().ok_or_else(end)
    }
}

fn misfit(wanted: &'static str, index: usize, found: Value) -> Error {
    match found {
        Value::Error(error) => error.into(),
        other => ConvertError::new(wanted, other.kind()).in_element(index).into(),
    }
}

impl fmt::Debug for PubSubEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PubSubEvent::Message { channel, pattern, data } => f
                .debug_struct("Message")
                .field("channel", &Text(channel))
                .field("pattern", &pattern.as_deref().map(Text))
                .field("data", &Text(data))
                .finish(),
            PubSubEvent::Subscription { kind, channel, count } => f
                .debug_struct("Subscription")
                .field("kind", kind)
                .field("channel", &channel.as_deref().map(Text))
                .field("count", count)
                .finish(),
            PubSubEvent::Pong { data } => {
                f.debug_struct("Pong").field("data", &Text(data)).finish()
            }
        }
    }
}

/// Bytes that are most likely text.
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_known_by_its_name_and_asked_for_by_its_command() {
        for kind in SubscriptionKind::ALL {
            assert_eq!(SubscriptionKind::named(kind.as_str().as_bytes()), Some(kind));
            assert_eq!(kind.command(), kind.as_str().to_uppercase());
        }
        assert_eq!(SubscriptionKind::named(b"resubscribe"), None);
    }

    #[test]
    fn debug_shows_text_as_text() {
        let event = PubSubEvent::Message {
            channel: b"news".to_vec(),
            pattern: Some(b"n*".to_vec()),
            data: b"a\xff".to_vec(),
        };
        let text = r#"Message { channel: "news", pattern: Some("n*"), data: "a\xff" }"#;
        assert_eq!(format!("{event:?}"), text);
    }
}
