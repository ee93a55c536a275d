//! [`Value`]: one reply of the server, owned.

use std::borrow::Cow;
use std::fmt;

use crate::error::ServerError;

/// A reply of the server.
///
/// `Nil` represents both the null bulk string and the null array of RESP2; as in redigo, the two
/// are not distinguished. An error inside a list (from `EXEC`, for example) is a [`Value::Error`].
/// An error that is the whole reply is returned as [`Error::Server`](crate::Error::Server) instead.
///
/// ```
/// use redigo::Value;
///
/// let reply = Value::from(vec![Value::from("a"), Value::Int(2), Value::Nil]);
/// let (name, count, rest): (String, i64, Option<String>) = reply.convert()?;
/// assert_eq!((name.as_str(), count, rest), ("a", 2, None));
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Value {
    /// A null bulk string or a null array.
    Nil,
    /// An integer.
    Int(i64),
    /// A simple string: a status such as `OK`. The statuses `OK`, `PONG` and `QUEUED` are not
    /// allocated.
    Simple(Cow<'static, [u8]>),
    /// A bulk string. It can contain any bytes.
    Bulk(Vec<u8>),
    /// A list of replies.
    Array(Vec<Value>),
    /// An error inside a list.
    Error(ServerError),
}

impl Value {
    /// Creates a simple string, which a server sends after `+`.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// assert_eq!(Value::simple("OK").as_str(), Some("OK"));
    /// ```
    pub fn simple(text: impl Into<Cow<'static, str>>) -> Value {
        Value::Simple(match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// Returns the kind of the reply in words, for an error message.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// assert_eq!(Value::Int(1).kind(), "an integer");
    /// assert_eq!(Value::from("text").kind(), "a bulk string");
    /// ```
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Int(_) => "an integer",
            Value::Simple(_) => "a simple string",
            Value::Bulk(_) => "a bulk string",
            Value::Array(_) => "a list",
            Value::Error(_) => "an error",
        }
    }

    /// Returns true for nil.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// assert!(Value::Nil.is_nil());
    /// assert!(!Value::from("").is_nil());
    /// ```
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// Returns the bytes of a simple or bulk string, and `None` for any other reply.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// assert_eq!(Value::from("text").as_bytes(), Some(&b"text"[..]));
    /// assert_eq!(Value::Int(1).as_bytes(), None);
    /// ```
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes) => Some(bytes),
            Value::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the text of a simple or bulk string if it is valid UTF-8, and `None` for any other
    /// reply.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// assert_eq!(Value::from("text").as_str(), Some("text"));
    /// assert_eq!(Value::from(&b"\xff"[..]).as_str(), None);
    /// ```
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Returns the number if the reply is an integer, and `None` for any other reply. Does not
    /// parse strings; [`convert`](Value::convert) does.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// assert_eq!(Value::Int(7).as_int(), Some(7));
    /// assert_eq!(Value::from("7").as_int(), None);
    /// ```
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the elements of a list, and `None` for any other reply.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// let list = Value::from(vec![Value::Int(1), Value::Nil]);
    /// assert_eq!(list.as_array(), Some(&[Value::Int(1), Value::Nil][..]));
    /// ```
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("Nil"),
            Value::Int(number) => f.debug_tuple("Int").field(number).finish(),
            Value::Simple(bytes) => write!(f, "Simple(\"{}\")", bytes.escape_ascii()),
            Value::Bulk(bytes) => write!(f, "Bulk(\"{}\")", bytes.escape_ascii()),
            Value::Array(items) => f.debug_tuple("Array").field(items).finish(),
            Value::Error(error) => write!(f, "Error({:?})", error.message()),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Bulk(text.into_bytes())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value::Bulk(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value::Bulk(bytes)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::Array(items)
    }
}

impl From<ServerError> for Value {
    fn from(error: ServerError) -> Value {
        Value::Error(error)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Nil, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_at_most_32_bytes() {
        assert!(size_of::<Value>() <= 32, "Value is {} bytes", size_of::<Value>());
    }

    #[test]
    fn nil_differs_from_an_empty_string_and_an_empty_list() {
        assert_ne!(Value::Nil, Value::Bulk(Vec::new()));
        assert_ne!(Value::Nil, Value::Array(Vec::new()));
        assert!(Value::Nil.is_nil());
    }

    #[test]
    fn debug_output_shows_strings_as_text() {
        let value = Value::from(vec![Value::simple("OK"), Value::from(&b"a\0"[..])]);
        assert_eq!(format!("{value:?}"), r#"Array([Simple("OK"), Bulk("a\x00")])"#);
    }
}
