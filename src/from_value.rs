//! Conversion of replies to Rust types: [`FromValue`] and its implementations.
//!
//! A reply is converted by value: long strings are moved, not copied. A list is converted element by
//! element, also while it is still being received: see [`Items`].

mod items;
mod lists;
mod scalars;

use crate::error::{ConvertError, Error, Result};
use crate::value::Value;

use self::lists::{elements, from_list};

pub(crate) use self::items::{Items, Source};

impl Value {
    /// Converts the reply to the requested type. [`FromValue`] has the table of types.
    ///
    /// ```
    /// use redigo::Value;
    ///
    /// assert_eq!(Value::Int(7).convert::<u8>()?, 7);
    /// assert_eq!(Value::from("7").convert::<u8>()?, 7);
    /// assert_eq!(Value::Nil.convert::<Option<u8>>()?, None);
    ///
    /// let entry = Value::from(vec![Value::from("alice"), Value::from("2.5")]);
    /// let (member, score): (String, f64) = entry.convert()?;
    /// assert_eq!((member.as_str(), score), ("alice", 2.5));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Convert`] if the reply does not fit the type, [`Error::Nil`] if it is nil and the
    /// type cannot represent nil, [`Error::Server`] if it is an error of the server.
    pub fn convert<T: FromValue>(self) -> Result<T> {
        T::from_value(self)
    }
}

/// A type that a reply can be converted to.
///
/// | Type | Converted from |
/// |---|---|
/// | `()` | any reply except an error; an error inside a list is an error too |
/// | [`Value`] | any reply; errors inside a list stay in the list |
/// | integers | an integer in range; a bulk string in base 10, without a sign for unsigned types |
/// | `f32`, `f64` | an integer (rounded to the nearest float); a bulk string such as `1.5`, `1e+06`, `inf`, `nan` |
/// | `bool` | an integer: true unless it is 0; the bulk strings `1 t T TRUE true True` and `0 f F FALSE false False` |
/// | `String`, `Box<str>` | a bulk or simple string that is valid UTF-8 |
/// | `Vec<u8>` | the bytes of a bulk or simple string; a list of numbers |
/// | `Option<T>` | nil becomes `None`; any other reply is converted as `T` |
/// | `Vec<T>`, `HashSet<T>`, `BTreeSet<T>` | a list |
/// | `Vec<(K, V)>`, also with other tuples | a list of lists; a flat list, such as the reply to `HGETALL` |
/// | `[T; N]`, `[u8; N]` | like `Vec<T>` and `Vec<u8>`, but with exactly `N` elements or bytes |
/// | tuples of 1 to 12 members | a list with exactly this number of elements |
/// | `HashMap<K, V>`, `BTreeMap<K, V>` | a list of key, value, key, value …; of two equal keys the later one wins |
///
/// Numbers and `bool` are not read from simple strings, because a simple string is a status such
/// as `OK`.
///
/// A nil that is the whole reply is [`Error::Nil`]. A nil that is an element is an
/// [`Error::Convert`], which names its position. An error of the server is [`Error::Server`],
/// both as the whole reply and as an element.
///
/// A flat list is converted to tuples if its first element is not a list. This reads the reply to
/// `ZRANGE … WITHSCORES` as `Vec<(String, f64)>`, in the flat format and as a list of pairs.
///
/// For a command that replies with `OK` or nil, such as `SET key value NX`, request an `Option<()>`.
///
/// # Examples
///
/// ```
/// use redigo::Value;
///
/// let hash = Value::from(["title", "Red", "label", "4AD"].map(Value::from).to_vec());
/// let fields: Vec<(String, String)> = hash.convert()?;
/// assert_eq!(fields[1], ("label".to_string(), "4AD".to_string()));
///
/// let set = Value::simple("OK"); // the reply to SET key value NX
/// assert!(set.convert::<Option<()>>()?.is_some());
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// An implementation for your own type starts from one of the types in the table:
///
/// ```
/// use std::net::IpAddr;
/// use redigo::{ConvertError, FromValue, Result, Value};
///
/// struct Address(IpAddr);
///
/// impl FromValue for Address {
///     fn from_value(value: Value) -> Result<Address> {
///         let text: String = value.convert()?;
///         match text.parse() {
///             Ok(address) => Ok(Address(address)),
///             Err(error) => Err(ConvertError::new("an IP address", text).caused_by(error).into()),
///         }
///     }
/// }
///
/// let list = Value::from(vec![Value::from("::1"), Value::from("10.0.0.1")]);
/// assert_eq!(list.convert::<Vec<Address>>()?[1].0, IpAddr::from([10, 0, 0, 1]));
/// # Ok::<(), redigo::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a reply cannot be converted to `{Self}`",
    label = "not a type for a reply",
    note = "give the reply a type: `query::<i64>(…)`, or `query::<()>(…)` if it is not used",
    note = "request an owned type: `String`, `Vec<u8>`, numbers, `bool`, `Option<T>`, `Vec<T>`, \
            tuples of up to 12 members, sets, maps, or `redigo::Value` for any reply",
    note = "convert a reply to a struct with `redigo::scan::scan_struct`, or implement `FromValue`"
)]
pub trait FromValue: Sized {
    /// Converts the reply. [`Value::convert`] calls this method.
    ///
    /// ```
    /// use redigo::{FromValue, Value};
    ///
    /// assert_eq!(i64::from_value(Value::from("7"))?, 7);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Value::convert`].
    fn from_value(value: Value) -> Result<Self>;

