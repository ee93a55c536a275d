//! Conversion of replies to your own structs, and of structs to arguments, with [serde].
//!
//! This module needs the feature `serde`, which is enabled by default.
//!
//! | redigo | here | converted from |
//! |---|---|---|
//! | `ScanStruct` | [`scan_struct`] | names and values, such as the reply to `HGETALL` |
//! | `ScanSlice` | [`scan_slice`] | a list of values, of rows of values, or of lists |
//! | `ScanSlice` with field names | [`scan_slice_fields`] | a list of rows of values |
//! | `Scan` | [`scan()`] | the first few values of a list |
//! | `Args.AddFlat` | [`Args::add_flat`](crate::Args::add_flat) | a struct, map or slice |
//!
//! The types implement [`Deserialize`](serde::Deserialize) or [`Serialize`](serde::Serialize),
//! usually by derive. serde's attributes replace redigo's struct tags.
//!
//! | redigo's tag | serde's attribute |
//! |---|---|
//! | `redis:"name"` | `#[serde(rename = "name")]` |
//! | `redis:"-"` | `#[serde(skip)]` |
//! | `redis:"name,omitempty"` | `#[serde(skip_serializing_if = "…")]`; `None` is always left out |
//! | an embedded struct | `#[serde(flatten)]` |
//! | an optional field | `Option<T>`, or `#[serde(default)]` on the field or the struct |
//! | `RedisScan`, `RedisArg` | your own implementation, or `#[serde(with = "…")]` |
//!
//! ```
//! use redigo::{Args, Value, scan};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Album {
//!     title: String,
//!     #[serde(rename = "stars")]
//!     rating: Option<u8>,
//! }
//!
//! let album = Album { title: "Red".into(), rating: Some(5) };
//! let args = Args::new().arg("album:1").add_flat(&album)?; // for HSET
//! assert_eq!(args.iter().collect::<Vec<_>>(), [&b"album:1"[..], b"title", b"Red", b"stars", b"5"]);
//!
//! let reply = ["title", "Red", "stars", "5"].map(Value::from); // the reply to HGETALL
//! assert_eq!(scan::scan_struct::<Album>(Ok(Value::Array(reply.into())))?, album);
//! # Ok::<(), redigo::Error>(())
//! ```
//!
//! # Conversion of values
//!
//! | Type | Converted from |
//! |---|---|
//! | integers, floats, `bool` | an integer reply; text, by the rules of [`FromValue`](crate::FromValue) |
//! | `String`, `&str` types, `char` | text that is valid UTF-8 |
//! | an enum | text: the name of a variant without data |
//! | `Vec<u8>`, `[u8; N]`, `serde_bytes` | the bytes of a text; a list of numbers |
//! | `Option<T>` | nil becomes `None`; any other value is converted as `T` |
//! | `Vec<T>`, sets, tuples | a list |
//! | a struct, a map | a list of names and values |
//! | your own type with `deserialize_any` | text as `str` (or bytes), integers as `i64`, a list as a sequence |
//!
//! Text is a bulk or a simple string. An error of the server among the values is
//! [`Error::Server`] (redigo stores its text in strings), also where the value is ignored. Names that
//! the type does not have are ignored, and values that are nil are left out, so `Option` and `default` apply to them. A value
//! that does not fit is an [`Error::Convert`], which names the field and the value found.

mod de;
mod failure;
mod fields;
mod flatten;
mod forward;
mod root;
mod row;
mod ser;

use std::vec;

use serde::de::DeserializeOwned;

use self::failure::Failure;
use self::flatten::Hints;
use self::root::scan_one;
use self::row::Row;
use crate::error::{ConvertError, Error, Result};
use crate::value::Value;

