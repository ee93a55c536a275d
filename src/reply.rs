//! redigo's helper functions: each takes the result of a call and gives the type in its name.
//!
//! They are for code that is ported from Go: where it has `redis.Int(c.Do("INCR", "n"))`, Rust has
//! `reply::int(conn.call("INCR", "n"))?`. New code may ask for the type directly, with
//! `conn.query::<i64>("INCR", "n")?` or [`Value::to`].
//!
//! | redigo | here | from |
//! |---|---|---|
//! | `Int`, `Int64` | [`int`] | an integer, a bulk string |
//! | `Uint64` | [`uint64`] | an integer, a bulk string |
//! | `Float64` | [`float64`] | a bulk string, an integer |
//! | `String` | [`string`] | a bulk or simple string |
//! | `Bytes` | [`bytes`] | a bulk or simple string |
//! | `Bool` | [`bool`](bool()) | an integer, a bulk string |
//! | `Values`, `MultiBulk` | [`values`] | a list |
//! | `Strings` | [`strings`] | a list of bulk or simple strings |
//! | `ByteSlices` | [`byte_slices`] | a list of bulk strings |
//! | `Ints`, `Int64s` | [`ints`] | a list of integers or bulk strings |
//! | `Float64s` | [`float64s`] | a list of bulk strings or integers |
//! | `Uint64s` | [`uint64s`] | a list of bulk strings or integers |
//!
//! All of them pass an error on as it is, give [`Error::Nil`](crate::Error::Nil) for a nil reply,
//! [`Error::Server`](crate::Error::Server) for an error in the reply, and
//! [`Error::Convert`](crate::Error::Convert) for any other reply than those in the table.
//!
//! A nil *element* is redigo's zero value: 0, an empty string, `None` in [`byte_slices`]. To tell
//! them apart, ask for a `Vec<Option<T>>`.

use crate::error::{ConvertError, Result};
use crate::value::Value;

/// A signed integer: an integer reply, or a bulk string in base 10.
///
/// ```
/// use redigo::{Value, reply};
///
/// assert_eq!(reply::int(Ok(Value::Int(42)))?, 42);
/// assert_eq!(reply::int(Ok(Value::from("-42")))?, -42);
/// assert!(reply::int(Ok(Value::Nil)).unwrap_err().is_nil());
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`].
#[doc(alias = "Int")]
#[doc(alias = "Int64")]
pub fn int(reply: Result<Value>) -> Result<i64> {
    reply?.to()
}

/// An unsigned integer: an integer reply that is not negative, or a bulk string in base 10
/// without a sign.
///
/// ```
/// use redigo::{Value, reply};
///
/// assert_eq!(reply::uint64(Ok(Value::from("18446744073709551615")))?, u64::MAX);
/// assert!(reply::uint64(Ok(Value::Int(-1))).is_err());
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`].
#[doc(alias = "Uint64")]
pub fn uint64(reply: Result<Value>) -> Result<u64> {
    reply?.to()
}

/// A floating-point number: a bulk string, or an integer reply (which redigo refuses).
///
/// ```
/// use redigo::{Value, reply};
///
/// assert_eq!(reply::float64(Ok(Value::from("3.0e3")))?, 3000.0);
/// assert_eq!(reply::float64(Ok(Value::from("-inf")))?, f64::NEG_INFINITY);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`].
#[doc(alias = "Float64")]
pub fn float64(reply: Result<Value>) -> Result<f64> {
    reply?.to()
}

/// A text: a bulk or simple string of UTF-8. For a string of other bytes there is [`bytes`].
///
/// ```
/// use redigo::{Value, reply};
///
/// assert_eq!(reply::string(Ok(Value::from("hello")))?, "hello");
/// assert_eq!(reply::string(Ok(Value::simple("OK")))?, "OK");
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`].
#[doc(alias = "String")]
pub fn string(reply: Result<Value>) -> Result<String> {
    reply?.to()
}

/// The bytes of a bulk or simple string.
///
/// ```
/// use redigo::{Value, reply};
///
/// assert_eq!(reply::bytes(Ok(Value::from(&b"\xff\x00"[..])))?, b"\xff\x00");
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`]; a list is an error here, even one of
/// numbers.
#[doc(alias = "Bytes")]
pub fn bytes(reply: Result<Value>) -> Result<Vec<u8>> {
    match reply? {
        list @ Value::Array(_) => Err(ConvertError::new("a string", list.kind()).into()),
        other => other.to(),
    }
}

/// A truth value: an integer reply other than 0, or one of the bulk strings
/// `1 t T TRUE true True` and `0 f F FALSE false False`.
///
/// ```
/// use redigo::{Value, reply};
///
/// assert!(reply::bool(Ok(Value::Int(1)))?);
/// assert!(!reply::bool(Ok(Value::from("false")))?);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`].
#[doc(alias = "Bool")]
pub fn bool(reply: Result<Value>) -> Result<bool> {
    reply?.to()
}

