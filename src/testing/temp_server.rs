//! A private `redis-server` for a test.

pub(super) mod builder;
mod certs;
pub(super) mod cluster;
mod launch;
pub(super) mod port;
mod program;
mod roles;
pub(super) mod temp_dir;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Child;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::conn::Conn;
use crate::dial::dialer::Dialer;
use crate::error::Result;
use builder::{TempServerBuilder, Tls};
use program::Program;
use temp_dir::TempDir;

/// A private `redis-server` that runs as long as this value.
///
/// Each server has its own temporary folder, a free TCP port on 127.0.0.1 and, on Unix, a Unix
/// socket in its folder. It saves nothing to disk and uses no configuration file of the system.
/// Dropping the value kills the process and removes the folder. On Unix this also happens when the
/// test's process is killed, or when the value is in a `static`. Servers do not disturb each other,
/// so tests can run in parallel.
///
/// The program is `$REDIS_SERVER_BIN` if set, otherwise the first of `redis-server` and
/// `valkey-server` on the path. It must be version 6.2 or newer.
///
/// ```no_run
/// use redigo::testing::TempServer;
///
/// let server = TempServer::start()?;
/// let mut conn = server.conn()?;
/// conn.call("SET", ("greeting", "hello"))?;
/// assert_eq!(conn.query::<String>("GET", "greeting")?, "hello");
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// | To test | use |
/// |---|---|
/// | a password, or any option of `redis.conf` | [`password`](TempServerBuilder::password), [`arg`](TempServerBuilder::arg) |
/// | TLS | [`tls`](TempServerBuilder::tls), [`tls_files`](TempServerBuilder::tls_files) |
/// | a server that crashes, restarts or hangs | [`kill`](TempServer::kill), [`restart`](TempServer::restart), [`freeze`](TempServer::freeze) |
/// | a replica | [`replica_of`](TempServerBuilder::replica_of) |
/// | a sentinel | [`sentinel_of`](TempServerBuilder::sentinel_of) |
/// | a cluster | [`TempCluster`](super::TempCluster) |
pub struct TempServer {
    /// None after `kill` or `stop`.
    process: Option<Child>,
    dir: TempDir,
    program: Program,
    /// 0 if the server listens on its Unix socket only.
    port: u16,
    options: TempServerBuilder,
}

impl TempServer {
    /// Starts a server without a password. Returns when it answers.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::start()?;
    /// let pool = redigo::Pool::builder(server.dialer()).max_active(4).build()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) of kind `NotFound` if there is no suitable `redis-server`.
    /// [`Error::Io`](crate::Error::Io) with the end of the server's log if it does not answer
    /// within 10 seconds.
    pub fn start() -> Result<TempServer> {
        TempServer::builder().start()
    }

    /// Returns the options of a new server.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder()
    ///     .password("secret")
    ///     .arg("--maxmemory", "10mb")
    ///     .start()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn builder() -> TempServerBuilder {
        TempServerBuilder::default()
    }

    /// Returns a dialer to the server: with its password, with TLS if it uses TLS, and without
    /// timeouts.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let server = redigo::testing::TempServer::start()?;
    /// let mut conn = server.dialer().database(3).read_timeout(Duration::from_secs(5)).dial()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn dialer(&self) -> Dialer {
        let mut dialer = match self.socket() {
            Some(path) if self.port == 0 => Dialer::unix(path),
            _ => Dialer::tcp(self.addr()),
        };
        if let Some(password) = self.options.find("--requirepass") {
            dialer = dialer.password(password);
        }
        #[cfg(feature = "tls")]
        if let Some(ca) = self.ca_file() {
            dialer = dialer.use_tls(true).tls_ca_file(ca);
        }
        dialer
    }

    /// Opens a connection to the server.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::start()?;
    /// server.conn()?.call("PING", ())?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Dialer::dial`].
    pub fn conn(&self) -> Result<Conn> {
        self.dialer().dial()
    }

    /// Returns a URL for [`Dialer::url`], with the password if the server has one.
    ///
    /// It begins with `redis://`, with `rediss://` if the server uses TLS, or with `unix://` if it
    /// has only a Unix socket.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().password("secret").start()?;
    /// assert!(server.url().starts_with("redis://:secret@127.0.0.1:"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn url(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let password = self.options.find("--requirepass");
        let user = password.map_or(String::new(), |password| format!(":{}@", encode(password)));
        match self.socket() {
            Some(path) if self.port == 0 => {
                let path = path.display().to_string();
                let path: Vec<String> = path.split('/').map(encode).collect();
                format!("unix://{user}{}", path.join("/"))
            }
            _ if self.options.uses_tls() => format!("rediss://{user}{}", self.addr()),
            _ => format!("redis://{user}{}", self.addr()),
        }
    }

    /// Returns the TCP address, as in `127.0.0.1:20123`. The port is 0 if there is none.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::start()?;
    /// let stream = std::net::TcpStream::connect(server.addr())?;
    /// # drop(stream);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn addr(&self) -> String {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).to_string()
    }

    /// Returns the TCP port, which stays the same after [`restart`](TempServer::restart). 0 if
    /// the server has only a Unix socket.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::start()?;
    /// assert_ne!(server.port(), 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the Unix socket, which does not use TLS. `None` on systems other than
    /// Unix.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().unix_only().start()?;
    /// let conn = redigo::Dialer::unix(server.socket().expect("a Unix system")).dial()?;
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn socket(&self) -> Option<&Path> {
        self.dir.socket()
    }

    /// Returns the folder with the server's log, socket and data.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::start()?;
    /// println!("{}", std::fs::read_to_string(server.dir().join("redis.log"))?);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the file of the certificate authority that clients must trust, if the server uses
    /// TLS. [`dialer`](TempServer::dialer) trusts it.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().tls().start()?;
    /// let dialer = redigo::Dialer::url(server.url())?;
    /// # #[cfg(feature = "tls")]
    /// let dialer = dialer.tls_ca_file(server.ca_file().expect("TLS"));
    /// # drop(dialer);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn ca_file(&self) -> Option<PathBuf> {
        match &self.options.tls {
            Tls::Off => None,
            Tls::Generated => Some(self.dir().join(certs::CA)),
            Tls::Files { ca, .. } => Some(ca.clone()),
        }
    }

    /// Returns the process id, or `None` while the server is stopped.
    ///
    /// ```no_run
    /// let mut server = redigo::testing::TempServer::start()?;
    /// assert!(server.pid().is_some());
    /// server.kill();
    /// assert!(server.pid().is_none());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Returns the major, minor and patch version of the server.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::start()?;
    /// if server.version() >= (7, 0, 0) {
    ///     server.conn()?.call("SPUBLISH", ("channel", "message"))?;
    /// }
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn version(&self) -> (u32, u32, u32) {
        self.program.version
    }
}

impl Drop for TempServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for TempServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TempServer")
            .field("addr", &self.addr())
            .field("dir", &self.dir())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
