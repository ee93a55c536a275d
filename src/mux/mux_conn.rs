//! A mux seen as a connection.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::args::ToArgs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::from_value::FromValue;
use crate::mux::deadline::Patience;
use crate::mux::inner::{Pending, Shared};
use crate::value::Value;

/// What [`Mux::get`](crate::Mux::get) gives: it looks like a connection of its own, with commands
/// [sent](MuxConn::send) first and their replies [received](MuxConn::receive) later, while all
/// its commands go over the shared one.
///
/// Replies wait for their owner without holding anybody up. Dropping it lets go of replies that
/// are still to come, and does no I/O; [`close`](MuxConn::close) receives them.
///
/// When the connection is lost, the commands under way fail with it and later ones go over the
/// next: this handle never ends.
///
/// ```
/// use redigo::{Dialer, Mux, testing::MemoryStream};
///
/// # let replies = "$5\r\nhello\r\n$5\r\nworld\r\n";
/// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(replies))));
/// let mut conn = mux.get();
/// conn.send("ECHO", "hello")?;
/// conn.send("ECHO", "world")?;
/// conn.flush()?;
/// assert_eq!(conn.receive()?.as_str(), Some("hello"));
/// assert_eq!(conn.receive()?.as_str(), Some("world"));
/// conn.close()?;
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "muxConn")]
pub struct MuxConn {
    shared: Arc<Shared>,
    /// Commands sent whose replies were not received, oldest first.
    pending: VecDeque<Pending>,
}

impl MuxConn {
    pub(crate) fn new(shared: Arc<Shared>) -> MuxConn {
        MuxConn { shared, pending: VecDeque::new() }
    }

    /// Queues a command whose reply is [received](MuxConn::receive) later. It goes out with
    /// [`flush`](MuxConn::flush), or with the next write of anybody who shares the connection.
    ///
    /// # Errors
    /// Those of [`Mux::call`](crate::Mux::call) but the server's. A command that was refused
    /// takes no place among the replies.
    #[doc(alias = "Send")]
    pub fn send(&mut self, command: &str, args: impl ToArgs) -> Result<()> {
        let pending = self.shared.send(command, &args, &Patience::usual())?;
        self.pending.push_back(pending);
        Ok(())
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// The error that ended the connection. It is the outcome of the commands under way as well.
    #[doc(alias = "Flush")]
    pub fn flush(&mut self) -> Result<()> {
        self.shared.flush(&Patience::usual())
    }

    /// Waits for the reply to the oldest command of this handle that has none yet.
    ///
    /// # Errors
    /// As [`Mux::call`](crate::Mux::call); [`Error::Unsupported`] when nothing was sent. A reply
    /// that did not come in time is given up, and the next `receive` is for the next command.
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<Value> {
        self.receive_within(&Patience::usual())
    }

    /// As [`receive`](MuxConn::receive), within this time from now instead of the connection's
    /// read timeout. `None` waits as long as it takes; zero is over at once.
    ///
    /// # Errors
    /// As [`receive`](MuxConn::receive).
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Value> {
        self.receive_within(&Patience::timeout(timeout.into()))
    }

    /// As [`receive`](MuxConn::receive), but no longer than the context lasts.
    ///
    /// # Errors
    /// As [`receive`](MuxConn::receive); [`Error::Canceled`], or a timeout of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), when the context ends first.
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.receive_within(&Patience::context(ctx))
    }

    /// Sends a command and waits for its reply, and before that for those that are still to come,
    /// as [`Conn::call`](crate::Conn::call) does: the reply is the last one, and the first error
    /// among them is the error. An empty command name sends nothing and gives the replies as a
    /// list, or nil.
    ///
    /// # Errors
    /// As [`Mux::call`](crate::Mux::call).
    ///
    /// ```
    /// # use redigo::{Dialer, Mux, testing::MemoryStream, Error};
    /// # let replies = "+OK\r\n:2\r\n";
    /// # let mux = Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(replies))));
    /// let mut conn = mux.get();
    /// conn.send("SET", ("counter", 1))?;
    /// assert_eq!(conn.call("INCR", "counter")?.as_int(), Some(2));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn call(&mut self, command: &str, args: impl ToArgs) -> Result<Value> {
        if command.is_empty() {
            let replies = self.drain()?;
            return Ok(if replies.is_empty() { Value::Nil } else { Value::Array(replies) });
        }
        self.send(command, args)?;
        // What flushing has to say, the replies will say.
        let _ = self.flush();
        let (mut first_error, mut last) = (None, Value::Nil);
        while !self.pending.is_empty() {
            match self.receive() {
                Ok(reply) => last = reply,
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error.map_or(Ok(last), Err)
    }

    /// As [`call`](MuxConn::call), with the reply as a type of the caller's choice.
    ///
    /// # Errors
    /// As [`call`](MuxConn::call), and those of [`Value::convert`].
    #[doc(alias = "Do")]
    pub fn query<T: FromValue>(&mut self, command: &str, args: impl ToArgs) -> Result<T> {
        self.call(command, args)?.convert()
    }

    /// Flushes, and waits for every reply that is still to come. Error replies are elements of
    /// the list and not the error.
    ///
    /// # Errors
    /// The first error that is not the server's.
    #[doc(alias = "Do")]
    pub fn drain(&mut self) -> Result<Vec<Value>> {
        if self.pending.is_empty() {
            return Ok(Vec::new());
        }
        let _ = self.flush();
        let (mut first_error, mut replies) = (None, Vec::new());
        while !self.pending.is_empty() {
            match self.receive() {
                Ok(reply) => replies.push(reply),
                Err(Error::Server(error)) => replies.push(Value::Error(error)),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error.map_or(Ok(replies), Err)
    }

    /// How many replies are still to be received.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// As [`Mux::err`](crate::Mux::err).
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<Error> {
        self.shared.core().err()
    }

    /// Flushes, and receives what is still to come. The shared connection stays.
    ///
    /// # Errors
    /// The first error among the replies, the server's included.
    #[doc(alias = "Close")]
    pub fn close(mut self) -> Result<()> {
        let error = self.drain()?.into_iter().find_map(|reply| match reply {
            Value::Error(error) => Some(Error::Server(error)),
            _ => None,
        });
        error.map_or(Ok(()), Err)
    }

    fn receive_within(&mut self, patience: &Patience<'_>) -> Result<Value> {
        let Some(oldest) = self.pending.pop_front() else {
            let what = "receiving on a shared connection without having sent";
            return Err(Error::Unsupported(what.into()));
        };
        self.shared.receive(&oldest, patience)
    }
}

impl Drop for MuxConn {
    fn drop(&mut self) {
        for pending in self.pending.drain(..) {
            self.shared.abandon(&pending);
        }
    }
}

impl fmt::Debug for MuxConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxConn").field("pending", &self.pending()).finish_non_exhaustive()
    }
}
