//! Events that a subscribed connection receives.

use std::fmt;

use super::subscription_kind::SubscriptionKind;
use crate::error::{ConvertError, Error, Result};
use crate::from_value::{FromValue, quoted};
use crate::value::Value;

/// An event that the server sends to a subscribed connection.
///
/// Channels and data are bytes, as on the server; `String::from_utf8_lossy` makes them text. A
/// reply received on a plain [`Conn`](crate::Conn) [converts](Value::convert) to an event too.
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
    /// A published message (`message`, `pmessage` or `smessage`).
    #[doc(alias = "redis.Message")]
    Message {
        /// The channel or shard channel that the message was published to.
        channel: Vec<u8>,
        /// The pattern that matched the channel, if the subscription is to a pattern. A connection
        /// that is subscribed to the channel as well receives the message twice.
        pattern: Option<Vec<u8>>,
        /// The published data.
        data: Vec<u8>,
    },
    /// Keys that other clients have changed, for a client-side cache.
    ///
    /// The server sends it to a connection that is subscribed to `__redis__:invalidate`, if another
    /// connection has enabled `CLIENT TRACKING ON REDIRECT` with this connection's `CLIENT ID`.
    ///
    /// ```
    /// use redigo::{PubSubConn, PubSubEvent};
    /// # use redigo::{Value, testing::{ScriptedServer, message, subscription}};
    /// # let server = ScriptedServer::unordered();
    /// # let channel = "__redis__:invalidate";
    /// # server.expect("CLIENT", "ID").reply(7);
    /// # server.expect("SUBSCRIBE", channel).reply(subscription("subscribe", channel, 1));
    /// # server.expect("CLIENT", ("TRACKING", "ON", "REDIRECT", 7)).ok();
    /// # server.expect("GET", "user:1").reply("Ada");
    /// # let (mut invalidations, mut conn) = (server.conn(), server.conn());
    ///
    /// let id: i64 = invalidations.query("CLIENT", "ID")?;
    /// let mut invalidations = PubSubConn::new(invalidations);
    /// invalidations.subscribe("__redis__:invalidate")?;
    /// invalidations.receive()?; // the confirmation
    /// conn.call("CLIENT", ("TRACKING", "ON", "REDIRECT", id))?;
    /// let name: String = conn.query("GET", "user:1")?;
    /// // … another client sets user:1 …
    /// # server.push(message(channel, Value::from(vec![Value::from("user:1")])));
    /// match invalidations.receive()? {
    ///     PubSubEvent::Invalidation { keys: Some(keys) } => assert_eq!(keys, [b"user:1"]),
    ///     other => println!("{other:?}"),
    /// }
    /// # drop(name);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    Invalidation {
        /// The changed keys. `None` means all keys, after `FLUSHALL` or `FLUSHDB`.
        keys: Option<Vec<Vec<u8>>>,
    },
    /// The server's confirmation that a subscription has begun or ended, one for each channel.
    #[doc(alias = "redis.Subscription")]
    Subscription {
        /// The kind of change.
        kind: SubscriptionKind,
        /// The channel, pattern or shard channel. `None` if all subscriptions of the kind had to
        /// end and there was none.
        channel: Option<Vec<u8>>,
        /// The number of channels and patterns that the connection is now subscribed to, or, if
        /// the kind is about shard channels, the number of shard channels. When both numbers are
        /// zero, the connection is an ordinary one again.
        count: u64,
    },
    /// The answer to a [`ping`](crate::PubSubConn::ping).
    #[doc(alias = "redis.Pong")]
    Pong {
        /// The data of the ping.
        data: Vec<u8>,
    },
}

/// The server sends lists of keys to this channel. Any client can publish messages to it.
const INVALIDATION_CHANNEL: &[u8] = b"__redis__:invalidate";

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
            b"message" | b"smessage" => {
                let channel = fields.bytes("a channel")?;
                match fields.keys_or_message(channel == INVALIDATION_CHANNEL)? {
                    KeysOrMessage::Keys(keys) => Ok(PubSubEvent::Invalidation { keys }),
                    KeysOrMessage::Message(data) => {
                        Ok(PubSubEvent::Message { channel, pattern: None, data })
                    }
                }
            }
            b"pmessage" => {
                let pattern = fields.bytes("a pattern")?;
                Ok(PubSubEvent::Message {
                    channel: fields.bytes("a channel")?,
                    pattern: Some(pattern),
                    data: fields.bytes("a message")?,
                })
            }
            b"pong" => Ok(PubSubEvent::Pong { data: fields.bytes("the data of the ping")? }),
            name => match SubscriptionKind::from_name(name) {
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

enum KeysOrMessage {
    Keys(Option<Vec<Vec<u8>>>),
    Message(Vec<u8>),
}

/// The elements of an event in order. Surplus elements are ignored.
struct Fields {
    items: std::iter::Enumerate<std::vec::IntoIter<Value>>,
}

impl Fields {
    fn bytes(&mut self, wanted: &'static str) -> Result<Vec<u8>> {
        match self.next(wanted)? {
            (_, Value::Bulk(bytes)) => Ok(bytes),
            (_, Value::Simple(bytes)) => Ok(bytes.into_owned()),
            (index, other) => Err(mismatch(wanted, index, other)),
        }
    }

    fn bytes_or_nil(&mut self, wanted: &'static str) -> Result<Option<Vec<u8>>> {
        match self.next(wanted)? {
            (_, Value::Nil) => Ok(None),
            (_, Value::Bulk(bytes)) => Ok(Some(bytes)),
            (_, Value::Simple(bytes)) => Ok(Some(bytes.into_owned())),
            (index, other) => Err(mismatch(wanted, index, other)),
        }
    }

    fn keys_or_message(&mut self, can_be_keys: bool) -> Result<KeysOrMessage> {
        let wanted = "a message";
        match self.next(wanted)? {
            (_, Value::Bulk(bytes)) => Ok(KeysOrMessage::Message(bytes)),
            (_, Value::Simple(bytes)) => Ok(KeysOrMessage::Message(bytes.into_owned())),
            (_, Value::Nil) if can_be_keys => Ok(KeysOrMessage::Keys(None)),
            (_, Value::Array(items)) if can_be_keys => {
                let mut keys = Fields { items: items.into_iter().enumerate() };
                let keys: Result<_> = (0..keys.items.len()).map(|_| keys.bytes("a key")).collect();
                keys.map(|keys| KeysOrMessage::Keys(Some(keys)))
            }
            (index, other) => Err(mismatch(wanted, index, other)),
        }
    }

    fn count(&mut self, wanted: &'static str) -> Result<u64> {
        match self.next(wanted)? {
            (index, Value::Int(count)) => u64::try_from(count)
                .map_err(|_| ConvertError::new(wanted, count.to_string()).in_element(index).into()),
            (index, other) => Err(mismatch(wanted, index, other)),
        }
    }

    fn next(&mut self, wanted: &'static str) -> Result<(usize, Value)> {
        let end = || ConvertError::new(wanted, "the end of the list").into();
        self.items.next().ok_or_else(end)
    }
}

fn mismatch(wanted: &'static str, index: usize, found: Value) -> Error {
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
            PubSubEvent::Invalidation { keys } => {
                let keys = keys.as_ref().map(|keys| keys.iter().map(|key| Text(key)).collect());
                f.debug_struct("Invalidation").field("keys", &keys as &Option<Vec<_>>).finish()
            }
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

/// Bytes shown as text.
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
