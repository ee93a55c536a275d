//! TLS as an option of dialling.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use native_tls::{Certificate, Identity, Protocol, TlsConnector};

use super::dialer::{Address, Dialer, unless_zero};
use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::Stream;
use crate::net::tls::handshake;
use crate::sync::Mutex;

/// What a [`Dialer`] knows of TLS.
#[derive(Clone)]
pub(crate) struct TlsOptions {
    connector: Option<TlsConnector>,
    skip_verify: bool,
    ca_file: Option<PathBuf>,
    /// Certificate and key.
    pem: Option<(PathBuf, PathBuf)>,
    /// Archive and passphrase.
    pkcs12: Option<(PathBuf, String)>,
    server_name: Option<String>,
    min_version: Option<Protocol>,
    handshake_timeout: Option<Duration>,
    /// What all that came to, for a dialler and its clones.
    built: Arc<Mutex<Option<Built>>>,
}

struct Built {
    connector: TlsConnector,
    /// When the files it was made of were last changed.
    changed: Vec<Option<SystemTime>>,
}

/// TLS, with feature `tls`; [docs/tls.md] shows the way from no certificate at all to a pool with
/// mutual TLS.
///
/// The files are read when they are first needed, and again when they have changed. So a renewed
/// certificate serves for every connection that is dialled after. While the new files do not fit
/// together, those of before go on serving, and the log says so.
///
/// [docs/tls.md]: https://docs.rs/crate/redigo/latest/source/docs/tls.md
impl Dialer {
    /// Whether to use TLS. A `rediss://` or `valkeys://` URL has it on.
    ///
    /// The server's certificate must be valid for the host that is dialled, and come from an
    /// authority that the system trusts, unless other options say otherwise. TLS 1.2 is the
    /// oldest version accepted.
    ///
    /// ```no_run
    /// use redigo::Dialer;
    ///
    /// let conn = Dialer::tcp("redis.example.com:6380").use_tls(true).dial()?;
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DialUseTLS")]
    pub fn use_tls(mut self, on: bool) -> Dialer {
        self.tls = on;
        self
    }

    /// Does TLS with a connector that is configured already, for what the options here cannot
    /// say. What it decides, they cannot: they are an error beside it.
    ///
    /// ```
    /// use redigo::{Dialer, native_tls::TlsConnector};
    ///
    /// let connector = TlsConnector::builder().use_sni(false).build()?;
    /// let dialer = Dialer::url("rediss://redis.example.com")?.tls_connector(connector);
    /// # drop(dialer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "DialTLSConfig")]
    pub fn tls_connector(mut self, connector: TlsConnector) -> Dialer {
        self.tls_options.connector = Some(connector);
        self
    }

    /// Accepts whatever certificate the server shows. **Whoever is between you and the server can
    /// then pretend to be the server**, and read the password. It is warned of in the log, once.
    #[doc(alias = "DialTLSSkipVerify")]
    pub fn tls_skip_verify(self, skip: bool) -> Dialer {
        self.with_tls(|tls| tls.skip_verify = skip)
    }

    /// A file of certificates, in PEM, of the authorities that the server's certificate may come
    /// from; the system's are then not trusted.
    ///
    /// ```no_run
    /// # use redigo::Dialer;
    /// let dialer = Dialer::url("rediss://redis.internal")?.tls_ca_file("/etc/redis/ca.pem");
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn tls_ca_file(self, path: impl Into<PathBuf>) -> Dialer {
        let path = path.into();
        self.with_tls(|tls| tls.ca_file = Some(path))
    }

    /// The certificate to show to a server that wants one (mutual TLS), and its private key: two
    /// files in PEM. Further certificates of the chain follow the first; the key is in PKCS#8 form
    /// (`BEGIN PRIVATE KEY`).
    ///
    /// ```no_run
    /// # use redigo::Dialer;
    /// let dialer = Dialer::url("rediss://redis.internal")?
    ///     .tls_ca_file("/etc/redis/ca.pem")
    ///     .tls_client_identity("/etc/redis/client.pem", "/etc/redis/client.key");
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn tls_client_identity(
        self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Dialer {
        let files = (certificate.into(), key.into());
        self.with_tls(|tls| tls.pem = Some(files))
    }

    /// The same from a PKCS#12 archive (`.p12`, `.pfx`) and its passphrase.
    pub fn tls_client_identity_pkcs12(
        self,
        archive: impl Into<PathBuf>,
        passphrase: impl Into<String>,
    ) -> Dialer {
        let archive = (archive.into(), passphrase.into());
        self.with_tls(|tls| tls.pkcs12 = Some(archive))
    }

    /// The name that the server's certificate must have, and that the server is told (SNI), where
    /// it is not the host that is dialled: for an address in digits, a tunnel or a Unix socket.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Dialer {
        self.tls_options.server_name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// The oldest version of TLS to accept. The default is TLS 1.2.
    ///
    /// ```
    /// use redigo::{Dialer, native_tls::Protocol};
    ///
    /// let dialer = Dialer::url("rediss://redis.internal")?.tls_min_version(Protocol::Tlsv13);
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn tls_min_version(self, version: Protocol) -> Dialer {
        self.with_tls(|tls| tls.min_version = Some(version))
    }

    /// How long the TLS handshake may take; 10 s unless set. It is also a part of what
    /// [`connect_timeout`](Dialer::connect_timeout) bounds.
    #[doc(alias = "DialTLSHandshakeTimeout")]
    pub fn tls_handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.tls_options.handshake_timeout = unless_zero(timeout);
        self
    }