/// The elements of a list as they are, nils and errors among them.
///
/// ```
/// use redigo::{Value, reply};
///
/// let list = Value::from(vec![Value::from("a"), Value::Nil]);
/// assert_eq!(reply::values(Ok(list))?, [Value::from("a"), Value::Nil]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`]; none for an element.
#[doc(alias = "Values")]
#[doc(alias = "MultiBulk")]
pub fn values(reply: Result<Value>) -> Result<Vec<Value>> {
    reply?.to()
}

/// A list of texts. A nil among them is an empty string.
///
/// ```
/// use redigo::{Value, reply};
///
/// let list = Value::from(vec![Value::from("a"), Value::Nil]);
/// assert_eq!(reply::strings(Ok(list))?, ["a", ""]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`], for the list or the first bad element.
#[doc(alias = "Strings")]
pub fn strings(reply: Result<Value>) -> Result<Vec<String>> {
    reply?.to().map(zero_for_nil)
}

/// A list of bulk strings as bytes. A nil among them is `None`.
///
/// ```
/// use redigo::{Value, reply};
///
/// let list = Value::from(vec![Value::from("a"), Value::Nil]);
/// assert_eq!(reply::byte_slices(Ok(list))?, [Some(b"a".to_vec()), None]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`], for the list or the first bad element;
/// a simple string is an error here.
#[doc(alias = "ByteSlices")]
pub fn byte_slices(reply: Result<Value>) -> Result<Vec<Option<Vec<u8>>>> {
    let items = values(reply)?.into_iter().enumerate();
    let slices = items.map(|(index, item)| match item {
        Value::Bulk(bytes) => Ok(Some(bytes)),
        Value::Nil => Ok(None),
        Value::Error(error) => Err(error.into()),
        other => Err(ConvertError::new("a bulk string", other.kind()).in_element(index).into()),
    });
    slices.collect()
}

/// A list of signed integers. A nil among them is 0.
///
/// ```
/// use redigo::{Value, reply};
///
/// let list = Value::from(vec![Value::from("4"), Value::Int(5), Value::Nil]);
/// assert_eq!(reply::ints(Ok(list))?, [4, 5, 0]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`], for the list or the first bad element.
#[doc(alias = "Ints")]
#[doc(alias = "Int64s")]
pub fn ints(reply: Result<Value>) -> Result<Vec<i64>> {
    reply?.to().map(zero_for_nil)
}

/// A list of floating-point numbers. A nil among them is 0. Integers may be among them (which
/// redigo refuses).
///
/// ```
/// use redigo::{Value, reply};
///
/// let list = Value::from(vec![Value::from("1.5"), Value::Nil]);
/// assert_eq!(reply::float64s(Ok(list))?, [1.5, 0.0]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`], for the list or the first bad element.
#[doc(alias = "Float64s")]
pub fn float64s(reply: Result<Value>) -> Result<Vec<f64>> {
    reply?.to().map(zero_for_nil)
}

/// A list of unsigned integers. A nil among them is 0. Integer replies may be among them (which
/// redigo refuses).
///
/// ```
/// use redigo::{Value, reply};
///
/// let list = Value::from(vec![Value::from("18446744073709551615"), Value::Int(5)]);
/// assert_eq!(reply::uint64s(Ok(list))?, [u64::MAX, 5]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error that the call gave, or one of [`Value::to`], for the list or the first bad element.
#[doc(alias = "Uint64s")]
pub fn uint64s(reply: Result<Value>) -> Result<Vec<u64>> {
    reply?.to().map(zero_for_nil)
}

/// Go leaves an element that it skips at the zero value of its type.
fn zero_for_nil<T: Default>(items: Vec<Option<T>>) -> Vec<T> {
    items.into_iter().map(Option::unwrap_or_default).collect()
}
