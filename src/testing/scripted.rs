//! A server that follows a script.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::arg::Arg;
use super::expectation::Expectation;
use super::received::Received;
use super::rule::{Pattern, Reply, Rule};
use super::script_state::Script;
use super::scripted_conn::ScriptedConn;
use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::dial::dialer::Dialer;
use crate::error::Error;
use crate::value::Value;

/// A server that exists only in a test: it expects certain commands and answers them as the test
/// says. Clones are the same server.
///
/// A command that is not expected is answered with an error of code `UNEXPECTED`, which names the
/// command and the one that was expected instead. [`verify`](ScriptedServer::verify) reports it
/// again at the end of the test, together with the commands that were expected and never
/// received. Dropping the server checks nothing.
///
/// No call waits: a read without a pending answer times out immediately if it has a deadline, and
/// finds the connection closed if it has none. [`stay_open`](ScriptedServer::stay_open) changes
/// that.
///
/// ```
/// use redigo::{Conn, Result, testing::ScriptedServer};
///
/// fn visits(conn: &mut Conn, page: &str) -> Result<u64> {
///     conn.query("INCR", format!("visits:{page}"))
/// }
///
/// let server = ScriptedServer::new();
/// server.expect("INCR", "visits:home").reply(7).error("ERR out of order");
/// let mut conn = server.conn();
/// assert_eq!(visits(&mut conn, "home")?, 7);
/// assert!(visits(&mut conn, "home").is_err());
/// server.verify();
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "redigomock")]
pub struct ScriptedServer(Arc<Script>);

impl ScriptedServer {
    /// Creates a server that expects its commands in the order in which the test adds them, on
    /// any of its connections.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("GET", "a").reply(1);
    /// server.expect("GET", "b").reply(2);
    /// assert!(server.conn().call("GET", "b").is_err()); // `GET a` must come first
    /// ```
    pub fn new() -> ScriptedServer {
        ScriptedServer(Arc::new(Script::new(true)))
    }

    /// Creates a server that expects its commands in any order.
    ///
    /// If several expectations match, one with exact arguments is used first, then the one that
    /// was added first.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::unordered();
    /// server.expect("GET", "a").reply(1);
    /// server.expect("GET", "b").reply(2);
    /// assert_eq!(server.conn().query::<i64>("GET", "b")?, 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "NewConn")]
    pub fn unordered() -> ScriptedServer {
        ScriptedServer(Arc::new(Script::new(false)))
    }

    /// Expects a command with exactly these arguments.
    ///
    /// Arguments are compared as sent: `("k", 1)` and `("k", "1")` are equal. The case of the
    /// command's name does not matter.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("SET", ("k", 1)).ok();
    /// server.conn().call("set", ("k", "1"))?;
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Command")]
    #[track_caller]
    pub fn expect(&self, command: &str, args: impl ToArgs) -> Expectation {
        self.add(command, Pattern::Exactly(Args::new().args(args)), Location::caller())
    }

    /// Expects a command with any arguments.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect_any("DEL").reply(2);
    /// assert_eq!(server.conn().query::<i64>("DEL", ["a", "b"])?, 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "GenericCommand")]
    #[track_caller]
    pub fn expect_any(&self, command: &str) -> Expectation {
        self.add(command, Pattern::Any, Location::caller())
    }

    /// Expects a command with one pattern for each argument.
    ///
    /// ```
    /// use redigo::testing::{Arg, ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect_args("EXPIREAT", [Arg::is("session"), Arg::int()]).reply(1);
    /// assert_eq!(server.conn().query::<i64>("EXPIREAT", ("session", 1_700_000_000))?, 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[track_caller]
    pub fn expect_args(&self, command: &str, args: impl IntoIterator<Item = Arg>) -> Expectation {
        self.add(command, Pattern::Each(args.into_iter().collect()), Location::caller())
    }

