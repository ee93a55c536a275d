//! Commands out and replies in, with what the connection remembers of either.

use super::conn::Conn;
use super::limit::{Limit, Limits};
use super::observer::Observer;
use super::queue::Encoded;
use super::raw::RawConn;
use super::status::HalfDone;
use crate::args::ToArgs;
use crate::error::{Error, Result, ServerError};
use crate::from_value::{FromValue, Items, Source};
use crate::value::Value;

impl Conn {
    pub(super) fn exchange(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        limits: &Limits,
    ) -> Result<Value> {
        if command.is_empty() {
            let replies = self.drain_within(limits)?;
            return Ok(if replies.is_empty() { Value::Nil } else { Value::Array(replies) });
        }
        match self.exchange_apart(command, args, limits)? {
            (Some(error), _) | (None, Value::Error(error)) => Err(Error::Server(error)),
            (None, reply) => Ok(reply),
        }
    }

    /// Sends a command and receives the replies owed before and its own: the first error among
    /// the former, and the latter.
    pub(crate) fn exchange_apart(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        limits: &Limits,
    ) -> Result<(Option<ServerError>, Value)> {
        let (first_error, limit) = self.ask(command, args, limits)?;
        Ok((first_error, self.receive_raw(limit)?))
    }

    /// Sends a command and receives the replies owed before: the first error among them, and the
    /// limit of the command's own reply.
    pub(super) fn ask(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        limits: &Limits,
    ) -> Result<(Option<ServerError>, Limit)> {
        self.status.check()?;
        let pending = self.status.take_pending();
        self.session.note(command, args);
        self.observer.sending(command, args);
        let limit = limits.for_write();
        let half_done = HalfDone::sending(&self.status);
        let sent = self.raw.send(command, args, limit.at).and_then(|()| self.raw.flush(limit.at));
        half_done.end();
        self.settle(sent, limit)?;
        // One deadline for all replies.
        let limit = limits.for_read();
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
    pub(super) fn receive_as<T: FromValue>(&mut self, limit: Limit) -> Result<T> {
        let opened = self.raw.open_list(limit.at);
        let length = self.settle(opened, limit)?;
        if length == 0 {
            if let Some(bytes) = self.raw.take_bulk() {
                return T::from_bulk(bytes);
            }
            return match self.receive_raw(limit)? {
                Value::Error(error) => Err(Error::Server(error)),
                reply => reply.to(),
            };
        }
        let half_done = HalfDone::receiving(&self.status);
        let mut arriving = Arriving { raw: &mut *self.raw, limit };
        let mut items = Items::announced(length, &mut arriving);
        let converted = T::from_items(&mut items);
        // Whatever came of it, the next reply begins behind this one.
        let received = items.finish();
        half_done.end();
        self.settle(received, limit)?;
        converted
    }

    pub(super) fn send_within(
        &mut self,
        command: &str,
        args: &dyn ToArgs,
        limit: Limit,
    ) -> Result<()> {
        self.status.check()?;
        self.status.owe(1);
        self.session.note(command, args);
        self.observer.sending(command, args);
        let half_done = HalfDone::sending(&self.status);
        let sent = self.raw.send(command, args, limit.at);
        half_done.end();
        self.settle(sent, limit)
    }

    /// Writes commands whose replies do not count as owed as long as the caller receives them.
    pub(super) fn write_encoded(&mut self, commands: Encoded<'_>, limit: Limit) -> Result<()> {
        self.status.check()?;
        for command in commands.iter() {
            let name = command.name();
            self.session.note(name, &command);
            self.observer.sending(name, &command);
        }
        let written = self.raw.write_encoded(commands, limit.at);
        self.settle(written, limit)
    }

    pub(super) fn flush_within(&mut self, limit: Limit) -> Result<()> {
        self.status.check()?;
        let flushed = self.raw.flush(limit.at);
        self.settle(flushed, limit)
    }

    pub(super) fn receive_within(&mut self, limit: Limit) -> Result<Value> {
        self.status.check()?;
        let reply = self.receive_raw(limit)?;
        self.status.received(reply)
    }

    /// Takes a reply to [`Conn::write_encoded`], if it is a bulk string that is here already.
    pub(super) fn take_bulk(&mut self) -> Option<&[u8]> {
        // Who watches sees whole replies.
        if self.observer.is_some() { None } else { self.raw.take_bulk() }
    }

    pub(super) fn drain_within(&mut self, limits: &Limits) -> Result<Vec<Value>> {
        let pending = self.status.take_pending();
        if pending == 0 {
            return Ok(Vec::new());
        }
        self.status.check()?;
        let limit = limits.for_write();
        let flushed = self.raw.flush(limit.at);
        self.settle(flushed, limit)?;
        let limit = limits.for_read();
        (0..pending).map(|_| self.receive_raw(limit)).collect()
    }

    pub(super) fn receive_raw(&mut self, limit: Limit) -> Result<Value> {
        let received = self.raw.receive(limit.at);
        let reply = self.settle(received, limit)?;
        self.observer.received(&reply);
        self.status.heed(&reply);
        Ok(reply)
    }

    /// Makes a fatal error final, and closes the socket at once.
    pub(super) fn settle<T>(&mut self, outcome: Result<T>, limit: Limit) -> Result<T> {
        let outcome = self.status.settle(outcome, limit);
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
    limit: Limit,
}

impl Source for Arriving<'_> {
    fn next(&mut self) -> Result<Value> {
        self.raw.receive(self.limit.at)
    }

    fn next_bulk(&mut self) -> Option<&[u8]> {
        self.raw.take_bulk()
    }
}
