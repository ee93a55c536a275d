//! Helpers for one value: numbers, strings, `bool`.

use crate::error::{ConvertError, Result};
use crate::value::Value;

/// Converts an integer reply, or a bulk string in base 10, to a signed integer.
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
/// The error of the call, or an error of [`Value::convert`].
#[doc(alias = "Int")]
#[doc(alias = "Int64")]
pub fn int(reply: Result<Value>) -> Result<i64> {
    reply?.convert()
}

/// Converts an integer reply that is not negative, or a bulk string in base 10 without a sign, to
/// an unsigned integer.
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
/// The error of the call, or an error of [`Value::convert`].
#[doc(alias = "Uint64")]
pub fn uint64(reply: Result<Value>) -> Result<u64> {
    reply?.convert()
}

/// Converts a bulk string, or an integer reply (which redigo rejects), to a floating-point number.
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
/// The error of the call, or an error of [`Value::convert`].
#[doc(alias = "Float64")]
pub fn float64(reply: Result<Value>) -> Result<f64> {
    reply?.convert()
}

/// Converts a bulk or simple string to a `String`. It must be valid UTF-8; [`bytes`] accepts any
/// bytes.
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
/// The error of the call, or an error of [`Value::convert`].
#[doc(alias = "String")]
pub fn string(reply: Result<Value>) -> Result<String> {
    reply?.convert()
}

/// Returns the bytes of a bulk or simple string.
///
/// ```
/// use redigo::{Value, reply};
///
/// assert_eq!(reply::bytes(Ok(Value::from(&b"\xff\x00"[..])))?, b"\xff\x00");
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, or an error of [`Value::convert`]. A list is an error, even a list of
/// numbers.
#[doc(alias = "Bytes")]
pub fn bytes(reply: Result<Value>) -> Result<Vec<u8>> {
    match reply? {
        list @ Value::Array(_) => Err(ConvertError::new("a string", list.kind()).into()),
        other => other.convert(),
    }
}

/// Converts an integer reply (true unless it is 0), or one of the bulk strings
/// `1 t T TRUE true True` and `0 f F FALSE false False`, to a `bool`.
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
/// The error of the call, or an error of [`Value::convert`].
#[doc(alias = "Bool")]
pub fn bool(reply: Result<Value>) -> Result<bool> {
    reply?.convert()
}
