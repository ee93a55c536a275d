//! Conversion of replies to `bool`, numbers and strings.

use std::str::FromStr;

use super::lists::{elements, from_list};
use super::{FromValue, quoted, unexpected_kind};
use crate::error::{ConvertError, Error, Result};
use crate::value::Value;

impl FromValue for bool {
    const WANTED: &'static str = "a boolean";

    fn from_value(value: Value) -> Result<bool> {
        match value {
            Value::Int(number) => Ok(number != 0),
            Value::Bulk(text) => bool::from_bulk(&text),
            other => Err(not_a_scalar::<bool>(other)),
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
        other => Err(not_a_scalar::<T>(other)),
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
                    other => Err(not_a_scalar::<$type>(other)),
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
            other => return Err(not_a_scalar::<String>(other)),
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

/// Like [`unexpected_kind`] for a type that is not a list. If the reply is a list of one element, as
/// from `EXEC`, the error names the type that reads it.
fn not_a_scalar<T: FromValue>(value: Value) -> Error {
    match value.as_array() {
        Some([Value::Int(_) | Value::Bulk(_) | Value::Simple(_)]) => {
            let name = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
            let found = format!("a list of one element (ask for `({name},)` to read it)");
            ConvertError::new(T::WANTED, found).into()
        }
        _ => unexpected_kind(T::WANTED, value),
    }
}

/// Returns the error for a string with the wrong content.
fn unexpected_text(wanted: &'static str, text: &[u8]) -> Error {
    ConvertError::new(wanted, quoted(text)).into()
}
