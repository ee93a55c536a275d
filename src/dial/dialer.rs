//! Where to connect and how.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::handshake;
#[cfg(feature = "tls")]
use super::tls::TlsOptions;
use super::url;
use crate::conn::Conn;
use crate::conn::wire::Wire;
use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::Stream;
use crate::net::tcp::{self, TcpOptions};
#[cfg(unix)]
use crate::net::unix;
use crate::resp::decode::{Limits, MAX_BULK};

/// The port of a Redis server unless something else is said.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// Where a server is.
///
/// ```
/// use redigo::{Address, Dialer};
///
/// let address = Address::Tcp { host: "localhost".into(), port: 6379 };
/// assert_eq!(address.to_string(), "localhost:6379");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A host, by name or in digits, and a port.
    Tcp {
        /// The name or the address in digits, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

type Connector = Arc<dyn Fn(&Context, &Address) -> Result<Box<dyn Stream>> + Send + Sync>;

/// Where to connect and how; makes a [`Conn`] as often as it is asked.
///
/// | Option | Default | |
/// |---|---|---|
/// | [`connect_timeout`](Dialer::connect_timeout) | 30 s | for everything until the connection is ready |
/// | [`read_timeout`](Dialer::read_timeout) | off | for the reply to one call |
/// | [`write_timeout`](Dialer::write_timeout) | off | for writing one call |
/// | [`keep_alive`](Dialer::keep_alive) | 5 min | idle time before the system probes the peer |
/// | [`tcp_user_timeout`](Dialer::tcp_user_timeout) | off | for sent bytes to be acknowledged (Linux) |
/// | [`database`](Dialer::database) | 0 | sent as `SELECT` unless 0 |
/// | [`username`](Dialer::username), [`password`](Dialer::password) | none | sent as `AUTH` |
/// | [`client_name`](Dialer::client_name) | none | sent as `CLIENT SETNAME` |
/// | [`max_bulk_len`](Dialer::max_bulk_len) | 512 MiB | the longest string accepted in a reply |
/// | [`connector`](Dialer::connector) | none | makes the stream instead |
#[cfg_attr(
    feature = "tls",
    doc = "\
| [`use_tls`](Dialer::use_tls) | off | TLS; also by a `rediss://` URL |
| [`tls_ca_file`](Dialer::tls_ca_file) | the system's | the authorities to trust |
| [`tls_client_identity`](Dialer::tls_client_identity) | none | the client's certificate (mutual TLS) |
| [`tls_server_name`](Dialer::tls_server_name) | the host | the name in the server's certificate |
| [`tls_min_version`](Dialer::tls_min_version) | 1.2 | the oldest version to accept |
| [`tls_handshake_timeout`](Dialer::tls_handshake_timeout) | 10 s | for the TLS handshake |
| [`tls_skip_verify`](Dialer::tls_skip_verify) | off | accepts any certificate |
| [`tls_connector`](Dialer::tls_connector) | none | a `native_tls::TlsConnector` instead |"
)]
///
/// A timeout of zero is the same as none, as in redigo.
///
/// TCP connections have `TCP_NODELAY` set. A host may have several addresses: they are tried in
/// the resolver's order, under one deadline. While there is a deadline a host *name* is resolved
/// on a thread of its own that ends with the answer, because the system's resolver knows none.
///
/// ```no_run
/// use std::time::Duration;
/// use redigo::Dialer;
///
/// let dialer = Dialer::tcp("redis.internal:6379")
///     .password("secret")
///     .database(2)
///     .read_timeout(Duration::from_secs(1));
/// let mut conn = dialer.dial()?;
/// conn.call("PING", ())?;
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "DialOption")]
#[must_use]
pub struct Dialer {
    /// What the address came to, or why it is none: told when it is needed.
    address: Result<Address>,
    /// Asked for by the URL's scheme.
    pub(crate) tls: bool,
    #[cfg(feature = "tls")]
    pub(super) tls_options: TlsOptions,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    tcp: TcpOptions,
    database: i64,
    username: Option<String>,
    password: Option<String>,
    client_name: Option<String>,
    limits: Limits,
    connector: Option<Connector>,
}

