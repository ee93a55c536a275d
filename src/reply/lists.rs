//! Many values of one type.

use crate::error::{ConvertError, Result};
use crate::value::Value;

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
/// The error that the call gave, or one of [`Value::convert`]; none for an element.
#[doc(alias = "Values")]
#[doc(alias = "MultiBulk")]
pub fn values(reply: Result<Value>) -> Result<Vec<Value>> {
    reply?.convert()
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
/// The error that the call gave, or one of [`Value::convert`], for the list or the first bad element.
#[doc(alias = "Strings")]
pub fn strings(reply: Result<Value>) -> Result<Vec<String>> {
    reply?.convert().map(zero_for_nil)
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
/// The error that the call gave, or one of [`Value::convert`], for the list or the first bad element;
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
/// The error that the call gave, or one of [`Value::convert`], for the list or the first bad element.
#[doc(alias = "Ints")]
#[doc(alias = "Int64s")]
pub fn ints(reply: Result<Value>) -> Result<Vec<i64>> {
    reply?.convert().map(zero_for_nil)
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
/// The error that the call gave, or one of [`Value::convert`], for the list or the first bad element.
#[doc(alias = "Float64s")]
pub fn float64s(reply: Result<Value>) -> Result<Vec<f64>> {
    reply?.convert().map(zero_for_nil)
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
/// The error that the call gave, or one of [`Value::convert`], for the list or the first bad element.
#[doc(alias = "Uint64s")]
pub fn uint64s(reply: Result<Value>) -> Result<Vec<u64>> {
    reply?.convert().map(zero_for_nil)
}

/// Go leaves an element that it skips at the zero value of its type.
fn zero_for_nil<T: Default>(items: Vec<Option<T>>) -> Vec<T> {
    items.into_iter().map(Option::unwrap_or_default).collect()
}
