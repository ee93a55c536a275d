//! Commands that run all together or not at all: [`Transaction`].

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::conn::batch::{Batch, add_script};
use crate::conn::command_buffer::CommandBuffer;
use crate::conn::deadline::Deadline;
use crate::conn::session::Dirty;
use crate::conn::window::Window;
use crate::context::Context;
use crate::error::{ConvertError, Error, Result};
use crate::executor::Executor;
use crate::from_value::FromValue;
use crate::script::source::ScriptSource;
use crate::value::Value;

/// The number of attempts before a transaction fails.
const ATTEMPTS: u32 = 100;
/// The number of commands in the buffer before those of the body.
const MULTI: usize = 1;
/// The most time that cleaning up takes while a panic unwinds.
const PANIC_BUDGET: Duration = Duration::from_secs(1);

/// A transaction that is being prepared by the body of [`Conn::transaction`].
///
/// It dereferences to the connection. A [`call`](Conn::call) runs immediately; use it to read the
/// watched keys. A command added with [`cmd`](Transaction::cmd) runs in
/// [`exec`](Transaction::exec), between `MULTI` and `EXEC`. Dropping the transaction before that
/// changes nothing.
#[must_use = "a transaction changes nothing until `exec`"]
pub struct Transaction<'a> {
    conn: &'a mut Conn,
    /// Begins with MULTI.
    commands: CommandBuffer,
    scripts: Vec<ScriptSource>,
    watching: bool,
    attempt: u32,
    aborted: &'a mut bool,
}

impl Conn {
    /// Runs a transaction: `MULTI`, the commands that `body` adds, `EXEC`.
    ///
    /// Watches the keys, or none with `()`. Then `body` reads the keys, adds commands with
    /// [`cmd`](Transaction::cmd) and ends with [`exec`](Transaction::exec). If another client has
    /// changed a watched key in the meantime, nothing is changed and `body` runs again, at most
    /// 100 times in all. `body` may also return without [`exec`](Transaction::exec).
    ///
    /// If the server refuses `MULTI`, for example because the user has no permission for it, the
    /// commands have run one by one all the same: all of them are sent together.
    ///
    /// At the end the connection is not in a transaction and watches no keys, also if `body`
    /// returns an error or panics.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new(
    /// #     "+OK\r\n$2\r\n50\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:20\r\n:30\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// // Moves 30 from one account to another if the balance is sufficient.
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
    /// Without keys, other clients see the changes of several commands all together:
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
    /// - The error that `body` returns, mostly one of [`exec`](Transaction::exec). Use
    ///   [`Error::other`] for an application's own errors.
    /// - [`Error::TransactionAborted`] if every attempt was aborted.
    /// - [`Error::Unsupported`] if a `MULTI` is open.
    /// - The first error reply to an earlier [`send`](Conn::send). In that case `body` has not
    ///   run.
    /// - A fatal error. If it occurs after `EXEC` was sent, it is unknown whether the commands
    ///   ran.
    ///
    /// Keys that a `WATCH` of the caller watches before count as well. They cannot be watched
    /// again for another attempt, so there is only one.
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
        self.receive_pending(&timeouts)?;
        let keys = Args::new().args(keys);
        let attempts = if self.session().dirty().has(Dirty::WATCH) { 1 } else { ATTEMPTS };
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

    /// Runs a transaction like [`transaction`](Conn::transaction), with all its attempts, until
    /// the context ends.
    ///
    /// # Errors
    /// Those of [`transaction`](Conn::transaction), and the end of the context like
    /// [`call_context`](Conn::call_context), which is fatal.
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let server = MemoryStream::new("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let ctx = Context::background().with_timeout(Duration::from_secs(2));
    /// let (count,): (i64,) =
    ///     conn.transaction_context(&ctx, (), |tx| tx.cmd("INCR", "jobs").exec())?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    pub fn transaction_context<R>(
        &mut self,
        ctx: &Context,
        keys: impl ToArgs,
        body: impl FnMut(Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.run_within(ctx, |conn| conn.transaction(keys, body))
    }

    fn refuse_nesting(&mut self) -> Result<()> {
        match self.session().dirty().has(Dirty::MULTI) {
            true => Err(Error::Unsupported("a transaction within a transaction".into())),
            false => Ok(()),
        }
    }

    /// Leaves a transaction and stops watching keys.
    fn end_transaction(&mut self) -> Result<()> {
        self.leave_transaction()?;
        self.drain()?;
        self.unwatch()
    }
}

impl<'a> Transaction<'a> {
    fn begin(conn: &'a mut Conn, attempt: u32, aborted: &'a mut bool) -> Transaction<'a> {
        let watching = conn.session().dirty().has(Dirty::WATCH);
        let mut commands = CommandBuffer::new();
        commands.push("MULTI", &());
        Transaction { conn, commands, scripts: Vec::new(), watching, attempt, aborted }
    }

    pub(crate) fn push_script(&mut self, script: &ScriptSource, command: &str, args: &dyn ToArgs) {
        self.commands.push(command, args);
        add_script(&mut self.scripts, script);
    }

