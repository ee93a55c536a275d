//! Many commands in one round trip.

use std::fmt;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::command_buffer::Queue;
use crate::conn::deadline::Timeouts;
use crate::conn::window::Batch;
use crate::context::Context;
use crate::error::{Result, ServerError};
use crate::from_value::{FromValue, Items, Source};
use crate::value::Value;

/// Commands that are sent together; see [`Conn::pipeline`].
///
/// It is a list until it is [run](Pipeline::run): nothing is sent before, and nothing at all when
/// it is dropped.
///
/// A long list is not written in one go: while 64 KiB of commands are without their answers,
/// replies are received before more is written. So client and server never wait for each other,
/// however many commands there are and however long the replies. A single command that is longer
/// is written when all those before it are answered.
///
/// Every command must have exactly one reply. `SUBSCRIBE` and its kind, `MONITOR` and `CLIENT
/// REPLY` do not belong into a pipeline.
#[must_use = "a pipeline sends nothing until it is run"]
pub struct Pipeline<'a> {
    conn: &'a mut Conn,
    queue: Queue,
}

impl Conn {
    /// Collects commands to send them together.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("+OK\r\n:2\r\n$-1\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let ((), visits, name): ((), i64, Option<String>) = conn
    ///     .pipeline()
    ///     .cmd("SET", ("page", "home", "EX", 60))
    ///     .cmd("INCR", "visits")
    ///     .cmd("GET", "name")
    ///     .query()?;
    /// assert_eq!((visits, name), (2, None));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    #[doc(alias = "Flush")]
    pub fn pipeline(&mut self) -> Pipeline<'_> {
        Pipeline { conn: self, queue: Queue::new() }
    }

    /// Receives the replies to what was sent before, so that none is taken for a later command's.
    ///
    /// # Errors
    /// The first error reply among them, as nobody else would tell of it.
    pub(super) fn receive_owed(&mut self, timeouts: &Timeouts) -> Result<()> {
        let owed = self.drain_within(timeouts)?;
        owed.into_iter().try_for_each(|reply| reply.convert())
    }
}

impl Pipeline<'_> {
    /// Adds a command.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(":1\r\n:2\r\n"));
    /// let counts: Vec<i64> = conn.pipeline().cmd("INCR", "a").cmd("INCR", "b").query()?;
    /// assert_eq!(counts, [1, 2]);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn cmd(mut self, command: &str, args: impl ToArgs) -> Self {
        self.push(command, args);
        self
    }

    /// Adds a command in place, for loops.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("$1\r\nx\r\n$-1\r\n"));
    /// let mut pipeline = conn.pipeline();
    /// for id in [17, 18] {
    ///     pipeline.push("HGET", (format!("user:{id}"), "name"));
    /// }
    /// let names: Vec<Option<String>> = pipeline.query()?;
    /// assert_eq!(names, [Some("x".to_string()), None]);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn push(&mut self, command: &str, args: impl ToArgs) {
        self.queue.push(command, &args);
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends all commands and receives a reply for each, in order. An error reply of the server
    /// is the result of its command and does not hinder the others; it tells the
    /// [command](crate::ServerError::command) that it belongs to.
    ///
    /// The connection's read timeout is one for all replies together. Replies that are owed to
    /// earlier [`send`](Conn::send)s are received first and dropped.
    ///
    /// # Errors
    /// A fatal error, now or of before. Also the first error reply to an earlier
    /// [`send`](Conn::send): then no command of the pipeline has been sent.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("+OK\r\n-WRONGTYPE not a list\r\n:1\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let pipeline = conn.pipeline().cmd("SET", ("a", 1)).cmd("LPUSH", ("a", 2)).cmd("DEL", "a");
    /// let replies = pipeline.run()?;
    /// assert_eq!(replies.len(), 3);
    /// let refused = replies[1].as_ref().unwrap_err();
    /// assert_eq!(refused.to_string(), "command [1] LPUSH: WRONGTYPE not a list");
    /// assert!(replies[2].is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn run(self) -> Result<Vec<Result<Value>>> {
        let timeouts = self.conn.timeouts();
        self.run_within(&timeouts)
    }

    /// As [`run`](Pipeline::run), all within this time from now instead of the connection's own
    /// read timeout. `None` waits as long as it takes; zero is over at once.
    ///
    /// # Errors
    /// As [`run`](Pipeline::run). A timeout is fatal, as any.
    #[doc(alias = "DoWithTimeout")]
    pub fn run_timeout(self, timeout: impl Into<Option<Duration>>) -> Result<Vec<Result<Value>>> {
        let timeouts = self.conn.limits_within(timeout.into());
        self.run_within(&timeouts)
    }

    /// As [`run`](Pipeline::run), but no longer than the context lasts.
    ///
    /// # Errors
    /// As [`run`](Pipeline::run), and the end of the context as for
    /// [`call_context`](Conn::call_context).
    #[doc(alias = "DoContext")]
    pub fn run_context(self, ctx: &Context) -> Result<Vec<Result<Value>>> {
        let Pipeline { conn, queue } = self;
        conn.run_with_context(ctx, |conn| Pipeline { conn, queue }.run())
    }

    /// As [`run`](Pipeline::run), with all replies as one type: a tuple with a member for each
    /// command, or a list. Members of type `()` skip a reply. Each reply is converted as it comes.
    ///
    /// # Errors
    /// As [`run`](Pipeline::run). Then the first error reply to any of the commands, which tells
    /// the [command](crate::ServerError::command); the others have been carried out. Then those
    /// of [`Value::convert`], with the number of the command as the element's.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n-ERR no integer\r\n"));
    /// let set = conn.pipeline().cmd("SET", ("a", "x")).cmd("INCR", "a").query::<((), i64)>();
    /// let error = set.unwrap_err();
    /// assert_eq!(error.as_server().unwrap().command(), Some((1, "INCR")));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn query<T: FromValue>(self) -> Result<T> {
        let timeouts = self.conn.timeouts();
        let batch = Batch::start(self.conn, &self.queue, &timeouts)?;
        let mut replies = Replies { batch, first_error: None };
        let mut items = Items::known(self.queue.len(), &mut replies);
        let converted = T::from_items(&mut items);
        // Whatever came of it, all commands are carried out, and their replies received.
        items.finish()?;
        match replies.first_error {
            Some((index, error)) => {
                Err(error.of_command(index, self.queue.get(index).name()).into())
            }
            None => converted,
        }
    }

    fn run_within(self, timeouts: &Timeouts) -> Result<Vec<Result<Value>>> {
        let replies = Batch::start(self.conn, &self.queue, timeouts)?.replies()?;
        Ok(self.queue.results(0, replies).collect())
    }
}

/// The replies on their way into a type. In the place of an error it finds a nil: what it makes of
/// that does not matter.
struct Replies<'a> {
    batch: Batch<'a>,
    first_error: Option<(usize, ServerError)>,
}

impl Source for Replies<'_> {
    fn next(&mut self) -> Result<Value> {
        let index = self.batch.answered();
        match self.batch.next()? {
            Value::Error(error) => {
                self.first_error.get_or_insert((index, error));
                Ok(Value::Nil)
            }
            reply => Ok(reply),
        }
    }

    fn next_bulk(&mut self) -> Option<&[u8]> {
        self.batch.next_bulk()
    }
}

impl fmt::Debug for Pipeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No names and no arguments: either may be a secret.
        f.debug_struct("Pipeline").field("commands", &self.len()).finish_non_exhaustive()
    }
}
