//! The connection that users hold.

pub(crate) mod command_buffer;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod observer;
pub(crate) mod pipeline;
pub mod raw;
pub(crate) mod reset;
pub(crate) mod session;
pub(crate) mod split;
pub(crate) mod status;
pub(crate) mod transaction;
pub(crate) mod window;
pub(crate) mod wire;
pub(crate) mod within;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::deadline::Deadline;
use crate::conn::observer::Observer;
use crate::conn::raw::{NoConn, RawConn};
use crate::conn::session::Session;
use crate::conn::split::{ReceiveHalf, SendHalf};
use crate::conn::status::Status;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::from_value::FromValue;
use crate::net::stream::{Peek, ShutdownHandle};
use crate::value::Value;

/// One connection to a server, for one thread at a time.
///
/// Commands go out with [`call`](Conn::call), which waits for the reply, or with
/// [`query`](Conn::query), which gives the reply a type. Several commands share one round trip
/// with [`send`](Conn::send), [`flush`](Conn::flush) and [`receive`](Conn::receive).
///
/// The first I/O error, timeout, cancellation or protocol error is final: the socket is closed at
/// once, and every later call returns that error again ([`err`](Conn::err) shows it). A reply that
/// comes too late can therefore never be taken for the next command's. Error replies of the server
/// leave the connection as it is.
///
/// Get one from a [`Pool`](crate::Pool) or a [`Dialer`](crate::Dialer). Dropping it closes it.
///
/// ```
/// use redigo::{Dialer, testing::MemoryStream};
///
/// # let server = MemoryStream::new("+OK\r\n:2\r\n");
/// let mut conn = Dialer::tcp(":6379").wrap(server); // or .dial()?
/// conn.call("SET", ("counter", 1))?;
/// let counter: i64 = conn.query("INCR", "counter")?;
/// assert_eq!(counter, 2);
/// # Ok::<(), redigo::Error>(())
/// ```
pub struct Conn {
    pub(super) raw: Box<dyn RawConn>,
    pub(super) status: Status,
    pub(super) closed: bool,
    pub(super) session: Session,
    pub(super) read_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    /// A limit over everything done, while somebody else answers for the time.
    pub(super) outer_deadline: Deadline,
    pub(super) observer: Option<Box<dyn Observer>>,
}

/// A connection without its bookkeeping.
pub(crate) struct Parts {
    pub(crate) raw: Box<dyn RawConn>,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) observer: Option<Box<dyn Observer>>,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
}

impl Conn {
    /// A connection over an implementation of the caller's own, without timeouts.
    pub fn new(raw: impl RawConn + 'static) -> Conn {
        Conn {
            status: Status::new(raw.shutdown_handle()),
            raw: Box::new(raw),
            closed: false,
            session: Session::default(),
            read_timeout: None,
            write_timeout: None,
            outer_deadline: Deadline::default(),
            observer: None,
        }
    }

    /// A connection that has failed before it began: every call returns the error.
    #[doc(alias = "errorConn")]
    pub(crate) fn failed(error: Error) -> Conn {
        let conn = Conn::new(NoConn);
        conn.status.end(error);
        conn
    }

