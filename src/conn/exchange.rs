//! Sending commands and receiving replies. A connection and its halves share the primitives of
//! [`Status`]; a connection adds the exchanges that need both directions.

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::command_buffer::EncodedCommands;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::conn::observer::Observer;
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::conn::session::Session;
use crate::conn::status::{PoisonOnPanic, Status};
use crate::error::{Error, Result, ServerError};
use crate::from_value::{FromValue, Items, Source};
use crate::value::Value;

impl Status {
    /// Adds a command to the write buffer; its reply is due.
    pub(super) fn send<S: RawSend + ?Sized>(
        &self,
        raw: &mut S,
        session: &mut Session,
        command: &str,
        args: &dyn ToArgs,
        deadline: Deadline,
    ) -> Result<()> {
        self.check()?;
        self.add_pending(1);
        session.note(command, args);
        self.observer.sending(command, args);
        let guard = PoisonOnPanic::sending(self);
        let sent = raw.send(command, args, deadline.at);
        guard.disarm();
        self.record_fatal(sent, deadline)
    }

    pub(super) fn flush<S: RawSend + ?Sized>(&self, raw: &mut S, deadline: Deadline) -> Result<()> {
        self.check()?;
        let flushed = raw.flush(deadline.at);
        self.record_fatal(flushed, deadline)
    }

    /// Receives a reply and counts it.
    pub(super) fn receive<R: RawReceive + ?Sized>(
        &self,
        raw: &mut R,
        deadline: Deadline,
    ) -> Result<Value> {
        self.check()?;
        let reply = self.receive_uncounted(raw, deadline)?;
        self.received(reply)
    }

    /// Waits until `wait` for a reply to begin, then receives it.
    pub(super) fn poll<R: RawReceive + ?Sized>(
        &self,
        raw: &mut R,
        wait: Deadline,
        timeouts: &Timeouts,
    ) -> Result<Option<Value>> {
        self.check()?;
        let begun = raw.poll(wait.at);
        match self.record_fatal(begun, wait)? {
            true => self.receive(raw, timeouts.for_read()).map(Some),
            false => Ok(None),
        }
    }

    /// Receives a reply whose caller does the counting. An error reply is a value here.
    fn receive_uncounted<R: RawReceive + ?Sized>(
        &self,
        raw: &mut R,
        deadline: Deadline,
    ) -> Result<Value> {
        let received = raw.receive(deadline.at);
        let reply = self.record_fatal(received, deadline)?;
        self.note_reply(&reply);
        Ok(reply)
    }
}

impl Conn {
    /// Sends a command and receives its reply; without a command, the replies that are due.
    pub(super) fn exchange(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        timeouts: &Timeouts,
    ) -> Result<Value> {
        if command.is_empty() {
            let replies = self.drain_within(timeouts)?;
            return Ok(if replies.is_empty() { Value::Nil } else { Value::Array(replies) });
        }
        match self.exchange_raw(command, args, timeouts)? {
            (Some(error), _) | (None, Value::Error(error)) => Err(Error::Server(error)),
            (None, reply) => Ok(reply),
        }
    }

    /// Sends a command. Returns the first error among the replies due before it, and its own
    /// reply.
    pub(crate) fn exchange_raw(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        timeouts: &Timeouts,
    ) -> Result<(Option<ServerError>, Value)> {
        let (first_error, deadline) = self.send_command(command, args, timeouts)?;
        Ok((first_error, self.receive_raw(deadline)?))
    }

    /// Sends a command and receives the replies due before it. Returns the first error among
    /// them, and the deadline of the command's own reply.
    pub(super) fn send_command(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        timeouts: &Timeouts,
    ) -> Result<(Option<ServerError>, Deadline)> {
        self.status.check()?;
        let pending = self.status.take_pending();
        self.session.note(command, args);
        self.status.observer.sending(command, args);
        let deadline = timeouts.for_write();
        let guard = PoisonOnPanic::sending(&self.status);
        let sent =
            self.raw.send(command, args, deadline.at).and_then(|()| self.raw.flush(deadline.at));
        guard.disarm();
        self.record_fatal(sent, deadline)?;
        // One deadline for all replies.
        let deadline = timeouts.for_read();
        let mut first_error = None;
        for _ in 0..pending {
            if let Value::Error(error) = self.receive_raw(deadline)? {
                first_error.get_or_insert(error);
            }
        }
        Ok((first_error, deadline))
    }

