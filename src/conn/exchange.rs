//! Commands out and replies in, with what the connection remembers of either.

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::command_buffer::Encoded;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::conn::observer::Observer;
use crate::conn::raw::RawConn;
use crate::conn::status::HalfDone;
use crate::error::{Error, Result, ServerError};
use crate::from_value::{FromValue, Items, Source};
use crate::value::Value;

impl Conn {
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

    /// Sends a command and receives the replies owed before and its own: the first error among
    /// the former, and the latter.
    pub(crate) fn exchange_raw(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        timeouts: &Timeouts,
    ) -> Result<(Option<ServerError>, Value)> {
        let (first_error, limit) = self.ask(command, args, timeouts)?;
        Ok((first_error, self.receive_raw(limit)?))
    }

    /// Sends a command and receives the replies owed before: the first error among them, and the
    /// limit of the command's own reply.
    pub(super) fn ask(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        timeouts: &Timeouts,
    ) -> Result<(Option<ServerError>, Deadline)> {
        self.status.check()?;
        let pending = self.status.take_pending();
        self.session.note(command, args);
        self.observer.sending(command, args);
        let limit = timeouts.for_write();
        let half_done = HalfDone::sending(&self.status);
        let sent = self.raw.send(command, args, limit.at).and_then(|()| self.raw.flush(limit.at));
        half_done.end();
        self.record_fatal(sent, limit)?;
        // One deadline for all replies.
        let limit = timeouts.for_read();
        let mut first_error = None;
        for _ in 0..pending {
            if let Value::Error(error) = self.receive_raw(limit)? {
                first_error.get_or_insert(error);
            }
        }
        Ok((first_error, limit))
    }

    /// Receives one reply as a type. The elements of a list are converted as they come, so that
    /// it is never in memory twice.
    pub(super) fn receive_as<T: FromValue>(&mut self, limit: Deadline) -> Result<T> {
        let opened = self.raw.open_list(limit.at);
        let length = self.record_fatal(opened, limit)?;
        if length == 0 {
            if let Some(bytes) = self.raw.take_bulk() {
                return T::from_bulk(bytes);
            }
            return match self.receive_raw(limit)? {
                Value::Error(error) => Err(Error::Server(error)),
                reply => reply.convert(),
            };
        }
        let half_done = HalfDone::receiving(&self.status);
        let mut arriving = Arriving { raw: &mut *self.raw, limit };
        let mut items = Items::announced(length, &mut arriving);
        let converted = T::from_items(&mut items);
        // Whatever came of it, the next reply begins behind this one.
        let received = items.finish();
        half_done.end();
        self.record_fatal(received, limit)?;
        converted
    }

    pub(super) fn send_within(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        limit: Deadline,
    ) -> Result<()> {
        self.status.check()?;
        self.status.owe(1);
        self.session.note(command, args);
        self.observer.sending(command, args);
        let half_done = HalfDone::sending(&self.status);
        let sent = self.raw.send(command, args, limit.at);
        half_done.end();
        self.record_fatal(sent, limit)
    }

    /// Writes commands whose replies do not count as owed as long as the caller receives them.
    pub(super) fn write_encoded(&mut self, commands: Encoded<'_>, limit: Deadline) -> Result<()> {
        self.status.check()?;
        for command in commands.iter() {
            let name = command.name();
            self.session.note(name, &command);
            self.observer.sending(name, &command);
        }
        let written = self.raw.write_encoded(commands, limit.at);
        self.record_fatal(written, limit)
    }

    pub(super) fn flush_within(&mut self, limit: Deadline) -> Result<()> {
        self.status.check()?;
        let flushed = self.raw.flush(limit.at);
        self.record_fatal(flushed, limit)
    }

    pub(super) fn receive_within(&mut self, limit: Deadline) -> Result<Value> {
        self.status.check()?;
        let reply = self.receive_raw(limit)?;
        self.status.received(reply)
    }

    /// Takes a reply to [`Conn::write_encoded`], if it is a bulk string that is here already.
    pub(super) fn take_bulk(&mut self) -> Option<&[u8]> {
        // Who watches sees whole replies.
        if self.observer.is_some() { None } else { self.raw.take_bulk() }
    }

    pub(super) fn drain_within(&mut self, timeouts: &Timeouts) -> Result<Vec<Value>> {
        let pending = self.status.take_pending();
        if pending == 0 {
            return Ok(Vec::new());
        }
        self.status.check()?;
        let limit = timeouts.for_write();
        let flushed = self.raw.flush(limit.at);
        self.record_fatal(flushed, limit)?;
        let limit = timeouts.for_read();
        (0..pending).map(|_| self.receive_raw(limit)).collect()
    }

    pub(super) fn receive_raw(&mut self, limit: Deadline) -> Result<Value> {
        let received = self.raw.receive(limit.at);
        let reply = self.record_fatal(received, limit)?;
        self.observer.received(&reply);
        self.status.heed(&reply);
        Ok(reply)
    }

    /// Makes a fatal error final, and closes the socket at once.
    pub(super) fn record_fatal<T>(&mut self, outcome: Result<T>, limit: Deadline) -> Result<T> {
        let outcome = self.status.record_fatal(outcome, limit);
        if let Err(error) = &outcome {
            self.observer.failed(error);
        }
        self.close_if_ended();
        outcome
    }

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
    limit: Deadline,
}

impl Source for Arriving<'_> {
    fn next(&mut self) -> Result<Value> {
        self.raw.receive(self.limit.at)
    }

    fn next_bulk(&mut self) -> Option<&[u8]> {
        self.raw.take_bulk()
    }
}
