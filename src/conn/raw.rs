//! What an implementer of another kind of connection provides.

use std::time::Instant;

use crate::args::ToArgs;
use crate::conn::command_buffer::Encoded;
use crate::error::{Error, Result};
use crate::net::stream::{Peek, ShutdownHandle};
use crate::value::Value;

/// The sending side of a connection.
///
/// A deadline that passes leaves what is not written in the queue, so that a later call can go
/// on: a [`Mux`](crate::Mux) does, a [`Conn`](crate::Conn) is at its end.
pub trait RawSend: Send {
    /// Queues a command; may write when much is queued.
    ///
    /// # Errors
    /// Any error for which [`Error::is_fatal`] holds ends the connection.
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()>;

    /// Writes what is queued.
    ///
    /// # Errors
    /// As for [`RawSend::send`].
    fn flush(&mut self, deadline: Option<Instant>) -> Result<()>;

    /// Writes what is queued, and then commands that are encoded already.
    ///
    /// # Errors
    /// As for [`RawSend::send`].
    #[doc(hidden)]
    fn write_encoded(&mut self, commands: Encoded<'_>, deadline: Option<Instant>) -> Result<()> {
        commands.iter().try_for_each(|command| self.send(command.name(), &command, deadline))?;
        self.flush(deadline)
    }
}

/// The receiving side of a connection.
///
/// A deadline that passes in the middle of a reply leaves its beginning where it is, so that a
/// later call can go on: a [`Mux`](crate::Mux) does, a [`Conn`](crate::Conn) is at its end. When
/// it has passed before the call, a reply that has been read already is still given.
pub trait RawReceive: Send {
    /// Waits for the next reply. An error reply of the server is a [`Value::Error`] here.
    ///
    /// # Errors
    /// Any error for which [`Error::is_fatal`] holds ends the connection; a deadline that has
    /// passed is [`TimeoutKind::Read`](crate::TimeoutKind::Read).
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value>;

    /// Waits for the next reply to begin, and when it is a list takes its header and says how many
    /// elements it has: they are received one by one, each as a reply of its own. Zero when nothing
    /// was taken, because the next reply is an empty list, or none, or lists are not taken apart
    /// here, as in the default.
    ///
    /// # Errors
    /// As for [`RawReceive::receive`].
    fn open_list(&mut self, deadline: Option<Instant>) -> Result<usize> {
        let _ = deadline;
        Ok(0)
    }

    /// Takes the next reply if it is a bulk string that has been read already, and lends its bytes.
    /// Anything else is left for [`RawReceive::receive`], and in the default everything.
    #[doc(hidden)]
    fn take_bulk(&mut self) -> Option<&[u8]> {
        None
    }

    /// Waits for the first byte of the next reply, at most until the deadline, and says whether
    /// it is there. That it is not is no error. `None` waits for ever.
    ///
    /// # Errors
    /// As for [`RawReceive::receive`].
    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool>;
}

/// A connection without the bookkeeping: [`Conn`](crate::Conn) adds the pending replies, the
/// sticky error, the timeouts and the state that a pool must undo.
///
/// The crate's own implementation speaks RESP over a [`Stream`](crate::Stream). Another might
/// play back a script in a test: give it to [`Conn::new`](crate::Conn::new).
#[doc(alias = "Conn")]
pub trait RawConn: RawSend + RawReceive {
    /// Both sides at once, for two threads.
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive);

    /// Both sides as values of their own, for a [`Mux`](crate::Mux), whose threads take turns on
    /// each. Nothing but the shutdown handle is used after. With `None`, the default, a mux cannot
    /// share the connection: its calls fail with [`Error::Unsupported`].
    fn halves(&mut self) -> Option<(Box<dyn RawSend>, Box<dyn RawReceive>)> {
        None
    }

    /// True when bytes have been received that belong to no reply asked for. Such a connection
    /// never goes back to a pool.
    fn has_unread(&self) -> bool {
        false
    }

    /// What a read would find now, without waiting and without a round trip.
    ///
    /// # Errors
    /// When the connection is broken.
    fn peek(&self) -> Result<Peek> {
        Ok(Peek::Unknown)
    }

    /// A handle that makes waiting calls return.
    fn shutdown_handle(&self) -> ShutdownHandle;

    /// Closes it at once, without writing anything. Nothing is called on it after.
    fn close(&mut self);
}

/// Stands in for a connection that could not be had.
#[derive(Debug)]
pub(crate) struct NoConn;

impl RawSend for NoConn {
    fn send(&mut self, _: &str, _: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        Err(Error::ConnClosed)
    }

    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Err(Error::ConnClosed)
    }
}

impl RawReceive for NoConn {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        Err(Error::ConnClosed)
    }

    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Err(Error::ConnClosed)
    }
}

impl RawConn for NoConn {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        // Both sides only ever answer that they are closed, and a value without size costs nothing.
        (Box::leak(Box::new(NoConn)), Box::leak(Box::new(NoConn)))
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle::new(|| {})
    }

    fn close(&mut self) {}
}
