//! Every error of the crate, as one enum that is cheap to clone.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

mod convert;
mod peer;
mod report;
mod tls;

pub use convert::ConvertError;
pub use peer::{ProtocolError, ServerError};
pub use report::{Borrow, PoolReport};
pub use tls::{TlsError, TlsErrorKind};

/// What nearly every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, from the socket to the pool.
///
/// Errors are cheap to clone because the first fatal error of a connection *sticks*: every later
/// call on that connection returns a clone of it (see [`Error::is_fatal`]).
///
/// ```
/// use redigo::{Error, Value};
///
/// let missing: Result<i64, Error> = Value::Nil.convert::<i64>();
/// assert!(missing.unwrap_err().is_nil());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with an error. The connection stays usable.
    #[doc(alias = "redis.Error")]
    Server(ServerError),
    /// The reply was nil and the type asked for has no place for that; use `Option<T>`.
    #[doc(alias = "ErrNil")]
    Nil,
    /// Reading, writing, connecting or resolving failed.
    Io(Arc<io::Error>),
    /// A time limit passed; the kind tells which.
    Timeout(TimeoutKind),
    /// The call was cancelled, through its context or through a
    /// [`ShutdownHandle`](crate::ShutdownHandle).
    Canceled,
    /// The peer sent bytes that are not a reply, or more than the limits allow.
    Protocol(ProtocolError),
    /// TLS could not be set up, or broke.
    Tls(TlsError),
    /// The reply does not fit the type asked for.
    Convert(ConvertError),
    /// A transaction did not run: a key that it watched was changed in between, each time.
    TransactionAborted {
        /// How many times it was tried.
        attempts: u32,
    },
    /// The pool is at `max_active` and was not told to wait, or as many wait as may.
    #[doc(alias = "ErrPoolExhausted")]
    PoolExhausted(Arc<PoolReport>),
    /// So many dials of the pool have failed in a row that it makes no more for now. The report has
    /// the last one's error.
    BreakerOpen(Arc<PoolReport>),
    /// The caller would wait for ever: all connections of the pool are held by threads that wait for
    /// another, its own among them.
    PoolDeadlock(Arc<PoolReport>),
    /// The time to wait for a connection of the pool passed.
    PoolTimeout(Arc<PoolReport>),
    /// The pool is closed.
    PoolClosed,
    /// The connection is closed.
    ConnClosed,
    /// The URL is not one that this crate understands. Never shows credentials.
    InvalidUrl(Cow<'static, str>),
    /// Options that cannot be, or contradict each other. Names the option.
    InvalidConfig(Cow<'static, str>),
    /// The kind of connection at hand, or this build of the crate, cannot do that.
    Unsupported(Cow<'static, str>),
    /// An error of the user's own code: a dial function, a borrow test, a connector.
    Other(Arc<dyn StdError + Send + Sync>),
}

impl Error {
    /// Wraps an error of the caller's own, for dial functions, borrow tests and connectors.
    ///
    /// ```
    /// let error = redigo::Error::other("no such tenant");
    /// assert_eq!(error.to_string(), "no such tenant");
    /// ```
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Other(Arc::from(error.into()))
    }

    /// True for a nil reply where a value was needed.
    pub fn is_nil(&self) -> bool {
        matches!(self, Error::Nil)
    }

    /// True when a time limit passed, on a connection or while waiting for one of a pool.
    pub fn is_timeout(&self) -> bool {
        self.timeout_kind().is_some()
    }

    /// Which time limit passed, if it was one.
    pub fn timeout_kind(&self) -> Option<TimeoutKind> {
        match self {
            Error::Timeout(kind) => Some(*kind),
            Error::PoolTimeout(report) => Some(report.limit),
            _ => None,
        }
    }

    /// True when the call was cancelled.
    pub fn is_canceled(&self) -> bool {
        matches!(self, Error::Canceled)
    }

    /// True when a transaction did not run because a key that it watched was changed.
    pub fn is_transaction_aborted(&self) -> bool {
        matches!(self, Error::TransactionAborted { .. })
    }

    /// True when a pool at its maximum refused to lend.
    pub fn is_pool_exhausted(&self) -> bool {
        matches!(self, Error::PoolExhausted(_))
    }

    /// What the pool looked like, when it was a pool that refused.
    pub fn pool_report(&self) -> Option<&PoolReport> {
        match self {
            Error::PoolExhausted(report)
            | Error::BreakerOpen(report)
            | Error::PoolDeadlock(report)
            | Error::PoolTimeout(report) => Some(report),
            _ => None,
        }
    }

    /// True for the errors after which a connection is of no more use: I/O, timeouts,
    /// cancellation, broken protocol or TLS. A server's error reply, a nil or a reply of another type
    /// than expected are not fatal.
    pub fn is_fatal(&self) -> bool {
        match self {
            Error::Io(_)
            | Error::Timeout(_)
            | Error::Canceled
            | Error::Protocol(_)
            | Error::Tls(_)
            | Error::ConnClosed => true,
            Error::Server(_)
            | Error::Nil
            | Error::Convert(_)
            | Error::TransactionAborted { .. }
            | Error::PoolExhausted(_)
            | Error::BreakerOpen(_)
            | Error::PoolDeadlock(_)
            | Error::PoolTimeout(_)
            | Error::PoolClosed
            | Error::InvalidUrl(_)
            | Error::InvalidConfig(_)
            | Error::Unsupported(_)
            | Error::Other(_) => false,
        }
    }

    /// The server's error reply, if that is what this is.
    ///
    /// ```
    /// use redigo::{Error, ServerError};
    ///
    /// let error = Error::from(ServerError::new("WRONGTYPE not a list"));
    /// assert_eq!(error.as_server().map(ServerError::code), Some("WRONGTYPE"));
    /// ```
    pub fn as_server(&self) -> Option<&ServerError> {
        match self {
            Error::Server(error) => Some(error),
            _ => None,
        }
    }

    /// The same error, told as what went wrong in one step of dialling.
    pub(crate) fn in_step(self, step: DialStep) -> Error {
        match self {
            Error::Server(mut error) => {
                error.step = Some(step);
                Error::Server(error)
            }
            Error::Timeout(TimeoutKind::Read | TimeoutKind::Write) => {
                Error::Timeout(TimeoutKind::Handshake(step))
            }
            Error::Io(error) => Error::io_context(step, error),
            Error::Protocol(error) => Error::Protocol(error.in_step(step)),
            other => other,
        }
    }

    /// An I/O error with the place where it happened in front of it.
    pub(crate) fn io_context(place: impl fmt::Display, source: Arc<io::Error>) -> Error {
        let kind = source.kind();
        let placed = PlacedIoError { place: place.to_string(), source };
        Error::Io(Arc::new(io::Error::new(kind, placed)))
    }

    /// The text of a caught panic of user code, as an error.
    pub(crate) fn panicked(what: &str, payload: &(dyn std::any::Any + Send)) -> Error {
        let said = payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Error::other(format!("{what} panicked: {said}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Server(error) => error.fmt(f),
            Error::Nil => f.write_str("the reply is nil"),
            Error::Io(error) => error.fmt(f),
            Error::Timeout(kind) => kind.fmt(f),
            Error::Canceled => f.write_str("canceled"),
            Error::Protocol(error) => error.fmt(f),
            Error::Tls(error) => error.fmt(f),
            Error::Convert(error) => error.fmt(f),
            Error::TransactionAborted { attempts } => {
                let times = if *attempts == 1 { "time" } else { "times" };
                write!(f, "the transaction was aborted {attempts} {times}: a watched key changed")
            }
            Error::PoolExhausted(report) => write!(f, "connection pool exhausted: {report}"),
            Error::BreakerOpen(report) => {
                write!(f, "dialing has failed too often, so the pool does not dial now: {report}")
            }
            Error::PoolDeadlock(report) => {
                write!(
                    f,
                    "waiting for a connection would never end, every one is held by a thread that waits too: {report}"
                )
            }
            Error::PoolTimeout(report) => {
                write!(f, "no connection from the pool in {:.1?}: {report}", report.waited)
            }
            Error::PoolClosed => f.write_str("the pool is closed"),
            Error::ConnClosed => f.write_str("the connection is closed"),
            Error::InvalidUrl(why) => write!(f, "invalid Redis URL: {why}"),
            Error::InvalidConfig(why) => write!(f, "invalid configuration: {why}"),
            Error::Unsupported(what) => write!(f, "not supported: {what}"),
            Error::Other(error) => error.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            // Display already shows these, so their own source is the next in the chain.
            Error::Io(error) => error.source(),
            Error::Other(error) => error.source(),
            Error::Convert(error) => error.source(),
            Error::Tls(error) => error.source(),
            _ => self.pool_report()?.last_dial_error.as_ref().map(|error| error as _),
        }
    }
}

/// A TLS error that came through a stream, wrapped in an I/O error, is one again.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            Some(error) => Error::Tls(error.clone()),
            None => Error::Io(Arc::new(error)),
        }
    }
}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Error {
        Error::Server(error)
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Error {
        Error::Protocol(error)
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Error {
        Error::Tls(error)
    }
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Error {
        Error::Convert(error)
    }
}

/// Which of the time limits passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// Resolving the name and connecting.
    Connect,
    /// The TLS handshake.
    TlsHandshake,
    /// The reply to one of the commands that set up a new connection.
    Handshake(DialStep),
    /// The reply, or the replies of one pipelined call.
    Read,
    /// Writing commands.
    Write,
    /// Waiting for a connection of the pool.
    PoolWait,
    /// The deadline of a [`Context`](crate::Context).
    Context,
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeoutKind::Connect => f.write_str("timed out while connecting"),
            TimeoutKind::TlsHandshake => {
                // A plain Redis port waits for more when it is sent a handshake.
                f.write_str("timed out in the TLS handshake (does the peer speak TLS?)")
            }
            TimeoutKind::Handshake(step) => write!(f, "timed out waiting for the reply to {step}"),
            TimeoutKind::Read => f.write_str("timed out waiting for a reply"),
            TimeoutKind::Write => f.write_str("timed out while writing"),
            TimeoutKind::PoolWait => f.write_str("timed out waiting for a connection of the pool"),
            TimeoutKind::Context => f.write_str("the context's deadline has passed"),
        }
    }
}

