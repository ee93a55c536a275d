//! The options of a private server.

use std::fmt;
use std::path::PathBuf;

/// The options of a [`TempServer`](super::TempServer); [`start`](TempServerBuilder::start) starts it.
///
/// ```no_run
/// let server = redigo::testing::TempServer::builder().password("secret").start()?;
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct TempServerBuilder {
    pub(super) arguments: Vec<String>,
    pub(super) unix_only: bool,
    pub(super) tls: Tls,
    pub(super) role: Role,
    pub(super) program: Option<PathBuf>,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Tls {
    #[default]
    Off,
    /// The certificates are created in the server's folder.
    Generated,
    Files {
        cert: PathBuf,
        key: PathBuf,
        ca: PathBuf,
    },
}

#[derive(Debug, Clone, Default)]
pub(super) enum Role {
    #[default]
    Primary,
    Replica,
    /// With the lines of its configuration file.
    Sentinel(Vec<String>),
    ClusterNode,
    /// A replica of a primary without a TCP port.
    Invalid(&'static str),
}

impl TempServerBuilder {
    /// Adds an option of `redis.conf`, with the dashes of the command line. The last of two
    /// equal options is used.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().arg("--databases", "2").start()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn arg(self, name: &str, value: &str) -> TempServerBuilder {
        self.args([name, value])
    }

    /// Adds arguments of the command line, for options with several values.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder()
    ///     .args(["--client-output-buffer-limit", "pubsub", "1mb", "1mb", "60"])
    ///     .start()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn args<I: IntoIterator<Item: Into<String>>>(mut self, arguments: I) -> TempServerBuilder {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets the password of the default user. [`TempServer::dialer`](super::TempServer::dialer) and
    /// [`TempServer::url`](super::TempServer::url) contain it.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().password("secret").start()?;
    /// server.conn()?.call("PING", ())?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to no password.
    pub fn password(self, password: &str) -> TempServerBuilder {
        self.arg("--requirepass", password)
    }

    /// Opens only the Unix socket, and no TCP port. [`start`](TempServerBuilder::start) fails on
    /// systems other than Unix.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().unix_only().start()?;
    /// assert!(server.url().starts_with("unix:///"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn unix_only(mut self) -> TempServerBuilder {
        self.unix_only = true;
        self
    }

    /// Uses TLS on the TCP port, with new certificates for `localhost` and 127.0.0.1.
    ///
    /// Needs the `openssl` command. The folder of the server then contains the authority `ca.pem`
    /// and a client certificate, `client.pem` with the key `client.key`. The server accepts
    /// clients with and without a certificate, unless `--tls-auth-clients` changes that.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().tls().start()?;
    /// # #[cfg(feature = "tls")]
    /// server.conn()?.call("PING", ())?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to no TLS.
    pub fn tls(mut self) -> TempServerBuilder {
        self.tls = Tls::Generated;
        self
    }

    /// Uses TLS on the TCP port, with these PEM files: the server's certificate, its key, and the
    /// authority that issued the certificates of server and clients.
    ///
    /// The server accepts clients with and without a certificate, unless `--tls-auth-clients`
    /// changes that.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder()
    ///     .tls_files("certs/redis.pem", "certs/redis.key", "certs/ca.pem")
    ///     .start()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn tls_files(
        mut self,
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        ca: impl Into<PathBuf>,
    ) -> TempServerBuilder {
        self.tls = Tls::Files { cert: cert.into(), key: key.into(), ca: ca.into() };
        self
    }

    /// Sets the program to run, by its path or by its name on the path.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().program("valkey-server").start()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to `$REDIS_SERVER_BIN`, otherwise to `redis-server` or `valkey-server`.
    pub fn program(mut self, path: impl Into<PathBuf>) -> TempServerBuilder {
        self.program = Some(path.into());
        self
    }

    pub(super) fn cluster_node(mut self) -> TempServerBuilder {
        self.role = Role::ClusterNode;
        self
    }

    pub(super) fn uses_tls(&self) -> bool {
        !matches!(self.tls, Tls::Off)
    }

    /// Returns the last value of an option.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let at = self.arguments.iter().rposition(|argument| argument == name)?;
        self.arguments.get(at + 1).map(String::as_str)
    }
}

impl fmt::Debug for TempServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the arguments, which can contain passwords.
        f.debug_struct("TempServerBuilder")
            .field("unix_only", &self.unix_only)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
