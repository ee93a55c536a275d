//! The answers to an expected command, and how often it is expected.

use std::fmt;
use std::sync::Arc;

use super::rule::{Reply, Rule};
use super::script_state::{Script, closed_by_script};
use crate::error::{Error, Result, ServerError, TimeoutKind};
use crate::value::Value;

/// A command that a [`ScriptedServer`](super::ScriptedServer) expects: sets its answers and how
/// often it is expected.
///
/// Each answer is for one call, in order, so with two answers the command is expected twice.
/// Without an answer the command is expected once and answered with nil. If more calls are allowed
/// than there are answers, the last answer repeats.
///
/// ```
/// use redigo::testing::ScriptedServer;
///
/// let server = ScriptedServer::new();
/// let increments = server.expect("INCR", "visits").reply(1).reply(2);
/// let mut conn = server.conn();
/// assert_eq!(conn.query::<i64>("INCR", "visits")?, 1);
/// assert_eq!(increments.calls(), 1);
/// assert_eq!(conn.query::<i64>("INCR", "visits")?, 2);
/// server.verify();
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Cmd")]
pub struct Expectation {
    script: Arc<Script>,
    rule: usize,
}

impl Expectation {
    pub(super) fn new(script: Arc<Script>, rule: usize) -> Expectation {
        Expectation { script, rule }
    }

    /// Answers with this value.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("GET", "name").reply("Ada");
    /// assert_eq!(server.conn().query::<String>("GET", "name")?, "Ada");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Expect")]
    pub fn reply(self, value: impl Into<Value>) -> Expectation {
        self.answer(Reply::Value(value.into()))
    }

