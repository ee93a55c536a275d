//! Helpers for maps: lists of keys and values.

use std::collections::HashMap;

use crate::error::{ConvertError, Error, Result};
use crate::from_value::{FromValue, element, quoted, unexpected_kind};
use crate::value::Value;

/// Converts a list of keys and values to a map of strings. `HGETALL` and `CONFIG GET` reply with
/// such a list.
///
/// As in redigo, keys and values must be bulk strings; `query::<HashMap<String, String>>` accepts
/// simple strings too. Of two equal keys the later one wins.
///
/// ```
/// use redigo::{Value, reply};
///
/// let pairs = ["title", "Red", "label", "4AD"].map(Value::from);
/// let album = reply::string_map(Ok(Value::Array(pairs.into())))?;
/// assert_eq!(album["title"], "Red");
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, [`Error::Nil`] for a nil reply, [`Error::Server`] for an error in it, and
/// [`Error::Convert`] for an odd length, and for a key or value that is not a bulk string or is not
/// valid UTF-8.
#[doc(alias = "StringMap")]
pub fn string_map(reply: Result<Value>) -> Result<HashMap<String, String>> {
    map(reply, "a bulk string", |value| match value {
        bulk @ Value::Bulk(_) => bulk.convert(),
        other => Err(unexpected_kind("a bulk string", other)),
    })
}

/// Converts a list of keys and values to a map of signed integers. The values can be integers or
/// bulk strings in base 10.
///
/// ```
/// use redigo::{Value, reply};
///
/// let pairs = vec![Value::from("red"), Value::from("5"), Value::from("blue"), Value::Int(-1)];
/// let ratings = reply::int_map(Ok(Value::Array(pairs)))?;
/// assert_eq!((ratings["red"], ratings["blue"]), (5, -1));
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The errors of [`string_map`], except that the values must be integers.
#[doc(alias = "IntMap")]
#[doc(alias = "Int64Map")]
pub fn int_map(reply: Result<Value>) -> Result<HashMap<String, i64>> {
    map(reply, i64::WANTED, Value::convert)
}

/// Converts a list of keys and values to a map of unsigned integers. The values can be integers or
/// bulk strings in base 10.
///
/// ```
/// use redigo::{Value, reply};
///
/// let pairs = ["key", "18446744073709551615"].map(Value::from);
/// assert_eq!(reply::uint64_map(Ok(Value::Array(pairs.into())))?["key"], u64::MAX);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The errors of [`string_map`], except that the values must be integers that are not negative.
#[doc(alias = "Uint64Map")]
pub fn uint64_map(reply: Result<Value>) -> Result<HashMap<String, u64>> {
    map(reply, u64::WANTED, Value::convert)
}

/// Converts a list of keys and values to a map of floating-point numbers. The values can be bulk
/// strings, or integers (which redigo rejects).
///
/// ```
/// use redigo::{Value, reply};
///
/// let pairs = ["pi", "3.14", "e", "2.72"].map(Value::from);
/// assert_eq!(reply::float64_map(Ok(Value::Array(pairs.into())))?["pi"], 3.14);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The errors of [`string_map`], except that the values must be numbers.
#[doc(alias = "Float64Map")]
pub fn float64_map(reply: Result<Value>) -> Result<HashMap<String, f64>> {
    map(reply, f64::WANTED, Value::convert)
}

fn map<T>(
    reply: Result<Value>,
    wanted: &'static str,
    convert: impl Fn(Value) -> Result<T>,
) -> Result<HashMap<String, T>> {
    let items = match reply? {
        Value::Array(items) => items,
        other => return Err(unexpected_kind("a list of keys and values", other)),
    };
    if items.len() % 2 != 0 {
        let found = format!("length {}", items.len());
        return Err(ConvertError::new("a list of even length", found).into());
    }
    let mut map = HashMap::with_capacity(items.len() / 2);
    let mut items = items.into_iter().enumerate();
    while let (Some((at, key)), Some((_, value))) = (items.next(), items.next()) {
        let key = key_text(at, key)?;
        let value = convert(value).map_err(|error| in_field(error, wanted, &key))?;
        map.insert(key, value);
    }
    Ok(map)
}

fn key_text(at: usize, key: Value) -> Result<String> {
    match key {
        key @ (Value::Bulk(_) | Value::Nil | Value::Error(_)) => element(at, key),
        other => Err(ConvertError::new("a bulk string", other.kind()).in_element(at).into()),
    }
}

/// Adds the key of the value to its error.
fn in_field(error: Error, wanted: &'static str, key: &str) -> Error {
    let error = match error {
        // Error::Nil would mean that the whole reply is nil.
        Error::Nil => ConvertError::new(wanted, Value::Nil.kind()),
        Error::Convert(error) => error,
        other => return other,
    };
    error.in_field(quoted(key.as_bytes())).into()
}
