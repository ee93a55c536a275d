//! Conversion of replies to Rust types: [`FromValue`] and its implementations.
//!
//! A reply is converted by value: long strings are moved, not copied. A list is converted element by
//! element, also while it is still being received: see [`Items`].

mod items;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::str::FromStr;

use crate::error::{ConvertError, Error, Result};
use crate::value::Value;

pub(crate) use items::{Items, Source};

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
/// | `()` | any reply except an error |
/// | [`Value`] | any reply; errors inside a list stay in the list |
/// | integers | an integer in range; a bulk string in base 10, without a sign for unsigned types |
/// | `f32`, `f64` | an integer (rounded to the nearest float); a bulk string such as `1.5`, `1e+06`, `inf`, `nan` |
/// | `bool` | an integer: true unless it is 0; the bulk strings `1 t T TRUE true True` and `0 f F FALSE false False` |
/// | `String`, `Box<str>` | a bulk or simple string that is valid UTF-8 |
/// | `Vec<u8>` | the bytes of a bulk or simple string; a list of numbers |
/// | `Option<T>` | nil becomes `None`; any other reply is converted as `T` |
/// | `Vec<T>`, `HashSet<T>`, `BTreeSet<T>` | a list |
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
/// # Examples
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
    fn from_items(_: &mut Items<'_>) -> Result<()> {
        Ok(())
    }

    fn from_bulk(_: &[u8]) -> Result<()> {
        Ok(())
    }

    fn from_value(value: Value) -> Result<()> {
        match value {
            Value::Error(error) => Err(error.into()),
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
    const WANTED: &'static str = "a boolean";

    fn from_value(value: Value) -> Result<bool> {
        match value {
            Value::Int(number) => Ok(number != 0),
            Value::Bulk(text) => bool::from_bulk(&text),
            other => Err(unexpected_kind(Self::WANTED, other)),
        }
    }

    /// Accepts the words that Go's `strconv.ParseBool` accepts.
    fn from_bulk(text: &[u8]) -> Result<bool> {
        match text {
            b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
            b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
            other => Err(unexpected_text(Self::WANTED, other)),
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
        other => Err(unexpected_kind(T::WANTED, other)),
    }
}

fn integer_from_text<T: FromStr + TryFrom<i64>>(text: &[u8], fits: &'static str) -> Result<T> {
    // Rust accepts a plus sign for unsigned types, Go's ParseUint does not.
    let signed = T::try_from(-1).is_ok();
    let number = if !signed && text.starts_with(b"+") { None } else { parse(text) };
    number.ok_or_else(|| unexpected_text(fits, text))
}

macro_rules! floats {
    ($($type:ident)*) => {$(
        impl FromValue for $type {
            const WANTED: &'static str = "a number";

            fn from_value(value: Value) -> Result<$type> {
                match value {
                    Value::Int(number) => Ok(number as $type),
                    Value::Bulk(text) => <$type>::from_bulk(&text),
                    other => Err(unexpected_kind(Self::WANTED, other)),
                }
            }

            fn from_bulk(text: &[u8]) -> Result<$type> {
                parse(text)
                    .filter(|number: &$type| number.is_finite() || is_not_finite(text))
                    .ok_or_else(|| {
                        unexpected_text(concat!("a number that fits ", stringify!($type)), text)
                    })
            }
        }
    )*};
}

floats! { f32 f64 }

/// Returns true for the words `inf` and `nan`. Digits beyond the range are parsed as infinity too,
/// which is an error in Go.
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
            other => return Err(unexpected_kind(Self::WANTED, other)),
        };
        String::from_utf8(bytes).map_err(|error| {
            let found = quoted(error.as_bytes());
            ConvertError::new("a UTF-8 string", found).caused_by(error.utf8_error()).into()
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
    ($([$($generics:tt)*] $type:ty = |$capacity:pat_param| $new:expr;)*) => {$(
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
                let $capacity = items.capacity_for::<(K, V)>(items.left() / 2);
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
        |capacity| HashMap::with_capacity_and_hasher(capacity, S::default());
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

/// Converts a reply that must be a list and has been received completely.
fn from_list<T>(
    value: Value,
    wanted: &'static str,
    convert: impl FnOnce(&mut Items<'_>) -> Result<T>,
) -> Result<T> {
    let Value::Array(list) = value else { return Err(unexpected_kind(wanted, value)) };
    convert(&mut Items::known(list.len(), &mut list.into_iter()))
}

impl Source for std::vec::IntoIter<Value> {
    fn next(&mut self) -> Result<Value> {
        Ok(Iterator::next(self).unwrap_or(Value::Nil))
    }
}

fn elements<T: FromValue>(items: &mut Items<'_>) -> Result<Vec<T>> {
    let mut elements = Vec::with_capacity(items.capacity_for::<T>(items.left()));
    while items.left() > 0 {
        elements.push(items.take()?);
    }
    Ok(elements)
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

fn exactly<T, const N: usize>(items: Vec<T>) -> Result<[T; N]> {
    <[T; N]>::try_from(items).map_err(|items| wrong_length(N, items.len()))
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

/// Returns the error for a string with the wrong content.
fn unexpected_text(wanted: &'static str, text: &[u8]) -> Error {
    ConvertError::new(wanted, quoted(text)).into()
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
