//! Errors of TLS.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// TLS could not be set up, or its session broke.
///
/// [`kind`](TlsError::kind) says what failed. The message of the system's TLS library is in the
/// text or in [`source`](StdError::source).
///
/// ```
/// use redigo::{Error, TlsError, TlsErrorKind};
///
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         Error::Tls(error) if error.kind() == TlsErrorKind::Expired => "renew the certificate",
///         _ => "see the server's log",
///     }
/// }
/// assert_eq!(advice(&TlsError::new(TlsErrorKind::Expired).into()), "renew the certificate");
/// ```
#[derive(Debug, Clone)]
pub struct TlsError(Arc<Fault>);

#[derive(Debug, Clone)]
struct Fault {
    kind: TlsErrorKind,
    /// The name that the peer's certificate must have.
    peer: Option<String>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The reason of a [`TlsError`], as far as the system's TLS library reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The server's certificate was issued by an authority that the client does not trust, or is
    /// self-signed.
    UnknownAuthority,
    /// The server's certificate, or one of its chain, has expired.
    Expired,
    /// The server's certificate, or one of its chain, is not valid yet, or a clock is wrong.
    NotYetValid,
    /// The server's certificate is for another name or address.
    WrongHost,
    /// The server's certificate is invalid for another reason.
    InvalidCertificate,
    /// The server requires a client certificate, and the client sent none.
    ClientCertificateRequired,
    /// The server does not accept the client's certificate.
    ClientCertificateRejected,
    /// Client and server accept no common TLS version.
    Version,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer closed the connection during the handshake.
    Closed,
    /// Another reason; the text has the message of the TLS library.
    Other,
}

impl TlsError {
    /// Makes an error of this kind, for connectors that have their own TLS.
    ///
    /// ```
    /// use redigo::{TlsError, TlsErrorKind};
    ///
    /// let error = TlsError::new(TlsErrorKind::NotTls);
    /// assert_eq!(error.to_string(), "TLS: the peer does not speak TLS");
    /// ```
    pub fn new(kind: TlsErrorKind) -> TlsError {
        TlsError(Arc::new(Fault { kind, peer: None, cause: None }))
    }

    /// Adds the error of the TLS library.
    ///
    /// ```
    /// use redigo::{TlsError, TlsErrorKind};
    ///
    /// let cause = std::io::Error::other("bad record mac");
    /// let error = TlsError::new(TlsErrorKind::Other).caused_by(cause);
    /// assert_eq!(error.to_string(), "TLS: failed: bad record mac");
    /// ```
    #[must_use]
    pub fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> TlsError {
        Arc::make_mut(&mut self.0).cause = Some(Arc::new(cause));
        self
    }

    /// Returns the reason.
    ///
    /// ```
    /// use redigo::{TlsError, TlsErrorKind};
    ///
    /// let error = TlsError::new(TlsErrorKind::WrongHost);
    /// assert_eq!(error.kind(), TlsErrorKind::WrongHost);
    /// ```
    pub fn kind(&self) -> TlsErrorKind {
        self.0.kind
    }

    /// Adds the name that the peer's certificate must have.
    #[cfg(feature = "tls")]
    pub(crate) fn with_peer(mut self, name: &str) -> TlsError {
        Arc::make_mut(&mut self.0).peer = Some(name.to_owned());
        self
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.peer {
            Some(peer) => write!(f, "TLS with {peer}: ")?,
            None => f.write_str("TLS: ")?,
        }
        f.write_str(match self.0.kind {
            TlsErrorKind::UnknownAuthority => {
                "the server's certificate was issued by an authority that the client does not trust"
            }
            TlsErrorKind::Expired => "the server's certificate has expired",
            TlsErrorKind::NotYetValid => "the server's certificate is not valid yet",
            TlsErrorKind::WrongHost => "the server's certificate is for another name",
            TlsErrorKind::InvalidCertificate => "the server's certificate is not valid",
            TlsErrorKind::ClientCertificateRequired => {
                "the server requires a client certificate, and the client sent none"
            }
            TlsErrorKind::ClientCertificateRejected => {
                "the server does not accept the client certificate"
            }
            TlsErrorKind::Version => "client and server accept no common TLS version",
            TlsErrorKind::NotTls => "the peer does not speak TLS",
            TlsErrorKind::Closed => "the peer closed the connection during the handshake",
            TlsErrorKind::Other => "failed",
        })?;
        match &self.0.cause {
            Some(cause) if self.shows_cause() => write!(f, ": {cause}"),
            // The cause is the source, so it is not part of the text.
            _ => Ok(()),
        }
    }
}

impl TlsError {
    /// True if the kind alone says too little.
    fn shows_cause(&self) -> bool {
        matches!(self.0.kind, TlsErrorKind::InvalidCertificate | TlsErrorKind::Other)
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.cause {
            // The text already shows the cause, so its source is next in the chain.
            Some(cause) if self.shows_cause() => cause.source(),
            Some(cause) => Some(&**cause as _),
            None => None,
        }
    }
}
