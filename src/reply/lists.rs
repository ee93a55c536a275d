//! Helpers for lists of values of one type.

use crate::error::{ConvertError, Result};
use crate::value::Value;

/// Returns the elements of a list unchanged, including nils and errors.
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
/// The error of the call, or an error of [`Value::convert`] if the reply is not a list. An element
/// is never an error.
#[doc(alias = "Values")]
#[doc(alias = "MultiBulk")]
pub fn values(reply: Result<Value>) -> Result<Vec<Value>> {
    reply?.convert()
}

/// Converts a list to strings. A nil element becomes an empty string.
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
/// The error of the call, or an error of [`Value::convert`] for the list or its first bad element.
#[doc(alias = "Strings")]
pub fn strings(reply: Result<Value>) -> Result<Vec<String>> {
    reply?.convert().map(zero_for_nil)
}

/// Converts a list of bulk strings to byte strings. A nil element becomes `None`.
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
/// The error of the call, or an error of [`Value::convert`] for the list or its first bad element.
/// A simple string is an error.
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

/// Converts a list to signed integers. A nil element becomes 0.
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
/// The error of the call, or an error of [`Value::convert`] for the list or its first bad element.
#[doc(alias = "Ints")]
#[doc(alias = "Int64s")]
pub fn ints(reply: Result<Value>) -> Result<Vec<i64>> {
    reply?.convert().map(zero_for_nil)
}

/// Converts a list to floating-point numbers. A nil element becomes 0. Integer replies are accepted
/// as elements (redigo rejects them).
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
/// The error of the call, or an error of [`Value::convert`] for the list or its first bad element.
#[doc(alias = "Float64s")]
pub fn float64s(reply: Result<Value>) -> Result<Vec<f64>> {
    reply?.convert().map(zero_for_nil)
}

/// Converts a list to unsigned integers. A nil element becomes 0. Integer replies are accepted as
/// elements (redigo rejects them).
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
/// The error of the call, or an error of [`Value::convert`] for the list or its first bad element.
#[doc(alias = "Uint64s")]
pub fn uint64s(reply: Result<Value>) -> Result<Vec<u64>> {
    reply?.convert().map(zero_for_nil)
}

/// Replaces nil by the zero value of the type, as redigo does.
fn zero_for_nil<T: Default>(items: Vec<Option<T>>) -> Vec<T> {
    items.into_iter().map(Option::unwrap_or_default).collect()
}
