//! The dialer: its options, and the steps of a dial.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::budget::Budget;
use super::handshake::{self, Handshake};
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

#[cfg(feature = "tls")]
mod tls;

type Connector = Arc<dyn Fn(&Context, &Address) -> Result<Box<dyn Stream>> + Send + Sync>;
#[cfg(feature = "testing")]
type ConnSource = Arc<dyn Fn(&Context) -> Result<Conn> + Send + Sync>;

/// The address of a server and the options of its connections. One dialer makes any number of
/// [`Conn`]s.
///
/// | Option | Default | |
/// |---|---|---|
/// | [`connect_timeout`](Dialer::connect_timeout) | 30 s | limits the whole dial |
/// | [`read_timeout`](Dialer::read_timeout) | none | limits the wait for the reply to one call |
/// | [`write_timeout`](Dialer::write_timeout) | none | limits the writing of one call |
/// | [`keep_alive`](Dialer::keep_alive) | 5 min | idle time before the system probes the peer |
/// | [`tcp_user_timeout`](Dialer::tcp_user_timeout) | none | limits the wait for acknowledgments of sent bytes (Linux) |
/// | [`database`](Dialer::database) | 0 | sent as `SELECT`, unless it is 0 |
/// | [`username`](Dialer::username), [`password`](Dialer::password) | none | sent as `AUTH` |
/// | [`client_name`](Dialer::client_name) | none | sent as `CLIENT SETNAME` |
/// | [`max_bulk_len`](Dialer::max_bulk_len) | 512 MiB | the longest string accepted in a reply |
/// | [`connector`](Dialer::connector) | none | a function that makes the stream |
#[cfg_attr(
    feature = "tls",
    doc = "\
| [`use_tls`](Dialer::use_tls) | off | TLS; also enabled by a `rediss://` URL |
| [`tls_ca_file`](Dialer::tls_ca_file) | the system's | the certificate authorities to trust |
| [`tls_client_identity`](Dialer::tls_client_identity) | none | the client's certificate (mutual TLS) |
| [`tls_server_name`](Dialer::tls_server_name) | the host | the name in the server's certificate |
| [`tls_min_version`](Dialer::tls_min_version) | 1.2 | the oldest accepted version |
| [`tls_handshake_timeout`](Dialer::tls_handshake_timeout) | 10 s | limits the TLS handshake |
| [`tls_skip_verify`](Dialer::tls_skip_verify) | off | accepts any certificate |
| [`tls_connector`](Dialer::tls_connector) | none | a configured `native_tls::TlsConnector` |"
)]
///
/// A timeout of zero means no timeout, as in redigo.
///
/// TCP connections have `TCP_NODELAY` set.
///
/// If a host has several addresses, they are tried within one deadline, alternating between IPv6
/// and IPv4 (RFC 8305). An attempt starts when the previous one fails, and at the latest 250 ms
/// after its start, so an address that does not answer costs 250 ms and not the whole deadline. The
/// first connection is used and the others are closed. The error lists each address with its own
/// reason.
///
/// If a dial has a deadline, a host *name* is resolved on a separate thread that ends with the
/// answer, because the system's resolver has no timeout. Dials that resolve the same name at the
/// same time share that thread.
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
    /// A parse error is returned by `dial`.
    address: Result<Address>,
    tls: bool,
    #[cfg(feature = "tls")]
    tls_options: TlsOptions,
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
    /// Makes connections that are not over a stream.
    #[cfg(feature = "testing")]
    conn_source: Option<ConnSource>,
}