    pub(crate) fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) {
        self.read_timeout = read;
        self.write_timeout = write;
    }

    /// Sends a command and waits for its reply.
    ///
    /// With replies pending from [`send`](Conn::send), it waits for all of them: the reply is the
    /// last one, and the first error among them is the error. An empty command name sends
    /// nothing and does what [`drain`](Conn::drain) does, with the replies as a list (or nil).
    ///
    /// # Errors
    /// [`Error::Server`] for an error reply; any fatal error ends the connection.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("-ERR wrong type\r\n+OK\r\n"));
    /// let refused = conn.call("INCR", "name").unwrap_err();
    /// assert_eq!(refused.as_server().unwrap().code(), "ERR");
    /// conn.call("SET", ("name", "x", "EX", 60))?; // still usable
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn call(&mut self, command: &str, args: impl ToArgs) -> Result<Value> {
        let timeouts = self.timeouts();
        self.exchange(command, &args, &timeouts)
    }

    /// As [`call`](Conn::call), with the reply as a type of the caller's choice. The elements of a
    /// list are converted while they come in, so a long one takes the memory of its result and
    /// little else.
    ///
    /// # Errors
    /// As [`call`](Conn::call), and those of [`Value::convert`], which are not fatal.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("$-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let missing: Option<String> = conn.query("GET", "nothing")?;
    /// assert_eq!(missing, None);
    /// let members = conn.query::<Vec<String>>("SMEMBERS", "letters")?;
    /// assert_eq!(members, ["a", "b"]);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn query<T: FromValue>(&mut self, command: &str, args: impl ToArgs) -> Result<T> {
        if command.is_empty() || self.observer.is_some() {
            // Who watches sees whole replies.
            return self.call(command, args)?.convert();
        }
        let timeouts = self.timeouts();
        let (first_error, limit) = self.ask(command, &args, &timeouts)?;
        match first_error {
            Some(error) => self.receive_raw(limit).and(Err(Error::Server(error))),
            None => self.receive_as(limit),
        }
    }

    /// As [`call`](Conn::call), within this time from now instead of the connection's own read
    /// timeout; it covers the writing too. `None` waits as long as it takes; zero is over at once.
    ///
    /// # Errors
    /// As [`call`](Conn::call). A timeout is fatal, as any.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("*-1\r\n"));
    /// // The server answers after 5 s at the latest; give the network another second.
    /// let item = conn.call_timeout(Duration::from_secs(6), "BLPOP", ("queue", 5))?;
    /// # assert!(item.is_nil());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn call_timeout(
        &mut self,
        timeout: impl Into<Option<Duration>>,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        let timeouts = self.limits_within(timeout.into());
        self.exchange(command, &args, &timeouts)
    }

    /// As [`call`](Conn::call), but no longer than the context lasts.
    ///
    /// # Errors
    /// As [`call`](Conn::call); [`Error::Canceled`], or a timeout of kind
    /// [`TimeoutKind::Context`](crate::TimeoutKind::Context), when the context ends first. Both
    /// are fatal, and a context that has ended already sends nothing but ends the connection
    /// all the same.
    #[doc(alias = "DoContext")]
    pub fn call_context(
        &mut self,
        ctx: &Context,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.run_with_context(ctx, |conn| {
            let timeouts = conn.timeouts();
            conn.exchange(command, &args, &timeouts)
        })
    }

    /// Queues a command whose reply is [received](Conn::receive) later. Much of it may be
    /// written before [`flush`](Conn::flush).
    ///
    /// # Errors
    /// A fatal error, now or of before.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n$1\r\n1\r\n"));
    /// conn.send("SET", ("a", 1))?;
    /// conn.send("GET", "a")?;
    /// conn.flush()?;
    /// conn.receive()?;
    /// assert_eq!(conn.receive()?.as_str(), Some("1"));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn send(&mut self, command: &str, args: impl ToArgs) -> Result<()> {
        let limit = self.timeouts().for_write();
        self.send_within(command, &args, limit)
    }

    /// Writes the commands that are queued.
    ///
    /// # Errors
    /// A fatal error, now or of before.
    #[doc(alias = "Flush")]
    pub fn flush(&mut self) -> Result<()> {
        let limit = self.timeouts().for_write();
        self.flush_within(limit)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// [`Error::Server`] for an error reply; any fatal error ends the connection.
    #[doc(alias = "Receive")]
    pub fn receive(&mut self) -> Result<Value> {
        let limit = self.timeouts().for_read();
        self.receive_within(limit)
    }

    /// As [`receive`](Conn::receive), within this time from now instead of the connection's own
    /// read timeout. `None` waits as long as it takes; zero is over at once.
    ///
    /// # Errors
    /// As [`receive`](Conn::receive). A timeout is fatal; see [`poll`](Conn::poll) for a wait
    /// that is not.
    #[doc(alias = "ReceiveWithTimeout")]
    pub fn receive_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Value> {
        let limit = self.limits_within(timeout.into()).for_read();
        self.receive_within(limit)
    }

    /// As [`receive`](Conn::receive), but no longer than the context lasts.
    ///
    /// # Errors
    /// As [`call_context`](Conn::call_context).
    #[doc(alias = "ReceiveContext")]
    pub fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        self.run_with_context(ctx, Conn::receive)
    }

    /// Waits at most this long for the next reply to begin. When none does, the answer is
    /// `None` and the connection is as it was; one that has begun is received to its end within
    /// the read timeout.
    ///
    /// # Errors
    /// As [`receive`](Conn::receive).
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// assert!(conn.poll(Duration::from_millis(1))?.is_none());
    /// assert!(conn.err().is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        self.status.check()?;
        let wait = Deadline::after(Some(timeout));
        let limit = wait.or_sooner(self.outer_deadline);
        let begun = self.raw.poll(limit.at);
        match self.record_fatal(begun, limit)? {
            true => self.receive().map(Some),
            false => Ok(None),
        }
    }

    /// Writes what is queued and receives every pending reply. Error replies are elements of
    /// the list and not the error.
    ///
    /// With nothing pending it does nothing at all, not even on a connection that has failed.
    ///
    /// # Errors
    /// A fatal error, now or of before.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Value};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n-ERR no\r\n"));
    /// conn.send("SET", ("a", 1))?;
    /// conn.send("NONSENSE", ())?;
    /// let replies = conn.drain()?;
    /// assert!(matches!(replies[..], [Value::Simple(_), Value::Error(_)]));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn drain(&mut self) -> Result<Vec<Value>> {
        let timeouts = self.timeouts();
        self.drain_within(&timeouts)
    }

    /// Splits the connection so that one thread can send while another receives.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::silent();
    /// # let mut conn = Dialer::tcp(":6379").wrap(server.clone());
    /// let (mut sender, mut receiver) = conn.split();
    /// std::thread::scope(|scope| {
    ///     let reply = scope.spawn(move || receiver.receive());
    ///     sender.send("PING", ())?;
    ///     sender.flush()?;
    /// #   server.push("+PONG\r\n");
    ///     assert_eq!(reply.join().unwrap()?.as_str(), Some("PONG"));
    ///     Ok::<(), Error>(())
    /// })?;
    /// assert!(conn.drain()?.is_empty()); // nothing is pending
    /// # Ok::<(), Error>(())
    /// ```
    pub fn split(&mut self) -> (SendHalf<'_>, ReceiveHalf<'_>) {
        let timeouts = self.timeouts();
        let (sender, receiver) = self.raw.split();
        (
            SendHalf::new(sender, &mut self.session, &self.status, &self.observer, timeouts),
            ReceiveHalf::new(receiver, &self.status, &self.observer, timeouts),
        )
    }

    /// The error that ended the connection; `None` while it is usable.
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<&Error> {
        self.status.err()
    }

    /// True when nothing speaks against the connection: no error so far, and on the socket
    /// neither an end nor bytes that nobody asked for. Sends nothing and does not wait.
    pub fn is_alive(&self) -> bool {
        if self.err().is_some() {
            return false;
        }
        let owed = self.status.pending() > 0;
        match self.raw.peek() {
            Ok(Peek::Quiet | Peek::Unknown) => owed || !self.raw.has_unread(),
            Ok(Peek::Readable) => owed,
            Ok(Peek::Closed) | Err(_) => false,
        }
    }

    /// A handle with which another thread can end this connection, and with it a call that
    /// waits on it.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.status.shutdown_handle()
    }

    /// Closes the connection without waiting for anything; what is queued is not written.
    ///
    /// # Errors
    /// The error that had ended it before, if one had.
    #[doc(alias = "Close")]
    pub fn close(mut self) -> Result<()> {
        self.status.check()?;
        self.raw.close();
        Ok(())
    }

    pub(crate) fn status(&mut self) -> &mut Status {
        &mut self.status
    }

    /// The codes of error replies after which a pool does not want it back.
    pub(crate) fn retire_on(&mut self, codes: Arc<[String]>) {
        self.status.retire_on(codes);
    }

    /// True after one of these.
    pub(crate) fn is_retired(&self) -> bool {
        self.status.is_retired()
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.raw.has_unread()
    }

    /// What it consists of, for somebody who keeps the books in another way.
    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            shutdown: self.status.shutdown_handle(),
            raw: self.raw,
            observer: self.observer,
            read_timeout: self.read_timeout,
            write_timeout: self.write_timeout,
        }
    }

    /// Who watches what goes through it.
    pub(crate) fn observer(&mut self) -> &mut Option<Box<dyn Observer>> {
        &mut self.observer
    }
}

impl AsRef<Conn> for Conn {
    fn as_ref(&self) -> &Conn {
        self
    }
}

impl AsMut<Conn> for Conn {
    fn as_mut(&mut self) -> &mut Conn {
        self
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("err", &self.err())
            .field("pending", &self.status.pending())
            .finish_non_exhaustive()
    }
}
