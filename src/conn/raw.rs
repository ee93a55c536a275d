//! Connections of another kind: the traits under [`Conn`](crate::Conn).
//!
//! Implement [`RawConn`] to run a [`Conn`](crate::Conn), and with it a pool, over a transport or
//! a test double that does not speak RESP over a [`Stream`](crate::Stream). For another byte
//! stream, implement [`Stream`](crate::Stream) instead.
//!
//! This module is outside semantic versioning until 1.0: a minor release may add, change or
//! remove methods of these traits.
//!
//! ```
//! use std::time::Instant;
//! use redigo::raw::{RawConn, RawReceive, RawSend};
//! use redigo::{Conn, Result, ShutdownHandle, ToArgs, Value};
//!
//! /// Answers every command with `OK`.
//! #[derive(Default)]
//! struct AlwaysOk(Sender, Receiver);
//! #[derive(Default)]
//! struct Sender;
//! #[derive(Default)]
//! struct Receiver;
//!
//! impl RawSend for Sender {
//!     fn send(&mut self, _: &str, _: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
//!         Ok(())
//!     }
//!     fn flush(&mut self, _: Option<Instant>) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! impl RawReceive for Receiver {
//!     fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
//!         Ok(Value::simple("OK"))
//!     }
//!     fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
//!         Ok(true)
//!     }
//! }
//!
//! # impl RawSend for AlwaysOk {
//! #     fn send(&mut self, name: &str, args: &dyn ToArgs, at: Option<Instant>) -> Result<()> {
//! #         self.0.send(name, args, at)
//! #     }
//! #     fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
//! #         self.0.flush(deadline)
//! #     }
//! # }
//! # impl RawReceive for AlwaysOk {
//! #     fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
//! #         self.1.receive(deadline)
//! #     }
//! #     fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
//! #         self.1.poll(deadline)
//! #     }
//! # }
//! // RawSend and RawReceive of AlwaysOk forward to its halves.
//! impl RawConn for AlwaysOk {
//!     fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
//!         (&mut self.0, &mut self.1)
//!     }
//!     fn shutdown_handle(&self) -> ShutdownHandle {
//!         ShutdownHandle::new(|| {})
//!     }
//!     fn close(&mut self) {}
//! }
//!
//! let mut conn = Conn::new(AlwaysOk::default());
//! assert_eq!(conn.call("SET", ("key", 1))?.as_str(), Some("OK"));
//! # Ok::<(), redigo::Error>(())
//! ```

use std::time::Instant;

use crate::args::ToArgs;
use crate::conn::command_buffer::EncodedCommands;
use crate::error::{Error, Result, ServerError};
use crate::net::stream::{Peek, ShutdownHandle};
use crate::value::Value;

/// The sending side of a connection.
///
/// When a deadline passes, a [`Conn`](crate::Conn) has ended. A [`Mux`](crate::Mux) continues: a
/// sending side that was taken with [`RawConn::halves`] must keep the bytes that are not written.
pub trait RawSend: Send {
    /// Adds a command to the write buffer. May write when the buffer is large.
    ///
    /// # Errors
    /// An error for which [`Error::is_fatal`] is true ends the connection. Any other means that
    /// the command was not added.
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()>;

    /// Writes the buffered commands.
    ///
    /// # Errors
    /// Those of [`RawSend::send`].
    fn flush(&mut self, deadline: Option<Instant>) -> Result<()>;

    /// Writes the buffered commands, then commands that are encoded already.
    ///
    /// # Errors
    /// Those of [`RawSend::send`].
    #[doc(hidden)]
    fn write_encoded(
        &mut self,
        commands: EncodedCommands<'_>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        commands.iter().try_for_each(|command| self.send(command.name(), &command, deadline))?;
        self.flush(deadline)
    }
}

/// The receiving side of a connection.
///
/// When a deadline passes in the middle of a reply, the bytes received so far are kept, so that a
/// later call can continue. A [`Mux`](crate::Mux) continues; a [`Conn`](crate::Conn) has ended.
/// When the deadline has passed before the call, a reply that is in the read buffer is returned.
pub trait RawReceive: Send {
    /// Waits for the next reply. An error reply of the server is a [`Value::Error`].
    ///
    /// # Errors
    /// An error for which [`Error::is_fatal`] is true ends the connection; any other takes the
    /// place of a reply. A deadline that has passed is
    /// [`TimeoutKind::Read`](crate::TimeoutKind::Read).
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value>;