    /// Converts a borrowed bulk string.
    #[doc(hidden)]
    fn from_bulk(bytes: &[u8]) -> Result<Self> {
        Self::from_value(Value::Bulk(bytes.to_vec()))
    }

    /// Converts a list whose elements may not have been received yet. Elements that it does not
    /// take are dropped.
    #[doc(hidden)]
    fn from_items(items: &mut Items<'_>) -> Result<Self> {
        Self::from_value(Value::Array(elements(items)?))
    }

    /// Converts the reply to a list of this type. `u8` overrides this: a list of `u8` is a string.
    #[doc(hidden)]
    fn from_list(value: Value) -> Result<Vec<Self>> {
        from_list(value, Self::WANTED_LIST, elements)
    }

    /// Converts the next [`WIDTH`](FromValue::WIDTH) elements of a flat list.
    #[doc(hidden)]
    fn from_row(items: &mut Items<'_>) -> Result<Self> {
        items.take()
    }

    /// The number of elements of a flat list that one value takes; 0 if it cannot be read from one.
    #[doc(hidden)]
    const WIDTH: usize = 0;

    /// The expected reply, as an error message names it.
    #[doc(hidden)]
    const WANTED: &'static str = "a value";

    /// The expected reply for a list of this type, as an error message names it.
    #[doc(hidden)]
    const WANTED_LIST: &'static str = "a list";
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Value> {
        Ok(value)
    }
}

impl FromValue for () {
    fn from_items(items: &mut Items<'_>) -> Result<()> {
        while items.left() > 0 {
            items.take::<()>()?;
        }
        Ok(())
    }

    fn from_bulk(_: &[u8]) -> Result<()> {
        Ok(())
    }

    fn from_value(value: Value) -> Result<()> {
        match value {
            Value::Error(error) => Err(error.into()),
            Value::Array(items) => items.into_iter().try_for_each(<()>::from_value),
            _ => Ok(()),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_items(items: &mut Items<'_>) -> Result<Option<T>> {
        T::from_items(items).map(Some)
    }

    fn from_bulk(bytes: &[u8]) -> Result<Option<T>> {
        T::from_bulk(bytes).map(Some)
    }

    fn from_value(value: Value) -> Result<Option<T>> {
        match value {
            Value::Nil => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// Converts one element of a list. An error names the index of the element.
pub(crate) fn element<T: FromValue>(index: usize, value: Value) -> Result<T> {
    T::from_value(value).map_err(|error| in_element::<T>(index, error))
}

fn in_element<T: FromValue>(index: usize, error: Error) -> Error {
    match error {
        // Error::Nil would mean that the whole reply is nil.
        Error::Nil => ConvertError::new(T::WANTED, Value::Nil.kind()).in_element(index).into(),
        Error::Convert(error) => error.in_element(index).into(),
        other => other,
    }
}

fn wrong_length(wanted: usize, found: usize) -> Error {
    ConvertError::new(format!("length {wanted}"), format!("length {found}")).into()
}

/// Returns the error for a reply of the wrong kind.
pub(crate) fn unexpected_kind(wanted: &'static str, value: Value) -> Error {
    match value {
        Value::Nil => Error::Nil,
        Value::Error(error) => error.into(),
        other => ConvertError::new(wanted, other.kind()).into(),
    }
}

/// Returns the beginning of a string, quoted and escaped for an error message.
pub(crate) fn quoted(text: &[u8]) -> String {
    const SHOWN: usize = 32;
    let more = if text.len() > SHOWN { "…" } else { "" };
    format!("\"{}\"{more}", text[..text.len().min(SHOWN)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_cut_and_escaped() {
        assert_eq!(quoted(b""), r#""""#);
        assert_eq!(quoted(b"a\r\n\"\xff"), r#""a\r\n\"\xff""#);
        assert_eq!(quoted(&[b'x'; 32]), format!("\"{}\"", "x".repeat(32)));
        assert_eq!(quoted(&[b'x'; 33]), format!("\"{}\"…", "x".repeat(32)));
    }
}