impl Dialer {
    /// A server at `host:port`. Without a host (`:6379`) it is `localhost`, without a port 6379;
    /// an IPv6 address with a port stands in brackets. A bad address is an error of
    /// [`dial`](Dialer::dial).
    #[doc(alias = "Dial")]
    pub fn tcp(address: impl AsRef<str>) -> Dialer {
        Dialer::to(url::parse_address(address.as_ref()))
    }

    /// A server at a Unix socket.
    #[doc(alias = "Dial")]
    pub fn unix(path: impl Into<PathBuf>) -> Dialer {
        Dialer::to(Ok(Address::Unix(path.into())))
    }

    /// A server given by a URL.
    ///
    /// - `redis://[[user]:password@][host][:port][/database]`, also `valkey://`
    /// - `rediss://` or `valkeys://`, the same over TLS (feature `tls`)
    /// - `unix://[[user]:password@]/path/to/socket`, also `redis+unix://`
    ///
    /// Each takes `?db=N` too. A lone word before the `@` is the password, as for redis-cli.
    /// Special characters in user name, password and path are percent-encoded.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], which says what is wrong but never shows the credentials.
    ///
    /// ```
    /// use redigo::Dialer;
    ///
    /// Dialer::url("redis://:secret@localhost:6380/2")?;
    /// Dialer::url("unix:///run/redis.sock?db=1")?;
    /// assert!(Dialer::url("http://localhost").is_err());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DialURL")]
    pub fn url(url: impl AsRef<str>) -> Result<Dialer> {
        url::parse(url.as_ref())
    }

    pub(crate) fn to(address: Result<Address>) -> Dialer {
        Dialer {
            address,
            tls: false,
            #[cfg(feature = "tls")]
            tls_options: TlsOptions::default(),
            connect_timeout: Some(Duration::from_secs(30)),
            read_timeout: None,
            write_timeout: None,
            tcp: TcpOptions { keep_alive: Some(Duration::from_secs(300)), user_timeout: None },
            database: 0,
            username: None,
            password: None,
            client_name: None,
            limits: Limits::default(),
            connector: None,
        }
    }

