//! Helpers for commands whose replies have a special format: `GEOPOS`, `SLOWLOG`, `LATENCY`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{ConvertError, Result};
use crate::from_value::{FromValue, element};
use crate::value::Value;

/// Converts the reply to `GEOPOS`: longitude and latitude in degrees, or `None` for a member that
/// does not exist.
///
/// The order is the server's: longitude first. (redigo's documentation says that the latitude is
/// first, which is wrong.)
///
/// ```
/// use redigo::{Value, reply};
///
/// let palermo = Value::from(vec![Value::from("13.361"), Value::from("38.115")]);
/// let positions = reply::positions(Ok(Value::from(vec![palermo, Value::Nil])))?;
/// assert_eq!(positions, [Some((13.361, 38.115)), None]);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, or an error of [`Value::convert`]. An entry that is not a pair of numbers
/// is an [`Error::Convert`](crate::Error::Convert).
#[doc(alias = "Positions")]
pub fn positions(reply: Result<Value>) -> Result<Vec<Option<(f64, f64)>>> {
    reply?.convert()
}

/// Converts the reply to `SLOWLOG GET`. The latest entry is first.
///
/// Redis Enterprise sends one more item before the arguments: the complexity of the command. It is
/// ignored.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Value, reply};
///
/// let args = Value::from(vec![Value::from("KEYS"), Value::from("*")]);
/// let entry = vec![
///     Value::Int(14),
///     Value::Int(1_700_000_000),
///     Value::Int(15_000),
///     args,
///     Value::from("127.0.0.1:58217"),
///     Value::from("reports"),
/// ];
/// let logs = reply::slow_logs(Ok(Value::from(vec![Value::from(entry)])))?;
/// assert_eq!(logs[0].args, ["KEYS", "*"]);
/// assert_eq!(logs[0].execution_time, Duration::from_millis(15));
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, or an error of [`Value::convert`]. An entry of fewer than four items is an
/// [`Error::Convert`](crate::Error::Convert).
#[doc(alias = "SlowLogs")]
pub fn slow_logs(reply: Result<Value>) -> Result<Vec<SlowLog>> {
    reply?.convert()
}

/// One entry of the slow log. `conn.query::<Vec<SlowLog>>("SLOWLOG", "GET")` returns it too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SlowLog {
    /// The number of the entry. It is unique until the server restarts.
    pub id: i64,
    /// The time at which the command was processed, in whole seconds.
    pub time: SystemTime,
    /// The execution time, in whole microseconds.
    pub execution_time: Duration,
    /// The command and its arguments, for display: the server truncates long arguments, and bytes
    /// that are not valid UTF-8 are replaced by the replacement character.
    pub args: Vec<String>,
    /// The address and port of the client. Empty if the server does not send it (before 4.0).
    pub client_addr: String,
    /// The name of the client. Empty if it has none.
    pub client_name: String,
}

impl FromValue for SlowLog {
    const WANTED: &'static str = "an entry of the slow log";

    fn from_value(value: Value) -> Result<SlowLog> {
        let mut entry = Entry::new(value, "an entry of at least four items", 4)?;
        let mut log = SlowLog {
            id: entry.take()?,
            time: entry.take_time()?,
            execution_time: Duration::from_micros(entry.take()?),
            args: entry
                .skip_unless_list()
                .take::<Vec<Lossy>>()?
                .into_iter()
                .map(|Lossy(arg)| arg)
                .collect(),
            client_addr: String::new(),
            client_name: String::new(),
        };
        if entry.left() >= 2 {
            Lossy(log.client_addr) = entry.take()?;
            Lossy(log.client_name) = entry.take()?;
        }
        Ok(log)
    }
}

/// Converts the reply to `LATENCY LATEST`: the latest latency spike of each event.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Value, reply};
///
/// let name = Value::from("command");
/// let event = vec![name, Value::Int(1_700_000_000), Value::Int(12), Value::Int(40)];
/// let latencies = reply::latencies(Ok(Value::from(vec![Value::from(event)])))?;
/// assert_eq!(latencies[0].name, "command");
/// assert_eq!(latencies[0].max, Duration::from_millis(40));
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, or an error of [`Value::convert`]. An entry of fewer than four items is an
/// [`Error::Convert`](crate::Error::Convert).
#[doc(alias = "Latencies")]
pub fn latencies(reply: Result<Value>) -> Result<Vec<Latency>> {
    reply?.convert()
}

