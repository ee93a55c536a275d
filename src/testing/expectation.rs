//! A command that a script expects, and what it is answered.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;

use super::scripted::{Received, ScriptedServer};
use crate::args::{Args, ToArg};
use crate::error::{Error, Result, ServerError, TimeoutKind};
use crate::value::Value;

/// A command that a [`ScriptedServer`] expects: says what it is answered, and how often it comes.
///
/// Each answer is for one call, in order: with two of them the command is expected twice. With
/// none it is expected once and answered with nil. Where more calls are allowed than there are
/// answers, the last answer is repeated.
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
#[derive(Debug, Clone)]
#[doc(alias = "Cmd")]
pub struct Expectation {
    server: ScriptedServer,
    id: usize,
}

impl Expectation {
    pub(super) fn new(server: ScriptedServer, id: usize) -> Expectation {
        Expectation { server, id }
    }

    /// Answers with this value.
    #[doc(alias = "Expect")]
    pub fn reply(self, value: impl Into<Value>) -> Expectation {
        self.answer(Reply::Value(value.into()))
    }

    /// Answers with the status `OK`.
    pub fn ok(self) -> Expectation {
        self.reply(Value::simple("OK"))
    }

    /// Answers with the status `QUEUED`, as to a command of a transaction.
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

    /// Answers with a list of names and values in turn, as `HGETALL` does.
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

    /// Answers with what a function makes of the arguments. It may panic, which reaches the
    /// caller, and its errors are treated as those of [`fail`](Expectation::fail).
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

    /// Answers with an error of the server, as `error("WRONGTYPE not a list")`.
    #[doc(alias = "ExpectError")]
    pub fn error(self, text: impl Into<Arc<str>>) -> Expectation {
        self.reply(ServerError::new(text))
    }

    /// Breaks the connection with this error instead of answering. An [`Error::Server`] is an
    /// answer like that of [`error`](Expectation::error); an error that does not end connections
    /// is wrapped into an [`Error::Io`], for only such come from one.
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

    /// Has the caller's read time out, at once and whatever the timeout.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("BLPOP", ("queue", 0)).timeout();
    /// assert!(server.conn().call("BLPOP", ("queue", 0)).unwrap_err().is_timeout());
    /// ```
    pub fn timeout(self) -> Expectation {
        self.fail(Error::Timeout(TimeoutKind::Read))
    }

    /// Closes the connection instead of answering.
    pub fn disconnect(self) -> Expectation {
        self.fail(closed_by_script())
    }

    /// Answers nothing, as a server does after `CLIENT REPLY OFF`, or with what is pushed later.
    pub fn no_reply(self) -> Expectation {
        self.answer(Reply::None)
    }

    /// Sends one more value right after the last answer given: a message, or the confirmation of
    /// a second channel.
    #[doc(alias = "AddSubscriptionMessage")]
    pub fn then_push(self, value: impl Into<Value>) -> Expectation {
        let value = value.into();
        self.change(|rule| rule.last_answer().then.push(value))
    }

    /// The command comes exactly this often.
    pub fn times(self, calls: usize) -> Expectation {
        self.change(|rule| rule.times = Some((calls, Some(calls))))
    }

    /// The command comes once or more.
    pub fn at_least_once(self) -> Expectation {
        self.change(|rule| rule.times = Some((1, None)))
    }

    /// The command may come any number of times, or not at all.
    pub fn any_times(self) -> Expectation {
        self.change(|rule| rule.times = Some((0, None)))
    }

    /// How often it has come.
    #[doc(alias = "Stats")]
    pub fn calls(&self) -> usize {
        self.server.with_rule(self.id, |rule| rule.calls).unwrap_or(0)
    }

    fn answer(self, reply: Reply) -> Expectation {
        self.change(|rule| rule.answers.push(Answer { reply, then: Vec::new() }))
    }

    fn change(self, change: impl FnOnce(&mut Rule)) -> Expectation {
        self.server.with_rule(self.id, change);
        self
    }
}

/// One argument of a command that is expected; see [`ScriptedServer::expect_args`].
#[derive(Clone)]
#[doc(alias = "FuzzyMatcher")]
pub struct Arg(ArgKind);

type ArgTest = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

#[derive(Clone)]
enum ArgKind {
    Is(Args),
    Any,
    Int,
    Float,
    Fits(ArgTest),
}

impl Arg {
    /// Exactly this argument.
    pub fn is(arg: impl ToArg) -> Arg {
        Arg(ArgKind::Is(Args::new().arg(arg)))
    }

    /// Any argument.
    #[doc(alias = "NewAnyData")]
    pub fn any() -> Arg {
        Arg(ArgKind::Any)
    }

    /// A whole number of 64 bits.
    #[doc(alias = "NewAnyInt")]
    pub fn int() -> Arg {
        Arg(ArgKind::Int)
    }

    /// A number, with or without a point.
    #[doc(alias = "NewAnyDouble")]
    pub fn float() -> Arg {
        Arg(ArgKind::Float)
    }

