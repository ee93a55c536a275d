//! What goes wrong with TLS.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// TLS could not be set up, or broke. [`kind`](TlsError::kind) says what was wrong;
/// [`source`](StdError::source) has the words of the system's TLS library.
///
/// ```
/// use redigo::{Error, TlsError, TlsErrorKind};
///
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         Error::Tls(error) if error.kind() == TlsErrorKind::Expired => "renew the certificate",
///         _ => "call the operator",
///     }
/// }
/// assert_eq!(advice(&TlsError::new(TlsErrorKind::Expired).into()), "renew the certificate");
/// ```
#[derive(Debug, Clone)]
pub struct TlsError(Arc<Fault>);

#[derive(Debug, Clone)]
struct Fault {
    kind: TlsErrorKind,
    /// The name that the peer's certificate had to have.
    peer: Option<String>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What was wrong with TLS, as far as the system's TLS library tells; see [`TlsError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The server's certificate was issued by an authority that is not trusted here, or by nobody
    /// but itself.
    UnknownAuthority,
    /// The server's certificate, or one that it depends on, is past its time.
    Expired,
    /// The server's certificate, or one that it depends on, is ahead of its time, or a clock is
    /// wrong.
    NotYetValid,
    /// The server's certificate is for another name or address.
    WrongHost,
    /// The server's certificate is of no use for another reason.
    InvalidCertificate,
    /// The server wants a certificate of the client, and was given none.
    ClientCertificateRequired,
    /// The server does not accept the client's certificate.
    ClientCertificateRejected,
    /// There is no TLS version that both sides accept.
    Version,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer closed the connection in the middle of the handshake.
    Closed,
    /// Something else; the library's own words say what.
    Other,
}

impl TlsError {
    /// An error of this kind, for connectors that do TLS in a way of their own.
    pub fn new(kind: TlsErrorKind) -> TlsError {
        TlsError(Arc::new(Fault { kind, peer: None, cause: None }))
    }

    /// The same, with the error of the TLS library.
    #[must_use]
    pub fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> TlsError {
        Arc::make_mut(&mut self.0).cause = Some(Arc::new(cause));
        self
    }

    /// What was wrong.
    pub fn kind(&self) -> TlsErrorKind {
        self.0.kind
    }

    /// The same, with the name that the peer was to prove.
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
                "the server's certificate comes from an authority that is not trusted here"
            }
            TlsErrorKind::Expired => "the server's certificate has expired",
            TlsErrorKind::NotYetValid => "the server's certificate is not valid yet",
            TlsErrorKind::WrongHost => "the server's certificate is for another name",
            TlsErrorKind::InvalidCertificate => "the server's certificate is not valid",
            TlsErrorKind::ClientCertificateRequired => {
                "the server wants a client certificate, and got none"
            }
            TlsErrorKind::ClientCertificateRejected => {
                "the server does not accept the client certificate"
            }
            TlsErrorKind::Version => "there is no TLS version that both sides accept",
            TlsErrorKind::NotTls => "the peer does not speak TLS",
            TlsErrorKind::Closed => "the peer closed the connection during the handshake",
            TlsErrorKind::Other => "failed",
        })?;
        match &self.0.cause {
            Some(cause) if self.tells_its_cause() => write!(f, ": {cause}"),
            // The cause is the next in the chain, for those who print it.
            _ => Ok(()),
        }
    }
}

impl TlsError {
    /// True where the kind alone says too little.
    fn tells_its_cause(&self) -> bool {
        matches!(self.0.kind, TlsErrorKind::InvalidCertificate | TlsErrorKind::Other)
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.cause {
            // Shown already, so its own source is the next in the chain.
            Some(cause) if self.tells_its_cause() => cause.source(),
            Some(cause) => Some(&**cause as _),
            None => None,
        }
    }
}