    /// How long it may take until a connection is ready: resolving the name, connecting to one
    /// of its addresses, the TLS handshake, and the replies to `AUTH`, `CLIENT SETNAME` and `SELECT`, together.
    #[doc(alias = "DialConnectTimeout")]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.connect_timeout = unless_zero(timeout);
        self
    }

    /// How long a call waits for its reply, or for all its replies. Also bounds the writing of
    /// a call when there is no [`write_timeout`](Dialer::write_timeout).
    #[doc(alias = "DialReadTimeout")]
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.read_timeout = unless_zero(timeout);
        self
    }

    /// How long a call, a send or a flush may take to write.
    #[doc(alias = "DialWriteTimeout")]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.write_timeout = unless_zero(timeout);
        self
    }

    /// How long a TCP connection may be idle before the system probes whether the peer is still
    /// there, and how long it waits between probes. `None` or zero switches the probes off.
    #[doc(alias = "DialKeepAlive")]
    pub fn keep_alive(mut self, idle: impl Into<Option<Duration>>) -> Dialer {
        self.tcp.keep_alive = unless_zero(idle);
        self
    }

    /// How long sent bytes may stay without an acknowledgement before the system gives the
    /// connection up. Linux only; elsewhere it has no effect.
    pub fn tcp_user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.tcp.user_timeout = unless_zero(timeout);
        self
    }

    /// The database to select.
    #[doc(alias = "DialDatabase")]
    pub fn database(mut self, database: i64) -> Dialer {
        self.database = database;
        self
    }

    /// The user to authenticate as; needs a password.
    #[doc(alias = "DialUsername")]
    pub fn username(mut self, username: impl Into<String>) -> Dialer {
        self.username = Some(username.into()).filter(|name| !name.is_empty());
        self
    }

    /// The password to authenticate with; an empty one is none.
    #[doc(alias = "DialPassword")]
    pub fn password(mut self, password: impl Into<String>) -> Dialer {
        self.password = Some(password.into()).filter(|password| !password.is_empty());
        self
    }

    /// The name that the connection has in the server's `CLIENT LIST`.
    #[doc(alias = "DialClientName")]
    pub fn client_name(mut self, name: impl Into<String>) -> Dialer {
        self.client_name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// The longest string accepted in a reply, in bytes. A longer one is a protocol error.
    pub fn max_bulk_len(mut self, bytes: usize) -> Dialer {
        self.limits.bulk = bytes.min(MAX_BULK);
        self
    }

    /// Makes the stream with a function of the caller's instead, through a proxy or a tunnel,
    /// say. It answers for its own time limits: the context that it gets ends with
    /// [`connect_timeout`](Dialer::connect_timeout), or sooner. With TLS on, the TLS session runs
    /// over the stream that it makes.
    ///
    /// ```no_run
    /// use std::net::TcpStream;
    /// use redigo::{Dialer, Stream};
    ///
    /// let dialer = Dialer::tcp("redis.internal:6379").connector(|_ctx, address| {
    ///     let tunnel = TcpStream::connect("127.0.0.1:7000")?;
    ///     // … ask the tunnel for `address` …
    ///     # let _ = address;
    ///     Ok(Box::new(tunnel) as Box<dyn Stream>)
    /// });
    /// # drop(dialer);
    /// ```
    #[doc(alias = "DialNetDial")]
    #[doc(alias = "DialContextFunc")]
    pub fn connector(
        mut self,
        connect: impl Fn(&Context, &Address) -> Result<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Dialer {
        self.connector = Some(Arc::new(connect));
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// - [`Error::InvalidConfig`]: a bad address, options that contradict each other.
    /// - [`Error::Io`]: the name has no address, the connection was refused, or lost in the
    ///   middle of the set-up.
    /// - [`Error::Tls`]: the handshake failed; its kind says why.
    /// - [`Error::Timeout`]: of kind `Connect`, `TlsHandshake`, or `Handshake` with the command
    ///   that was not answered.
    /// - [`Error::Server`]: the server refused a command of the set-up;
    ///   [`ServerError::step`](crate::ServerError::step) tells which.
    #[doc(alias = "Dial")]
    pub fn dial(&self) -> Result<Conn> {
        self.dial_context(&Context::background())
    }

    /// Connects, no longer than the context lasts.
    ///
    /// # Errors
    /// Those of [`dial`](Dialer::dial), and the end of the context.
    #[doc(alias = "DialContext")]
    pub fn dial_context(&self, ctx: &Context) -> Result<Conn> {
        let address = self.validate()?;
        if let Some(error) = ctx.err() {
            return Err(error);
        }
        let budget = match self.connect_timeout {
            Some(timeout) => ctx.with_timeout(timeout),
            None => ctx.clone(),
        };
        // Whose limit it is that ends first, so that it goes by the right name.
        let callers = ctx.deadline().is_some() && ctx.deadline() == budget.deadline();
        let dialed = self.connect(address, &budget, callers).and_then(|stream| {
            let mut conn = self.conn_over(stream);
            handshake::run(&mut conn, &self.handshake(), &budget, callers)?;
            Ok(conn)
        });
        dialed.map_err(|error| match error {
            Error::Timeout(TimeoutKind::Connect | TimeoutKind::Context) => {
                let kind = if callers { TimeoutKind::Context } else { TimeoutKind::Connect };
                Error::Timeout(kind)
            }
            error => error,
        })
    }

    /// A connection over a stream that is there already, without any set-up: no TLS, and neither
    /// authentication nor database are sent.
    #[doc(alias = "NewConn")]
    pub fn wrap(&self, stream: impl Stream + 'static) -> Conn {
        self.conn_over(Arc::new(stream))
    }

    fn conn_over(&self, stream: Arc<dyn Stream>) -> Conn {
        let mut conn = Conn::new(Wire::new(stream, self.limits));
        conn.set_timeouts(self.read_timeout, self.write_timeout);
        conn
    }

    fn validate(&self) -> Result<&Address> {
        if self.username.is_some() && self.password.is_none() {
            return Err(Error::InvalidConfig("username without a password".into()));
        }
        let address = self.address.as_ref().map_err(Clone::clone)?;
        #[cfg(feature = "tls")]
        self.tls_options.validate(self.tls, address)?;
        #[cfg(not(feature = "tls"))]
        if self.tls {
            return Err(Error::Unsupported("TLS, without the crate's feature `tls`".into()));
        }
        Ok(address)
    }

    /// A stream to the server, ready for commands.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables))]
    fn connect(
        &self,
        address: &Address,
        budget: &Context,
        callers: bool,
    ) -> Result<Arc<dyn Stream>> {
        #[cfg(feature = "tls")]
        if self.tls {
            // First what may fail without the server.
            let connector = self.tls_options.connector()?;
            let stream = Arc::from(self.connect_plain(address, budget)?);
            return self.tls_options.secure(&connector, stream, address, budget, callers);
        }
        self.connect_plain(address, budget).map(Arc::from)
    }

    fn connect_plain(&self, address: &Address, budget: &Context) -> Result<Box<dyn Stream>> {
        if let Some(connect) = &self.connector {
            return connect(budget, address);
        }
        match address {
            Address::Tcp { host, port } => {
                Ok(Box::new(tcp::connect(host, *port, &self.tcp, budget)?))
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(Box::new(unix::connect(path, budget)?)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(Error::Unsupported("Unix sockets on this system".into())),
        }
    }

    fn handshake(&self) -> handshake::Handshake<'_> {
        handshake::Handshake {
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            client_name: self.client_name.as_deref(),
            database: self.database,
        }
    }
}

pub(super) fn unless_zero(timeout: impl Into<Option<Duration>>) -> Option<Duration> {
    timeout.into().filter(|timeout| !timeout.is_zero())
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        let mut shown = f.debug_struct("Dialer");
        shown.field("address", &self.address).field("tls", &self.tls);
        #[cfg(feature = "tls")]
        shown.field("tls_options", &self.tls_options);
        shown
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("keep_alive", &self.tcp.keep_alive)
            .field("tcp_user_timeout", &self.tcp.user_timeout)
            .field("database", &self.database)
            .field("username", &hidden(&self.username))
            .field("password", &hidden(&self.password))
            .field("client_name", &self.client_name)
            .field("max_bulk_len", &self.limits.bulk)
            .field("connector", &self.connector.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_credentials() {
        let dialer = Dialer::tcp(":6379").username("ursula").password("hunter2");
        let text = format!("{dialer:?}");
        assert!(!text.contains("hunter2") && !text.contains("ursula"), "{text}");
        assert!(text.contains("localhost"), "{text}");
    }

    #[test]
    fn a_bad_address_is_told_when_dialling() {
        let error = Dialer::tcp("localhost:port").dial().unwrap_err();
        assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
        let error = Dialer::tcp(":6379").username("x").dial().unwrap_err();
        assert!(error.to_string().contains("username"), "{error}");
    }

    #[test]
    fn a_context_that_has_ended_dials_nothing() {
        let dialer = Dialer::tcp(":1").connector(|_, _| panic!("dialled"));
        let (ctx, cancel) = Context::background().with_cancel();
        cancel.cancel();
        assert!(dialer.dial_context(&ctx).unwrap_err().is_canceled());
        let ctx = Context::background().with_timeout(Duration::ZERO);
        let kind = dialer.dial_context(&ctx).unwrap_err().timeout_kind();
        assert_eq!(kind, Some(TimeoutKind::Context));
    }
}
