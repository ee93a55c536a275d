//! The calls of an executor with types.

use crate::args::ToArgs;
use crate::conn::pipeline::Pipeline;
use crate::error::Result;
use crate::executor::{Executor, on_conn};
use crate::from_value::FromValue;
use crate::script::Script;
use crate::value::Value;

/// The calls with types of every [`Executor`], also of a `&mut dyn Executor`.
///
/// Import it in code that is generic over executors. [`Conn`](crate::Conn),
/// [`Pool`](crate::Pool) and [`Mux`](crate::Mux) have `call`, `query` and `pipeline` without it.
///
/// ```
/// use redigo::{ExecutorExt, Executor, Result, Script, testing::ScriptedServer};
///
/// static ADD: Script = Script::new(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
///
/// fn use_all(redis: &mut dyn Executor) -> Result<i64> {
///     redis.call("SET", ("a", 1))?;
///     let a: i64 = redis.query("GET", "a")?;
///     let (b, c): (i64, i64) = redis.pipeline().cmd("INCR", "a").cmd("INCR", "a").query()?;
///     let d: i64 = redis.script(&ADD, ("a", 10))?;
///     Ok(a + b + c + d)
/// }
///
/// let server = ScriptedServer::new();
/// server.expect("SET", ("a", 1)).ok();
/// server.expect("GET", "a").reply("1");
/// server.expect("INCR", "a").reply(2).reply(3);
/// server.expect_script(&ADD, ("a", 10)).reply(13);
/// assert_eq!(use_all(&mut server.conn())?, 19);
/// # Ok::<(), redigo::Error>(())
/// ```
pub trait ExecutorExt: Executor {
    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// Those of [`Executor::execute`].
    ///
    /// ```
    /// use redigo::{Executor, ExecutorExt, Result, testing::ScriptedServer};
    ///
    /// fn ping(redis: &mut dyn Executor) -> Result<()> {
    ///     redis.call("PING", ()).map(drop)
    /// }
    /// # let server = ScriptedServer::new();
    /// # server.expect("PING", ()).reply("PONG");
    /// ping(&mut server.conn())?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Do")]
    fn call(&mut self, command: &str, args: impl ToArgs) -> Result<Value> {
        self.execute(command, &args)
    }

    /// Sends a command, waits for its reply and converts it.
    ///
    /// # Errors
    /// Those of [`Executor::execute`], and those of [`Value::convert`], which are not fatal.
    ///
    /// ```
    /// use redigo::{Executor, ExecutorExt, Result, testing::ScriptedServer};
    ///
    /// fn name(redis: &mut dyn Executor, id: u32) -> Result<Option<String>> {
    ///     redis.query("HGET", (format!("user:{id}"), "name"))
    /// }
    /// # let server = ScriptedServer::new();
    /// # server.expect("HGET", ("user:7", "name")).reply("Ada");
    /// assert_eq!(name(&mut server.conn(), 7)?.as_deref(), Some("Ada"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Do")]
    fn query<T: FromValue>(&mut self, command: &str, args: impl ToArgs) -> Result<T> {
        match on_conn(self, |conn| conn.query(command, &args)) {
            Some(outcome) => outcome,
            None => self.execute(command, &args)?.convert(),
        }
    }

    /// Returns an empty pipeline, which sends many commands in one round trip.
    ///
    /// ```
    /// use redigo::{Executor, ExecutorExt, Result, testing::ScriptedServer};
    ///
    /// fn both(redis: &mut dyn Executor) -> Result<(i64, i64)> {
    ///     redis.pipeline().cmd("INCR", "a").cmd("INCR", "b").query()
    /// }
    /// # let server = ScriptedServer::new();
    /// # server.expect("INCR", "a").reply(1);
    /// # server.expect("INCR", "b").reply(5);
    /// assert_eq!(both(&mut server.conn())?, (1, 5));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Send")]
    fn pipeline(&mut self) -> Pipeline<'_, &mut Self> {
        Pipeline::on(self)
    }

    /// Runs a script and converts its reply, like [`Script::query`].
    ///
    /// # Errors
    /// Those of [`Script::query`].
    ///
    /// ```
    /// use redigo::{Executor, ExecutorExt, Result, Script, testing::ScriptedServer};
    ///
    /// static LEN: Script = Script::new(1, "return redis.call('LLEN', KEYS[1])");
    ///
    /// fn length(redis: &mut dyn Executor, queue: &str) -> Result<usize> {
    ///     redis.script(&LEN, queue)
    /// }
    /// # let server = ScriptedServer::new();
    /// # server.expect_script(&LEN, "jobs").reply(2);
    /// assert_eq!(length(&mut server.conn(), "jobs")?, 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Script.Do")]
    fn script<T: FromValue>(&mut self, script: &Script, args: impl ToArgs) -> Result<T> {
        script.query(self, args)
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}
