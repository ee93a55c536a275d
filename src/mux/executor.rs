//! A mux as an executor.

use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::batch::Batch;
use crate::conn::pipeline::Pipeline;
use crate::context::Context;
use crate::error::Result;
use crate::executor::Executor;
use crate::limited::{Limit, Limited};
use crate::mux::Mux;
use crate::mux::deadline::CallDeadline;
use crate::mux::mux_conn::MuxConn;
use crate::value::Value;

impl Mux {
    /// Returns an empty pipeline, which sends many commands together. Commands of other callers
    /// can run between them.
    ///
    /// ```
    /// use redigo::{Mux, testing::ScriptedServer};
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "a").reply(1);
    /// # server.expect("INCR", "b").reply(5);
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let (a, b): (i64, i64) = mux.pipeline().cmd("INCR", "a").cmd("INCR", "b").query()?;
    /// assert_eq!((a, b), (1, 5));
    /// // A command that a mux refuses is refused before anything is sent.
    /// assert!(mux.pipeline().cmd("INCR", "a").cmd("WATCH", "a").run().is_err());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn pipeline(&self) -> Pipeline<'_, &Mux> {
        Pipeline::on(self)
    }

    /// Returns the mux with a limit of `timeout` for each call, which includes a dial and writing.
    /// It replaces the connection's read timeout.
    ///
    /// The connection stays usable after a timeout, as after [`call_timeout`](Mux::call_timeout).
    ///
    /// ```
    /// use redigo::{Mux, testing::ScriptedServer};
    /// use std::time::Duration;
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let a: i64 = mux.with_timeout(Duration::from_millis(200)).query("GET", "a")?;
    /// assert_eq!(a, 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn with_timeout(&self, timeout: Duration) -> Limited<'static, &Mux> {
        Limited::new(self, Limit::Timeout(timeout))
    }

    /// Returns the mux with a context for each call. A call stops waiting when the context ends;
    /// the connection stays usable.
    ///
    /// ```
    /// use redigo::{Context, Mux, testing::ScriptedServer};
    ///
    /// # let server = ScriptedServer::new();
    /// # server.expect("GET", "a").reply("1");
    /// # let mux = Mux::with(move |_| Ok(server.conn()));
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// assert_eq!(mux.with_context(&ctx).query::<i64>("GET", "a")?, 1);
    /// cancel.cancel();
    /// assert!(mux.with_context(&ctx).call("GET", "a").unwrap_err().is_canceled());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    pub fn with_context<'a>(&self, ctx: &'a Context) -> Limited<'a, &Mux> {
        Limited::new(self, Limit::Context(ctx))
    }
}

impl Limit<'_> {
    /// Returns the deadline of a call that begins now.
    fn call_deadline(&self) -> CallDeadline<'_> {
        match self {
            Limit::Timeout(timeout) => CallDeadline::after(Some(*timeout)),
            Limit::Context(ctx) => CallDeadline::of_context(ctx),
        }
    }
}

impl Executor for Mux {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.call(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        (&*self).execute_batch(batch)
    }
}

impl Executor for &Mux {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.call(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        self.inner.run_batch(batch, &CallDeadline::read_timeout())
    }
}

impl Executor for Limited<'_, &Mux> {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.executor.inner.call(command, args, &self.limit.call_deadline())
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        self.executor.inner.run_batch(batch, &self.limit.call_deadline())
    }
}

/// Replies that are still pending are received first, as in [`MuxConn::call`].
impl Executor for MuxConn {
    fn execute(&mut self, command: &str, args: &dyn ToArgs) -> Result<Value> {
        self.call(command, args)
    }

    fn execute_batch(&mut self, batch: &Batch) -> Result<Vec<Result<Value>>> {
        self.run_batch(batch)
    }
}
