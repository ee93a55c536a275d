//! What a reply may become: [`FromValue`] and its implementations.
//!
//! A reply comes apart by value, so that long strings are moved and not copied. A list comes apart
//! element by element, whether all of it is there or it is still being received: see [`Items`].

mod items;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::str::FromStr;

use crate::error::{ConvertError, Error, Result};
use crate::value::Value;

pub(crate) use items::{Items, Source};

impl Value {
    /// Converts the reply to the type asked for; the table is at [`FromValue`].
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
    /// [`Error::Convert`] when the reply does not fit the type, [`Error::Nil`] when it is nil and
    /// the type has no place for that, [`Error::Server`] when it is a server's error.
    pub fn convert<T: FromValue>(self) -> Result<T> {
        T::from_value(self)
    }
}

/// A type that a reply can be converted to.
///
/// | Type | From |
/// |---|---|
/// | `()` | any reply without an error, also in a list |
/// | [`Value`] | any reply; errors inside a list stay as they are |
/// | integers | an integer in range; a bulk string in base 10, without a sign for unsigned types |
/// | `f32`, `f64` | an integer (rounded to what the type can hold); a bulk string such as `1.5`, `1e+06`, `inf`, `nan` |
/// | `bool` | an integer: true unless 0; the bulk strings `1 t T TRUE true True` and `0 f F FALSE false False` |
/// | `String`, `Box<str>` | a bulk or simple string, if it is UTF-8 |
/// | `Vec<u8>` | a bulk or simple string: its bytes; a list of numbers |
/// | `Option<T>` | nil: `None`; else as `T` |
/// | `Vec<T>`, `HashSet<T>`, `BTreeSet<T>` | a list |
/// | `[T; N]`, `[u8; N]` | as `Vec<T>` and `Vec<u8>`, if there are exactly `N` |
/// | tuples of 1 to 12 | a list of exactly that many elements |
/// | `HashMap<K, V>`, `BTreeMap<K, V>` | a list of key, value, key, value …; the later duplicate wins |
///
/// Numbers and truth values are not read from simple strings: those are statuses such as `OK`.
///
/// A nil is [`Error::Nil`] when it is the whole reply, and [`Error::Convert`] with its place when
/// it is an element. An error of the server is [`Error::Server`], whole or element.
///
/// # Examples
///
/// A type of one's own is built from the types in the table:
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
pub trait FromValue: Sized {
    /// Converts the reply.
    ///
    /// # Errors
    /// Those of [`Value::convert`], which calls this.
    fn from_value(value: Value) -> Result<Self>;

    /// Converts a bulk string that is only lent.
    #[doc(hidden)]
    fn from_bulk(bytes: &[u8]) -> Result<Self> {
        Self::from_value(Value::Bulk(bytes.to_vec()))
    }

    /// Converts a list, whose elements may still be on their way. What it leaves is dropped.
    #[doc(hidden)]
    fn from_items(items: &mut Items<'_>) -> Result<Self> {
        Self::from_value(Value::Array(elements(items)?))
    }

    /// Converts the reply to many of this type. It is here for `u8`, of which many are a string.
    #[doc(hidden)]
    fn from_list(value: Value) -> Result<Vec<Self>> {
        from_list(value, Self::WANTED_LIST, elements)
    }

    /// What an error says was expected.
    #[doc(hidden)]
    const WANTED: &'static str = "a value";

    /// What an error says was expected where many of this type were.
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
        let mut outcome = Ok(());
        while items.left() > 0 {
            outcome = outcome.and(items.take::<()>());
        }
        outcome
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

impl FromValue for bool {
    const WANTED: &'static str = "a truth value";

    fn from_value(value: Value) -> Result<bool> {
        match value {
            Value::Int(number) => Ok(number != 0),
            Value::Bulk(text) => bool::from_bulk(&text),
            other => Err(refused(Self::WANTED, other)),
        }
    }

    /// From the words that Go's strconv.ParseBool knows.
    fn from_bulk(text: &[u8]) -> Result<bool> {
        match text {
            b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
            b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
            other => Err(unreadable(Self::WANTED, other)),
        }
    }
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl FromValue for $type {
            const WANTED: &'static str = "an integer";

            fn from_value(value: Value) -> Result<$type> {
                integer(value, concat!("an integer that fits ", stringify!($type)))
            }

            fn from_bulk(text: &[u8]) -> Result<$type> {
                integer_from_text(text, concat!("an integer that fits ", stringify!($type)))
            }
        }
    )*};
}

integers! { i8 i16 i32 i64 i128 isize u16 u32 u64 u128 usize }

