//! The values that a server sends to a subscriber.

use crate::value::Value;

/// Returns a message on a channel.
///
/// ```
/// use redigo::testing::{ScriptedServer, message, subscription};
///
/// let server = ScriptedServer::new();
/// server
///     .expect("SUBSCRIBE", "news")
///     .reply(subscription("subscribe", "news", 1))
///     .then_push(message("news", "hello"));
/// let mut conn = server.conn();
/// conn.send("SUBSCRIBE", "news")?;
/// conn.flush()?;
/// conn.receive()?;
/// let (kind, channel, data): (String, String, String) = conn.receive()?.convert()?;
/// assert_eq!([kind, channel, data], ["message", "news", "hello"]);
/// # Ok::<(), redigo::Error>(())
/// ```
pub fn message(channel: impl Into<Value>, data: impl Into<Value>) -> Value {
    Value::Array(vec!["message".into(), channel.into(), data.into()])
}

/// Returns a message on a channel that matches a pattern.
///
/// ```
/// use redigo::testing::pmessage;
///
/// assert_eq!(pmessage("n*", "news", "hello").as_array().unwrap().len(), 4);
/// ```
pub fn pmessage(
    pattern: impl Into<Value>,
    channel: impl Into<Value>,
    data: impl Into<Value>,
) -> Value {
    Value::Array(vec!["pmessage".into(), pattern.into(), channel.into(), data.into()])
}

/// Returns the confirmation of a `subscribe`, `unsubscribe`, `psubscribe` and so on, with the
/// number of subscriptions after it.
///
/// ```
/// use redigo::testing::subscription;
///
/// assert_eq!(subscription("subscribe", "news", 1).as_array().unwrap().len(), 3);
/// ```
pub fn subscription(kind: &str, channel: impl Into<Value>, count: i64) -> Value {
    Value::Array(vec![kind.into(), channel.into(), count.into()])
}

/// Returns the answer to a `PING` on a subscribed connection.
///
/// ```
/// use redigo::testing::pong;
///
/// assert_eq!(pong("still there").as_array().unwrap().len(), 2);
/// ```
pub fn pong(data: impl Into<Value>) -> Value {
    Value::Array(vec!["pong".into(), data.into()])
}