/// The latency of one event. `conn.query::<Vec<Latency>>("LATENCY", "LATEST")` returns it too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Latency {
    /// The name of the event, such as `command` or `fork`.
    pub name: String,
    /// The time of the latest spike, in whole seconds.
    pub time: SystemTime,
    /// The duration of the latest spike, in whole milliseconds.
    pub latest: Duration,
    /// The duration of the longest spike, in whole milliseconds.
    pub max: Duration,
}

impl FromValue for Latency {
    const WANTED: &'static str = "an event of the latency monitor";

    fn from_value(value: Value) -> Result<Latency> {
        // Newer servers send a sum and a count after these four items.
        let mut entry = Entry::new(value, "an entry of at least four items", 4)?;
        Ok(Latency {
            name: entry.take::<Lossy>()?.0,
            time: entry.take_time()?,
            latest: Duration::from_millis(entry.take()?),
            max: Duration::from_millis(entry.take()?),
        })
    }
}

/// Converts the reply to `LATENCY HISTORY`: the latency spikes of one event. The oldest is first.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Value, reply};
///
/// let spike = Value::from(vec![Value::Int(1_700_000_000), Value::Int(12)]);
/// let history = reply::latency_histories(Ok(Value::from(vec![spike])))?;
/// assert_eq!(history[0].execution_time, Duration::from_millis(12));
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// The error of the call, or an error of [`Value::convert`]. An entry of fewer than two items is an
/// [`Error::Convert`](crate::Error::Convert).
#[doc(alias = "LatencyHistories")]
pub fn latency_histories(reply: Result<Value>) -> Result<Vec<LatencyHistory>> {
    reply?.convert()
}

/// One latency spike of an event.
/// `conn.query::<Vec<LatencyHistory>>("LATENCY", ("HISTORY", "command"))` returns it too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LatencyHistory {
    /// The time of the spike, in whole seconds.
    pub time: SystemTime,
    /// The duration of the spike, in whole milliseconds.
    pub execution_time: Duration,
}

impl FromValue for LatencyHistory {
    const WANTED: &'static str = "a spike of the latency monitor";

    fn from_value(value: Value) -> Result<LatencyHistory> {
        let mut entry = Entry::new(value, "an entry of at least two items", 2)?;
        Ok(LatencyHistory {
            time: entry.take_time()?,
            execution_time: Duration::from_millis(entry.take()?),
        })
    }
}

/// The items of one entry. There are at least as many as required.
struct Entry {
    items: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Entry {
    fn new(value: Value, wanted: &'static str, at_least: usize) -> Result<Entry> {
        let items: Vec<Value> = value.convert()?;
        if items.len() < at_least {
            return Err(ConvertError::new(wanted, format!("length {}", items.len())).into());
        }
        Ok(Entry { items: items.into_iter(), taken: 0 })
    }

    fn take<T: FromValue>(&mut self) -> Result<T> {
        let index = self.taken;
        self.taken += 1;
        element(index, self.items.next().unwrap_or(Value::Nil))
    }

    /// Takes a time, sent as seconds since 1970.
    fn take_time(&mut self) -> Result<SystemTime> {
        let seconds = self.take()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or_else(|| {
            let found = format!("{seconds} seconds since 1970");
            let error = ConvertError::new("a time that the system can represent", found);
            error.in_element(self.taken - 1).into()
        })
    }

    /// Skips the next item if it is not a list, but the item after it is.
    fn skip_unless_list(&mut self) -> &mut Entry {
        if let [first, Value::Array(_), ..] = self.items.as_slice() {
            if first.as_array().is_none() {
                self.items.next();
                self.taken += 1;
            }
        }
        self
    }

    fn left(&self) -> usize {
        self.items.len()
    }
}

/// Text for display, which need not be valid UTF-8.
struct Lossy(String);

impl FromValue for Lossy {
    const WANTED: &'static str = String::WANTED;

    fn from_value(value: Value) -> Result<Lossy> {
        if let list @ Value::Array(_) = value {
            return Err(ConvertError::new(Self::WANTED, list.kind()).into());
        }
        let bytes: Vec<u8> = value.convert()?;
        Ok(Lossy(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