/// One of the commands with which a dialler sets up a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialStep {
    /// `AUTH`: user name and password.
    Auth,
    /// `CLIENT SETNAME`: the connection's name.
    ClientSetName,
    /// `SELECT`: the database.
    Select,
}

impl fmt::Display for DialStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialStep::Auth => "AUTH",
            DialStep::ClientSetName => "CLIENT SETNAME",
            DialStep::Select => "SELECT",
        })
    }
}

/// An I/O error that tells where it happened.
#[derive(Debug)]
struct PlacedIoError {
    place: String,
    source: Arc<io::Error>,
}

impl fmt::Display for PlacedIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.source)
    }
}

impl StdError for PlacedIoError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_stays_small() {
        // A Result<Value> travels through every call; 32 bytes is what Value itself takes.
        assert!(size_of::<Error>() <= 32, "Error is {} bytes", size_of::<Error>());
    }

    #[test]
    fn error_is_send_sync_and_clone() {
        fn check<T: Send + Sync + Clone + StdError + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn only_errors_of_the_connection_are_fatal() {
        assert!(Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_fatal());
        assert!(Error::Timeout(TimeoutKind::Read).is_fatal());
        assert!(Error::Canceled.is_fatal());
        assert!(Error::from(ProtocolError::new("x")).is_fatal());
        assert!(!Error::from(ServerError::new("ERR no")).is_fatal());
        assert!(!Error::Nil.is_fatal());
        assert!(!Error::PoolClosed.is_fatal());
    }

    #[test]
    fn a_dial_error_names_its_step_and_keeps_its_kind() {
        let io: Error = io::Error::from(io::ErrorKind::UnexpectedEof).into();
        let placed = io.in_step(DialStep::Auth);
        assert!(placed.to_string().starts_with("AUTH: "), "{placed}");
        match &placed {
            Error::Io(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            other => panic!("{other:?}"),
        }
        assert!(placed.source().is_some());

        let refused = Error::from(ServerError::new("ERR DB index is out of range"));
        let refused = refused.in_step(DialStep::Select);
        assert_eq!(refused.to_string(), "SELECT failed: ERR DB index is out of range");
        assert_eq!(refused.as_server().and_then(ServerError::step), Some(DialStep::Select));

        let late = Error::Timeout(TimeoutKind::Read).in_step(DialStep::Auth);
        assert_eq!(late.to_string(), "timed out waiting for the reply to AUTH");
    }

    #[test]
    fn a_conversion_error_shows_the_path_to_the_element() {
        let error = ConvertError::new("an integer", "a list").in_element(2).in_element(7);
        assert_eq!(error.to_string(), "expected an integer, found a list at element [7][2]");
    }
}