/// Converts a list of names and values to a struct or a map. `HGETALL`, `CONFIG GET` and `XINFO`
/// reply with such a list.
///
/// Names that the struct does not have are ignored. A value that is nil is left out before its name
/// is checked. `Option<T>` is `None` for nil and for an empty list, the reply of `HGETALL` for a key
/// that does not exist.
///
/// ```
/// use redigo::{Value, scan::scan_struct};
///
/// #[derive(serde::Deserialize)]
/// struct Album {
///     title: String,
///     #[serde(default)]
///     rating: i32,
/// }
///
/// let reply = ["title", "Earthbound", "label", "4AD"].map(Value::from); // the reply to HGETALL
/// let album: Album = scan_struct(Ok(Value::Array(reply.into())))?;
/// assert_eq!((album.title.as_str(), album.rating), ("Earthbound", 0));
///
/// assert!(scan_struct::<Option<Album>>(Ok(Value::Array(vec![])))?.is_none());
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, [`Error::Nil`] for a nil reply, [`Error::Server`] for an error in it, and
/// [`Error::Convert`] for an odd length, a missing field, or a value that does not fit its field.
#[doc(alias = "ScanStruct")]
pub fn scan_struct<T: DeserializeOwned>(reply: Result<Value>) -> Result<T> {
    let reply = reply?;
    let nil = reply.is_nil();
    scan_one(reply, None, &mut Hints::default()).map_err(|failure| match failure.into_error() {
        Error::Convert(_) if nil => Error::Nil,
        error => error,
    })
}

/// Converts a list to values, tuples, or structs.
///
/// The type `T` decides how many elements of the reply one element of the result takes:
///
/// - a number, a string and other scalar types: one;
/// - a tuple: one for each member;
/// - a struct: one for each field, in the order of their declaration. A nil is left out, as in
///   [`scan_struct`].
///
/// An element of the reply that is itself a list is one element of the result: names and values
/// for a struct (`EXEC` after several `HGETALL`), values for a tuple (the entries of a stream).
///
/// A struct with `flatten` or `alias` does not declare its fields in order. Use
/// [`scan_slice_fields`] for it.
///
/// ```
/// use redigo::{Value, scan::scan_slice};
///
/// #[derive(Debug, PartialEq, serde::Deserialize)]
/// struct Album {
///     title: String,
///     rating: Option<u8>,
/// }
///
/// // The reply to SORT albums BY nosort GET album:*->title GET album:*->rating
/// let reply = vec![Value::from("Red"), Value::from("5"), Value::from("Beat"), Value::Nil];
/// let albums: Vec<Album> = scan_slice(Ok(Value::Array(reply)))?;
/// assert_eq!(albums[0], Album { title: "Red".into(), rating: Some(5) });
/// assert_eq!(albums[1], Album { title: "Beat".into(), rating: None });
///
/// // The reply to ZRANGE scores 0 -1 WITHSCORES
/// let reply = ["alice", "2.5", "bob", "3"].map(Value::from);
/// let scores: Vec<(String, f64)> = scan_slice(Ok(Value::Array(reply.into())))?;
/// assert_eq!(scores[1], ("bob".to_string(), 3.0));
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, [`Error::Nil`] for a nil reply, [`Error::Server`] for an error in it, and
/// [`Error::Convert`] if the length is not a multiple of the number that one element takes, or if a
/// value does not fit. The index in the error is the index in the result.
#[doc(alias = "ScanSlice")]
pub fn scan_slice<T: DeserializeOwned>(reply: Result<Value>) -> Result<Vec<T>> {
    let mut rest = reply?.convert::<Vec<Value>>()?.into_iter();
    let mut elements = Vec::new();
    let mut hints = Hints::default();
    let mut width = None;
    while let Some(first) = rest.as_slice().first() {
        let left = rest.len();
        let element = match (first, rest.as_slice()) {
            (Value::Array(_), _) => scan_one(rest.next().unwrap_or(Value::Nil), None, &mut hints),
            _ => T::deserialize(Row { rest: &mut rest, only_rows: true }),
        };
        let element =
            element.and_then(|element| same_width(&mut width, left - rest.len(), element));
        elements.push(element.map_err(|failure| failure.at_element(elements.len()).into_error())?);
    }
    Ok(elements)
}