impl FromValue for u8 {
    const WANTED: &'static str = "an integer";
    const WANTED_LIST: &'static str = "a string";

    fn from_value(value: Value) -> Result<u8> {
        integer(value, "an integer that fits u8")
    }

    fn from_bulk(text: &[u8]) -> Result<u8> {
        integer_from_text(text, "an integer that fits u8")
    }

    fn from_list(value: Value) -> Result<Vec<u8>> {
        match value {
            Value::Bulk(bytes) => Ok(bytes),
            Value::Simple(bytes) => Ok(bytes.into_owned()),
            other => from_list(other, Self::WANTED_LIST, elements),
        }
    }
}

fn integer<T: FromValue + FromStr + TryFrom<i64>>(value: Value, fits: &'static str) -> Result<T> {
    match value {
        Value::Int(number) => {
            T::try_from(number).map_err(|_| ConvertError::new(fits, number.to_string()).into())
        }
        Value::Bulk(text) => integer_from_text(&text, fits),
        other => Err(refused(T::WANTED, other)),
    }
}

fn integer_from_text<T: FromStr + TryFrom<i64>>(text: &[u8], fits: &'static str) -> Result<T> {
    // Go's ParseUint takes no sign at all, where Rust would let a plus pass.
    let signed = T::try_from(-1).is_ok();
    let number = if !signed && text.starts_with(b"+") { None } else { parse(text) };
    number.ok_or_else(|| unreadable(fits, text))
}

macro_rules! floats {
    ($($type:ident)*) => {$(
        impl FromValue for $type {
            const WANTED: &'static str = "a number";

            fn from_value(value: Value) -> Result<$type> {
                match value {
                    Value::Int(number) => Ok(number as $type),
                    Value::Bulk(text) => <$type>::from_bulk(&text),
                    other => Err(refused(Self::WANTED, other)),
                }
            }

            fn from_bulk(text: &[u8]) -> Result<$type> {
                parse(text)
                    .filter(|number: &$type| number.is_finite() || is_not_finite(text))
                    .ok_or_else(|| {
                        unreadable(concat!("a number that fits ", stringify!($type)), text)
                    })
            }
        }
    )*};
}

floats! { f32 f64 }

/// True for the words `inf` and `nan`. Digits beyond the range come out as infinity too, which is
/// an error in Go.
fn is_not_finite(text: &[u8]) -> bool {
    !text.iter().any(u8::is_ascii_digit)
}

fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl FromValue for String {
    const WANTED: &'static str = "a string";

    fn from_value(value: Value) -> Result<String> {
        let bytes = match value {
            Value::Bulk(bytes) => bytes,
            Value::Simple(bytes) => bytes.into_owned(),
            other => return Err(refused(Self::WANTED, other)),
        };
        String::from_utf8(bytes).map_err(|error| {
            let found = quoted(error.as_bytes());
            ConvertError::new("a string of UTF-8", found).caused_by(error.utf8_error()).into()
        })
    }
}

impl FromValue for Box<str> {
    const WANTED: &'static str = String::WANTED;

    fn from_value(value: Value) -> Result<Box<str>> {
        String::from_value(value).map(String::into_boxed_str)
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    const WANTED: &'static str = T::WANTED_LIST;

    fn from_value(value: Value) -> Result<Vec<T>> {
        T::from_list(value)
    }

    fn from_items(items: &mut Items<'_>) -> Result<Vec<T>> {
        elements(items)
    }
}

impl<T: FromValue, const N: usize> FromValue for [T; N] {
    const WANTED: &'static str = T::WANTED_LIST;

    fn from_value(value: Value) -> Result<[T; N]> {
        exactly(T::from_list(value)?)
    }

    fn from_items(items: &mut Items<'_>) -> Result<[T; N]> {
        exactly(elements(items)?)
    }
}

macro_rules! sets {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> FromValue for $type {
            const WANTED: &'static str = "a list";

            fn from_value(value: Value) -> Result<$type> {
                from_list(value, Self::WANTED, Self::from_items)
            }

            fn from_items(items: &mut Items<'_>) -> Result<$type> {
                Ok(elements(items)?.into_iter().collect())
            }
        }
    )*};
}

sets! {
    [T: FromValue + Eq + Hash, S: BuildHasher + Default] HashSet<T, S>;
    [T: FromValue + Ord] BTreeSet<T>;
}

