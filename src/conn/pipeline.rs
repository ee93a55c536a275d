//! Many commands in one round trip.

use std::fmt;
use std::time::Duration;

use super::conn::Conn;
use super::limit::{Limit, Limits};
use crate::args::{ArgWriter, ToArgs};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::from_value::FromValue;
use crate::value::Value;

/// The most bytes of commands that are under way without an answer, unless one command is longer.
/// The buffers of a socket hold that much on every common system, so a write does not wait for a
/// peer that itself waits for us to read.
const WINDOW: usize = 64 * 1024;

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

    /// Sends what is queued and receives one reply for each; an error reply is a value here.
    pub(super) fn run_queue(&mut self, queue: &Queue, limits: &Limits) -> Result<Vec<Value>> {
        self.status().check()?;
        self.receive_owed(limits)?;
        let mut replies = Vec::with_capacity(queue.len());
        let mut sizes = queue.iter().map(|command| command.size());
        let mut in_flight = 0;
        let mut write = limits.for_write();
        // One deadline for all replies, from the moment that the first is waited for.
        let mut read = None;
        for command in queue.iter() {
            let size = command.size();
            if in_flight > 0 && in_flight + size > WINDOW {
                self.flush_within(write)?;
                let limit = *read.get_or_insert_with(|| limits.for_read());
                // Half of it stays under way, so that the server has something to do.
                let low = WINDOW.saturating_sub(size).min(WINDOW / 2);
                while in_flight > low {
                    replies.push(self.receive_value(limit)?);
                    in_flight -= sizes.next().unwrap_or(in_flight);
                }
                write = limits.for_write().or_sooner(limit);
            }
            self.send_within(command.name, &command, write)?;
            in_flight += size;
        }
        self.flush_within(write)?;
        let limit = read.unwrap_or_else(|| limits.for_read());
        while replies.len() < queue.len() {
            replies.push(self.receive_value(limit)?);
        }
        Ok(replies)
    }

    /// Receives the replies to what was sent before, so that none is taken for a later command's.
    ///
    /// # Errors
    /// The first error reply among them, as nobody else would tell of it.
    pub(super) fn receive_owed(&mut self, limits: &Limits) -> Result<()> {
        let owed = self.drain_within(limits)?;
        owed.into_iter().try_for_each(|reply| reply.to())
    }

    fn receive_value(&mut self, limit: Limit) -> Result<Value> {
        match self.receive_within(limit) {
            Err(Error::Server(error)) => Ok(Value::Error(error)),
            received => received,
        }
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
        let limits = self.conn.limits();
        self.run_within(&limits)
    }

    /// As [`run`](Pipeline::run), all within this time from now instead of the connection's own
    /// read timeout. `None` waits as long as it takes; zero is over at once.
    ///
    /// # Errors
    /// As [`run`](Pipeline::run). A timeout is fatal, as any.
    #[doc(alias = "DoWithTimeout")]
    pub fn run_timeout(self, timeout: impl Into<Option<Duration>>) -> Result<Vec<Result<Value>>> {
        let limits = self.conn.limits_within(timeout.into());
        self.run_within(&limits)
    }

    /// As [`run`](Pipeline::run), but no longer than the context lasts.
    ///
    /// # Errors
    /// As [`run`](Pipeline::run), and the end of the context as for
    /// [`call_context`](Conn::call_context).
    #[doc(alias = "DoContext")]
    pub fn run_context(self, ctx: &Context) -> Result<Vec<Result<Value>>> {
        let Pipeline { conn, queue } = self;
        conn.within(ctx, |conn| Pipeline { conn, queue }.run())
    }

    /// As [`run`](Pipeline::run), with all replies as one type: a tuple with a member for each
    /// command, or a list. Members of type `()` skip a reply.
    ///
    /// # Errors
    /// As [`run`](Pipeline::run). Then the first error reply to any of the commands, which tells
    /// the [command](crate::ServerError::command); the others have been carried out. Then those
    /// of [`Value::to`], with the number of the command as the element's.
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
        let limits = self.conn.limits();
        let mut replies = self.conn.run_queue(&self.queue, &limits)?;
        if replies.iter().any(|reply| matches!(reply, Value::Error(_))) {
            replies = self.queue.results(0, replies).collect::<Result<_>>()?;
        }
        Value::Array(replies).to()
    }

    fn run_within(self, limits: &Limits) -> Result<Vec<Result<Value>>> {
        let replies = self.conn.run_queue(&self.queue, limits)?;
        Ok(self.queue.results(0, replies).collect())
    }
}

