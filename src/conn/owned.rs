//! A connection whose halves are taken out, used by two threads, and put back.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::command_buffer::EncodedCommands;
use crate::conn::deadline::Timeouts;
use crate::conn::raw::{FailedConn, RawConn, RawReceive, RawSend};
use crate::conn::split::{ReceiveHalf, SendHalf};
use crate::conn::status::Status;
use crate::error::{Error, Result};
use crate::net::stream::{Peek, ShutdownHandle};
use crate::value::Value;

/// The sending half of a connection, as a value.
pub(crate) struct OwnedSendHalf {
    raw: Box<dyn RawSend>,
    status: Arc<Status>,
    timeouts: Timeouts,
}

/// The receiving half of a connection, as a value.
pub(crate) struct OwnedReceiveHalf {
    raw: Box<dyn RawReceive>,
    status: Arc<Status>,
    timeouts: Timeouts,
}

impl OwnedSendHalf {
    /// Leaves a half whose calls fail.
    pub(crate) fn take(&mut self) -> OwnedSendHalf {
        let absent = OwnedSendHalf {
            raw: Box::new(FailedConn::default()),
            status: Arc::new(Status::absent()),
            timeouts: self.timeouts,
        };
        mem::replace(self, absent)
    }

    pub(crate) fn half(&mut self) -> SendHalf<'_> {
        SendHalf::new(&mut *self.raw, &self.status, self.timeouts)
    }

    pub(crate) fn err(&self) -> Option<&Error> {
        self.status.err()
    }
}

impl OwnedReceiveHalf {
    /// Leaves a half whose calls fail.
    pub(crate) fn take(&mut self) -> OwnedReceiveHalf {
        let absent = OwnedReceiveHalf {
            raw: Box::new(FailedConn::default()),
            status: Arc::new(Status::absent()),
            timeouts: self.timeouts,
        };
        mem::replace(self, absent)
    }

    pub(crate) fn half(&mut self) -> ReceiveHalf<'_> {
        ReceiveHalf::new(&mut *self.raw, &self.status, self.timeouts)
    }

    pub(crate) fn err(&self) -> Option<&Error> {
        self.status.err()
    }
}

impl Conn {
    /// Takes the halves out. Until they are put back, every call of the connection fails.
    ///
    /// # Errors
    /// The error that ended the connection. [`Error::Unsupported`] if it has no halves.
    pub(crate) fn take_halves(&mut self) -> Result<(OwnedSendHalf, OwnedReceiveHalf)> {
        self.status.check()?;
        let Some((sender, receiver)) = self.raw.halves() else {
            let what = "splitting a connection whose RawConn::halves returns None";
            return Err(Error::Unsupported(what.into()));
        };
        let timeouts = self.timeouts();
        self.raw = Box::new(FailedConn::default());
        let status = Arc::new(mem::replace(&mut self.status, Status::absent()));
        let sender = OwnedSendHalf { raw: sender, status: Arc::clone(&status), timeouts };
        Ok((sender, OwnedReceiveHalf { raw: receiver, status, timeouts }))
    }

    /// Puts back the halves that were taken out of this connection.
    pub(crate) fn put_halves(&mut self, sender: OwnedSendHalf, receiver: OwnedReceiveHalf) {
        let OwnedSendHalf { raw: sender, status, .. } = sender;
        let OwnedReceiveHalf { raw: receiver, status: shared, .. } = receiver;
        drop(status);
        // The halves were the only other owners of the status.
        let Ok(status) = Arc::try_unwrap(shared) else { return };
        let shutdown = status.shutdown().clone();
        self.raw = Box::new(Rejoined { sender, receiver, shutdown });
        self.status = status;
        self.close_if_ended();
    }
}

impl Status {
    /// The status of a connection whose halves are elsewhere.
    fn absent() -> Status {
        let status = Status::new(ShutdownHandle::new(|| {}));
        status.end(Error::ConnClosed);
        status
    }
}

/// A raw connection made of two halves.
struct Rejoined {
    sender: Box<dyn RawSend>,
    receiver: Box<dyn RawReceive>,
    shutdown: ShutdownHandle,
}

impl Rejoined {
    fn replace_halves(&mut self) -> (Box<dyn RawSend>, Box<dyn RawReceive>) {
        let (sender, receiver) = (FailedConn::default(), FailedConn::default());
        (
            mem::replace(&mut self.sender, Box::new(sender)),
            mem::replace(&mut self.receiver, Box::new(receiver)),
        )
    }
}

impl RawSend for Rejoined {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.sender.send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.sender.flush(deadline)
    }

    fn write_encoded(
        &mut self,
        commands: EncodedCommands<'_>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        self.sender.write_encoded(commands, deadline)
    }
}

impl RawReceive for Rejoined {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.receiver.receive(deadline)
    }

    fn open_list(&mut self, deadline: Option<Instant>) -> Result<usize> {
        self.receiver.open_list(deadline)
    }

    fn take_bulk(&mut self) -> Option<&[u8]> {
        self.receiver.take_bulk()
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.receiver.poll(deadline)
    }
}

impl RawConn for Rejoined {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        (&mut *self.sender, &mut *self.receiver)
    }

    fn halves(&mut self) -> Option<(Box<dyn RawSend>, Box<dyn RawReceive>)> {
        Some(self.replace_halves())
    }

    fn has_unread(&self) -> bool {
        self.receiver.half_has_unread()
    }

    fn peek(&self) -> Result<Peek> {
        self.receiver.half_peek()
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    fn close(&mut self) {
        drop(self.replace_halves());
    }
}

impl fmt::Debug for OwnedSendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSendHalf").field("err", &self.err()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedReceiveHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReceiveHalf").field("err", &self.err()).finish_non_exhaustive()
    }
}
