//! Many commands in one round trip: [`Pipeline`].

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::batch::Batch;
use crate::conn::deadline::Timeouts;
use crate::conn::exchange::whole;
use crate::conn::window::Window;
use crate::context::Context;
use crate::error::{Result, ServerError};
use crate::executor::{Executor, on_conn};
use crate::from_value::{FromValue, Items, Source};
use crate::script::loaded::is_noscript;
use crate::script::source::ScriptSource;
use crate::value::Value;

/// Commands that are sent together, returned by [`Conn::pipeline`], [`Pool::pipeline`],
/// [`Mux::pipeline`] and [`ExecutorExt::pipeline`].
///
/// Nothing is sent before [`run`](Pipeline::run) or [`query`](Pipeline::query). Dropping a
/// pipeline sends nothing.
///
/// At most 64 KiB of commands are in flight: then replies are received before more commands are
/// written. So client and server never block each other, however many commands there are and
/// however long the replies. A single longer command is written when all commands before it are
/// answered.
///
/// Every command must have exactly one reply. A pipeline with `SUBSCRIBE` or one of its variants is
/// refused; use [`PubSubConn`](crate::PubSubConn). Do not use `MONITOR` or `CLIENT REPLY`.
///
/// [`Pool::pipeline`]: crate::Pool::pipeline
/// [`Mux::pipeline`]: crate::Mux::pipeline
/// [`ExecutorExt::pipeline`]: crate::ExecutorExt::pipeline
#[must_use = "a pipeline sends nothing until it is run"]
pub struct Pipeline<'a, E = &'a mut Conn> {
    executor: E,
    batch: Batch,
    borrow: PhantomData<&'a ()>,
}

impl Conn {
    /// Returns an empty pipeline, which sends many commands in one round trip.
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
        Pipeline::on(self)
    }

    /// Receives the replies to earlier commands, so that none is taken for a later command's.
    ///
    /// # Errors
    /// The first error reply among them: no other call would return it.
    pub(super) fn receive_pending(&mut self, timeouts: &Timeouts) -> Result<()> {
        let pending = self.drain_within(timeouts)?;
        pending.into_iter().try_for_each(|reply| whole(reply).map(drop))
    }

    fn run_batch(&mut self, batch: &Batch, timeouts: &Timeouts) -> Result<Vec<Result<Value>>> {
        self.load_scripts(&batch.scripts, &batch.commands, timeouts)?;
        let replies = Window::start(self, &batch.commands, timeouts)?.replies()?;
        let results = batch.results(replies);
        self.note_results(&batch.scripts, &results);
        Ok(results)
    }

    /// Runs a batch and converts each reply as it arrives.
    fn query_batch<T: FromValue>(&mut self, batch: &Batch) -> Result<T> {
        let timeouts = self.timeouts();
        self.load_scripts(&batch.scripts, &batch.commands, &timeouts)?;
        let (converted, received, first_error) = {
            let window = Window::start(self, &batch.commands, &timeouts)?;
            let mut replies = Replies { window, first_error: None };
            replies.window.set_converting(true);
            let mut items = Items::known(batch.len(), &mut replies);
            let converted = T::from_items(&mut items);
            // Whatever the conversion returned, all commands run and their replies are received.
            let received = items.finish();
            replies.window.set_converting(false);
            (converted, received, replies.first_error.take())
        };
        received?;
        match first_error {
            Some((index, error)) => {
                if !batch.scripts.is_empty() && is_noscript(error.message()) {
                    self.scripts.clear();
                }
                Err(error.of_command(index, batch.commands.get(index).name()).into())
            }
            None => converted,
        }
    }
}

impl Executor for Conn {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.call(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        let timeouts = self.timeouts();
        self.run_batch(batch, &timeouts)
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        calls(self);
        Ok(true)
    }
}

