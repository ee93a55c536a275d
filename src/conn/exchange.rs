//! Sending commands and receiving replies.
//!
//! [`Status`] has the primitives that a connection and its halves share. Their callers check before
//! that the connection has not ended, and record the outcome.

use std::io::{self, ErrorKind};

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::command_buffer::EncodedCommands;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::conn::session::refuse_subscription;
use crate::conn::status::Status;
use crate::error::{Error, Result};
use crate::from_value::{FromValue, Items, Source};
use crate::value::Value;

impl Status {
    /// Adds a command to the write buffer; its reply is due.
    pub(super) fn send<S: RawSend + ?Sized>(
        &self,
        raw: &mut S,
        command: &str,
        args: &dyn ToArgs,
        deadline: Deadline,
    ) -> Result<()> {
        self.guard(|| {
            let number = self.record_command(command, args);
            raw.send(command, args, deadline.at).inspect_err(|error| {
                if !error.is_fatal() {
                    self.unrecord_command(number);
                }
            })
        })
    }

    pub(super) fn flush<S: RawSend + ?Sized>(&self, raw: &mut S, deadline: Deadline) -> Result<()> {
        self.guard(|| raw.flush(deadline.at))
    }

    /// Receives a reply. An error reply is a value here.
    pub(super) fn receive<R: RawReceive + ?Sized>(
        &self,
        raw: &mut R,
        deadline: Deadline,
    ) -> Result<Value> {
        self.guard(|| {
            let received = raw.receive(deadline.at);
            match &received {
                Ok(reply) => self.record_reply(Some(reply)),
                Err(error) if error.is_fatal() => {}
                // It takes the place of a reply.
                Err(_) => self.record_reply(None),
            }
            received
        })
    }

