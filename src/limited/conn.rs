//! A connection under a limit.

use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::batch::Batch;
use crate::conn::transaction::Transaction;
use crate::context::Context;
use crate::error::Result;
use crate::executor::Executor;
use crate::limited::{Limit, Limited};
use crate::value::Value;

impl Conn {
    /// Returns the connection with a limit of `timeout` for each call: `call`, `query`,
    /// `pipeline`, `transaction`, `receive`, scripts.
    ///
    /// The limit covers all of a call, including writing. It replaces the connection's read and
    /// write timeouts for this call, longer or shorter. Zero fails immediately.
    ///
    /// ```
    /// # use redigo::testing::ScriptedServer;
    /// use std::time::Duration;
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// # let mut conn = server.conn();
    /// let a: i64 = conn.with_timeout(Duration::from_millis(200)).query("GET", "a")?;
    /// assert_eq!(a, 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    #[doc(alias = "ConnWithTimeout")]
    pub fn with_timeout(&mut self, timeout: Duration) -> Limited<'static, &mut Conn> {
        Limited::new(self, Limit::Timeout(timeout))
    }

    /// Returns the connection with a context for each call. The context's deadline is one more
    /// limit, and canceling the context interrupts a call.
    ///
    /// The end of the context is fatal, like in [`call_context`](Conn::call_context).
    ///
    /// ```
    /// # use redigo::{Context, testing::ScriptedServer};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// # let mut conn = server.conn();
    /// let ctx = Context::background().with_timeout(Duration::from_secs(2));
    /// let a: i64 = conn.with_context(&ctx).query("GET", "a")?;
    /// assert_eq!(a, 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    #[doc(alias = "ConnWithContext")]
    pub fn with_context<'a>(&mut self, ctx: &'a Context) -> Limited<'a, &mut Conn> {
        Limited::new(self, Limit::Context(ctx))
    }
}

impl Limited<'_, &mut Conn> {
    /// Waits for the next reply, like [`Conn::receive`].
    ///
    /// # Errors
    /// Those of [`Conn::receive`], and the end of the limit, which is fatal.
    ///
    /// ```
    /// # use redigo::testing::ScriptedServer;
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.expect("PING", ()).reply("PONG");
    /// # let mut conn = server.conn();
    /// conn.send("PING", ())?;
    /// conn.flush()?;
    /// let reply = conn.with_timeout(Duration::from_secs(1)).receive()?;
    /// assert_eq!(reply.as_str(), Some("PONG"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "ReceiveWithTimeout")]
    #[doc(alias = "ReceiveContext")]
    pub fn receive(&mut self) -> Result<Value> {
        self.executor.run_limited(self.limit, Conn::receive)
    }

    /// Runs a transaction, like [`Conn::transaction`]. The limit covers all its attempts.
    ///
    /// # Errors
    /// Those of [`Conn::transaction`], and the end of the limit, which is fatal.
    ///
    /// ```
    /// # use redigo::{Context, testing::ScriptedServer};
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.expect("MULTI", ()).ok();
    /// # server.expect("INCR", "jobs").queued();
    /// # server.expect("EXEC", ()).reply_list([7]);
    /// # let mut conn = server.conn();
    /// let (jobs,): (i64,) = conn
    ///     .with_timeout(Duration::from_secs(1))
    ///     .transaction((), |tx| tx.cmd("INCR", "jobs").exec())?;
    /// assert_eq!(jobs, 7);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "MULTI")]
    pub fn transaction<R>(
        &mut self,
        keys: impl ToArgs,
        body: impl FnMut(Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.executor.run_limited(self.limit, |conn| conn.transaction(keys, body))
    }

    /// Sends a command that blocks at the server for up to `block`, like
    /// [`Conn::call_blocking`].
    ///
    /// With a context, the reply may take `block` and the read timeout, and canceling the context
    /// interrupts the wait. With a timeout, `block` adds nothing to it.
    ///
    /// # Errors
    /// Those of [`Conn::call_blocking`], and the end of the limit, which is fatal.
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream};
    /// use std::time::Duration;
    ///
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// let worker = std::thread::spawn(move || {
    ///     conn.with_context(&ctx).call_blocking(Duration::ZERO, "BLPOP", ("queue", 0))
    /// });
    /// cancel.cancel();
    /// assert!(worker.join().unwrap().unwrap_err().is_canceled());
    /// ```
    pub fn call_blocking(
        &mut self,
        block: Duration,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.executor.run_limited(self.limit, |conn| conn.call_blocking(block, command, args))
    }
}

impl Executor for Limited<'_, &mut Conn> {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.executor.run_limited(self.limit, |conn| conn.execute(command, args))
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        self.executor.run_limited(self.limit, |conn| conn.execute_batch(batch))
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        self.executor.run_limited(self.limit, |conn| {
            calls(conn);
            Ok(true)
        })
    }
}