impl<E> Pipeline<'_, E> {
    pub(crate) fn on(executor: E) -> Self {
        Pipeline { executor, batch: Batch::new(), borrow: PhantomData }
    }

    pub(crate) fn push_script(&mut self, script: &ScriptSource, command: &str, args: &dyn ToArgs) {
        self.batch.push_script(script, command, args);
    }

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

    /// Adds a command in place, for use in a loop.
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
        self.batch.push(command, args);
    }

    /// Returns the number of commands.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let pipeline = conn.pipeline().cmd("INCR", "a").cmd("INCR", "b");
    /// assert_eq!(pipeline.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Returns true if there are no commands.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// assert!(conn.pipeline().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E: Executor> Pipeline<'_, E> {
    /// Sends all commands and returns one result for each, in order.
    ///
    /// An error reply is the result of its command, which
    /// [`ServerError::command`](crate::ServerError::command) names. The other commands run all
    /// the same.
    ///
    /// The connection's read timeout is one limit for all replies together. Replies to earlier
    /// [`send`](Conn::send)s are received first and dropped.
    ///
    /// # Errors
    /// A fatal error of this call or of an earlier one. Also the first error reply to an earlier
    /// [`send`](Conn::send), and [`Error::Unsupported`](crate::Error::Unsupported) for `SUBSCRIBE`
    /// and its variants: in both cases no command of the pipeline was sent.
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
    pub fn run(mut self) -> Result<Vec<Result<Value>>> {
        self.executor.execute_batch(&self.batch)
    }

    /// Sends all commands and converts the replies to one type.
    ///
    /// The type is a tuple with a member for each command, or a list. A member of type `()` skips
    /// a reply. Each reply is converted as it arrives.
    ///
    /// # Errors
    /// In this order:
    /// - Those of [`run`](Pipeline::run).
    /// - The first error reply, with its [command](crate::ServerError::command). The other
    ///   commands have run.
    /// - Those of [`Value::convert`], with the index of the command as the index of the element.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n-ERR no integer\r\n"));
    /// let set = conn.pipeline().cmd("SET", ("a", "x")).cmd("INCR", "a").query::<((), i64)>();
    /// let error = set.unwrap_err();
    /// assert_eq!(error.as_server().unwrap().command(), Some((1, "INCR")));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn query<T: FromValue>(mut self) -> Result<T> {
        let batch = &self.batch;
        if let Some(outcome) = on_conn(&mut self.executor, |conn| conn.query_batch(batch)) {
            return outcome;
        }
        let replies: Result<Vec<Value>> = self.run()?.into_iter().collect();
        Value::Array(replies?).convert()
    }
}

impl Pipeline<'_> {
    /// Sends all commands and waits at most `timeout` for all replies.
    ///
    /// Like [`run`](Pipeline::run), but the timeout replaces the connection's read timeout. It
    /// includes writing. `None` waits forever; zero fails immediately.
    ///
    /// # Errors
    /// Those of [`run`](Pipeline::run). A timeout is fatal.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let pipeline = conn.pipeline().cmd("INCR", "a").cmd("INCR", "b");
    /// // The server does not answer.
    /// assert!(pipeline.run_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn run_timeout(self, timeout: impl Into<Option<Duration>>) -> Result<Vec<Result<Value>>> {
        let timeouts = self.executor.timeouts_within(timeout.into());
        self.executor.run_batch(&self.batch, &timeouts)
    }

    /// Sends all commands and waits for all replies until the context ends.
    ///
    /// # Errors
    /// Those of [`run`](Pipeline::run), and the end of the context like
    /// [`call_context`](Conn::call_context).
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream, Error};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(":1\r\n:2\r\n"));
    /// let ctx = Context::background().with_timeout(Duration::from_secs(2));
    /// let replies = conn.pipeline().cmd("INCR", "a").cmd("INCR", "a").run_context(&ctx)?;
    /// assert_eq!(replies.len(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    pub fn run_context(self, ctx: &Context) -> Result<Vec<Result<Value>>> {
        self.executor.run_within(ctx, |conn| conn.execute_batch(&self.batch))
    }
}

/// The replies that are being converted. The conversion finds nil in place of an error; its
/// result is not used then.
struct Replies<'a> {
    window: Window<'a>,
    first_error: Option<(usize, ServerError)>,
}

impl Source for Replies<'_> {
    fn next(&mut self) -> Result<Value> {
        let index = self.window.answered();
        match self.window.next()? {
            Value::Error(error) => {
                self.first_error.get_or_insert((index, error));
                Ok(Value::Nil)
            }
            reply => Ok(reply),
        }
    }

    fn next_bulk(&mut self) -> Option<&[u8]> {
        self.window.next_bulk()
    }
}

impl<E> fmt::Debug for Pipeline<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither names nor arguments: both may be secrets.
        f.debug_struct("Pipeline").field("commands", &self.len()).finish_non_exhaustive()
    }
}
