//! An expected command as the server keeps it: pattern, answers and number of calls.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;

use super::arg::Arg;
use super::received::Received;
use crate::args::Args;
use crate::error::{Error, Result};
use crate::value::Value;

pub(super) type Handler = Arc<dyn Fn(&[&[u8]]) -> Result<Value> + Send + Sync>;
pub(super) type Test = Arc<dyn Fn(&[&[u8]]) -> bool + Send + Sync>;

pub(super) struct Rule {
    pub(super) id: usize,
    command: String,
    pattern: Pattern,
    answers: Vec<Answer>,
    /// The minimum and maximum number of calls. `None` means one for each answer.
    calls_allowed: Option<(usize, Option<usize>)>,
    calls: usize,
    location: &'static Location<'static>,
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
    /// Values sent right after the reply.
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
    /// Converts to the form that a connection returns: an error reply is a value, and every other
    /// error is fatal.
    pub(super) fn from_result(result: Result<Value>) -> Reply {
        match result {
            Ok(value) => Reply::Value(value),
            Err(Error::Server(error)) => Reply::Value(Value::Error(error)),
            Err(error) if error.is_fatal() => Reply::Fail(error),
            Err(error) => Reply::Fail(io::Error::other(error).into()),
        }
    }
}

impl Answer {
    pub(super) fn new(reply: Reply) -> Answer {
        Answer { reply, then: Vec::new() }
    }

    fn nil() -> Answer {
        Answer::new(Reply::Value(Value::Nil))
    }
}

impl Rule {
    pub(super) fn new(
        id: usize,
        command: &str,
        pattern: Pattern,
        location: &'static Location<'static>,
    ) -> Rule {
        let (answers, calls_allowed) = (Vec::new(), None);
        Rule {
            id,
            command: command.to_owned(),
            pattern,
            answers,
            calls_allowed,
            calls: 0,
            location,
        }
    }

    pub(super) fn add_answer(&mut self, reply: Reply) {
        self.answers.push(Answer::new(reply));
    }

    pub(super) fn push_after_last_answer(&mut self, value: Value) {
        if self.answers.is_empty() {
            self.answers.push(Answer::nil());
        }
        if let Some(last) = self.answers.last_mut() {
            last.then.push(value);
        }
    }

    pub(super) fn allow_calls(&mut self, min: usize, max: Option<usize>) {
        self.calls_allowed = Some((min, max));
    }

    pub(super) fn calls(&self) -> usize {
        self.calls
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
                let mut pairs = expected.iter().zip(&args);
                expected.len() == args.len() && pairs.all(|(expected, arg)| expected.matches(arg))
            }
            Pattern::Any => true,
            Pattern::Where(test) => test(&args),
        }
    }

    /// Counts one more call and returns its answer.
    pub(super) fn take(&mut self) -> Answer {
        let index = self.calls.min(self.answers.len().saturating_sub(1));
        self.calls += 1;
        self.answers.get(index).cloned().unwrap_or_else(Answer::nil)
    }

    pub(super) fn accepts_another_call(&self) -> bool {
        self.min_and_max_calls().1.is_none_or(|max| self.calls < max)
    }

    pub(super) fn is_met(&self) -> bool {
        self.calls >= self.min_and_max_calls().0
    }

    /// Describes the calls that are missing, if any.
    pub(super) fn unmet(&self) -> Option<String> {
        if self.is_met() {
            return None;
        }
        let (min, max) = self.min_and_max_calls();
        let at_least = if max == Some(min) { "" } else { "at least " };
        let (min, calls) = (times(min), times(self.calls));
        Some(format!(
            "{self} was expected {at_least}{min} and received {calls} ({})",
            self.location
        ))
    }

    fn min_and_max_calls(&self) -> (usize, Option<usize>) {
        let one_per_answer = self.answers.len().max(1);
        self.calls_allowed.unwrap_or((one_per_answer, Some(one_per_answer)))
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