    /// Waits for a reply to begin.
    pub(super) fn poll<R: RawReceive + ?Sized>(
        &self,
        raw: &mut R,
        deadline: Deadline,
    ) -> Result<bool> {
        self.guard(|| raw.poll(deadline.at))
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
            (Some(error), _) => Err(error),
            (None, reply) => whole(reply),
        }
    }

    /// Sends a command. Returns the first error among the replies due before it, and its own
    /// reply.
    pub(crate) fn exchange_raw(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        timeouts: &Timeouts,
    ) -> Result<(Option<Error>, Value)> {
        let (first_error, deadline) = self.send_command(command, args, timeouts)?;
        match (first_error, self.receive_reply_to(command, deadline)) {
            // The reply is in place of an error that is not fatal, so the first error counts.
            (Some(first), Err(error)) if !error.is_fatal() => Ok((Some(first), Value::Nil)),
            (first_error, reply) => Ok((first_error, reply?)),
        }
    }

    /// Sends a command and receives the replies due before it. Returns the first error among
    /// them, and the deadline of the command's own reply.
    pub(super) fn send_command(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        timeouts: &Timeouts,
    ) -> Result<(Option<Error>, Deadline)> {
        self.check()?;
        refuse_subscription(command)?;
        let pending = self.status.pending();
        let deadline = timeouts.for_write();
        let sent = self.status.send(&mut *self.raw, command, args, deadline);
        let sent = sent.and_then(|()| self.status.flush(&mut *self.raw, deadline));
        self.record_write(sent, deadline)?;
        // One deadline for all replies.
        let deadline = timeouts.for_read();
        let mut first_error = None;
        for _ in 0..pending {
            let error = match self.receive_raw(deadline) {
                Ok(Value::Error(error)) => Error::Server(error),
                Ok(_) => continue,
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => error,
            };
            first_error.get_or_insert(error);
        }
        Ok((first_error, deadline))
    }

    /// Receives one reply as a type. The elements of a list are converted as they arrive, so the
    /// list is never in memory twice.
    pub(super) fn receive_as<T: FromValue>(
        &mut self,
        command: &str,
        deadline: Deadline,
    ) -> Result<T> {
        if self.status.needs_whole_replies() {
            return whole(self.receive_reply_to(command, deadline)?)?.convert();
        }
        let Conn { raw, status, .. } = self;
        let converted = status.guard(|| {
            let length = raw.open_list(deadline.at)?;
            if length == 0 {
                return Ok(None);
            }
            let mut arriving = Arriving { raw: &mut **raw, status, deadline };
            let mut items = Items::announced(length, &mut arriving);
            let converted = T::from_items(&mut items);
            // Whatever the conversion returned, the next reply begins behind this one.
            items.finish()?;
            status.record_taken();
            Ok(Some(converted))
        });
        let converted = converted.map_err(|error: Error| error.awaiting_reply_to(command));
        if let Some(converted) = self.record_outcome(converted, deadline)? {
            return converted;
        }
        match self.take_bulk() {
            Some(bytes) => T::from_bulk(bytes),
            None => whole(self.receive_reply_to(command, deadline)?)?.convert(),
        }
    }

    /// Writes commands whose replies are due then.
    pub(super) fn write_encoded(
        &mut self,
        commands: EncodedCommands<'_>,
        deadline: Deadline,
    ) -> Result<()> {
        self.check()?;
        let Conn { raw, status, .. } = self;
        let written = status.guard(|| {
            for command in commands.iter() {
                status.record_command(command.name(), &command);
            }
            raw.write_encoded(commands, deadline.at)
        });
        self.record_write(written, deadline)
    }

    pub(super) fn send_until(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        deadline: Deadline,
    ) -> Result<()> {
        self.check()?;
        let sent = self.status.send(&mut *self.raw, command, args, deadline);
        self.record_write(sent, deadline)
    }

    pub(super) fn flush_until(&mut self, deadline: Deadline) -> Result<()> {
        self.check()?;
        let flushed = self.status.flush(&mut *self.raw, deadline);
        self.record_write(flushed, deadline)
    }

    pub(super) fn receive_until(&mut self, deadline: Deadline) -> Result<Value> {
        self.check()?;
        whole(self.receive_raw(deadline)?)
    }

    /// Receives a reply, on a connection that has not ended. An error reply is a value here.
    pub(super) fn receive_raw(&mut self, deadline: Deadline) -> Result<Value> {
        let received = self.status.receive(&mut *self.raw, deadline);
        self.record_outcome(received, deadline)
    }

    /// Like [`Conn::receive_raw`], but a timeout names the command.
    pub(super) fn receive_reply_to(&mut self, command: &str, deadline: Deadline) -> Result<Value> {
        let received = self.status.receive(&mut *self.raw, deadline);
        let received = received.map_err(|error| error.awaiting_reply_to(command));
        self.record_outcome(received, deadline)
    }

    pub(super) fn poll_within(
        &mut self,
        wait: Deadline,
        timeouts: &Timeouts,
    ) -> Result<Option<Value>> {
        self.check()?;
        let begun = self.status.poll(&mut *self.raw, wait);
        match self.record_outcome(begun, wait)? {
            true => self.receive_until(timeouts.for_read()).map(Some),
            false => Ok(None),
        }
    }

    /// Takes the next reply if it is a bulk string that has arrived.
    pub(super) fn take_bulk(&mut self) -> Option<&[u8]> {
        let Conn { raw, status, .. } = self;
        if status.needs_whole_replies() {
            return None;
        }
        let bytes = status.guard(|| raw.take_bulk())?;
        status.record_taken();
        Some(bytes)
    }

    pub(super) fn drain_within(&mut self, timeouts: &Timeouts) -> Result<Vec<Value>> {
        let pending = self.status.pending();
        if pending == 0 {
            return Ok(Vec::new());
        }
        self.flush_until(timeouts.for_write())?;
        let deadline = timeouts.for_read();
        let mut replies = Vec::with_capacity(pending.min(1024));
        let mut first_error = None;
        for _ in 0..pending {
            match self.receive_raw(deadline) {
                Ok(reply) => replies.push(reply),
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error.map_or(Ok(replies), Err)
    }

    /// Fails with the error that ended the connection, if it has ended.
    fn check(&mut self) -> Result<()> {
        self.status.check().inspect_err(|_| {
            // It has ended outside of a call of this connection.
            if !std::mem::replace(&mut self.closed, true) {
                self.raw.close();
            }
        })
    }

    /// Like [`Conn::record_outcome`], for a write. If the server has closed the connection, its
    /// last reply tells why.
    fn record_write(&mut self, outcome: Result<()>, deadline: Deadline) -> Result<()> {
        let Err(Error::Io(error)) = &outcome else { return self.record_outcome(outcome, deadline) };
        let is_closed = matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
        );
        let Conn { raw, status, .. } = self;
        let reason = if is_closed { status.guard(|| raw.last_error()) } else { None };
        let outcome = match reason {
            Some(reason) => {
                let text = format!("the server closed the connection: {reason}");
                Err(io::Error::new(error.kind(), text).into())
            }
            None => outcome,
        };
        self.record_outcome(outcome, deadline)
    }

    /// Ends and closes the connection if the outcome is a fatal error.
    pub(super) fn record_outcome<T>(
        &mut self,
        outcome: Result<T>,
        deadline: Deadline,
    ) -> Result<T> {
        let Err(error) = outcome else { return outcome };
        let error = self.status.record_error(error, deadline);
        self.close_if_ended();
        // The log may panic, so it comes last.
        self.status.report(&error);
        Err(error)
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

/// Fails with an error reply.
pub(super) fn whole(reply: Value) -> Result<Value> {
    match reply {
        Value::Error(error) => Err(Error::Server(error)),
        reply => Ok(reply),
    }
}

/// The elements of a list that is being received.
struct Arriving<'a> {
    raw: &'a mut dyn RawConn,
    status: &'a Status,
    deadline: Deadline,
}

impl Source for Arriving<'_> {
    fn next(&mut self) -> Result<Value> {
        let element = self.raw.receive(self.deadline.at)?;
        self.status.note_errors(&element);
        Ok(element)
    }

    fn next_bulk(&mut self) -> Option<&[u8]> {
        self.raw.take_bulk()
    }
}