macro_rules! maps {
    ($([$($generics:tt)*] $type:ty = |$pairs:pat_param| $new:expr;)*) => {$(
        impl<$($generics)*> FromValue for $type {
            const WANTED: &'static str = "a list of keys and values";

            fn from_value(value: Value) -> Result<$type> {
                from_list(value, Self::WANTED, Self::from_items)
            }

            fn from_items(items: &mut Items<'_>) -> Result<$type> {
                if items.left() % 2 != 0 {
                    let found = format!("length {}", items.left());
                    return Err(ConvertError::new("a list of even length", found).into());
                }
                let $pairs = items.room::<(K, V)>(items.left() / 2);
                let mut map = $new;
                while items.left() > 0 {
                    map.insert(items.take()?, items.take()?);
                }
                Ok(map)
            }
        }
    )*};
}

maps! {
    [K: FromValue + Eq + Hash, V: FromValue, S: BuildHasher + Default] HashMap<K, V, S> =
        |pairs| HashMap::with_capacity_and_hasher(pairs, S::default());
    [K: FromValue + Ord, V: FromValue] BTreeMap<K, V> = |_| BTreeMap::new();
}

macro_rules! tuple {
    ($($name:ident)*) => {
        impl<$($name: FromValue),*> FromValue for ($($name,)*) {
            const WANTED: &'static str = "a list";

            fn from_value(value: Value) -> Result<Self> {
                from_list(value, Self::WANTED, Self::from_items)
            }

            fn from_items(items: &mut Items<'_>) -> Result<Self> {
                items.check_length([$(stringify!($name)),*].len())?;
                Ok(($(items.take::<$name>()?,)*))
            }
        }
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }
tuple! { A B C D E F G H I }
tuple! { A B C D E F G H I J }
tuple! { A B C D E F G H I J K }
tuple! { A B C D E F G H I J K L }

/// Converts a reply that has to be a list, all of which is there.
fn from_list<T>(
    value: Value,
    wanted: &'static str,
    convert: impl FnOnce(&mut Items<'_>) -> Result<T>,
) -> Result<T> {
    let Value::Array(list) = value else { return Err(refused(wanted, value)) };
    convert(&mut Items::known(list.len(), &mut list.into_iter()))
}

impl Source for std::vec::IntoIter<Value> {
    fn next(&mut self) -> Result<Value> {
        Ok(Iterator::next(self).unwrap_or(Value::Nil))
    }
}

fn elements<T: FromValue>(items: &mut Items<'_>) -> Result<Vec<T>> {
    let mut elements = Vec::with_capacity(items.room::<T>(items.left()));
    while items.left() > 0 {
        elements.push(items.take()?);
    }
    Ok(elements)
}

/// One element of a list, whose errors tell which element it was.
pub(crate) fn element<T: FromValue>(index: usize, value: Value) -> Result<T> {
    T::from_value(value).map_err(|error| in_element::<T>(index, error))
}

fn in_element<T: FromValue>(index: usize, error: Error) -> Error {
    match error {
        // Error::Nil would read as if the whole reply were nil.
        Error::Nil => ConvertError::new(T::WANTED, Value::Nil.kind()).in_element(index).into(),
        Error::Convert(error) => error.in_element(index).into(),
        other => other,
    }
}

fn exactly<T, const N: usize>(items: Vec<T>) -> Result<[T; N]> {
    <[T; N]>::try_from(items).map_err(|items| wrong_length(N, items.len()))
}

fn wrong_length(wanted: usize, found: usize) -> Error {
    ConvertError::new(format!("length {wanted}"), format!("length {found}")).into()
}

/// The error for a reply of the wrong kind.
pub(crate) fn refused(wanted: &'static str, value: Value) -> Error {
    match value {
        Value::Nil => Error::Nil,
        Value::Error(error) => error.into(),
        other => ConvertError::new(wanted, other.kind()).into(),
    }
}

/// The error for a string of the wrong content.
fn unreadable(wanted: &'static str, text: &[u8]) -> Error {
    ConvertError::new(wanted, quoted(text)).into()
}

/// The beginning of a string, fit for an error message.
pub(crate) fn quoted(text: &[u8]) -> String {
    const SHOWN: usize = 32;
    let more = if text.len() > SHOWN { "…" } else { "" };
    format!("\"{}\"{more}", text[..text.len().min(SHOWN)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_short_and_printable() {
        assert_eq!(quoted(b""), r#""""#);
        assert_eq!(quoted(b"a\r\n\"\xff"), r#""a\r\n\"\xff""#);
        assert_eq!(quoted(&[b'x'; 32]), format!("\"{}\"", "x".repeat(32)));
        assert_eq!(quoted(&[b'x'; 33]), format!("\"{}\"…", "x".repeat(32)));
    }
}