/// Checks that all elements take the same number of values. Structs mixed with lists, or nils in
/// place of structs, do not.
fn same_width<T>(width: &mut Option<usize>, taken: usize, element: T) -> Result<T, Failure> {
    match *width.get_or_insert(taken) {
        0 => Err(Failure::unexpected("a type that takes values", "one that takes none")),
        expected if expected != taken => {
            Err(Failure::unexpected(format!("{expected} values"), taken.to_string()))
        }
        _ => Ok(element),
    }
}

/// Converts a list to structs. Each row of the list has the values of the named fields, in this
/// order.
///
/// ```
/// use redigo::{Value, scan::scan_slice_fields};
///
/// #[derive(serde::Deserialize)]
/// struct Album {
///     title: String,
///     #[serde(default)]
///     label: String,
///     rating: u8,
/// }
///
/// let reply = ["5", "Red", "1", "Earthbound"].map(Value::from);
/// let reply = Ok(Value::Array(reply.into()));
/// let albums: Vec<Album> = scan_slice_fields(reply, &["rating", "title"])?;
/// assert_eq!((albums[1].title.as_str(), albums[1].rating), ("Earthbound", 1));
/// assert!(albums[1].label.is_empty());
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The errors of [`scan_slice`], and [`Error::Convert`] if `names` is empty, if a name is not a field
/// of the struct (unless the struct has a `flatten`), or if the type is not a struct.
#[doc(alias = "ScanSlice")]
pub fn scan_slice_fields<T: DeserializeOwned>(
    reply: Result<Value>,
    names: &[&str],
) -> Result<Vec<T>> {
    let mut rest = reply?.convert::<Vec<Value>>()?.into_iter();
    if names.is_empty() {
        return Err(ConvertError::new("field names", "none").into());
    }
    if rest.len() % names.len() != 0 {
        let wanted = format!("a length that is a multiple of {}", names.len());
        return Err(ConvertError::new(wanted, format!("length {}", rest.len())).into());
    }
    let mut hints = Hints::default();
    let rows = (0..rest.len() / names.len()).map(|row| {
        let values = rest.by_ref().take(names.len()).collect();
        scan_one(Value::Array(values), Some(names), &mut hints)
            .map_err(|failure| failure.at_element(row).into_error())
    });
    rows.collect()
}

/// Converts the first values of a list, and returns the rest of the list.
///
/// The type `T` decides how many values it takes: a tuple takes one for each member, a struct one
/// for each field, in the order of their declaration, any other type takes one. To convert a whole
/// list, scan the rest until it is empty.
///
/// A nil needs an `Option`; redigo leaves the variable unchanged.
///
/// ```
/// use redigo::{Value, reply, scan::scan};
///
/// let reply = vec![Value::from("17"), Value::from(vec![Value::from("key")])]; // the reply to SCAN 0
/// let ((cursor, keys), _) = scan::<(u64, Vec<String>)>(reply::values(Ok(reply.into())))?;
/// assert_eq!((cursor, keys), (17, vec!["key".to_string()]));
///
/// let reply = vec![Value::from("Red"), Value::from("5"), Value::from("Beat"), Value::Nil];
/// let mut rest = reply::values(Ok(Value::Array(reply)))?.into_iter();
/// let mut lines = Vec::new();
/// while rest.len() > 0 {
///     let ((title, rating), more) = scan::<(String, Option<u8>)>(Ok(rest))?;
///     lines.push(format!("{title} {}", rating.unwrap_or(0)));
///     rest = more;
/// }
/// assert_eq!(lines, ["Red 5", "Beat 0"]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, [`Error::Convert`] if there are fewer values than the type takes or if a
/// value does not fit, and [`Error::Server`] for an error among the values.
#[doc(alias = "Scan")]
pub fn scan<T: DeserializeOwned>(
    values: Result<impl IntoIterator<Item = Value, IntoIter = vec::IntoIter<Value>>>,
) -> Result<(T, vec::IntoIter<Value>)> {
    let mut rest = values?.into_iter();
    match T::deserialize(Row { rest: &mut rest, only_rows: false }) {
        Ok(scanned) => Ok((scanned, rest)),
        Err(failure) => Err(failure.into_error()),
    }
}
