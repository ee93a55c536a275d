//! A server that follows a script.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::expectation::{Answer, Arg, Expectation, Pattern, Reply, Rule};
use super::scripted_conn::{Line, Link};
use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::context::Context;
use crate::error::{Error, Result, ServerError};
use crate::logging::Shown;
use crate::script::Script;
use crate::sync::{Condvar, Mutex};
use crate::value::Value;

/// A server that exists only in a test: it expects certain commands and gives the answers that
/// the test has written down. Clones are the same server.
///
/// A command that is not expected is answered with an error of code `UNEXPECTED`, which names it
/// and what was expected instead; [`verify`](ScriptedServer::verify) tells of it again at the
/// end, along with commands that never came. Nothing is checked when the server is dropped.
///
/// Nothing waits: a read for which there is no answer times out at once if it has a deadline, and
/// finds the connection closed otherwise; see [`stay_open`](ScriptedServer::stay_open).
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
pub struct ScriptedServer(Arc<Inner>);

pub(super) struct Inner {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

pub(super) struct State {
    in_order: bool,
    rules: Vec<Rule>,
    next_rule: usize,
    /// The first rule that may still be called, where they are in order.
    position: usize,
    received: Vec<Received>,
    unexpected: Vec<String>,
    dial_errors: VecDeque<Error>,
    pub(super) flush_errors: VecDeque<Error>,
    /// For whoever receives next without an answer waiting.
    pub(super) pushes: VecDeque<Value>,
    pub(super) stays_open: bool,
    pub(super) lines: BTreeMap<u64, Line>,
    next_line: u64,
}

impl ScriptedServer {
    /// A server that expects its commands in the order in which they are written down, on
    /// whichever of its connections.
    pub fn new() -> ScriptedServer {
        ScriptedServer::with_order(true)
    }

    /// A server that expects its commands in any order. Of several expectations that fit, one
    /// with exact arguments goes first, and then the one that was written down first.
    #[doc(alias = "NewConn")]
    pub fn unordered() -> ScriptedServer {
        ScriptedServer::with_order(false)
    }

    fn with_order(in_order: bool) -> ScriptedServer {
        let state = State {
            in_order,
            rules: Vec::new(),
            next_rule: 0,
            position: 0,
            received: Vec::new(),
            unexpected: Vec::new(),
            dial_errors: VecDeque::new(),
            flush_errors: VecDeque::new(),
            pushes: VecDeque::new(),
            stays_open: false,
            lines: BTreeMap::new(),
            next_line: 0,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        ScriptedServer(Arc::new(Inner { state, changed }))
    }

    /// Expects a command with exactly these arguments, as they go out: `("k", 1)` and
    /// `("k", "1")` are the same. Names are the same in upper and lower case.
    #[doc(alias = "Command")]
    #[track_caller]
    pub fn expect(&self, command: &str, args: impl ToArgs) -> Expectation {
        self.add(command, Pattern::Exactly(Args::new().args(args)), Location::caller())
    }

    /// Expects a command with any arguments.
    #[doc(alias = "GenericCommand")]
    #[track_caller]
    pub fn expect_any(&self, command: &str) -> Expectation {
        self.add(command, Pattern::Any, Location::caller())
    }

    /// Expects a command with arguments of which some may vary.
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

    /// Expects a command for whose arguments the function says true. It must not use the server
    /// itself.
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

    /// Expects a script to be called by its hash, with these keys and arguments.
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
    pub fn expect_script(&self, script: &Script, args: impl ToArgs) -> Expectation {
        let args = Args::new().args(script.evalsha_args(args));
        self.add(script.evalsha(), Pattern::Exactly(args), Location::caller())
    }

    fn add(
        &self,
        command: &str,
        pattern: Pattern,
        place: &'static Location<'static>,
    ) -> Expectation {
        let mut state = self.0.state.lock();
        let id = state.next_rule;
        state.next_rule += 1;
        state.rules.push(Rule::new(id, command, pattern, place));
        Expectation::new(self.clone(), id)
    }

    /// A new connection to the server.
    pub fn conn(&self) -> Conn {
        let mut state = self.0.state.lock();
        let line = state.next_line;
        state.next_line += 1;
        state.lines.insert(line, Line::default());
        drop(state);
        Conn::new(Link::new(Arc::clone(&self.0), line))
    }

    /// A dial function for a pool.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).reply("PONG");
    /// let pool = Pool::builder_with(server.dialer()).max_active(2).build()?;
    /// pool.acquire()?.call("PING", ())?;
    /// assert_eq!(server.open_conns(), 1); // idle in the pool
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn dialer(&self) -> impl Fn(&Context) -> Result<Conn> + Clone + Send + Sync + 'static {
        let server = self.clone();
        move |ctx| {
            if let Some(error) = ctx.err() {
                return Err(error);
            }
            let refused = server.0.state.lock().dial_errors.pop_front();
            refused.map_or_else(|| Ok(server.conn()), Err)
        }
    }

    /// Has the next dial of [`dialer`](ScriptedServer::dialer) fail.
    pub fn fail_dial(&self, error: impl Into<Error>) {
        self.0.state.lock().dial_errors.push_back(error.into());
    }

