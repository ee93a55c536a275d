//! Calls on a pool, each on a connection checked out for it.

use std::time::{Duration, Instant};

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::batch::Batch;
use crate::conn::pipeline::Pipeline;
use crate::context::Context;
use crate::error::{Result, TimeoutKind};
use crate::executor::Executor;
use crate::from_value::FromValue;
use crate::limited::{Limit, Limited};
use crate::pool::Pool;
use crate::pool::pooled_conn::PooledConn;
use crate::value::Value;

impl Pool {
    /// Checks out a connection, runs one command and returns the connection.
    ///
    /// For several commands in a row, one [`acquire`](Pool::acquire) or a
    /// [`pipeline`](Pool::pipeline) is faster. The next call can use another connection, so a
    /// command that changes its connection (`WATCH`, `MULTI`, `SELECT`) has no lasting effect.
    ///
    /// # Errors
    /// Those of [`acquire`](Pool::acquire), and those of [`Conn::call`].
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("SET", ("name", "x", "EX", 60)).ok();
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// pool.call("SET", ("name", "x", "EX", 60))?;
    /// assert_eq!(pool.idle_count(), 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Do")]
    #[track_caller]
    pub fn call(&self, command: &str, args: impl ToArgs) -> Result<Value> {
        let conn = self.acquire()?;
        run_on(conn, |conn| conn.call(command, args))
    }

    /// Like [`call`](Pool::call), but converts the reply to `T`.
    ///
    /// # Errors
    /// Those of [`call`](Pool::call), and those of [`Value::convert`].
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "n").reply(2);
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// assert_eq!(pool.query::<i64>("INCR", "n")?, 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Do")]
    #[track_caller]
    pub fn query<T: FromValue>(&self, command: &str, args: impl ToArgs) -> Result<T> {
        let conn = self.acquire()?;
        run_on(conn, |conn| conn.query(command, args))
    }

    /// Like [`call`](Pool::call), but for a command that blocks at the server for up to `block`:
    /// see [`Conn::call_blocking`]. The command occupies a connection meanwhile.
    ///
    /// # Errors
    /// Those of [`call`](Pool::call).
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    /// use std::time::Duration;
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("BLPOP", ("queue", 5)).reply_list(["queue", "job"]);
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// let job = pool.call_blocking(Duration::from_secs(5), "BLPOP", ("queue", 5))?;
    /// assert_eq!(job.convert::<(String, String)>()?.1, "job");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    #[track_caller]
    pub fn call_blocking(
        &self,
        block: Duration,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        let conn = self.acquire()?;
        run_on(conn, |conn| conn.call_blocking(block, command, args))
    }

    /// Returns an empty pipeline. Running it checks out a connection, sends all commands in one
    /// round trip and returns the connection.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "a").reply(1);
    /// # server.expect("INCR", "b").reply(5);
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// let (a, b): (i64, i64) = pool.pipeline().cmd("INCR", "a").cmd("INCR", "b").query()?;
    /// assert_eq!((a, b), (1, 5));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn pipeline(&self) -> Pipeline<'_, &Pool> {
        Pipeline::on(self)
    }

    /// Returns the pool with a limit of `timeout` for each call, from the checkout to the reply.
    /// It replaces the pool's `wait_timeout` and the connection's timeouts.
    ///
    /// As in [`get_timeout`](Pool::get_timeout), the caller waits at `max_active` only if
    /// [`wait`](crate::PoolBuilder::wait) is set.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    /// use std::time::Duration;
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// let pool = Pool::builder(server.dialer()).max_active(1).wait(true).build()?;
    /// let mut soon = pool.with_timeout(Duration::from_millis(20));
    /// assert_eq!(soon.query::<i64>("GET", "a")?, 1);
    /// let conn = pool.acquire()?;
    /// assert!(soon.query::<i64>("GET", "a").unwrap_err().is_timeout());
    /// # drop(conn);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn with_timeout(&self, timeout: Duration) -> Limited<'static, &Pool> {
        Limited::new(self, Limit::Timeout(timeout))
    }

    /// Returns the pool with a context for each call, from the checkout to the reply.
    ///
    /// ```
    /// use redigo::{Context, Pool, testing::ScriptedServer};
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// assert_eq!(pool.with_context(&ctx).query::<i64>("GET", "a")?, 1);
    /// cancel.cancel(); // from any thread
    /// assert!(pool.with_context(&ctx).call("GET", "a").unwrap_err().is_canceled());
    /// assert_eq!(pool.idle_count(), 1); // the connection was not used
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "GetContext")]
    #[doc(alias = "DoContext")]
    pub fn with_context<'a>(&self, ctx: &'a Context) -> Limited<'a, &Pool> {
        Limited::new(self, Limit::Context(ctx))
    }
}

impl Limited<'_, &Pool> {
    /// Like [`Pool::call_blocking`]. With a context, the reply may take `block` and the read
    /// timeout, and canceling the context interrupts the wait. With a timeout, `block` adds nothing
    /// to it.
    ///
    /// # Errors
    /// Those of [`Pool::call_blocking`], and the end of the limit.
    ///
    /// ```
    /// use redigo::{Context, Pool, testing::ScriptedServer};
    /// use std::time::Duration;
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("BLPOP", ("queue", 5)).reply_list(["queue", "job"]);
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// let block = Duration::from_secs(5);
    /// let job = pool.with_context(&ctx).call_blocking(block, "BLPOP", ("queue", 5))?;
    /// assert_eq!(job.convert::<(String, String)>()?.1, "job");
    /// # drop(cancel);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn call_blocking(
        &mut self,
        block: Duration,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        self.run(|conn| conn.call_blocking(block, command, args))
    }

    /// Checks out a connection and runs calls on it, all within the limit.
    fn run<T>(&self, calls: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        let pool = self.executor;
        match self.limit {
            Limit::Context(ctx) => {
                let conn = pool.get_context(ctx)?;
                // The context may have ended meanwhile: the connection is returned unused.
                ctx.err().map_or(Ok(()), Err)?;
                run_on(conn, |conn| conn.run_within(ctx, calls))
            }
            Limit::Timeout(timeout) => {
                let begin = Instant::now();
                let conn = pool.get_timeout(timeout)?;
                let rest = timeout.saturating_sub(begin.elapsed());
                if rest.is_zero() {
                    return Err(TimeoutKind::Read.into());
                }
                run_on(conn, |conn| conn.run_for(rest, calls))
            }
        }
    }
}

/// Runs calls on a connection and returns it. An error of cleaning is not one of the calls.
fn run_on<T>(mut conn: PooledConn, calls: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
    let outcome = calls(&mut conn);
    let _ = conn.close();
    outcome
}

impl Executor for Pool {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        (&*self).execute(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        (&*self).execute_batch(batch)
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        (&*self).with_conn(calls)
    }
}

impl Executor for &Pool {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.call(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        run_on(self.acquire()?, |conn| conn.execute_batch(batch))
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        run_on(self.acquire()?, |conn| conn.with_conn(calls))
    }
}

impl Executor for PooledConn {
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

impl Executor for Limited<'_, &Pool> {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.run(|conn| conn.execute(command, args))
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        self.run(|conn| conn.execute_batch(batch))
    }

    fn with_conn(&mut self, calls: &mut dyn FnMut(&mut Conn)) -> Result<bool> {
        self.run(|conn| conn.with_conn(calls))
    }
}