    /// Waits for the next reply to begin. If it is a list, takes its header and returns its
    /// length: each element is then received as a reply. Returns zero if nothing was taken,
    /// because the next reply is empty or not a list. The default always returns zero.
    ///
    /// # Errors
    /// Those of [`RawReceive::receive`].
    fn open_list(&mut self, deadline: Option<Instant>) -> Result<usize> {
        let _ = deadline;
        Ok(0)
    }

    /// Takes the next reply if it is a bulk string in the read buffer, and returns its bytes.
    /// Any other reply is left for [`RawReceive::receive`]. The default takes nothing.
    #[doc(hidden)]
    fn take_bulk(&mut self) -> Option<&[u8]> {
        None
    }

    /// Returns the last error reply that has been received and not taken, without waiting for
    /// more. Called when a write has failed because the server has closed the connection. The
    /// default returns `None`.
    #[doc(hidden)]
    fn last_error(&mut self) -> Option<ServerError> {
        None
    }

    /// Waits until the deadline for the first byte of the next reply. Returns whether it has
    /// arrived; a passed deadline is not an error. `None` waits forever.
    ///
    /// # Errors
    /// Those of [`RawReceive::receive`].
    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool>;

    /// What [`RawConn::has_unread`] returns, for a receiving side that was taken out with
    /// [`RawConn::halves`].
    #[doc(hidden)]
    fn half_has_unread(&self) -> bool {
        false
    }

    /// What [`RawConn::peek`] returns, for a receiving side that was taken out with
    /// [`RawConn::halves`].
    #[doc(hidden)]
    fn half_peek(&self) -> Result<Peek> {
        Ok(Peek::Unknown)
    }
}

/// A connection without bookkeeping. [`Conn`](crate::Conn) adds the pending replies, the sticky
/// error, the timeouts and the state that a pool must undo.
///
/// The crate's own implementation speaks RESP over a [`Stream`](crate::Stream). Give another to
/// [`Conn::new`](crate::Conn::new); the [module](self) has an example.
#[doc(alias = "Conn")]
pub trait RawConn: RawSend + RawReceive {
    /// Borrows both sides at once, for two threads.
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive);

    /// Returns both sides as values, for a [`Mux`](crate::Mux) and for
    /// [`PubSubConn::into_split`](crate::PubSubConn::into_split). After that, only the shutdown
    /// handle of the connection is used. The default returns `None`: both then fail with
    /// [`Error::Unsupported`].
    fn halves(&mut self) -> Option<(Box<dyn RawSend>, Box<dyn RawReceive>)> {
        None
    }

    /// Returns true when bytes have been received that belong to no pending reply. A pool closes
    /// such a connection. The default returns false.
    fn has_unread(&self) -> bool {
        false
    }

    /// Returns what a read would find now, without waiting and without a round trip. The default
    /// returns [`Peek::Unknown`].
    ///
    /// # Errors
    /// When the connection is broken.
    fn peek(&self) -> Result<Peek> {
        Ok(Peek::Unknown)
    }

    /// Returns a handle that makes waiting calls return.
    fn shutdown_handle(&self) -> ShutdownHandle;

    /// Closes the connection immediately, without writing anything. No method is called after.
    fn close(&mut self);
}

/// Stands in for a connection that could not be dialed.
#[derive(Debug, Default)]
pub(crate) struct FailedConn {
    sender: FailedHalf,
    receiver: FailedHalf,
}

#[derive(Debug, Default)]
struct FailedHalf;

impl RawSend for FailedHalf {
    fn send(&mut self, _: &str, _: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        Err(Error::ConnClosed)
    }

    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Err(Error::ConnClosed)
    }
}

impl RawReceive for FailedHalf {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        Err(Error::ConnClosed)
    }

    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Err(Error::ConnClosed)
    }
}

impl RawSend for FailedConn {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.sender.send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.sender.flush(deadline)
    }
}

impl RawReceive for FailedConn {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.receiver.receive(deadline)
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.receiver.poll(deadline)
    }
}

impl RawConn for FailedConn {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        (&mut self.sender, &mut self.receiver)
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle::new(|| {})
    }

    fn close(&mut self) {}
}
