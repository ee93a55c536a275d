//! Everything that runs commands: [`Executor`].

pub(crate) mod ext;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::batch::Batch;
use crate::error::Result;
use crate::value::Value;

/// Anything that runs commands: a connection, a pool, a mux, a test double.
///
/// A library that takes an executor works with each of them. [`ExecutorExt`](crate::ExecutorExt)
/// adds the calls with types: `call`, `query`, `pipeline` and `script`.
///
/// | Executor | Where a call runs |
/// |---|---|
/// | [`Conn`], [`PooledConn`](crate::PooledConn) | on this connection |
/// | [`Transaction`](crate::Transaction) | on its connection, immediately |
/// | [`Pool`](crate::Pool), `&Pool` | on a connection checked out for this call |
/// | [`Mux`](crate::Mux), `&Mux`, [`MuxConn`](crate::MuxConn) | on the shared connection |
/// | [`Limited`](crate::Limited) | on one of these, under a time limit or a context |
/// | `&mut E`, `&mut dyn Executor` | like `E` |
///
/// Only one connection keeps state between two calls. Use a connection for `WATCH`, `MULTI`,
/// `SELECT` and the like: a pool can use another connection for the next call, and a mux refuses
/// these commands.
///
/// ```
/// use redigo::{Executor, ExecutorExt, Pool, Result, testing::ScriptedServer};
///
/// /// A library's function, for every executor.
/// fn visit(mut redis: impl Executor, page: &str) -> Result<u64> {
///     redis.query("INCR", ("visits:", page))
/// }
///
/// /// The same without generics.
/// fn visit_dyn(redis: &mut dyn Executor, page: &str) -> Result<u64> {
///     redis.query("INCR", ("visits:", page))
/// }
///
/// let server = ScriptedServer::new();
/// server.expect_any("INCR").reply(1).reply(2).reply(3);
/// let pool = Pool::builder(server.dialer()).build()?;
/// assert_eq!(visit(&pool, "home")?, 1);
/// assert_eq!(visit(&mut pool.acquire()?, "home")?, 2);
/// assert_eq!(visit_dyn(&mut server.conn(), "home")?, 3);
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Implementing it
///
/// ```
/// use redigo::{Batch, Executor, ExecutorExt, Result, ToArgs, Value};
///
/// /// Counts the commands that pass through it.
/// struct Counting<E> {
///     executor: E,
///     commands: usize,
/// }
///
/// impl<E: Executor> Executor for Counting<E> {
///     fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
///         self.commands += 1;
///         self.executor.execute(command, args)
///     }
///
///     fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
///         self.commands += batch.len();
///         self.executor.execute_batch(batch)
///     }
/// }
///
/// # let server = redigo::testing::ScriptedServer::unordered();
/// # server.expect_any("INCR").reply(1).times(3);
/// let mut counting = Counting { executor: server.conn(), commands: 0 };
/// counting.query::<i64>("INCR", "a")?;
/// counting.pipeline().cmd("INCR", "a").cmd("INCR", "b").run()?;
/// assert_eq!(counting.commands, 3);
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "redis.Conn")]
#[doc(alias = "ConnectionLike")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run commands",
    label = "not an executor",
    note = "pass `&mut conn` for a connection, `&pool` for a pool, `&mux` for a mux"
)]
pub trait Executor {
    /// Sends a command and waits for its reply. [`ExecutorExt::call`](crate::ExecutorExt::call)
    /// takes arguments of any type.
    ///
    /// # Errors
    /// Those of [`Conn::call`], and those of a checkout or a dial.
    ///
    /// ```
    /// # use redigo::{Executor, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// let mut conn = server.conn();
    /// let redis: &mut dyn Executor = &mut conn;
    /// assert_eq!(redis.execute("GET", &"a")?.as_str(), Some("1"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Do")]
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value>;

    /// Sends all commands in one round trip and returns one result for each, in order.
    /// [`ExecutorExt::pipeline`](crate::ExecutorExt::pipeline) is the usual way to call it.
    ///
    /// # Errors
    /// Those of [`Pipeline::run`](crate::Pipeline::run), and those of a checkout or a dial. An
    /// error reply is the result of its command.
    ///
    /// ```
    /// # use redigo::{Batch, Executor, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("INCR").reply(1).reply(2);
    /// let mut batch = Batch::new();
    /// batch.push("INCR", "a");
    /// batch.push("INCR", "a");
    /// let results = server.conn().execute_batch(&batch)?;
    /// assert_eq!(results.len(), 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>>;

    /// Runs `calls` on the executor's connection and returns true, or returns false if it has no
    /// connection to lend. Then the caller uses the other two methods.
    ///
    /// This saves memory and round trips: a reply is converted while it arrives, and a script's
    /// two attempts use one connection. An executor that wraps another one and must see every
    /// command keeps the default.
    ///
    /// Defaults to false.
    ///
    /// # Errors
    /// Those of a checkout, and the end of a context.
    ///
    /// ```
    /// # use redigo::{Executor, Pool, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("PING", ()).reply("PONG");
    /// # let pool = Pool::builder(server.dialer()).build()?;
    /// let mut reply = None;
    /// assert!((&pool).with_conn(&mut |conn| reply = Some(conn.call("PING", ())))?);
    /// assert_eq!(reply.unwrap()?.as_str(), Some("PONG"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        let _ = calls;
        Ok(false)
    }
}

impl<E: Executor + ?Sized> Executor for &mut E {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        (**self).execute(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        (**self).execute_batch(batch)
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        (**self).with_conn(calls)
    }
}

impl<E: Executor + ?Sized> Executor for Box<E> {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        (**self).execute(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        (**self).execute_batch(batch)
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        (**self).with_conn(calls)
    }
}

/// Runs calls on the executor's connection, if it has one.
pub(crate) fn on_conn<T>(
    executor: &mut (impl Executor + ?Sized),
    mut calls: impl FnMut(&mut Conn) -> Result<T>,
) -> Option<Result<T>> {
    let mut outcome = None;
    match executor.with_conn(&mut |conn| outcome = Some(calls(conn))) {
        Ok(_) => outcome,
        Err(error) => Some(Err(error)),
    }
}
