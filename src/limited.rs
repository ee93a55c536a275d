//! Calls under one time limit or one context: [`Limited`].

mod conn;

use std::fmt;
use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::pipeline::Pipeline;
use crate::context::Context;
use crate::error::Result;
use crate::executor::{Executor, on_conn};
use crate::from_value::FromValue;
use crate::value::Value;

/// An executor whose calls each end within a time limit or with a context.
///
/// [`Conn::with_timeout`], [`Conn::with_context`] and the methods of the same names of
/// [`Pool`](crate::Pool) and [`Mux`](crate::Mux) return it. It is an [`Executor`] itself, so
/// scripts and libraries run under the limit too.
///
/// A timeout starts anew with each call, and covers all of the call: on a pool the checkout, then
/// writing, the reply, and further attempts of a script or a transaction. It replaces the
/// connection's read and write timeouts, longer or shorter. A context is one more limit beside
/// them, the same for all calls.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Script, testing::ScriptedServer};
///
/// static LEN: Script = Script::new(1, "return redis.call('LLEN', KEYS[1])");
///
/// # let server = ScriptedServer::new();
/// # server.expect("GET", "a").reply("1");
/// # server.expect("INCR", "a").reply(2).reply(3);
/// # server.expect_script(&LEN, "jobs").reply(4);
/// # let mut conn = server.conn();
/// let mut limited = conn.with_timeout(Duration::from_millis(200));
/// let a: i64 = limited.query("GET", "a")?; // at most 200 ms
/// let (b, c): (i64, i64) = limited.pipeline().cmd("INCR", "a").cmd("INCR", "a").query()?; // again
/// let length: i64 = LEN.query(&mut limited, "jobs")?;
/// assert_eq!((a, b, c, length), (1, 2, 3, 4));
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "ConnWithTimeout")]
#[doc(alias = "ConnWithContext")]
pub struct Limited<'a, E> {
    pub(crate) executor: E,
    pub(crate) limit: Limit<'a>,
}

/// The limit of each call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit<'a> {
    Timeout(Duration),
    Context(&'a Context),
}

impl<'a, E> Limited<'a, E> {
    pub(crate) fn new(executor: E, limit: Limit<'a>) -> Limited<'a, E> {
        Limited { executor, limit }
    }
}

impl<'a, E> Limited<'a, E>
where
    Limited<'a, E>: Executor,
{
    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// Those of the executor without a limit. If the limit is reached, a timeout, or
    /// [`Error::Canceled`](crate::Error::Canceled): fatal for a connection, but not for a mux.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, testing::MemoryStream};
    ///
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let error = conn.with_timeout(Duration::from_millis(1)).call("PING", ()).unwrap_err();
    /// assert!(error.is_timeout());
    /// ```
    #[doc(alias = "DoWithTimeout")]
    #[doc(alias = "DoContext")]
    pub fn call(&mut self, command: &str, args: impl ToArgs) -> Result<Value> {
        self.execute(command, &args)
    }

    /// Sends a command, waits for its reply and converts it.
    ///
    /// # Errors
    /// Those of [`call`](Limited::call), and those of [`Value::convert`], which are not fatal.
    ///
    /// ```
    /// # use redigo::{Context, testing::ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "a").reply(2);
    /// # let mut conn = server.conn();
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// let a: i64 = conn.with_context(&ctx).query("INCR", "a")?;
    /// assert_eq!(a, 2);
    /// cancel.cancel(); // from any thread
    /// assert!(conn.with_context(&ctx).query::<i64>("INCR", "a").unwrap_err().is_canceled());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    #[doc(alias = "DoContext")]
    pub fn query<T: FromValue>(&mut self, command: &str, args: impl ToArgs) -> Result<T> {
        match on_conn(self, |conn| conn.query(command, &args)) {
            Some(outcome) => outcome,
            None => self.execute(command, &args)?.convert(),
        }
    }

    /// Returns an empty pipeline. The limit is that of all its replies together, and starts when
    /// the pipeline is run.
    ///
    /// ```
    /// # use redigo::testing::ScriptedServer;
    /// # use std::time::Duration;
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "a").reply(1);
    /// # server.expect("INCR", "b").reply(5);
    /// # let mut conn = server.conn();
    /// let counts: Vec<i64> = conn
    ///     .with_timeout(Duration::from_secs(1))
    ///     .pipeline()
    ///     .cmd("INCR", "a")
    ///     .cmd("INCR", "b")
    ///     .query()?;
    /// assert_eq!(counts, [1, 5]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn pipeline(&mut self) -> Pipeline<'_, &mut Self> {
        Pipeline::on(self)
    }
}

impl Conn {
    /// Runs calls under a limit.
    pub(crate) fn run_limited<T>(
        &mut self,
        limit: Limit<'_>,
        calls: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        match limit {
            Limit::Timeout(timeout) => self.run_for(timeout, calls),
            Limit::Context(ctx) => self.run_within(ctx, calls),
        }
    }
}

impl<E> fmt::Debug for Limited<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("limit", &self.limit).finish_non_exhaustive()
    }
}