impl Dialer {
    /// Returns a dialer for a server at `host:port`.
    ///
    /// The host defaults to `localhost` and the port to 6379. An IPv6 address must be in brackets
    /// and can have a zone: `[fe80::1%eth0]:6379`. [`dial`](Dialer::dial) returns the error of an
    /// invalid address.
    ///
    /// ```
    /// use redigo::Dialer;
    ///
    /// let dialer = Dialer::tcp("redis.internal:6380");
    /// let default_port = Dialer::tcp("[::1]");
    /// let error = Dialer::tcp("redis.internal:http").dial().unwrap_err();
    /// assert!(error.to_string().ends_with("the port is not a number"));
    /// # drop((dialer, default_port));
    /// ```
    #[doc(alias = "Dial")]
    pub fn tcp(address: impl AsRef<str>) -> Dialer {
        Dialer::to(Address::parse(address.as_ref()))
    }

    /// Returns a dialer for a server at a Unix socket.
    ///
    /// ```no_run
    /// let mut conn = redigo::Dialer::unix("/run/redis.sock").dial()?;
    /// conn.call("PING", ())?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Dial")]
    pub fn unix(path: impl Into<PathBuf>) -> Dialer {
        Dialer::to(Ok(Address::Unix(path.into())))
    }

    /// Returns a dialer for the server in a URL.
    ///
    /// - `redis://[[user]:password@][host][:port][/database]`, also `valkey://`
    /// - `rediss://` or `valkeys://`: the same over TLS (feature `tls`)
    /// - `unix://[[user]:password@]/path/to/socket`, also `redis+unix://`
    ///
    /// Each form accepts `?db=N`. A single word before the `@` is the password, as in redis-cli,
    /// and is sent as `AUTH`.
    /// Special characters in user name, password and path must be percent-encoded, and so must the
    /// `%` before the zone of an IPv6 address: `redis://[fe80::1%25eth0]`.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], which says what is wrong and never shows the credentials.
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
        let parts = url::parse(url.as_ref())?;
        Ok(Dialer {
            tls: parts.tls,
            database: parts.database,
            username: parts.username,
            password: parts.password,
            ..Dialer::to(Ok(parts.address))
        })
    }

    fn to(address: Result<Address>) -> Dialer {
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
            #[cfg(feature = "testing")]
            conn_source: None,
        }
    }

    /// Returns a dialer whose connections come from a function. All options but those of the
    /// transport apply.
    #[cfg(feature = "testing")]
    pub(crate) fn with_conn_source(
        source: impl Fn(&Context) -> Result<Conn> + Send + Sync + 'static,
    ) -> Dialer {
        let address = Address::Tcp { host: "scripted".into(), port: 6379 };
        Dialer { conn_source: Some(Arc::new(source)), ..Dialer::to(Ok(address)) }
    }

    /// Sets the time limit of a whole dial.
    ///
    /// The limit includes resolving the name, connecting to one of its addresses, the TLS handshake,
    /// and the replies to `AUTH`, `CLIENT SETNAME` and `SELECT`. `None` or zero removes it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let dialer = redigo::Dialer::tcp(":6379").connect_timeout(Duration::from_secs(5));
    /// # drop(dialer);
    /// ```
    ///
    /// Defaults to 30 seconds.
    #[doc(alias = "DialConnectTimeout")]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.connect_timeout = unless_zero(timeout);
        self
    }

    /// Sets how long a call waits for its reply, or for all its replies.
    ///
    /// Without a [`write_timeout`](Dialer::write_timeout) it also limits the writing of a call.
    /// `None` or zero removes the limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, testing::MemoryStream};
    ///
    /// let dialer = Dialer::tcp(":6379").read_timeout(Duration::from_millis(10));
    /// let mut conn = dialer.wrap(MemoryStream::silent());
    /// assert!(conn.call("PING", ()).unwrap_err().is_timeout());
    /// ```
    ///
    /// Defaults to no limit.
    #[doc(alias = "DialReadTimeout")]
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.read_timeout = unless_zero(timeout);
        self
    }

    /// Sets how long a call, a send or a flush can take to write. `None` or zero removes the limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let dialer = redigo::Dialer::tcp(":6379").write_timeout(Duration::from_secs(1));
    /// # drop(dialer);
    /// ```
    ///
    /// Defaults to none: the [`read_timeout`](Dialer::read_timeout) applies.
    #[doc(alias = "DialWriteTimeout")]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.write_timeout = unless_zero(timeout);
        self
    }

    /// Sets the idle time after which the system probes the peer of a TCP connection.
    ///
    /// The system waits the same time between probes. `None` or zero disables the probes. The
    /// system counts in whole seconds, from 1 to 32767.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let dialer = redigo::Dialer::tcp(":6379").keep_alive(Duration::from_secs(60));
    /// # drop(dialer);
    /// ```
    ///
    /// Defaults to 5 minutes.
    #[doc(alias = "DialKeepAlive")]
    pub fn keep_alive(mut self, idle: impl Into<Option<Duration>>) -> Dialer {
        self.tcp.keep_alive = unless_zero(idle);
        self
    }

    /// Sets how long sent bytes can remain without an acknowledgment before the system ends the
    /// connection. It has an effect on Linux only. `None` or zero removes the limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let dialer = redigo::Dialer::tcp(":6379").tcp_user_timeout(Duration::from_secs(20));
    /// # drop(dialer);
    /// ```
    ///
    /// Defaults to the system's limit.
    pub fn tcp_user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Dialer {
        self.tcp.user_timeout = unless_zero(timeout);
        self
    }

    /// Sets the database that the connection selects.
    ///
    /// ```
    /// use redigo::{Dialer, Stream, testing::MemoryStream};
    ///
    /// let stream = MemoryStream::new("+OK\r\n");
    /// let server = stream.clone();
    /// let dialer = Dialer::tcp(":6379")
    ///     .connector(move |_, _| Ok(Box::new(server.clone()) as Box<dyn Stream>));
    /// dialer.database(2).dial()?;
    /// assert_eq!(stream.written(), b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// Defaults to 0.
    #[doc(alias = "DialDatabase")]
    pub fn database(mut self, database: i64) -> Dialer {
        self.database = database;
        self
    }

    /// Sets the user to authenticate as. A user name needs a [`password`](Dialer::password).
    ///
    /// ```
    /// use redigo::{Dialer, Error};
    ///
    /// let dialer = Dialer::tcp(":6379").username("reports");
    /// assert!(matches!(dialer.dial(), Err(Error::InvalidConfig(_))));
    /// let dialer = dialer.password("secret");
    /// # drop(dialer);
    /// ```
    ///
    /// Defaults to the default user. An empty name means the same.
    #[doc(alias = "DialUsername")]
    pub fn username(mut self, username: impl Into<String>) -> Dialer {
        self.username = Some(username.into()).filter(|name| !name.is_empty());
        self
    }

    /// Sets the password to authenticate with. `Debug` and errors never show it.
    ///
    /// ```
    /// let dialer = redigo::Dialer::tcp(":6379").password("secret");
    /// assert!(!format!("{dialer:?}").contains("secret"));
    /// ```
    ///
    /// Defaults to no password, and no `AUTH`. An empty password means the same.
    #[doc(alias = "DialPassword")]
    pub fn password(mut self, password: impl Into<String>) -> Dialer {
        self.password = Some(password.into()).filter(|password| !password.is_empty());
        self
    }

    /// Sets the name of the connection in the server's `CLIENT LIST`.
    ///
    /// ```
    /// let dialer = redigo::Dialer::tcp(":6379").client_name("orders-worker");
    /// # drop(dialer);
    /// ```
    ///
    /// Defaults to no name.
    #[doc(alias = "DialClientName")]
    pub fn client_name(mut self, name: impl Into<String>) -> Dialer {
        self.client_name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Sets the length in bytes of the longest string accepted in a reply. A longer string is an
    /// [`Error::Protocol`]. The maximum is 512 MiB.
    ///
    /// ```
    /// use redigo::{Dialer, Error, testing::MemoryStream};
    ///
    /// let dialer = Dialer::tcp(":6379").max_bulk_len(4);
    /// let mut conn = dialer.wrap(MemoryStream::new("$5\r\nhello\r\n"));
    /// assert!(matches!(conn.call("GET", "greeting"), Err(Error::Protocol(_))));
    /// ```
    ///
    /// Defaults to 512 MiB.
    pub fn max_bulk_len(mut self, bytes: usize) -> Dialer {
        self.limits.bulk = bytes.min(MAX_BULK);
        self
    }

    /// Sets a function that makes the stream, for example through a proxy or a tunnel.
    ///
    /// The function must keep its own time limits: its context ends with
    /// [`connect_timeout`](Dialer::connect_timeout), or sooner. With TLS enabled, the TLS session
    /// runs over the stream that the function returns.
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
    ///
    /// Defaults to connecting to the address over TCP or a Unix socket.
    #[doc(alias = "DialNetDial")]
    #[doc(alias = "DialContextFunc")]
    pub fn connector(
        mut self,
        connect: impl Fn(&Context, &Address) -> Result<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Dialer {
        self.connector = Some(Arc::new(connect));
        self
    }

    /// Connects and sets the connection up.
    ///
    /// # Errors
    /// The text of an error begins with the address and names the step that failed.
    ///
    /// - [`Error::InvalidConfig`]: the address is invalid, or options contradict each other.
    /// - [`Error::Io`]: the name has no address, the connection was refused, or it was lost during
    ///   the set-up. A local port without a server can connect to itself; that counts as refused.
    /// - [`Error::Tls`]: the handshake failed; its kind says why.
    /// - [`Error::Timeout`]: of kind `Connect`, `TlsHandshake`, or `Handshake` with the command
    ///   that got no reply.
    /// - [`Error::Server`]: the server refused a command of the set-up;
    ///   [`ServerError::step`](crate::ServerError::step) says which.
    /// - [`Error::Protocol`]: a reply to `AUTH`, `CLIENT SETNAME` or `SELECT` is not `OK`.
    ///
    /// ```no_run
    /// let mut conn = redigo::Dialer::tcp("localhost:6379").dial()?;
    /// conn.call("SET", ("greeting", "hello"))?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Dial")]
    pub fn dial(&self) -> Result<Conn> {
        self.dial_context(&Context::background())
    }

    /// Like [`dial`](Dialer::dial), but ends with the context.
    ///
    /// # Errors
    /// Those of [`dial`](Dialer::dial), [`Error::Canceled`], and [`Error::Timeout`] of kind
    /// `Context`.
    ///
    /// ```
    /// use redigo::{Context, Dialer};
    ///
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// cancel.cancel();
    /// assert!(Dialer::tcp(":6379").dial_context(&ctx).unwrap_err().is_canceled());
    /// ```
    #[doc(alias = "DialContext")]
    pub fn dial_context(&self, ctx: &Context) -> Result<Conn> {
        self.dial_within(ctx, false)
    }

    /// Like [`dial_context`](Dialer::dial_context), but sends `PING` if nothing else is sent, so
    /// that a server that accepts connections and serves none fails the dial.
    pub(crate) fn dial_proven(&self, ctx: &Context) -> Result<Conn> {
        self.dial_within(ctx, true)
    }

    fn dial_within(&self, ctx: &Context, proves_server: bool) -> Result<Conn> {
        let address = self.validate()?;
        if let Some(error) = ctx.err() {
            return Err(error);
        }
        let budget = Budget::new(ctx, self.connect_timeout);
        let dialed = self.open_conn(address, &budget).and_then(|mut conn| {
            let proves_server = proves_server && !self.is_scripted();
            let handshake = Handshake { proves_server, ..self.handshake() };
            handshake::run(&mut conn, &handshake, &budget)?;
            // Not earlier: the errors of the set-up get their address below.
            conn.status().set_address(address.to_string().into());
            Ok(conn)
        });
        let dialed = dialed.map_err(|error| match error {
            Error::Timeout(error)
                if matches!(error.kind(), TimeoutKind::Connect | TimeoutKind::Context) =>
            {
                budget.expired(TimeoutKind::Connect, error)
            }
            error => error,
        });
        dialed.map_err(|error| error.at(address))
    }

    /// Returns a connection over an existing stream, without any set-up.
    ///
    /// There is no TLS handshake, and neither `AUTH`, `CLIENT SETNAME` nor `SELECT` is sent.
    ///
    /// ```
    /// use redigo::{Dialer, testing::MemoryStream};
    ///
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n"));
    /// assert_eq!(conn.query::<String>("PING", ())?, "PONG");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "NewConn")]
    pub fn wrap(&self, stream: impl Stream + 'static) -> Conn {
        self.conn_over(Arc::new(stream))
    }

    /// A script need not expect the `PING` that proves a server.
    fn is_scripted(&self) -> bool {
        #[cfg(feature = "testing")]
        return self.conn_source.is_some();
        #[cfg(not(feature = "testing"))]
        false
    }

    fn open_conn(&self, address: &Address, budget: &Budget) -> Result<Conn> {
        #[cfg(feature = "testing")]
        if let Some(source) = &self.conn_source {
            let mut conn = source(budget.ctx())?;
            conn.set_timeouts(self.read_timeout, self.write_timeout);
            return Ok(conn);
        }
        self.connect(address, budget).map(|stream| self.conn_over(stream))
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
        #[cfg(unix)]
        if let Address::Unix(path) = address {
            unix::validate(path)?;
        }
        #[cfg(feature = "tls")]
        self.tls_options.validate(self.tls, address)?;
        #[cfg(not(feature = "tls"))]
        if self.tls {
            return Err(Error::Unsupported("TLS, without the crate's feature `tls`".into()));
        }
        Ok(address)
    }

    /// Connects, over TLS if it is enabled.
    fn connect(&self, address: &Address, budget: &Budget) -> Result<Arc<dyn Stream>> {
        #[cfg(feature = "tls")]
        if self.tls {
            // The connector can fail without the server, so it comes first.
            let connector = self.tls_options.connector()?;
            let stream = Arc::from(self.connect_plain(address, budget.ctx())?);
            return self.tls_options.secure(&connector, stream, address, budget);
        }
        self.connect_plain(address, budget.ctx()).map(Arc::from)
    }

    fn connect_plain(&self, address: &Address, ctx: &Context) -> Result<Box<dyn Stream>> {
        if let Some(connect) = &self.connector {
            return connect(ctx, address);
        }
        match address {
            Address::Tcp { host, port } => Ok(Box::new(tcp::connect(host, *port, &self.tcp, ctx)?)),
            #[cfg(unix)]
            Address::Unix(path) => Ok(Box::new(unix::connect(path, ctx)?)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(Error::Unsupported("Unix sockets on this system".into())),
        }
    }

    fn handshake(&self) -> Handshake<'_> {
        Handshake {
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            client_name: self.client_name.as_deref(),
            database: self.database,
            proves_server: false,
            tls: self.tls,
        }
    }
}

/// In options a timeout of zero means none.
fn unless_zero(timeout: impl Into<Option<Duration>>) -> Option<Duration> {
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
    fn dialing_an_invalid_address_fails() {
        let error = Dialer::tcp("localhost:port").dial().unwrap_err();
        assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
        let error = Dialer::tcp(":6379").username("x").dial().unwrap_err();
        assert!(error.to_string().contains("username"), "{error}");
    }

    #[test]
    fn an_ended_context_dials_nothing() {
        let dialer = Dialer::tcp(":1").connector(|_, _| panic!("dialed"));
        let (ctx, cancel) = Context::background().with_cancel();
        cancel.cancel();
        assert!(dialer.dial_context(&ctx).unwrap_err().is_canceled());
        let ctx = Context::background().with_timeout(Duration::ZERO);
        let kind = dialer.dial_context(&ctx).unwrap_err().timeout_kind();
        assert_eq!(kind, Some(TimeoutKind::Context));
    }
}