    /// Receives one reply as a type. The elements of a list are converted as they arrive, so the
    /// list is never in memory twice.
    pub(super) fn receive_as<T: FromValue>(&mut self, deadline: Deadline) -> Result<T> {
        let opened = self.raw.open_list(deadline.at);
        let length = self.record_fatal(opened, deadline)?;
        if length == 0 {
            if let Some(bytes) = self.raw.take_bulk() {
                return T::from_bulk(bytes);
            }
            return match self.receive_raw(deadline)? {
                Value::Error(error) => Err(Error::Server(error)),
                reply => reply.convert(),
            };
        }
        let guard = PoisonOnPanic::receiving(&self.status);
        let mut arriving = Arriving { raw: &mut *self.raw, deadline };
        let mut items = Items::announced(length, &mut arriving);
        let converted = T::from_items(&mut items);
        // Whatever the conversion returned, the next reply begins behind this one.
        let received = items.finish();
        guard.disarm();
        self.record_fatal(received, deadline)?;
        converted
    }

    /// Writes commands whose replies the caller counts.
    pub(super) fn write_encoded(
        &mut self,
        commands: EncodedCommands<'_>,
        deadline: Deadline,
    ) -> Result<()> {
        self.status.check()?;
        for command in commands.iter() {
            let name = command.name();
            self.session.note(name, &command);
            self.status.observer.sending(name, &command);
        }
        let written = self.raw.write_encoded(commands, deadline.at);
        self.record_fatal(written, deadline)
    }

    pub(super) fn flush_until(&mut self, deadline: Deadline) -> Result<()> {
        let flushed = self.status.flush(&mut *self.raw, deadline);
        self.close_if_ended();
        flushed
    }

    pub(super) fn receive_until(&mut self, deadline: Deadline) -> Result<Value> {
        let received = self.status.receive(&mut *self.raw, deadline);
        self.close_if_ended();
        received
    }

    /// Takes a reply to [`Conn::write_encoded`] if it is a bulk string that has arrived.
    pub(super) fn take_bulk(&mut self) -> Option<&[u8]> {
        // The observer needs whole replies.
        if self.status.observer.is_some() { None } else { self.raw.take_bulk() }
    }

    pub(super) fn drain_within(&mut self, timeouts: &Timeouts) -> Result<Vec<Value>> {
        let pending = self.status.take_pending();
        if pending == 0 {
            return Ok(Vec::new());
        }
        self.flush_until(timeouts.for_write())?;
        let deadline = timeouts.for_read();
        (0..pending).map(|_| self.receive_raw(deadline)).collect()
    }

    /// Receives a reply that the caller counts. An error reply is a value here.
    pub(super) fn receive_raw(&mut self, deadline: Deadline) -> Result<Value> {
        let received = self.status.receive_uncounted(&mut *self.raw, deadline);
        self.close_if_ended();
        received
    }

    /// Ends and closes the connection if the outcome is a fatal error.
    pub(super) fn record_fatal<T>(&mut self, outcome: Result<T>, deadline: Deadline) -> Result<T> {
        let outcome = self.status.record_fatal(outcome, deadline);
        self.close_if_ended();
        outcome
    }

    /// Ends and closes the connection, and returns the error that ended it.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        let error = self.status.end(error);
        self.close_if_ended();
        error
    }

    /// Closes the socket of a connection that has ended.
    pub(super) fn close_if_ended(&mut self) {
        if self.status.err().is_some() && !self.closed {
            self.closed = true;
            self.raw.close();
        }
    }
}

/// The elements of a list that is being received.
struct Arriving<'a> {
    raw: &'a mut dyn RawConn,
    deadline: Deadline,
}

impl Source for Arriving<'_> {
    fn next(&mut self) -> Result<Value> {
        self.raw.receive(self.deadline.at)
    }

    fn next_bulk(&mut self) -> Option<&[u8]> {
        self.raw.take_bulk()
    }
}
