//! The state of a scripted server: its rules, what it received, and its connections.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::received::Received;
use super::rule::{Answer, Reply, Rule};
use crate::error::{Error, Result, ServerError};
use crate::sync::{Condvar, Mutex};
use crate::value::Value;

/// Shared by the server's handles, its expectations and its connections.
pub(super) struct Script {
    pub(super) state: Mutex<ScriptState>,
    pub(super) changed: Condvar,
}

pub(super) struct ScriptState {
    in_order: bool,
    pub(super) rules: Vec<Rule>,
    next_rule: usize,
    /// With `in_order`: the first rule that can still be called.
    position: usize,
    pub(super) received: Vec<Received>,
    unexpected: Vec<String>,
    pub(super) dial_errors: VecDeque<Error>,
    pub(super) flush_errors: VecDeque<Error>,
    /// For the next receiver that has no reply waiting.
    pub(super) pushes: VecDeque<Value>,
    pub(super) stays_open: bool,
    pub(super) conns: BTreeMap<u64, ConnState>,
    next_conn: u64,
}

/// One connection, as the server sees it.
#[derive(Default)]
pub(super) struct ConnState {
    /// Replies that the client has not received yet.
    pub(super) replies: VecDeque<Result<Value>>,
    /// Closed by the server. The client can still receive the replies.
    pub(super) closed_by_server: bool,
    /// Shut down by the client.
    pub(super) shut_down: bool,
}

impl ConnState {
    pub(super) fn is_open(&self) -> bool {
        !self.closed_by_server && !self.shut_down
    }
}

impl Script {
    pub(super) fn new(in_order: bool) -> Script {
        let state = ScriptState {
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
            conns: BTreeMap::new(),
            next_conn: 0,
        };
        Script { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn with_rule<T>(&self, id: usize, run: impl FnOnce(&mut Rule) -> T) -> Option<T> {
        self.state.lock().rules.iter_mut().find(|rule| rule.id == id).map(run)
    }
}

impl ScriptState {
    pub(super) fn next_rule_id(&mut self) -> usize {
        self.next_rule += 1;
        self.next_rule
    }

    pub(super) fn open_conn(&mut self) -> u64 {
        self.next_conn += 1;
        self.conns.insert(self.next_conn, ConnState::default());
        self.next_conn
    }

    /// Records a command and returns its answer.
    pub(super) fn answer(&mut self, received: &Received) -> Answer {
        self.received.push(received.clone());
        if let Some(index) = self.find(received) {
            return self.rules[index].take();
        }
        let problem = format!("{received} was not expected: {}", self.expected_instead(received));
        let error = ServerError::new(format!("UNEXPECTED {problem}"));
        self.unexpected.push(problem);
        Answer::new(Reply::Value(error.into()))
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let unmet = self.rules.iter().filter_map(Rule::unmet);
        self.unexpected.iter().cloned().chain(unmet).collect()
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.position = 0;
        self.received.clear();
        self.unexpected.clear();
        self.dial_errors.clear();
        self.flush_errors.clear();
        self.pushes.clear();
    }

    fn find(&mut self, received: &Received) -> Option<usize> {
        let fits = |rule: &Rule| rule.accepts_another_call() && rule.matches(received);
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
            return format!("{rule} was already received as often as expected");
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

pub(super) fn closed_by_script() -> Error {
    let message = "the scripted server closed the connection";
    io::Error::new(io::ErrorKind::UnexpectedEof, message).into()
}
