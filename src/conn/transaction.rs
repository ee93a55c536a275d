//! Commands that run all at once or not at all.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::conn::command_buffer::Queue;
use crate::conn::deadline::Deadline;
use crate::conn::session::{Dirt, TRANSACTION};
use crate::conn::window::Batch;
use crate::context::Context;
use crate::error::{ConvertError, Error, Result};
use crate::from_value::FromValue;
use crate::value::Value;

/// How often a transaction is tried before it is given up.
const ATTEMPTS: u32 = 100;
/// The commands of a queue that are not the user's own: MULTI is the first.
const MULTI: usize = 1;
/// How long a panic may be held up by cleaning the connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// A transaction that is being prepared; see [`Conn::transaction`].
///
/// What is *called* on it runs at once, on the connection that it derefs to: that is for reading
/// the keys. What is *queued* with [`cmd`](Transaction::cmd) runs in [`exec`](Transaction::exec),
/// between `MULTI` and `EXEC`. Dropped before that, it has changed nothing.
#[must_use = "a transaction changes nothing until `exec`"]
pub struct Transaction<'a> {
    conn: &'a mut Conn,
    /// Begins with MULTI.
    queue: Queue,
    watching: bool,
    attempt: u32,
    aborted: &'a mut bool,
}

impl Conn {
    /// Runs a transaction: `MULTI`, some commands, `EXEC`, written together.
    ///
    /// The keys are watched (there may be none: `()`). Then `body` reads what it needs, queues
    /// what is to be done and ends with [`exec`](Transaction::exec). If somebody has changed one
    /// of the keys in between, nothing is done and `body` runs again, up to 100 times. It may
    /// also end without [`exec`](Transaction::exec), when there turns out to be nothing to do.
    ///
    /// In the end the connection is neither in a transaction nor watching anything, also when
    /// `body` returned an error or panicked.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new(
    /// #     "+OK\r\n$2\r\n50\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:20\r\n:30\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// // Move 30 from one account to another, if there is as much.
    /// let moved = conn.transaction(["alice", "bob"], |mut tx| {
    ///     let balance: i64 = tx.query("GET", "alice")?;
    ///     if balance < 30 {
    ///         return Ok(None);
    ///     }
    ///     let (alice, bob): (i64, i64) =
    ///         tx.cmd("DECRBY", ("alice", 30)).cmd("INCRBY", ("bob", 30)).exec()?;
    ///     Ok(Some((alice, bob)))
    /// })?;
    /// assert_eq!(moved, Some((20, 30)));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Without keys it is a way to see the changes of several commands all together:
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:4\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let (_, length): ((), usize) =
    ///     conn.transaction((), |tx| tx.cmd("INCR", "jobs").cmd("LPUSH", ("queue", "x")).exec())?;
    /// assert_eq!(length, 4);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - What `body` returns, which is mostly an error of [`exec`](Transaction::exec); use
    ///   [`Error::other`] for one of your own.
    /// - [`Error::TransactionAborted`] when each attempt was aborted.
    /// - [`Error::Unsupported`] when a `MULTI` is open already.
    /// - The first error reply to an earlier [`send`](Conn::send): `body` has not run then.
    /// - Any fatal error. When it comes after `EXEC` was sent, nobody knows whether the commands
    ///   were carried out.
    ///
    /// A connection that was told to `WATCH` before counts those keys in, and as this cannot watch
    /// them again, there is only one attempt.
    #[doc(alias = "MULTI")]
    #[doc(alias = "WATCH")]
    pub fn transaction<R>(
        &mut self,
        keys: impl ToArgs,
        mut body: impl FnMut(Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.status().check()?;
        self.refuse_nesting()?;
        let timeouts = self.timeouts();
        self.receive_owed(&timeouts)?;
        let keys = Args::new().args(keys);
        let attempts = if self.session().dirt().has(Dirt::WATCH) { 1 } else { ATTEMPTS };
        for attempt in 1..=attempts {
            let mut aborted = false;
            let guard = Guard(self);
            if !keys.is_empty() {
                guard.0.call("WATCH", &keys)?;
            }
            let outcome = body(Transaction::begin(&mut *guard.0, attempt, &mut aborted));
            drop(guard);
            if !aborted {
                return outcome;
            }
        }
        Err(Error::TransactionAborted { attempts })
    }

    /// As [`transaction`](Conn::transaction), with all its attempts no longer than the context
    /// lasts.
    ///
    /// # Errors
    /// As [`transaction`](Conn::transaction), and the end of the context as for
    /// [`call_context`](Conn::call_context), which is fatal.
    #[doc(alias = "DoContext")]
    pub fn transaction_context<R>(
        &mut self,
        ctx: &Context,
        keys: impl ToArgs,
        body: impl FnMut(Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.run_with_context(ctx, |conn| conn.transaction(keys, body))
    }

    fn refuse_nesting(&mut self) -> Result<()> {
        match self.session().dirt().has(Dirt::MULTI) {
            true => Err(Error::Unsupported("a transaction within a transaction".into())),
            false => Ok(()),
        }
    }

    /// Leaves a transaction and lets watched keys go, if there are any.
    fn end_transaction(&mut self) -> Result<()> {
        let dirt = self.session().dirt();
        if dirt.has(Dirt::MULTI) {
            self.send("DISCARD", ())?;
        }
        if dirt.has(TRANSACTION) {
            // After DISCARD too, which leaves the keys watched when there was no transaction.
            self.send("UNWATCH", ())?;
        }
        self.drain().map(drop)
    }
}

impl<'a> Transaction<'a> {
    fn begin(conn: &'a mut Conn, attempt: u32, aborted: &'a mut bool) -> Transaction<'a> {
        let watching = conn.session().dirt().has(Dirt::WATCH);
        let mut queue = Queue::new();
        queue.push("MULTI", &());
        Transaction { conn, queue, watching, attempt, aborted }
    }

    /// Queues a command.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:0\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let deleted: Vec<u32> = conn.transaction((), |mut tx| {
    ///     for key in ["a", "b"] {
    ///         tx = tx.cmd("DEL", key);
    ///     }
    ///     tx.exec()
    /// })?;
    /// assert_eq!(deleted, [1, 0]);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn cmd(mut self, command: &str, args: impl ToArgs) -> Self {
        self.queue.push(command, &args);
        self
    }

