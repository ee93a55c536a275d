//! redigo's reply helpers: each takes the result of a call and converts it to the type in its name.
//!
//! They are for code that is ported from Go: `redis.Int(c.Do("INCR", "n"))` becomes
//! `reply::int(conn.call("INCR", "n"))?`. New code can request the type directly, with
//! `conn.query::<i64>("INCR", "n")?` or [`Value::convert`](crate::Value::convert).
//!
//! | redigo | here | converted from |
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
//! | `StringMap` | [`string_map`] | a list of keys and values, all of them bulk strings |
//! | `IntMap`, `Int64Map` | [`int_map`] | a list of keys and values; the values as for [`int`] |
//! | `Uint64Map` | [`uint64_map`] | a list of keys and values; the values as for [`uint64`] |
//! | `Float64Map` | [`float64_map`] | a list of keys and values; the values as for [`float64`] |
//! | `Positions` | [`positions`] | the reply to `GEOPOS` |
//! | `SlowLogs` | [`slow_logs`] | the reply to `SLOWLOG GET` |
//! | `Latencies` | [`latencies`] | the reply to `LATENCY LATEST` |
//! | `LatencyHistories` | [`latency_histories`] | the reply to `LATENCY HISTORY` |
//! | `err == ErrNil` | [`optional`] | the result of any function above |
//!
//! All functions return the error of the call unchanged, [`Error::Nil`] for a nil reply,
//! [`Error::Server`] for an error in the reply, and [`Error::Convert`] for any reply that is not in
//! the table.
//!
//! A nil *element* becomes redigo's zero value: 0, an empty string, `None` in [`byte_slices`]. To
//! distinguish nil from zero, request a `Vec<Option<T>>`. In a map, a nil is an error, as in redigo.

mod lists;
mod maps;
mod records;
mod scalars;

use crate::error::{Error, Result};

pub use lists::{byte_slices, float64s, ints, strings, uint64s, values};
pub use maps::{float64_map, int_map, string_map, uint64_map};
pub use records::{
    Latency, LatencyHistory, SlowLog, latencies, latency_histories, positions, slow_logs,
};
pub use scalars::{bool, bytes, float64, int, string, uint64};

/// Turns the [`Error::Nil`] of a helper into `None`, and keeps every other error.
///
/// Without a helper, use `conn.query::<Option<i64>>("GET", "key")`.
///
/// ```
/// use redigo::{Error, Value, reply};
///
/// assert_eq!(reply::optional(reply::int(Ok(Value::Nil)))?, None);
/// assert_eq!(reply::optional(reply::int(Ok(Value::Int(7))))?, Some(7));
/// assert!(reply::optional(reply::int(Err(Error::PoolClosed))).is_err());
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The given error, unless it is [`Error::Nil`].
#[doc(alias = "ErrNil")]
pub fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Nil) => Ok(None),
        Err(error) => Err(error),
    }
}
