//! The error type: one enum that is cheap to clone.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

mod convert;
mod protocol;
mod report;
mod server;
mod timeout;
mod tls;

pub use convert::ConvertError;
pub use protocol::ProtocolError;
pub use report::{Borrow, PoolReport};
pub use server::ServerError;
pub use timeout::{DialStep, TimeoutKind};
pub use tls::{TlsError, TlsErrorKind};

/// The result of nearly every function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate, from the socket to the pool.
///
/// Errors are cheap to clone. The first fatal error of a connection is kept: every later call on
/// that connection returns a clone of it (see [`Error::is_fatal`]).
///
/// The predicates (`is_…`) answer common questions. They are not exhaustive: an error can be
/// neither a timeout nor fatal nor any of the others, and new variants can be added.
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
    /// The server replied with an error. The connection stays usable.
    #[doc(alias = "redis.Error")]
    Server(ServerError),
    /// The reply is nil, and the requested type has no value for nil. Use `Option<T>`.
    #[doc(alias = "ErrNil")]
    Nil,
    /// Reading, writing, connecting or resolving failed.
    Io(Arc<io::Error>),
    /// A time limit passed. The kind says which.
    Timeout(TimeoutKind),
    /// The call was canceled through its context or through a
    /// [`ShutdownHandle`](crate::ShutdownHandle).
    Canceled,
    /// The peer sent bytes that are not a reply, or more than the limits allow.
    Protocol(ProtocolError),
    /// TLS could not be set up, or its session broke.
    Tls(TlsError),
    /// The reply does not fit the requested type.
    Convert(ConvertError),
    /// A transaction did not run because a watched key was changed, at every attempt.
    TransactionAborted {
        /// The number of attempts.
        attempts: u32,
    },
    /// The pool is at `max_active` and is not configured to wait, or `max_waiters` callers wait.
    #[doc(alias = "ErrPoolExhausted")]
    PoolExhausted(Arc<PoolReport>),
    /// Too many dials of the pool failed in a row, so the pool does not dial now. The report
    /// has the error of the last dial.
    BreakerOpen(Arc<PoolReport>),
    /// Waiting for a connection would never end: every connection of the pool is held by a thread
    /// that waits for another one, including the caller's thread.
    PoolDeadlock(Arc<PoolReport>),
    /// The time limit for getting a connection from the pool passed.
    PoolTimeout(Arc<PoolReport>),
    /// The pool is closed.
    PoolClosed,
    /// The connection is closed.
    ConnClosed,
    /// The URL is invalid. The text never shows credentials.
    InvalidUrl(Cow<'static, str>),
    /// An option is invalid, or options contradict each other. The text names the option.
    InvalidConfig(Cow<'static, str>),
    /// This kind of connection, or this build of the crate, does not support the operation.
    Unsupported(Cow<'static, str>),
    /// An error from the caller's code: a dial function, a borrow test, a connector.
    Other(Arc<dyn StdError + Send + Sync>),
}

impl Error {
    /// Wraps an error from the caller's code: from a dial function, a borrow test or a connector.
    ///
    /// ```
    /// let error = redigo::Error::other("no such tenant");
    /// assert_eq!(error.to_string(), "no such tenant");
    /// ```
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Other(Arc::from(error.into()))
    }

    /// Returns true for a nil reply where a value is required.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("GET", "missing"); // the reply is nil
    /// let error = server.conn().query::<i64>("GET", "missing").unwrap_err();
    /// assert!(error.is_nil());
    /// ```
    pub fn is_nil(&self) -> bool {
        matches!(self, Error::Nil)
    }

    /// Returns true if a time limit passed, on a connection or while waiting for a pool.
    ///
    /// The predicate is not exhaustive: a [`connector`](crate::Dialer::connector) can report its
    /// own timeouts as [`Error::Io`] or [`Error::Other`].
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).timeout();
    /// assert!(server.conn().call("PING", ()).unwrap_err().is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        self.timeout_kind().is_some()
    }

    /// Returns the kind of the time limit that passed, or `None` for other errors.
    ///
    /// ```
    /// use redigo::{TimeoutKind, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).timeout();
    /// let error = server.conn().call("PING", ()).unwrap_err();
    /// assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
    /// ```
    pub fn timeout_kind(&self) -> Option<TimeoutKind> {
        match self {
            Error::Timeout(kind) => Some(*kind),
            Error::PoolTimeout(report) => Some(report.limit),
            _ => None,
        }
    }

    /// Returns true if the call was canceled. An expired deadline is a timeout instead.
    ///
    /// ```
    /// let (ctx, cancel) = redigo::Context::background().with_cancel();
    /// cancel.cancel();
    /// assert!(ctx.err().unwrap().is_canceled());
    /// ```
    pub fn is_canceled(&self) -> bool {
        matches!(self, Error::Canceled)
    }

    /// Returns true if a transaction did not run because a watched key was changed.
    ///
    /// ```
    /// let error = redigo::Error::TransactionAborted { attempts: 3 };
    /// assert!(error.is_transaction_aborted());
    /// ```
    pub fn is_transaction_aborted(&self) -> bool {
        matches!(self, Error::TransactionAborted { .. })
    }

    /// Returns true if a pool at its maximum refused a checkout immediately. The predicate is not
    /// exhaustive: a checkout that waited until its time limit fails with [`Error::PoolTimeout`].
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).build()?;
    /// let conn = pool.acquire()?;
    /// assert!(pool.acquire().unwrap_err().is_pool_exhausted());
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn is_pool_exhausted(&self) -> bool {
        matches!(self, Error::PoolExhausted(_))
    }

    /// Returns the state of the pool at the time of its error, or `None` for other errors.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).build()?;
    /// let conn = pool.acquire()?;
    /// let error = pool.acquire().unwrap_err();
    /// assert_eq!(error.pool_report().map(|report| report.in_use), Some(1));
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn pool_report(&self) -> Option<&PoolReport> {
        match self {
            Error::PoolExhausted(report)
            | Error::BreakerOpen(report)
            | Error::PoolDeadlock(report)
            | Error::PoolTimeout(report) => Some(report),
            _ => None,
        }
    }

    /// Returns true for errors after which a connection is no longer usable: I/O, timeouts,
    /// cancellation, broken protocol or TLS, a closed connection.
    ///
    /// An error reply, a nil, or a reply that does not fit the requested type is not fatal. The
    /// predicate is not exhaustive: [`Error::Other`] is never fatal, even if the connector that
    /// made it has given up.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("INCR", "name").error("ERR value is not an integer or out of range");
    /// server.expect("PING", ()).disconnect();
    /// let mut conn = server.conn();
    /// assert!(!conn.call("INCR", "name").unwrap_err().is_fatal());
    /// assert!(conn.call("PING", ()).unwrap_err().is_fatal());
    /// ```
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

    /// Returns the server's error reply, or `None` for other errors.
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

    /// Adds the step of the dial that failed.
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

    /// Returns an I/O error whose text begins with the place where it happened.
    pub(crate) fn io_context(place: impl fmt::Display, source: Arc<io::Error>) -> Error {
        let kind = source.kind();
        let placed = PlacedIoError { place: place.to_string(), source };
        Error::Io(Arc::new(io::Error::new(kind, placed)))
    }

    /// Returns the message of a caught panic of the caller's code as an error.
    pub(crate) fn panicked(what: &str, payload: &(dyn std::any::Any + Send)) -> Error {
        let message = payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Error::other(format!("{what} panicked: {message}"))
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
                write!(f, "dialing failed too often, so the pool does not dial now: {report}")
            }
            Error::PoolDeadlock(report) => {
                write!(
                    f,
                    "waiting for a connection would never end: every connection is held by a thread that waits too: {report}"
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
            // Display already shows the inner error, so its source is next in the chain.
            Error::Io(error) => error.source(),
            Error::Other(error) => error.source(),
            Error::Convert(error) => error.source(),
            Error::Tls(error) => error.source(),
            _ => self.pool_report()?.last_dial_error.as_ref().map(|error| error as _),
        }
    }
}

/// Unwraps a TLS error that a stream wrapped in an I/O error.
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

/// An I/O error with the place where it happened.
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
        // Every call returns a Result<Value>, and a Value has 32 bytes.
        assert!(size_of::<Error>() <= 32, "Error is {} bytes", size_of::<Error>());
    }

    #[test]
    fn error_is_send_sync_and_clone() {
        fn check<T: Send + Sync + Clone + StdError + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn only_connection_errors_are_fatal() {
        assert!(Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_fatal());
        assert!(Error::Timeout(TimeoutKind::Read).is_fatal());
        assert!(Error::Canceled.is_fatal());
        assert!(Error::from(ProtocolError::new("x")).is_fatal());
        assert!(!Error::from(ServerError::new("ERR no")).is_fatal());
        assert!(!Error::Nil.is_fatal());
        assert!(!Error::PoolClosed.is_fatal());
    }

    #[test]
    fn a_dial_error_names_its_step() {
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
    fn a_conversion_error_shows_the_path() {
        let error = ConvertError::new("an integer", "a list").in_element(2).in_element(7);
        assert_eq!(error.to_string(), "expected an integer, found a list at element [7][2]");
    }
}