    /// Expects a command for whose arguments `test` returns true. The function must not use the
    /// server.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect_where("DEL", |keys| keys.len() == 3).reply(3);
    /// assert_eq!(server.conn().query::<i64>("DEL", ["a", "b", "c"])?, 3);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[track_caller]
    pub fn expect_where(
        &self,
        command: &str,
        test: impl Fn(&[&[u8]]) -> bool + Send + Sync + 'static,
    ) -> Expectation {
        self.add(command, Pattern::Where(Arc::new(test)), Location::caller())
    }

    /// Expects a call of a script by its hash, with these keys and arguments.
    ///
    /// ```
    /// use redigo::{Script, testing::ScriptedServer};
    ///
    /// let pop = Script::new(1, "return redis.call('LPOP', KEYS[1])");
    /// let server = ScriptedServer::new();
    /// server.expect_script(&pop, "queue").reply("job");
    /// assert_eq!(pop.query::<String>(&mut server.conn(), "queue")?, "job");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Script")]
    #[track_caller]
    pub fn expect_script(&self, script: &crate::script::Script, args: impl ToArgs) -> Expectation {
        let args = Args::new().args(script.evalsha_args(args));
        self.add(script.evalsha(), Pattern::Exactly(args), Location::caller())
    }

    fn add(
        &self,
        command: &str,
        pattern: Pattern,
        location: &'static Location<'static>,
    ) -> Expectation {
        let mut state = self.0.state.lock();
        let id = state.next_rule_id();
        state.rules.push(Rule::new(id, command, pattern, location));
        Expectation::new(Arc::clone(&self.0), id)
    }

    /// Opens a new connection to the server.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// let conn = server.conn();
    /// assert_eq!(server.open_conns(), 1);
    /// # drop(conn);
    /// ```
    pub fn conn(&self) -> Conn {
        let conn = self.0.state.lock().open_conn();
        Conn::new(ScriptedConn::new(Arc::clone(&self.0), conn))
    }

    /// Returns a dialer to the server, for code that takes a [`Dialer`] or dials through a
    /// [`Pool`](crate::Pool) or a [`Mux`](crate::Mux).
    ///
    /// Its timeouts apply to the connections. Options that send commands while dialing, such as
    /// [`password`](Dialer::password) and [`database`](Dialer::database), send them to this server,
    /// which must expect them. Options of the transport, such as TLS, have no effect.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).reply("PONG");
    /// let pool = Pool::builder(server.dialer()).max_active(2).build()?;
    /// pool.acquire()?.call("PING", ())?;
    /// assert_eq!(server.open_conns(), 1); // idle in the pool
    /// server.verify();
    ///
    /// server.expect("AUTH", "secret").ok();
    /// server.expect("SELECT", 2).ok();
    /// let conn = server.dialer().password("secret").database(2).dial()?;
    /// server.verify();
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn dialer(&self) -> Dialer {
        let server = self.clone();
        Dialer::with_conn_source(move |ctx| {
            if let Some(error) = ctx.err() {
                return Err(error);
            }
            let error = server.0.state.lock().dial_errors.pop_front();
            error.map_or_else(|| Ok(server.conn()), Err)
        })
    }

    /// Lets the next dial of [`dialer`](ScriptedServer::dialer) fail.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    /// use std::io;
    ///
    /// let server = ScriptedServer::new();
    /// server.fail_dial(io::Error::from(io::ErrorKind::ConnectionRefused));
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// assert!(pool.acquire().is_err());
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn fail_dial(&self, error: impl Into<Error>) {
        self.0.state.lock().dial_errors.push_back(error.into());
    }

    /// Lets the next flush fail, which ends its connection. The queued commands are lost.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    /// use std::io;
    ///
    /// let server = ScriptedServer::new();
    /// server.fail_flush(io::Error::from(io::ErrorKind::BrokenPipe));
    /// assert!(server.conn().call("PING", ()).is_err());
    /// assert!(server.received().is_empty());
    /// ```
    #[doc(alias = "FlushMock")]
    pub fn fail_flush(&self, error: impl Into<Error>) {
        if let Reply::Fail(error) = Reply::from_result(Err(error.into())) {
            self.0.state.lock().flush_errors.push_back(error);
        }
    }