    /// Has the next flush fail, and with it the connection. What was to be written is lost.
    #[doc(alias = "FlushMock")]
    pub fn fail_flush(&self, error: impl Into<Error>) {
        if let Reply::Fail(error) = Reply::from_result(Err(error.into())) {
            self.0.state.lock().flush_errors.push_back(error);
        }
    }

    /// Sends a value that answers no command, such as a [`message`](super::message()). It goes to
    /// whoever receives first without an answer waiting.
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

    /// From now on a read for which there is no answer waits, as it does with a real server: for
    /// [`push`](ScriptedServer::push), for another thread's command, for its deadline, or for the
    /// end of the connection.
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

    /// Closes every connection there is, as a server does that is stopped. Answers already given
    /// can still be received.
    pub fn disconnect(&self) {
        self.0.state.lock().lines.values_mut().for_each(|line| line.ended = true);
        self.0.changed.notify_all();
    }

    /// How many connections are open.
    pub fn open_conns(&self) -> usize {
        self.0.state.lock().lines.len()
    }

    /// The commands that have come, expected or not, in order and from all connections.
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

    /// What went wrong: the commands that were not expected, and those expected that have not
    /// come, or not often enough. Each is a line for a reader.
    #[doc(alias = "ExpectationsWereMet")]
    pub fn problems(&self) -> Vec<String> {
        let state = self.0.state.lock();
        state.unexpected.iter().cloned().chain(state.rules.iter().filter_map(Rule::unmet)).collect()
    }

    /// Checks that all that was expected has come, and nothing else.
    ///
    /// # Panics
    /// When there are [`problems`](ScriptedServer::problems); the message lists them.
    ///
    /// ```should_panic
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("PING", ());
    /// server.verify(); // PING() was expected once and came never
    /// ```
    #[doc(alias = "ExpectationsWereMet")]
    #[track_caller]
    pub fn verify(&self) {
        let problems = self.problems();
        assert!(problems.is_empty(), "the script was not followed:\n  {}", problems.join("\n  "));
    }

    /// Forgets all expectations, problems, pushes and failures to come, and what was received.
    /// Connections stay open.
    #[doc(alias = "Clear")]
    pub fn clear(&self) {
        let mut state = self.0.state.lock();
        state.rules.clear();
        state.position = 0;
        state.received.clear();
        state.unexpected.clear();
        state.dial_errors.clear();
        state.flush_errors.clear();
        state.pushes.clear();
    }

    pub(super) fn with_rule<T>(&self, id: usize, with: impl FnOnce(&mut Rule) -> T) -> Option<T> {
        self.0.state.lock().rules.iter_mut().find(|rule| rule.id == id).map(with)
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
            .field("open_conns", &state.lines.len())
            .finish_non_exhaustive()
    }
}

impl State {
    /// Notes a command, and finds its answer.
    pub(super) fn answer(&mut self, received: &Received) -> Answer {
        self.received.push(received.clone());
        if let Some(index) = self.find(received) {
            return self.rules[index].take();
        }
        let problem = format!("{received} was not expected: {}", self.expected_instead(received));
        let error = ServerError::new(format!("UNEXPECTED {problem}"));
        self.unexpected.push(problem);
        Answer { reply: Reply::Value(error.into()), then: Vec::new() }
    }

    fn find(&mut self, received: &Received) -> Option<usize> {
        let fits = |rule: &Rule| rule.has_room() && rule.matches(received);
        if !self.in_order {
            let exact = self.rules.iter().position(|rule| rule.is_exact() && fits(rule));
            return exact.or_else(|| self.rules.iter().position(fits));
        }
        for (index, rule) in self.rules.iter().enumerate().skip(self.position) {
            if fits(rule) {
                self.position = index;
                return Some(index);
            }
            if !rule.is_met() {
                return None;
            }
        }
        None
    }

    fn expected_instead(&self, received: &Received) -> String {
        let mut open = self.rules.iter().skip(self.position).filter(|rule| !rule.is_met());
        if self.in_order {
            return match open.next() {
                Some(rule) => format!("expected {rule} next"),
                None => "nothing more was expected".to_owned(),
            };
        }
        let named: Vec<&Rule> =
            self.rules.iter().filter(|rule| rule.is_for(received.command())).collect();
        if let Some(rule) = named.iter().find(|rule| rule.matches(received)) {
            return format!("{rule} has come as often as it may");
        }
        let (what, rules) = match named.is_empty() {
            true => ("expected", open.collect()),
            false => ("expected by that name", named),
        };
        match rules.iter().map(|rule| rule.to_string()).collect::<Vec<_>>() {
            rules if rules.is_empty() => "nothing more was expected".to_owned(),
            rules => format!("{what}: {}", rules.join(", ")),
        }
    }
}

/// A command that has come to a [`ScriptedServer`]. Display shows it with its arguments, cut
/// short and with passwords masked, as [`logging`](crate::logging()) does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Received {
    command: String,
    args: Args,
}

impl Received {
    pub(super) fn new(command: &str, args: Args) -> Received {
        Received { command: command.to_owned(), args }
    }

    /// Its name, as it was written.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Its arguments.
    pub fn args(&self) -> Vec<&[u8]> {
        self.args.iter().collect()
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { command: &self.command, args: &self.args }.fmt(f)
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
