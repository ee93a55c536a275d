//! The condition of a connection: the error that ended it, the replies that are due, and its
//! session.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::args::ToArgs;
use crate::conn::deadline::Deadline;
use crate::conn::observer::Observer;
use crate::conn::session::{Answer, Effect, ReplyTo, Session};
use crate::context::{Context, Registration};
use crate::error::{Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::sync::Mutex;
use crate::value::Value;

/// The condition of a connection. Both of its halves share it, and both may fail at once.
pub(crate) struct Status {
    /// The first fatal error.
    fault: OnceLock<Error>,
    /// The number of commands sent. Only the sending side changes it.
    sent: AtomicUsize,
    /// The number of commands answered. Only the receiving side changes it.
    answered: AtomicUsize,
    /// The server, for errors.
    address: Option<Arc<str>>,
    session: Mutex<Session>,
    /// The session needs the replies. Changed under the lock of the session.
    session_needs_replies: AtomicBool,
    shutdown: ShutdownHandle,
    /// The codes of error replies after which a pool closes the connection.
    retire_on: Arc<[String]>,
    /// Such an error reply has arrived.
    retired: AtomicBool,
    /// An error reply has arrived after which the server closes the connection.
    closing: AtomicBool,
    /// An error reply has arrived.
    saw_error: AtomicBool,
    pub(super) observer: Option<Box<dyn Observer>>,
}

impl Status {
    pub(crate) fn new(shutdown: ShutdownHandle) -> Status {
        Status {
            fault: OnceLock::new(),
            sent: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            address: None,
            session: Mutex::new(Session::default()),
            session_needs_replies: AtomicBool::new(false),
            shutdown,
            retire_on: Arc::default(),
            retired: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            saw_error: AtomicBool::new(false),
            observer: None,
        }
    }

    /// Names the server in the errors that end the connection from now on.
    pub(crate) fn set_address(&mut self, address: Arc<str>) {
        self.address = Some(address);
    }

    pub(crate) fn address(&self) -> Option<&Arc<str>> {
        self.address.as_ref()
    }

    pub(crate) fn retire_on(&mut self, codes: Arc<[String]>) {
        self.retire_on = codes;
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        self.session.get_mut()
    }

    pub(crate) fn err(&self) -> Option<&Error> {
        self.fault.get()
    }

    /// Returns true if the server has announced that it closes the connection.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Returns whether an error reply has arrived since the last call.
    pub(crate) fn take_saw_error(&mut self) -> bool {
        std::mem::take(self.saw_error.get_mut())
    }

    /// Returns the handle of the connection, which is valid in every checkout.
    pub(crate) fn shutdown(&self) -> &ShutdownHandle {
        &self.shutdown
    }

    /// Fails with the error that ended the connection, if it has ended.
    pub(crate) fn check(&self) -> Result<()> {
        match self.fault.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Ends the connection if the outcome is a fatal error.
    pub(super) fn record_fatal<T>(&self, outcome: Result<T>, deadline: Deadline) -> Result<T> {
        outcome
            .map_err(|error| self.record_error(error, deadline))
            .inspect_err(|error| self.report(error))
    }

    /// Ends the connection if the error is fatal.
    pub(super) fn record_error(&self, error: Error, deadline: Deadline) -> Error {
        if error.is_fatal() { self.end(deadline.name(error)) } else { error }
    }

    /// Reports an error to the log.
    pub(super) fn report(&self, error: &Error) {
        self.observer.failed(error);
    }

    /// Ends the connection unless it has ended before, and returns the error that did.
    pub(crate) fn end(&self, error: Error) -> Error {
        // A shutdown makes waiting calls fail with errors of many kinds.
        let error = if self.shutdown.is_used() { Error::Canceled } else { error };
        let mut is_first = false;
        let ended = self.fault.get_or_init(|| {
            is_first = true;
            match &self.address {
                Some(address) => error.at(address),
                None => error,
            }
        });
        let error = ended.clone();
        self.shutdown.cut();
        // The logger may panic, so it comes last.
        if is_first {
            log::debug!(target: "redigo::conn", "connection ended: {error}");
        }
        error
    }

    /// Ends the connection when the context is canceled, while the registration lives.
    pub(crate) fn watch(&self, ctx: &Context) -> Result<Option<Registration>> {
        self.check()?;
        let handle = self.shutdown.clone();
        ctx.on_cancel(move || handle.shutdown()).map_err(|error| self.end(error))
    }

    /// Returns the outcome of calls that ran under a watch, which ends.
    pub(crate) fn unwatch<T>(
        &self,
        watch: Option<Registration>,
        ctx: &Context,
        outcome: Result<T>,
    ) -> Result<T> {
        drop(watch);
        // The canceling thread may be about to shut the socket down.
        if ctx.is_canceled() { Err(self.end(Error::Canceled)) } else { outcome }
    }

    /// The number of commands sent whose replies have not been received.
    pub(crate) fn pending(&self) -> usize {
        let sent = self.sent.load(Ordering::Acquire);
        sent.wrapping_sub(self.answered.load(Ordering::Relaxed))
    }

    /// Records a command before its bytes leave. Returns its number.
    pub(super) fn record_command(&self, command: &str, args: &dyn ToArgs) -> usize {
        let number = self.sent.load(Ordering::Relaxed);
        if let Some(effect) = Effect::of(command, args) {
            self.record_effect(number, effect);
        }
        self.sent.store(number.wrapping_add(1), Ordering::Release);
        self.observer.sending(number, command, args);
        number
    }

    #[cold]
    fn record_effect(&self, number: usize, effect: Effect) {
        let mut session = self.session.lock();
        session.record(number, effect);
        self.session_needs_replies.store(session.needs_replies(), Ordering::Release);
    }

    /// Takes back the record of a command that was not sent after all.
    pub(super) fn unrecord_command(&self, number: usize) {
        self.session.lock().unrecord(number);
        self.sent.store(number, Ordering::Release);
    }

    /// Records a reply. A non-fatal error in place of a reply is `None`.
    pub(super) fn record_reply(&self, reply: Option<&Value>) {
        let answered = self.answered.load(Ordering::Relaxed);
        let number = (answered != self.sent.load(Ordering::Acquire)).then_some(answered);
        let answer = if self.session_needs_replies.load(Ordering::Acquire) {
            self.apply_reply(number, reply)
        } else {
            let to = number.map_or(ReplyTo::Nothing, ReplyTo::Command);
            Answer { to, completes: number.is_some() }
        };
        if answer.completes {
            self.answered.store(answered.wrapping_add(1), Ordering::Relaxed);
        }
        if let Some(reply) = reply {
            self.note_errors(reply);
            self.observer.received(answer.to, reply);
        }
    }

    #[cold]
    fn apply_reply(&self, number: Option<usize>, reply: Option<&Value>) -> Answer {
        let mut session = self.session.lock();
        let answer = session.answer(number, reply);
        self.session_needs_replies.store(session.needs_replies(), Ordering::Release);
        answer
    }

    /// Records a reply that was taken apart. The session does not need it.
    pub(super) fn record_taken(&self) {
        let answered = self.answered.load(Ordering::Relaxed);
        if answered != self.sent.load(Ordering::Acquire) {
            self.answered.store(answered.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Returns true while replies must be recorded whole, and not taken apart.
    pub(super) fn needs_whole_replies(&self) -> bool {
        self.observer.is_some() || self.session_needs_replies.load(Ordering::Acquire)
    }

    /// Looks for error codes after which a pool closes the connection, also in the list of EXEC.
    pub(super) fn note_errors(&self, reply: &Value) {
        match reply {
            Value::Error(error) => {
                // Redis quotes the error that aborted a transaction.
                let quoted = error.message().split_once("because of: ");
                let quoted = quoted.and_then(|(_, quoted)| quoted.split(' ').next());
                let is_code = |code: &String| *code == error.code() || Some(&**code) == quoted;
                self.saw_error.store(true, Ordering::Relaxed);
                if error.announces_close() {
                    self.closing.store(true, Ordering::Relaxed);
                }
                if self.retire_on.iter().any(is_code) {
                    self.retired.store(true, Ordering::Relaxed);
                }
            }
            Value::Array(replies) if !self.retire_on.is_empty() => {
                replies.iter().for_each(|reply| self.note_errors(reply));
            }
            _ => {}
        }
    }

    /// Records that the server has confirmed the end of all subscriptions, and that no reply is
    /// due.
    pub(super) fn end_subscriptions(&mut self) {
        *self.answered.get_mut() = *self.sent.get_mut();
        let session = self.session.get_mut();
        session.end_subscriptions();
        *self.session_needs_replies.get_mut() = session.needs_replies();
    }

    /// Runs an exchange with the server, in which the caller's code may panic. A panic ends the
    /// connection: it may be in the middle of a command or of a reply.
    pub(super) fn guard<T>(&self, exchange: impl FnOnce() -> T) -> T {
        let guard = PoisonOnPanic(self);
        let outcome = exchange();
        std::mem::forget(guard);
        outcome
    }
}

/// Ends the connection when it is dropped.
pub(super) struct PoisonOnPanic<'a>(pub(super) &'a Status);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        self.0.end(Error::other("the caller's code panicked while it used the connection"));
    }
}