    /// Changes an option that the connector is made of. Clones keep theirs.
    fn with_tls(mut self, change: impl FnOnce(&mut TlsOptions)) -> Dialer {
        change(&mut self.tls_options);
        self.tls_options.built = Arc::default();
        self
    }
}

impl Default for TlsOptions {
    fn default() -> TlsOptions {
        TlsOptions {
            connector: None,
            skip_verify: false,
            ca_file: None,
            pem: None,
            pkcs12: None,
            server_name: None,
            min_version: None,
            handshake_timeout: Some(Duration::from_secs(10)),
            built: Arc::default(),
        }
    }
}

impl TlsOptions {
    /// Refuses what contradicts itself, before anything is dialled.
    pub(crate) fn validate(&self, on: bool, address: &Address) -> Result<()> {
        let (skip_verify, ca_file) = ("tls_skip_verify", "tls_ca_file");
        let (pem, pkcs12) = ("tls_client_identity", "tls_client_identity_pkcs12");
        let of_the_connector = [
            (skip_verify, self.skip_verify),
            (ca_file, self.ca_file.is_some()),
            (pem, self.pem.is_some()),
            (pkcs12, self.pkcs12.is_some()),
            ("tls_min_version", self.min_version.is_some()),
        ];
        let others = [
            ("tls_connector", self.connector.is_some()),
            ("tls_server_name", self.server_name.is_some()),
        ];
        let own = first_set(&of_the_connector);
        let why = if let (false, Some(name)) = (on, own.or_else(|| first_set(&others))) {
            format!("{name} without TLS: it takes use_tls(true), or a rediss:// URL")
        } else if let (Some(name), true) = (own, self.connector.is_some()) {
            format!("{name} beside tls_connector, which decides that by itself")
        } else if self.skip_verify && self.ca_file.is_some() {
            format!("{ca_file} beside {skip_verify}, which checks nothing")
        } else if self.pem.is_some() && self.pkcs12.is_some() {
            format!("{pem} and {pkcs12}: there is but one identity")
        } else if on && self.name_of(address).is_none() {
            "TLS over a Unix socket needs a tls_server_name".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::InvalidConfig(why.into()))
    }

    /// The name that the server has to prove.
    fn name_of<'a>(&'a self, address: &'a Address) -> Option<&'a str> {
        match (&self.server_name, address) {
            (Some(name), _) => Some(name),
            (None, Address::Tcp { host, .. }) => Some(host),
            (None, Address::Unix(_)) => None,
        }
    }

    /// Puts TLS over a stream. A deadline that passes is the handshake's, unless it is the
    /// `caller's` own.
    pub(crate) fn secure(
        &self,
        connector: &TlsConnector,
        stream: Arc<dyn Stream>,
        address: &Address,
        budget: &Context,
        callers: bool,
    ) -> Result<Arc<dyn Stream>> {
        let ctx = match self.handshake_timeout {
            Some(timeout) => budget.with_timeout(timeout),
            None => budget.clone(),
        };
        let callers = callers && ctx.deadline() == budget.deadline();
        let name = self.name_of(address).unwrap_or_default();
        match handshake::connect(connector, name, stream, &ctx) {
            Ok(stream) => Ok(Arc::new(stream)),
            Err(Error::Timeout(_)) if callers => Err(Error::Timeout(TimeoutKind::Context)),
            Err(error) => Err(error),
        }
    }

