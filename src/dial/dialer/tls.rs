//! The dialer's options for TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use native_tls::{Protocol, TlsConnector};

use super::{Dialer, unless_zero};
use crate::dial::tls::TlsOptions;

/// TLS, with feature `tls`. [docs/tls.md] is a guide, from creating certificates to a pool with
/// mutual TLS.
///
/// The files are read at the first dial, and again after they have changed. Connections dialed
/// later use a renewed certificate. While the new files do not fit together, the previous ones
/// remain in use, and a warning is logged.
///
/// [docs/tls.md]: https://docs.rs/crate/redigo/latest/source/docs/tls.md
impl Dialer {
    /// Enables or disables TLS. A `rediss://` or `valkeys://` URL enables it.
    ///
    /// The server's certificate must be valid for the dialed host and come from an authority that
    /// the system trusts, unless other options change that. TLS 1.2 is the oldest accepted
    /// version.
    ///
    /// ```no_run
    /// use redigo::Dialer;
    ///
    /// let conn = Dialer::tcp("redis.example.com:6380").use_tls(true).dial()?;
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[doc(alias = "DialUseTLS")]
    pub fn use_tls(mut self, on: bool) -> Dialer {
        self.tls = on;
        self
    }

    /// Sets a configured connector, for settings that the options here do not offer.
    ///
    /// Options that the connector decides are an error next to it: all but
    /// [`tls_server_name`](Dialer::tls_server_name) and
    /// [`tls_handshake_timeout`](Dialer::tls_handshake_timeout).
    ///
    /// ```
    /// use redigo::{Dialer, native_tls::TlsConnector};
    ///
    /// let connector = TlsConnector::builder().use_sni(false).build()?;
    /// let dialer = Dialer::url("rediss://redis.example.com")?.tls_connector(connector);
    /// # drop(dialer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Defaults to a connector made from the other options.
    #[doc(alias = "DialTLSConfig")]
    pub fn tls_connector(mut self, connector: TlsConnector) -> Dialer {
        self.tls_options.connector = Some(connector);
        self
    }

    /// Accepts any certificate of the server.
    ///
    /// **An attacker between client and server can then impersonate the server** and read the
    /// password. A warning is logged once.
    ///
    /// ```
    /// use redigo::Dialer;
    ///
    /// let dialer = Dialer::url("rediss://localhost:6380")?.tls_skip_verify(true);
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to off.
    #[doc(alias = "DialTLSSkipVerify")]
    pub fn tls_skip_verify(self, skip: bool) -> Dialer {
        self.with_tls(|tls| tls.skip_verify = skip)
    }

    /// Sets a PEM file with the authorities that can issue the server's certificate. The system's
    /// authorities are then not trusted.
    ///
    /// ```no_run
    /// # use redigo::Dialer;
    /// let dialer = Dialer::url("rediss://redis.internal")?.tls_ca_file("/etc/redis/ca.pem");
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to the system's authorities.
    pub fn tls_ca_file(self, path: impl Into<PathBuf>) -> Dialer {
        let path = path.into();
        self.with_tls(|tls| tls.ca_file = Some(path))
    }

    /// Sets the certificate and the private key for a server that requires them (mutual TLS).
    ///
    /// Both are PEM files. The first file can contain further certificates of the chain, after
    /// the client's own. The key must be in PKCS#8 form (`BEGIN PRIVATE KEY`).
    ///
    /// ```no_run
    /// # use redigo::Dialer;
    /// let dialer = Dialer::url("rediss://redis.internal")?
    ///     .tls_ca_file("/etc/redis/ca.pem")
    ///     .tls_client_identity("/etc/redis/client.pem", "/etc/redis/client.key");
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to no certificate.
    pub fn tls_client_identity(
        self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Dialer {
        let files = (certificate.into(), key.into());
        self.with_tls(|tls| tls.pem = Some(files))
    }

    /// Like [`tls_client_identity`](Dialer::tls_client_identity), but from a PKCS#12 archive
    /// (`.p12`, `.pfx`) and its passphrase.
    ///
    /// ```no_run
    /// # use redigo::Dialer;
    /// let dialer = Dialer::url("rediss://redis.internal")?
    ///     .tls_client_identity_pkcs12("/etc/redis/client.p12", "passphrase");
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to no certificate.
    pub fn tls_client_identity_pkcs12(
        self,
        archive: impl Into<PathBuf>,
        passphrase: impl Into<String>,
    ) -> Dialer {
        let archive = (archive.into(), passphrase.into());
        self.with_tls(|tls| tls.pkcs12 = Some(archive))
    }

    /// Sets the name that the server's certificate must have. It is also sent to the server (SNI).
    ///
    /// Use it if the name is not the dialed host: for an IP address, a tunnel or a Unix socket.
    ///
    /// ```
    /// use redigo::Dialer;
    ///
    /// let dialer = Dialer::url("rediss://10.0.0.7:6380")?.tls_server_name("redis.internal");
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to the dialed host.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Dialer {
        self.tls_options.server_name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Sets the oldest accepted version of TLS.
    ///
    /// ```
    /// use redigo::{Dialer, native_tls::Protocol};
    ///
    /// let dialer = Dialer::url("rediss://redis.internal")?.tls_min_version(Protocol::Tlsv13);
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to TLS 1.2.
    pub fn tls_min_version(self, version: Protocol) -> Dialer {
        self.with_tls(|tls| tls.min_version = Some(version))
    }

    /// Sets how long the TLS handshake can take, within
    /// [`connect_timeout`](Dialer::connect_timeout). `None` or zero removes the limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::Dialer;
    ///
    /// let dialer = Dialer::url("rediss://redis.internal")?
    ///     .tls_handshake_timeout(Duration::from_secs(3));
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to 10 seconds.
    #[doc(alias = "DialTLSHandshakeTimeout")]
    pub fn tls_handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.tls_options.handshake_timeout = unless_zero(timeout);
        self
    }

    /// Changes an option of the connector, and drops the one built before. Clones keep theirs.
    fn with_tls(mut self, change: impl FnOnce(&mut TlsOptions)) -> Dialer {
        change(&mut self.tls_options);
        self.tls_options.built = Arc::default();
        self
    }
}