    /// An argument for which the function says true. It must not use the server itself.
    pub fn fits(test: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Arg {
        Arg(ArgKind::Fits(Arc::new(test)))
    }

    fn matches(&self, arg: &[u8]) -> bool {
        let text = std::str::from_utf8(arg);
        match &self.0 {
            ArgKind::Is(expected) => expected.iter().eq([arg]),
            ArgKind::Any => true,
            ArgKind::Int => text.is_ok_and(|text| text.parse::<i64>().is_ok()),
            ArgKind::Float => text.is_ok_and(|text| text.parse::<f64>().is_ok()),
            ArgKind::Fits(test) => test(arg),
        }
    }
}

impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ArgKind::Is(expected) => {
                expected.iter().try_for_each(|arg| write!(f, "\"{}\"", arg.escape_ascii()))
            }
            ArgKind::Any => f.write_str("any"),
            ArgKind::Int => f.write_str("an integer"),
            ArgKind::Float => f.write_str("a number"),
            ArgKind::Fits(_) => f.write_str("one that fits"),
        }
    }
}

type Handler = Arc<dyn Fn(&[&[u8]]) -> Result<Value> + Send + Sync>;
type Test = Arc<dyn Fn(&[&[u8]]) -> bool + Send + Sync>;

/// An expectation as the server keeps it.
pub(super) struct Rule {
    pub(super) id: usize,
    command: String,
    pattern: Pattern,
    answers: Vec<Answer>,
    /// The fewest and the most calls; unless said, one for each answer.
    times: Option<(usize, Option<usize>)>,
    calls: usize,
    place: &'static Location<'static>,
}

pub(super) enum Pattern {
    Exactly(Args),
    Each(Vec<Arg>),
    Any,
    Where(Test),
}

#[derive(Clone)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) then: Vec<Value>,
}

#[derive(Clone)]
pub(super) enum Reply {
    Value(Value),
    Fail(Error),
    Handler(Handler),
    None,
}

impl Reply {
    /// An outcome in the form in which a connection gives it: error replies are values, and
    /// every other error ends it.
    pub(super) fn from_result(outcome: Result<Value>) -> Reply {
        match outcome {
            Ok(value) => Reply::Value(value),
            Err(Error::Server(error)) => Reply::Value(Value::Error(error)),
            Err(error) if error.is_fatal() => Reply::Fail(error),
            Err(error) => Reply::Fail(io::Error::other(error).into()),
        }
    }
}

impl Rule {
    pub(super) fn new(
        id: usize,
        command: &str,
        pattern: Pattern,
        place: &'static Location<'static>,
    ) -> Rule {
        let (answers, times) = (Vec::new(), None);
        Rule { id, command: command.to_owned(), pattern, answers, times, calls: 0, place }
    }

    pub(super) fn is_for(&self, name: &str) -> bool {
        self.command.eq_ignore_ascii_case(name)
    }

    pub(super) fn is_exact(&self) -> bool {
        matches!(self.pattern, Pattern::Exactly(_))
    }

    pub(super) fn matches(&self, received: &Received) -> bool {
        if !self.is_for(received.command()) {
            return false;
        }
        let args = received.args();
        match &self.pattern {
            Pattern::Exactly(expected) => expected.iter().eq(args),
            Pattern::Each(expected) => {
                let pairs = expected.iter().zip(&args);
                expected.len() == args.len() && pairs.into_iter().all(|(e, arg)| e.matches(arg))
            }
            Pattern::Any => true,
            Pattern::Where(test) => test(&args),
        }
    }

    /// Takes one more call, and gives its answer.
    pub(super) fn take(&mut self) -> Answer {
        let index = self.calls.min(self.answers.len().saturating_sub(1));
        self.calls += 1;
        let nil = || Answer { reply: Reply::Value(Value::Nil), then: Vec::new() };
        self.answers.get(index).cloned().unwrap_or_else(nil)
    }

    pub(super) fn has_room(&self) -> bool {
        self.times().1.is_none_or(|most| self.calls < most)
    }

    pub(super) fn is_met(&self) -> bool {
        self.calls >= self.times().0
    }

    /// What is wrong with the number of calls so far.
    pub(super) fn unmet(&self) -> Option<String> {
        if self.is_met() {
            return None;
        }
        let least = match self.times() {
            (least, Some(most)) if least == most => "",
            _ => "at least ",
        };
        let (fewest, calls) = (times(self.times().0), times(self.calls));
        Some(format!("{self} was expected {least}{fewest} and came {calls} ({})", self.place))
    }

    fn times(&self) -> (usize, Option<usize>) {
        let each_answer = self.answers.len().max(1);
        self.times.unwrap_or((each_answer, Some(each_answer)))
    }

    fn last_answer(&mut self) -> &mut Answer {
        if self.answers.is_empty() {
            self.answers.push(Answer { reply: Reply::Value(Value::Nil), then: Vec::new() });
        }
        let last = self.answers.len() - 1;
        &mut self.answers[last]
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Exactly(args) => Received::new(&self.command, args.clone()).fmt(f),
            Pattern::Each(args) => {
                let args: Vec<String> = args.iter().map(|arg| format!("{arg:?}")).collect();
                write!(f, "{}({})", self.command, args.join(", "))
            }
            Pattern::Any => write!(f, "{}(any arguments)", self.command),
            Pattern::Where(_) => write!(f, "{}(arguments that fit)", self.command),
        }
    }
}

fn times(number: usize) -> String {
    match number {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        _ => format!("{number} times"),
    }
}

pub(super) fn closed_by_script() -> Error {
    let what = "the scripted server closed the connection";
    io::Error::new(io::ErrorKind::UnexpectedEof, what).into()
}
