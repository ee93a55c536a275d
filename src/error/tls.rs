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
#[derive(Clone)]
pub struct TlsError(Arc<Fault>);

#[derive(Debug, Clone)]
struct Fault {
    kind: TlsErrorKind,
    address: Option<Box<str>>,
    /// The name that the peer's certificate must have.
    name: Option<Box<str>>,
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
        TlsError(Arc::new(Fault { kind, address: None, name: None, cause: None }))
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
    pub(crate) fn with_name(mut self, name: &str) -> TlsError {
        Arc::make_mut(&mut self.0).name = Some(name.into());
        self
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_address(&mut self, address: &str) {
        if self.0.address.is_none() {
            Arc::make_mut(&mut self.0).address = Some(address.into());
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name.as_deref();
        let mut beside = name;
        if let Some(address) = &self.0.address {
            write!(f, "{address}: ")?;
            // Usually the name is the host of the address.
            beside = beside.filter(|name| !address.trim_start_matches('[').starts_with(name));
        }
        match beside {
            Some(name) => write!(f, "TLS with {name}: ")?,
            None => f.write_str("TLS: ")?,
        }
        f.write_str(match self.0.kind {
            TlsErrorKind::UnknownAuthority => {
                "the server's certificate was issued by an authority that the client does not trust"
            }
            TlsErrorKind::Expired => "the server's certificate has expired",
            TlsErrorKind::NotYetValid => "the server's certificate is not valid yet",
            TlsErrorKind::WrongHost => match name {
                Some(name) => {
                    return write!(f, "the server's certificate is for another name than {name}");
                }
                None => "the server's certificate is for another name",
            },
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
        use TlsErrorKind::{InvalidCertificate, NotTls, Other};
        matches!(self.0.kind, InvalidCertificate | NotTls | Other)
    }
}

impl fmt::Debug for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.0.kind)?;
        // The library's message is not in the text then.
        match self.0.cause.as_ref().filter(|_| !self.shows_cause()) {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
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