    /// Answers with the status `OK`.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("SET", ("k", 1)).ok();
    /// assert_eq!(server.conn().query::<String>("SET", ("k", 1))?, "OK");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn ok(self) -> Expectation {
        self.reply(Value::simple("OK"))
    }

    /// Answers with the status `QUEUED`, as for a command in a transaction.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("MULTI", ()).ok();
    /// server.expect("INCR", "k").queued();
    /// server.expect("EXEC", ()).reply_list([1]);
    /// let mut conn = server.conn();
    /// let (count,) = conn.transaction((), |tx| tx.cmd("INCR", "k").exec::<(i64,)>())?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn queued(self) -> Expectation {
        self.reply(Value::simple("QUEUED"))
    }

    /// Answers with a list.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("LRANGE", ("queue", 0, -1)).reply_list(["a", "b"]);
    /// let items: Vec<String> = server.conn().query("LRANGE", ("queue", 0, -1))?;
    /// assert_eq!(items, ["a", "b"]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "ExpectSlice")]
    #[doc(alias = "ExpectStringSlice")]
    pub fn reply_list<V: Into<Value>>(self, items: impl IntoIterator<Item = V>) -> Expectation {
        self.reply(Value::Array(items.into_iter().map(Into::into).collect()))
    }

    /// Answers with a list of alternating names and values, as `HGETALL` does.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// # use std::collections::HashMap;
    /// server.expect("HGETALL", "user:1").reply_map([("name", "Ada"), ("city", "London")]);
    /// let user: HashMap<String, String> = server.conn().query("HGETALL", "user:1")?;
    /// assert_eq!(user["name"], "Ada");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "ExpectMap")]
    pub fn reply_map<N: Into<Value>, V: Into<Value>>(
        self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Expectation {
        let items = pairs.into_iter().flat_map(|(name, value)| [name.into(), value.into()]);
        self.reply(Value::Array(items.collect()))
    }

    /// Answers with the result of a function of the arguments.
    ///
    /// If the function panics, the panic reaches the client's call. An error that it returns is
    /// handled like that of [`fail`](Expectation::fail).
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect_any("ECHO").reply_with(|args| Ok(args[0].into())).any_times();
    /// assert_eq!(server.conn().query::<String>("ECHO", "hello")?, "hello");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Handle")]
    #[doc(alias = "ExpectPanic")]
    pub fn reply_with(
        self,
        handler: impl Fn(&[&[u8]]) -> Result<Value> + Send + Sync + 'static,
    ) -> Expectation {
        self.answer(Reply::Handler(Arc::new(handler)))
    }

    /// Answers with an error reply.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("INCR", "name").error("WRONGTYPE not a number");
    /// let error = server.conn().call("INCR", "name").unwrap_err();
    /// assert_eq!(error.as_server().unwrap().code(), "WRONGTYPE");
    /// ```
    #[doc(alias = "ExpectError")]
    pub fn error(self, text: impl Into<Arc<str>>) -> Expectation {
        self.reply(ServerError::new(text))
    }

    /// Ends the connection with this error instead of answering.
    ///
    /// An [`Error::Server`] is an answer like that of [`error`](Expectation::error). Any other
    /// error that does not end connections is wrapped into an [`Error::Io`], because a connection
    /// returns no others.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// use std::io;
    ///
    /// server.expect("GET", "k").fail(io::Error::from(io::ErrorKind::ConnectionReset));
    /// let mut conn = server.conn();
    /// assert!(conn.call("GET", "k").is_err());
    /// assert!(conn.err().is_some());
    /// ```
    #[doc(alias = "ExpectError")]
    pub fn fail(self, error: impl Into<Error>) -> Expectation {
        self.answer(Reply::from_result(Err(error.into())))
    }

    /// Lets the client's read time out immediately, whatever its timeout.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("BLPOP", ("queue", 0)).timeout();
    /// assert!(server.conn().call("BLPOP", ("queue", 0)).unwrap_err().is_timeout());
    /// ```
    pub fn timeout(self) -> Expectation {
        self.fail(TimeoutKind::Read)
    }

    /// Closes the connection instead of answering.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("GET", "k").disconnect();
    /// let mut conn = server.conn();
    /// conn.call("GET", "k").unwrap_err();
    /// assert!(!conn.is_alive());
    /// ```
    pub fn disconnect(self) -> Expectation {
        self.fail(closed_by_script())
    }

    /// Sends no answer, as after `CLIENT REPLY OFF`. Values that are pushed later take its place.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("SUBSCRIBE", "news").no_reply();
    /// let mut conn = server.conn();
    /// conn.send("SUBSCRIBE", "news")?;
    /// conn.flush()?;
    /// assert!(conn.poll(std::time::Duration::ZERO)?.is_none());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn no_reply(self) -> Expectation {
        self.answer(Reply::None)
    }

    /// Sends one more value right after the last answer: a message, or the confirmation of a
    /// second channel.
    ///
    /// ```
    /// use redigo::testing::{ScriptedServer, message, subscription};
    ///
    /// let server = ScriptedServer::new();
    /// server
    ///     .expect("SUBSCRIBE", "news")
    ///     .reply(subscription("subscribe", "news", 1))
    ///     .then_push(message("news", "hello"));
    /// let mut conn = server.conn();
    /// conn.send("SUBSCRIBE", "news")?;
    /// conn.flush()?;
    /// conn.receive()?;
    /// assert_eq!(conn.receive()?, message("news", "hello"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "AddSubscriptionMessage")]
    pub fn then_push(self, value: impl Into<Value>) -> Expectation {
        let value = value.into();
        self.change(|rule| rule.push_after_last_answer(value))
    }

    /// Expects the command exactly this often.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("PING", ()).reply("PONG").times(2);
    /// let mut conn = server.conn();
    /// conn.call("PING", ())?;
    /// conn.call("PING", ())?;
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn times(self, calls: usize) -> Expectation {
        self.change(|rule| rule.allow_calls(calls, Some(calls)))
    }

    /// Expects the command once or more often.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect_any("GET").reply("x").at_least_once();
    /// assert_eq!(server.problems().len(), 1);
    /// server.conn().call("GET", "k")?;
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn at_least_once(self) -> Expectation {
        self.change(|rule| rule.allow_calls(1, None))
    }

    /// Allows the command any number of times, including zero.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect_any("GET").reply("x").any_times();
    /// server.verify();
    /// ```
    pub fn any_times(self) -> Expectation {
        self.change(|rule| rule.allow_calls(0, None))
    }

    /// Returns how often the command was received. Zero after
    /// [`clear`](super::ScriptedServer::clear).
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// let gets = server.expect_any("GET").any_times();
    /// server.conn().call("GET", "k")?;
    /// assert_eq!(gets.calls(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Stats")]
    pub fn calls(&self) -> usize {
        self.script.with_rule(self.rule, |rule| rule.calls()).unwrap_or(0)
    }

    fn answer(self, reply: Reply) -> Expectation {
        self.change(|rule| rule.add_answer(reply))
    }

    fn change(self, change: impl FnOnce(&mut Rule)) -> Expectation {
        self.script.with_rule(self.rule, change);
        self
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.script.with_rule(self.rule, |rule| rule.to_string());
        f.debug_struct("Expectation").field("rule", &rule).finish_non_exhaustive()
    }
}