impl fmt::Debug for Pipeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No names and no arguments: either may be a secret.
        f.debug_struct("Pipeline").field("commands", &self.len()).finish_non_exhaustive()
    }
}

/// A list of commands, in a few allocations however long it is.
pub(super) struct Queue {
    names: String,
    bytes: Vec<u8>,
    /// Where each argument ends in `bytes`.
    ends: Vec<usize>,
    marks: Vec<Mark>,
}

/// Where a command ends in the lists.
#[derive(Clone, Copy, Default)]
struct Mark {
    name: usize,
    arg: usize,
    byte: usize,
}

/// One command of a queue; as arguments, its arguments.
#[derive(Clone, Copy)]
pub(super) struct Queued<'a> {
    pub(super) name: &'a str,
    bytes: &'a [u8],
    /// Where each argument ends, counted from where the queue's bytes begin.
    ends: &'a [usize],
    start: usize,
}

impl Queue {
    /// Has room for a few dozen commands: growing step by step from one would cost as much as
    /// encoding them.
    pub(super) fn new() -> Queue {
        const COMMANDS: usize = 64;
        Queue {
            names: String::with_capacity(4 * COMMANDS),
            bytes: Vec::with_capacity(16 * COMMANDS),
            ends: Vec::with_capacity(2 * COMMANDS),
            marks: Vec::with_capacity(COMMANDS),
        }
    }

    pub(super) fn push(&mut self, command: &str, args: &dyn ToArgs) {
        self.names.push_str(command);
        args.write_args(&mut ArgWriter::to_list(&mut self.bytes, &mut self.ends));
        let (name, arg, byte) = (self.names.len(), self.ends.len(), self.bytes.len());
        self.marks.push(Mark { name, arg, byte });
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Queued<'_>> {
        let mut last = Mark::default();
        self.marks.iter().map(move |mark| {
            let queued = Queued {
                name: &self.names[last.name..mark.name],
                bytes: &self.bytes[last.byte..mark.byte],
                ends: &self.ends[last.arg..mark.arg],
                start: last.byte,
            };
            last = *mark;
            queued
        })
    }

    /// Replies as results, whose errors tell the command: the replies to those commands that
    /// follow the first `skip`, which do not count.
    pub(super) fn results(
        &self,
        skip: usize,
        replies: Vec<Value>,
    ) -> impl Iterator<Item = Result<Value>> {
        let commands = self.iter().skip(skip);
        commands.zip(replies).enumerate().map(|(index, (command, reply))| match reply {
            Value::Error(error) => Err(error.of_command(index, command.name).into()),
            reply => Ok(reply),
        })
    }
}

impl Queued<'_> {
    /// About how many bytes it is on the wire.
    fn size(&self) -> usize {
        const FRAME: usize = 12;
        self.name.len() + self.bytes.len() + FRAME * (self.ends.len() + 2)
    }
}

impl ToArgs for Queued<'_> {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        let mut start = self.start;
        for &end in self.ends {
            out.bytes(&self.bytes[start - self.start..end - self.start]);
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    #[test]
    fn a_queue_gives_back_what_it_was_given() {
        let mut queue = Queue::new();
        queue.push("PING", &());
        queue.push("MSET", &("a", 1, "bb", ""));
        queue.push("", &"lone");
        queue.push("GET", &"a");
        let list: Vec<(String, Args)> =
            queue.iter().map(|queued| (queued.name.to_owned(), Args::new().args(queued))).collect();
        let expected = [
            ("PING", Args::new()),
            ("MSET", crate::args!["a", 1, "bb", ""]),
            ("", crate::args!["lone"]),
            ("GET", crate::args!["a"]),
        ];
        assert_eq!(list, expected.map(|(name, args)| (name.to_owned(), args)));
    }

    #[test]
    fn the_size_of_a_command_is_no_less_than_on_the_wire() {
        for args in [0, 1, 5, 100] {
            let mut queue = Queue::new();
            queue.push("SET", &vec!["x".repeat(1000); args]);
            let mut wire = Vec::new();
            let queued = queue.iter().next().unwrap();
            crate::resp::encode::command(&mut wire, queued.name, |out| queued.write_args(out));
            assert!((wire.len()..2 * wire.len() + 50).contains(&queued.size()), "{}", wire.len());
        }
    }
}