    /// Sends a value that answers no command, such as a [`message`](super::message()). The next
    /// receiver without a pending answer gets it.
    ///
    /// ```
    /// use redigo::testing::{ScriptedServer, message};
    ///
    /// let server = ScriptedServer::new();
    /// server.push(message("news", "hello"));
    /// assert_eq!(server.conn().receive()?, message("news", "hello"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "AddSubscriptionMessage")]
    pub fn push(&self, value: impl Into<Value>) {
        self.0.state.lock().pushes.push_back(value.into());
        self.0.changed.notify_all();
    }

    /// Makes a read without a pending answer wait, as with a real server: for a
    /// [`push`](ScriptedServer::push), for a command of another thread, for its deadline, or for
    /// the end of the connection.
    ///
    /// ```
    /// use redigo::testing::{ScriptedServer, message};
    ///
    /// let server = ScriptedServer::new();
    /// server.stay_open();
    /// let mut conn = server.conn();
    /// let listener = std::thread::spawn(move || conn.receive());
    /// server.push(message("news", "hello"));
    /// assert_eq!(listener.join().unwrap()?, message("news", "hello"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "ReceiveWait")]
    pub fn stay_open(&self) {
        self.0.state.lock().stays_open = true;
    }

    /// Closes every open connection, like a server that stops. Pending answers can still be
    /// received.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// let conn = server.conn();
    /// server.disconnect();
    /// assert!(!conn.is_alive());
    /// ```
    pub fn disconnect(&self) {
        let mut state = self.0.state.lock();
        state.conns.values_mut().for_each(|conn| conn.closed_by_server = true);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Returns the number of connections that the client has not closed.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// let conn = server.conn();
    /// assert_eq!(server.open_conns(), 1);
    /// drop(conn);
    /// assert_eq!(server.open_conns(), 0);
    /// ```
    pub fn open_conns(&self) -> usize {
        self.0.state.lock().conns.len()
    }

    /// Returns the commands received so far, expected or not, in order and from all connections.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect_any("SET").ok();
    /// server.conn().call("SET", ("k", 1))?;
    /// let [set] = &server.received()[..] else { panic!() };
    /// assert_eq!(set.to_string(), r#"SET("k", "1")"#);
    /// assert_eq!(set.args(), [b"k", b"1"]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn received(&self) -> Vec<Received> {
        self.0.state.lock().received.clone()
    }

    /// Returns one line for each command that was not expected, and for each that was expected
    /// and received too rarely or never.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("PING", ());
    /// assert!(server.problems()[0].starts_with("PING() was expected once and received never"));
    /// ```
    #[doc(alias = "ExpectationsWereMet")]
    pub fn problems(&self) -> Vec<String> {
        self.0.state.lock().problems()
    }

    /// Checks that every expected command was received, and no other.
    ///
    /// # Panics
    /// If there are [`problems`](ScriptedServer::problems); the message lists them.
    ///
    /// ```should_panic
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("PING", ());
    /// server.verify(); // PING() was expected once and received never
    /// ```
    #[doc(alias = "ExpectationsWereMet")]
    #[track_caller]
    pub fn verify(&self) {
        let problems = self.problems();
        assert!(problems.is_empty(), "the script was not followed:\n  {}", problems.join("\n  "));
    }

    /// Forgets all expectations, problems, received commands, pushes and pending failures.
    /// Connections stay open.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("PING", ());
    /// server.clear();
    /// server.verify();
    /// ```
    #[doc(alias = "Clear")]
    pub fn clear(&self) {
        self.0.state.lock().clear();
    }
}

impl Default for ScriptedServer {
    fn default() -> ScriptedServer {
        ScriptedServer::new()
    }
}

impl fmt::Debug for ScriptedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("ScriptedServer")
            .field("expectations", &state.rules.len())
            .field("received", &state.received.len())
            .field("open_conns", &state.conns.len())
            .finish_non_exhaustive()
    }
}