    /// How many commands are queued.
    pub fn len(&self) -> usize {
        self.queue.len() - MULTI
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which attempt this is; the first is 1. For a body that gives up sooner than after 100, or
    /// that waits a little before it tries again.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n+OK\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let outcome = conn.transaction("busy", |tx| {
    ///     if tx.attempt() > 1 {
    ///         return Err(Error::other("too busy"));
    ///     }
    ///     tx.cmd("INCR", "busy").exec::<()>() // somebody else was faster
    /// });
    /// assert_eq!(outcome.unwrap_err().to_string(), "too busy");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Sends `MULTI`, the queued commands and `EXEC`, and gives the replies one type: a tuple
    /// with a member for each command, or a list. Members of type `()` skip a reply.
    ///
    /// # Errors
    /// - [`Error::TransactionAborted`] when a watched key was changed. Return it:
    ///   [`Conn::transaction`] tries again, and does so whatever is returned instead.
    /// - The error reply `EXECABORT` when the server refused to queue a command, so that none was
    ///   carried out; [`ServerError::cause`](crate::ServerError::cause) tells which and why.
    /// - The first error reply to one of the commands, which tells the
    ///   [command](crate::ServerError::command). The others **have been** carried out: Redis does
    ///   not roll back.
    /// - Those of [`Value::convert`], with the number of the command as the element's; all commands
    ///   have been carried out.
    /// - Any fatal error.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("+OK\r\n+QUEUED\r\n-ERR unknown command 'INCRR'\r\n\
    /// #     -EXECABORT Transaction discarded because of previous errors.\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let counted: Result<(i64, i64), Error> =
    ///     conn.transaction((), |tx| tx.cmd("INCR", "a").cmd("INCRR", "b").exec());
    /// let error = counted.unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "EXECABORT Transaction discarded because of previous errors: \
    ///      command [1] INCRR: ERR unknown command 'INCRR'"
    /// );
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "EXEC")]
    pub fn exec<T: FromValue>(self) -> Result<T> {
        let replies: Result<Vec<Value>> = self.run()?.into_iter().collect();
        Value::Array(replies?).convert()
    }

    /// As [`exec`](Transaction::exec), with one result for each command, as from
    /// [`Pipeline::run`](crate::Pipeline::run).
    ///
    /// # Errors
    /// As [`exec`](Transaction::exec), but an error reply to a command that was carried out is
    /// the result of that command.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new(
    /// #     "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n-WRONGTYPE not a list\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let replies =
    ///     conn.transaction((), |tx| tx.cmd("INCR", "n").cmd("LPUSH", ("n", "x")).run())?;
    /// assert!(replies[0].is_ok()); // has been done
    /// assert_eq!(replies[1].as_ref().unwrap_err().as_server().unwrap().code(), "WRONGTYPE");
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "EXEC")]
    pub fn run(mut self) -> Result<Vec<Result<Value>>> {
        self.conn.refuse_nesting()?;
        if self.watching && !self.conn.session().dirt().has(Dirt::WATCH) {
            let why = "a transaction whose keys are no longer watched: its body has let them go";
            return Err(Error::Unsupported(why.into()));
        }
        let wanted = self.len();
        self.queue.push("EXEC", &());
        let timeouts = self.conn.timeouts();
        let mut replies = Batch::start(self.conn, &self.queue, &timeouts)?.replies()?;
        match replies.pop() {
            Some(Value::Array(replies)) if replies.len() == wanted => {
                Ok(self.queue.results(MULTI, replies).collect())
            }
            Some(Value::Nil) => {
                *self.aborted = true;
                Err(Error::TransactionAborted { attempts: self.attempt })
            }
            Some(Value::Error(error)) => {
                if error.code() != "EXECABORT" {
                    // Then the server has not left the transaction, or was never in it.
                    self.conn.session().add(TRANSACTION);
                }
                Err(match self.first_refusal(replies) {
                    Some(Error::Server(cause)) => error.caused_by(cause).into(),
                    _ => error.into(),
                })
            }
            other => {
                let found = match &other {
                    Some(Value::Array(replies)) => format!("length {}", replies.len()),
                    other => other.as_ref().map_or("nothing", Value::kind).to_owned(),
                };
                Err(ConvertError::new(format!("{wanted} replies from EXEC"), found).into())
            }
        }
    }

    /// Why the first command was not queued, from the replies to MULTI and the commands.
    fn first_refusal(&self, mut replies: Vec<Value>) -> Option<Error> {
        let queued = replies.split_off(replies.len().min(MULTI));
        let multi = replies.into_iter().find_map(|reply| reply.convert::<()>().err());
        multi.or_else(|| self.queue.results(MULTI, queued).find_map(Result::err))
    }
}

impl Deref for Transaction<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("commands", &self.len())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Cleans the connection after an attempt, however that ends.
struct Guard<'a>(&'a mut Conn);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.0.err().is_some() {
            return;
        }
        let patience = std::thread::panicking().then_some(PATIENCE);
        // What goes wrong here ends the connection, which the next call on it will tell.
        let _ = self.0.run_with_deadline(Deadline::after(patience), Conn::end_transaction);
    }
}