    /// Made when it is first needed, because the trusted certificates alone are hundreds to read,
    /// and again when a file has changed since.
    pub(crate) fn connector(&self) -> Result<TlsConnector> {
        if let Some(connector) = &self.connector {
            return Ok(connector.clone());
        }
        let mut slot = self.built.lock();
        let changed: Vec<_> =
            self.files().map(|path| fs::metadata(path)?.modified()).map(Result::ok).collect();
        if let Some(built) = slot.as_ref().filter(|built| built.changed == changed) {
            return Ok(built.connector.clone());
        }
        let (outcome, before) = (self.build(), slot.take());
        let is_first = before.is_none();
        let (built, error) = match (outcome, before) {
            (Ok(connector), _) => (Built { connector, changed }, None),
            // Half of what belongs together may be there already, and the rest come soon.
            (Err(error), Some(before)) => (before, Some(error)),
            (Err(error), None) => return Err(error),
        };
        let connector = built.connector.clone();
        *slot = Some(built);
        drop(slot);
        if let Some(error) = error {
            log::warn!(target: "redigo::conn", "TLS goes on with the files of before: {error}");
        }
        if is_first && self.skip_verify {
            log::warn!(
                target: "redigo::conn",
                "tls_skip_verify is on: no TLS certificate is verified, anybody can pretend to be \
                 the server"
            );
        }
        Ok(connector)
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let (pem, pkcs12) = (self.pem.as_ref(), self.pkcs12.as_ref());
        let pem = pem.into_iter().flat_map(|(certificate, key)| [certificate, key]);
        let files = self.ca_file.iter().chain(pem).chain(pkcs12.map(|(archive, _)| archive));
        files.map(PathBuf::as_path)
    }

    fn build(&self) -> Result<TlsConnector> {
        let mut builder = TlsConnector::builder();
        if let Some(version) = self.min_version {
            builder.min_protocol_version(Some(version));
        }
        if self.skip_verify {
            builder.danger_accept_invalid_certs(true).danger_accept_invalid_hostnames(true);
        }
        if let Some(path) = &self.ca_file {
            builder.disable_built_in_roots(true);
            for authority in authorities(path).map_err(|why| refusal("tls_ca_file", path, why))? {
                builder.add_root_certificate(authority);
            }
        }
        if let Some((certificate, key)) = &self.pem {
            builder.identity(pem_identity(certificate, key)?);
        }
        if let Some((archive, passphrase)) = &self.pkcs12 {
            let refused = |why| refusal("tls_client_identity_pkcs12", archive, why);
            let bytes = fs::read(archive).map_err(|why| refused(why.to_string()))?;
            let identity = Identity::from_pkcs12(&bytes, passphrase);
            builder.identity(identity.map_err(|why| refused(why.to_string()))?);
        }
        let built = builder.build();
        built.map_err(|why| Error::InvalidConfig(format!("TLS: {why}").into()))
    }
}

/// The name of the first option that is set.
fn first_set(options: &[(&'static str, bool)]) -> Option<&'static str> {
    options.iter().find(|(_, is_set)| *is_set).map(|(name, _)| *name)
}

fn refusal(option: &str, path: &Path, why: impl fmt::Display) -> Error {
    Error::InvalidConfig(format!("{option} {}: {why}", path.display()).into())
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = fs::read(path).map_err(|why| why.to_string())?;
    match Certificate::stack_from_pem(&pem) {
        Ok(found) if found.is_empty() => Err("no certificate in it".to_owned()),
        found => found.map_err(|why| why.to_string()),
    }
}

fn pem_identity(certificate: &Path, key: &Path) -> Result<Identity> {
    const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
    let option = "tls_client_identity";
    let chain = fs::read(certificate).map_err(|why| refusal(option, certificate, why))?;
    let text = fs::read_to_string(key).map_err(|why| refusal(option, key, why))?;
    // Other things may stand before the key, and native-tls wants it to be the first.
    let Some(begin) = text.find(BEGIN) else {
        let why = "no key in PKCS#8 form and without a passphrase; `openssl pkcs8 -topk8 -nocrypt` makes one";
        return Err(refusal(option, key, why));
    };
    let identity = Identity::from_pkcs8(&chain, &text.as_bytes()[begin..]);
    identity.map_err(|why| {
        let files = format!("{} and {}", certificate.display(), key.display());
        Error::InvalidConfig(format!("{option} {files}: {why}").into())
    })
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("connector", &self.connector.is_some())
            .field("skip_verify", &self.skip_verify)
            .field("ca_file", &self.ca_file)
            .field("pem", &self.pem)
            .field("pkcs12", &self.pkcs12.as_ref().map(|(archive, _)| archive))
            .field("server_name", &self.server_name)
            .field("min_version", &self.min_version)
            .field("handshake_timeout", &self.handshake_timeout)
            .finish()
    }
}
