//! The error type: one enum that is cheap to clone.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

mod convert;
mod place;
mod placed_io;
mod protocol;
mod report;
mod server;
mod timeout;
mod tls;

pub use convert::ConvertError;
pub use protocol::ProtocolError;
pub use report::{Borrow, PoolReport};
pub use server::ServerError;
pub use timeout::{DialStep, TimeoutError, TimeoutKind};
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
#[derive(Clone)]
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
    Timeout(TimeoutError),
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
            Error::Timeout(error) => Some(error.kind()),
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

    /// Returns true if the server or a connection of the pool is not available now, so that the
    /// same call can succeed later. A web service would answer with status 503.
    ///
    /// These are I/O errors and timeouts, including those of a dial, error replies like `LOADING`,
    /// a TLS handshake that the peer closed, and a pool that is exhausted or whose breaker is open.
    /// The predicate is not exhaustive: errors of the caller's code ([`Error::Other`]) are not
    /// included, and neither are closed pools and connections (see [`Error::is_closed`]).
    ///
    /// ```
    /// use redigo::{Dialer, Error, ServerError};
    ///
    /// let refused = Dialer::tcp("127.0.0.1:1").dial().unwrap_err();
    /// assert!(refused.is_unavailable());
    /// let loading = ServerError::new("LOADING Redis is loading the dataset in memory");
    /// assert!(Error::from(loading).is_unavailable());
    /// assert!(!Error::from(ServerError::new("WRONGTYPE not a list")).is_unavailable());
    /// ```
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Io(_)
            | Error::Timeout(_)
            | Error::PoolExhausted(_)
            | Error::BreakerOpen(_)
            | Error::PoolTimeout(_) => true,
            Error::Tls(error) => error.kind() == TlsErrorKind::Closed,
            Error::Server(error) => error.is_unavailable(),
            _ => false,
        }
    }

    /// Returns true if the caller's program has closed the pool or the connection before the call.
    ///
    /// The predicate is not exhaustive: a connection that the *server* has closed is an I/O error.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.close();
    /// assert!(pool.acquire().unwrap_err().is_closed());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::PoolClosed | Error::ConnClosed)
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
            Error::Timeout(error) => error.fmt(f),
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

/// Begins with the text of `Display`, because `main` prints the `Debug` form of an error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "{self} [Io({:?})]", error.kind()),
            Error::Timeout(error) => write!(f, "{self} [Timeout({:?})]", error.kind()),
            Error::Tls(error) => write!(f, "{error:?}"),
            Error::Server(_) => write!(f, "{self} [Server]"),
            Error::Nil => write!(f, "{self} [Nil]"),
            Error::Canceled => write!(f, "{self} [Canceled]"),
            Error::Protocol(_) => write!(f, "{self} [Protocol]"),
            Error::Convert(_) => write!(f, "{self} [Convert]"),
            Error::TransactionAborted { .. } => write!(f, "{self} [TransactionAborted]"),
            Error::PoolExhausted(_) => write!(f, "{self} [PoolExhausted]"),
            Error::BreakerOpen(_) => write!(f, "{self} [BreakerOpen]"),
            Error::PoolDeadlock(_) => write!(f, "{self} [PoolDeadlock]"),
            Error::PoolTimeout(_) => write!(f, "{self} [PoolTimeout]"),
            Error::PoolClosed => write!(f, "{self} [PoolClosed]"),
            Error::ConnClosed => write!(f, "{self} [ConnClosed]"),
            Error::InvalidUrl(_) => write!(f, "{self} [InvalidUrl]"),
            Error::InvalidConfig(_) => write!(f, "{self} [InvalidConfig]"),
            Error::Unsupported(_) => write!(f, "{self} [Unsupported]"),
            Error::Other(_) => write!(f, "{self} [Other]"),
        }
    }
}

/// An error that Display shows is not a source: its own source is next in the chain.
impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Io(error) => error.source(),
            Error::Other(error) => error.source(),
            Error::Convert(error) => error.source(),
            Error::Tls(error) => error.source(),
            _ => self.pool_report()?.last_dial_error.as_ref()?.source(),
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

impl From<TimeoutKind> for Error {
    fn from(kind: TimeoutKind) -> Error {
        Error::Timeout(kind.into())
    }
}

impl From<TimeoutError> for Error {
    fn from(error: TimeoutError) -> Error {
        Error::Timeout(error)
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

#[cfg(test)]
mod tests;