    /// Adds a command, which [`exec`](Transaction::exec) sends.
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
        self.commands.push(command, &args);
        self
    }

    /// Returns the number of commands added.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// conn.transaction((), |tx| {
    ///     assert_eq!(tx.cmd("INCR", "a").cmd("INCR", "b").len(), 2);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.commands.len() - MULTI
    }

    /// Returns true if no command was added.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// conn.transaction((), |tx| {
    ///     assert!(tx.is_empty());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of this attempt, from 1 to 100. A body can give up earlier, or wait
    /// before it tries again.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new("+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n+OK\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let outcome = conn.transaction("busy", |tx| {
    ///     if tx.attempt() > 1 {
    ///         return Err(Error::other("too busy"));
    ///     }
    ///     tx.cmd("INCR", "busy").exec::<()>() // another client was faster
    /// });
    /// assert_eq!(outcome.unwrap_err().to_string(), "too busy");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Sends `MULTI`, the commands and `EXEC`, and converts the replies to one type.
    ///
    /// The type is a tuple with a member for each command, or a list. A member of type `()` skips
    /// a reply.
    ///
    /// # Errors
    /// - [`Error::TransactionAborted`] if a watched key was changed. Return it from the body.
    ///   [`Conn::transaction`] tries again, whatever the body returns.
    /// - The error reply `EXECABORT` if the server refused to queue a command. No command ran.
    ///   [`ServerError::cause`](crate::ServerError::cause) names the command and the reason.
    /// - The first error reply to one of the commands, with its
    ///   [command](crate::ServerError::command). The other commands **have run**: Redis does not
    ///   roll back.
    /// - Those of [`Value::convert`], with the index of the command as the index of the element.
    ///   All commands have run.
    /// - A fatal error.
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

    /// Sends `MULTI`, the commands and `EXEC`, and returns one result for each command, like
    /// [`Pipeline::run`](crate::Pipeline::run).
    ///
    /// # Errors
    /// Those of [`exec`](Transaction::exec), but an error reply to a command that ran is the
    /// result of that command.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let server = MemoryStream::new(
    /// #     "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n-WRONGTYPE not a list\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// let replies =
    ///     conn.transaction((), |tx| tx.cmd("INCR", "n").cmd("LPUSH", ("n", "x")).run())?;
    /// assert!(replies[0].is_ok()); // has run
    /// assert_eq!(replies[1].as_ref().unwrap_err().as_server().unwrap().code(), "WRONGTYPE");
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "EXEC")]
    pub fn run(mut self) -> Result<Vec<Result<Value>>> {
        self.conn.status().check()?;
        self.commands.check()?;
        let timeouts = self.conn.timeouts();
        // The replies to the calls of the body decide what is watched.
        self.conn.receive_pending(&timeouts)?;
        self.conn.refuse_nesting()?;
        if self.watching && !self.conn.session().dirty().has(Dirty::WATCH) {
            let why = "a transaction whose keys are no longer watched: its body has let them go";
            return Err(Error::Unsupported(why.into()));
        }
        self.conn.load_scripts(&self.scripts, &self.commands, &timeouts)?;
        let wanted = self.len();
        self.commands.push("EXEC", &());
        let mut replies = Window::start(self.conn, &self.commands, &timeouts)?.replies()?;
        match replies.pop() {
            Some(Value::Array(replies)) if replies.len() == wanted => {
                let results: Vec<_> = self.commands.results(MULTI, replies).collect();
                self.conn.note_results(&self.scripts, &results);
                Ok(results)
            }
            Some(Value::Nil) => {
                *self.aborted = true;
                Err(Error::TransactionAborted { attempts: self.attempt })
            }
            Some(Value::Error(error)) => Err(match self.first_refusal(replies) {
                Some(Error::Server(cause)) => error.caused_by(cause).into(),
                _ => error.into(),
            }),
            other => {
                let found = match &other {
                    Some(Value::Array(replies)) => format!("length {}", replies.len()),
                    other => other.as_ref().map_or("nothing", Value::kind).to_owned(),
                };
                Err(ConvertError::new(format!("{wanted} replies from EXEC"), found).into())
            }
        }
    }

    /// The first error among the replies to MULTI and to the queued commands.
    fn first_refusal(&self, mut replies: Vec<Value>) -> Option<Error> {
        let queued = replies.split_off(replies.len().min(MULTI));
        let multi = replies.into_iter().find_map(|reply| reply.convert::<()>().err());
        multi.or_else(|| self.commands.results(MULTI, queued).find_map(Result::err))
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

/// Commands run immediately, like those of the connection.
impl Executor for Transaction<'_> {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.conn.execute(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        self.conn.execute_batch(batch)
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        self.conn.with_conn(calls)
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

/// Cleans up after an attempt, also after a panic.
struct Guard<'a>(&'a mut Conn);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.0.err().is_some() {
            return;
        }
        let budget = std::thread::panicking().then_some(PANIC_BUDGET);
        // An error here ends the connection; the next call returns it.
        let _ = self.0.run_until(Deadline::after(budget), Conn::end_transaction);
    }
}
