//! The TLS options of a dialer, and the connector made from them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use native_tls::{Certificate, Identity, Protocol, TlsConnector};

use super::address::Address;
use super::budget::Budget;
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::Stream;
use crate::net::tls::handshake;
use crate::sync::Mutex;

/// The TLS options of a [`Dialer`](crate::Dialer).
#[derive(Clone)]
pub(super) struct TlsOptions {
    pub(super) connector: Option<TlsConnector>,
    pub(super) skip_verify: bool,
    pub(super) ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub(super) pem: Option<(PathBuf, PathBuf)>,
    /// Archive and passphrase.
    pub(super) pkcs12: Option<(PathBuf, String)>,
    pub(super) server_name: Option<String>,
    pub(super) min_version: Option<Protocol>,
    pub(super) handshake_timeout: Option<Duration>,
    /// Shared by a dialer and its clones.
    pub(super) built: Arc<Mutex<Option<Built>>>,
}

/// The connector made from the options.
pub(super) struct Built {
    connector: TlsConnector,
    /// The times when the files were last changed.
    changed: Vec<Option<SystemTime>>,
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
    /// Refuses options that contradict each other.
    pub(super) fn validate(&self, on: bool, address: &Address) -> Result<()> {
        let (skip_verify, ca_file) = ("tls_skip_verify", "tls_ca_file");
        let (pem, pkcs12) = ("tls_client_identity", "tls_client_identity_pkcs12");
        let connector_options = [
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
        let set = first_set(&connector_options);
        let why = if let (false, Some(name)) = (on, set.or_else(|| first_set(&others))) {
            format!("{name} without TLS: add use_tls(true), or use a rediss:// URL")
        } else if let (Some(name), true) = (set, self.connector.is_some()) {
            format!("{name} with tls_connector: the connector already decides it")
        } else if self.skip_verify && self.ca_file.is_some() {
            format!("{ca_file} with {skip_verify}, which verifies nothing")
        } else if self.pem.is_some() && self.pkcs12.is_some() {
            format!("{pem} and {pkcs12}: set only one of them")
        } else if on && self.name_of(address).is_none() {
            "TLS over a Unix socket needs a tls_server_name".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::InvalidConfig(why.into()))
    }

    /// The name that the server's certificate must have.
    fn name_of<'a>(&'a self, address: &'a Address) -> Option<&'a str> {
        match &self.server_name {
            Some(name) => Some(name.strip_suffix('.').unwrap_or(name)),
            None => address.tls_name(),
        }
    }

    /// Makes a TLS session over a stream.
    pub(super) fn secure(
        &self,
        connector: &TlsConnector,
        stream: Arc<dyn Stream>,
        address: &Address,
        budget: &Budget,
    ) -> Result<Arc<dyn Stream>> {
        let budget = budget.with_timeout(self.handshake_timeout);
        let name = self.name_of(address).unwrap_or_default();
        match handshake::connect(connector, name, &address.to_string(), stream, budget.ctx()) {
            Ok(stream) => Ok(Arc::new(stream)),
            Err(Error::Timeout(error)) => Err(budget.expired(TimeoutKind::TlsHandshake, error)),
            Err(error) => Err(error),
        }
    }

    /// Returns the connector, built at the first use and again after a file has changed: the
    /// trusted certificates alone are hundreds of files.
    pub(super) fn connector(&self) -> Result<TlsConnector> {
        if let Some(connector) = &self.connector {
            return Ok(connector.clone());
        }
        let mut slot = self.built.lock();
        let changed: Vec<_> =
            self.files().map(|path| fs::metadata(path)?.modified()).map(Result::ok).collect();
        if let Some(built) = slot.as_ref().filter(|built| built.changed == changed) {
            return Ok(built.connector.clone());
        }
        let (outcome, previous) = (self.build(), slot.take());
        let is_first = previous.is_none();
        let (built, error) = match (outcome, previous) {
            (Ok(connector), _) => (Built { connector, changed }, None),
            // A renewal may have written only some of the files yet.
            (Err(error), Some(previous)) => (previous, Some(error)),
            (Err(error), None) => return Err(error),
        };
        let connector = built.connector.clone();
        *slot = Some(built);
        drop(slot);
        if let Some(error) = error {
            log::warn!(target: "redigo::conn", "TLS still uses the previous files: {error}");
        }
        if is_first && self.skip_verify {
            log::warn!(
                target: "redigo::conn",
                "tls_skip_verify is on: TLS certificates are not verified, so an attacker can \
                 impersonate the server"
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
        builder.build().map_err(|why| match &self.pem {
            Some((certificate, key)) if why.to_string().contains("mismatch") => {
                let why = "the key does not belong to the certificate";
                pem_refusal(certificate, key, why)
            }
            _ => Error::InvalidConfig(format!("TLS: {why}").into()),
        })
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
        Ok(found) if found.is_empty() => Err("the file has no certificate".to_owned()),
        found => found.map_err(|why| why.to_string()),
    }
}

fn pem_identity(certificate: &Path, key: &Path) -> Result<Identity> {
    const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
    let option = "tls_client_identity";
    let chain = fs::read(certificate).map_err(|why| refusal(option, certificate, why))?;
    let text = fs::read_to_string(key).map_err(|why| refusal(option, key, why))?;
    // native-tls needs the key first, but a PEM file can have other entries before it.
    let Some(begin) = text.find(BEGIN) else {
        let why =
            "no PKCS#8 key without a passphrase; convert it with `openssl pkcs8 -topk8 -nocrypt`";
        return Err(refusal(option, key, why));
    };
    let identity = Identity::from_pkcs8(&chain, &text.as_bytes()[begin..]);
    identity.map_err(|why| pem_refusal(certificate, key, why))
}

fn pem_refusal(certificate: &Path, key: &Path, why: impl fmt::Display) -> Error {
    let files = format!("{} and {}", certificate.display(), key.display());
    Error::InvalidConfig(format!("tls_client_identity {files}: {why}").into())
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
