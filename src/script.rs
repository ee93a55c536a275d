//! Lua scripts that are sent once and then called by their hash: [`Script`].

pub(crate) mod loaded;
pub(crate) mod queued;
pub(crate) mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::args::{ArgWriter, ToArgs};
use crate::conn::Conn;
use crate::conn::batch::Batch;
use crate::conn::deadline::Timeouts;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::executor::{Executor, on_conn};
use crate::from_value::FromValue;
use crate::script::loaded::is_noscript;
use crate::script::source::ScriptSource;
use crate::value::Value;

/// A Lua script.
///
/// [`call`](Script::call) sends only the hash (`EVALSHA`). If the server does not know the script,
/// which normally happens once per server, it sends the source (`EVAL`).
///
/// It runs on every [`Executor`]: `&mut conn`, `&pool`, `&mux`, `&mut conn.with_timeout(d)`. Queue it
/// with [`Pipeline::script`](crate::Pipeline::script) and
/// [`Transaction::script`](crate::Transaction::script).
///
/// Create a script once, as a `static`, and use it from all threads.
///
/// ```
/// use redigo::Script;
///
/// /// Removes and returns the member with the lowest score of a sorted set.
/// static ZPOP: Script = Script::new(
///     1,
///     r"
///     local r = redis.call('ZRANGE', KEYS[1], 0, 0)
///     if r[1] then redis.call('ZREM', KEYS[1], r[1]) end
///     return r[1]
///     ",
/// );
///
/// # use redigo::{Dialer, testing::MemoryStream};
/// # let server = MemoryStream::new("-NOSCRIPT No matching script.\r\n$3\r\nred\r\n$-1\r\n");
/// # let mut conn = Dialer::tcp(":6379").wrap(server);
/// let first: Option<String> = ZPOP.query(&mut conn, "zset")?;
/// assert_eq!(first.as_deref(), Some("red"));
/// # assert!(ZPOP.query::<Option<String>>(&mut conn, "zset")?.is_none());
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Clone)]
pub struct Script {
    source: ScriptSource,
    /// The number of arguments that are keys; `None` if each call gives it.
    keys: Option<usize>,
    read_only: bool,
}

impl Script {
    /// Returns a script whose first `keys` arguments are keys. The source is hashed on first use.
    ///
    /// [`owned`](Script::owned) takes a source that is not a literal. The server refuses a call
    /// with fewer arguments than keys, and the connection stays usable.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(":12\r\n"));
    /// let add = Script::new(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    /// let sum: i64 = add.query(&mut conn, ("counter", 2))?; // 1 key, then the rest
    /// assert_eq!(sum, 12);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "NewScript")]
    pub const fn new(keys: usize, source: &'static str) -> Script {
        Script { source: ScriptSource::of_static(source), keys: Some(keys), read_only: false }
    }

    /// Returns a script whose number of keys varies. Each call gives the number as its first
    /// argument, before the keys.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(":2\r\n"));
    /// let count = Script::variadic("return #KEYS");
    /// assert_eq!(count.query::<i64>(&mut conn, (2, "a", "b", "not a key"))?, 2);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "NewScript")]
    pub const fn variadic(source: &'static str) -> Script {
        Script { source: ScriptSource::of_static(source), keys: None, read_only: false }
    }

    /// Returns a script whose source is made at run time. Without a number of `keys`, each call
    /// gives it, like [`variadic`](Script::variadic). Clones share the source.
    ///
    /// ```
    /// # use redigo::{testing::ScriptedServer, Error, Script};
    /// # let server = ScriptedServer::new();
    /// # server.expect_any("EVALSHA").reply(12);
    /// let command = "INCRBY";
    /// let add = Script::owned(1, format!("return redis.call('{command}', KEYS[1], ARGV[1])"));
    /// assert_eq!(add.query::<i64>(&mut server.conn(), ("counter", 2))?, 12);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "NewScript")]
    pub fn owned(keys: impl Into<Option<usize>>, source: impl Into<Arc<str>>) -> Script {
        let source = ScriptSource::owned(source.into());
        Script { source, keys: keys.into(), read_only: false }
    }

    /// Returns the script as a read-only one, called with `EVALSHA_RO` and `EVAL_RO`. Replicas
    /// run it, too. Needs Redis 7.0.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let server = MemoryStream::new(":3\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server.clone());
    /// let length = Script::new(1, "return redis.call('LLEN', KEYS[1])").read_only();
    /// assert_eq!(length.query::<u64>(&mut conn, "queue")?, 3);
    /// # assert!(server.written().starts_with(b"*4\r\n$10\r\nEVALSHA_RO\r\n"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub const fn read_only(mut self) -> Script {
        self.read_only = true;
        self
    }

    /// Returns the SHA-1 of the source in hexadecimal. The server knows the script by it.
    ///
    /// ```
    /// let script = redigo::Script::new(0, "return 1");
    /// assert_eq!(script.hash(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    /// ```
    #[doc(alias = "Hash")]
    pub fn hash(&self) -> &str {
        self.source.hash()
    }

    /// Runs the script by its hash, or with its source if the server does not know it.
    ///
    /// Like [`Conn::call`], receives pending replies first and returns the first error among
    /// them. Only the script's own reply decides whether the source is sent.
    ///
    /// In an open `MULTI` the server answers `QUEUED` and notices only in `EXEC` that it does not
    /// know the script. Use [`Transaction::script`](crate::Transaction::script) there.
    ///
    /// # Errors
    /// [`Error::Server`] for an error that the script raises or returns. A fatal error ends the
    /// connection. On a pool or a mux, those of a checkout or a dial.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n-ERR my fault\r\n"));
    /// let pong = Script::new(0, "return redis.call('PING')").call(&mut conn, ())?;
    /// assert_eq!(pong.as_str(), Some("PONG"));
    /// let fails = Script::new(0, "return redis.error_reply('ERR my fault')");
    /// assert_eq!(fails.call(&mut conn, ()).unwrap_err().to_string(), "ERR my fault");
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn call(&self, mut executor: impl Executor, args: impl ToArgs) -> Result<Value> {
        let on_conn = on_conn(&mut executor, |conn| {
            let timeouts = conn.timeouts();
            self.exchange(conn, &args, &timeouts)
        });
        on_conn.unwrap_or_else(|| self.execute(&mut executor, &args))
    }

    /// Runs the script like [`call`](Script::call) and converts its reply.
    ///
    /// # Errors
    /// Those of [`call`](Script::call), and those of [`Value::convert`], which are not fatal.
    ///
    /// ```
    /// use redigo::{Pool, Script, testing::ScriptedServer};
    ///
    /// static TAKE: Script = Script::new(1, "return redis.call('LPOP', KEYS[1])");
    ///
    /// let server = ScriptedServer::new();
    /// server.expect_script(&TAKE, "jobs").reply("first").reply("second");
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// assert_eq!(TAKE.query::<String>(&pool, "jobs")?, "first"); // checks a connection out
    /// assert_eq!(TAKE.query::<String>(&mut pool.acquire()?, "jobs")?, "second");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(":3\r\n"));
    /// let sum: i64 = Script::new(0, "return ARGV[1] + ARGV[2]").query(&mut conn, (1, 2))?;
    /// assert_eq!(sum, 3);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Do")]
    pub fn query<T: FromValue>(&self, executor: impl Executor, args: impl ToArgs) -> Result<T> {
        self.call(executor, args)?.convert()
    }

    /// Runs the script and waits at most `timeout` for its reply.
    ///
    /// Like [`call`](Script::call), but the timeout replaces the connection's read timeout. It
    /// includes writing, and sending the source if needed. `None` waits forever; zero fails
    /// immediately.
    ///
    /// # Errors
    /// Those of [`call`](Script::call). A timeout is fatal.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Script};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let endless = Script::new(0, "while true do end");
    /// let error = endless.call_timeout(&mut conn, Duration::from_millis(1), ()).unwrap_err();
    /// assert!(error.is_timeout());
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn call_timeout(
        &self,
        conn: &mut Conn,
        timeout: impl Into<Option<Duration>>,
        args: impl ToArgs,
    ) -> Result<Value> {
        let timeouts = conn.timeouts_within(timeout.into());
        self.exchange(conn, &args, &timeouts)
    }

    /// Runs the script like [`call`](Script::call), until the context ends.
    ///
    /// # Errors
    /// Those of [`call`](Script::call), and the end of the context like [`Conn::call_context`].
    ///
    /// ```
    /// # use redigo::{Context, Dialer, testing::MemoryStream, Error, Script};
    /// # use std::time::Duration;
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(":1\r\n"));
    /// let ctx = Context::background().with_timeout(Duration::from_secs(2));
    /// let reply = Script::new(0, "return 1").call_context(&ctx, &mut conn, ())?;
    /// assert_eq!(reply.as_int(), Some(1));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoContext")]
    pub fn call_context(&self, ctx: &Context, conn: &mut Conn, args: impl ToArgs) -> Result<Value> {
        conn.run_within(ctx, |conn| self.call(conn, args))
    }

    /// Queues the script with its source, like [`Conn::send`].
    ///
    /// # Errors
    /// Those of [`Conn::send`].
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("$1\r\nx\r\n$1\r\nx\r\n"));
    /// let echo = Script::new(0, "return ARGV[1]");
    /// echo.send(&mut conn, "x")?;
    /// echo.send_hash(&mut conn, "x")?; // the server knows it now
    /// conn.flush()?;
    /// assert_eq!(conn.receive()?.as_str(), Some("x"));
    /// assert_eq!(conn.receive()?.as_str(), Some("x"));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Send")]
    pub fn send(&self, conn: &mut Conn, args: impl ToArgs) -> Result<()> {
        conn.send(self.eval(), self.eval_args(args))
    }

    /// Queues the script by its hash. [`load`](Script::load) it before: if the server does not
    /// know it, the reply is the error `NOSCRIPT`.
    ///
    /// # Errors
    /// Those of [`Conn::send`].
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("$1\r\n-\r\n:1\r\n"));
    /// let script = Script::new(0, "return 1");
    /// script.load(&mut conn)?;
    /// script.send_hash(&mut conn, ())?;
    /// conn.flush()?;
    /// assert_eq!(conn.receive()?.as_int(), Some(1));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "SendHash")]
    pub fn send_hash(&self, conn: &mut Conn, args: impl ToArgs) -> Result<()> {
        conn.send(self.evalsha(), self.evalsha_args(args))
    }

    /// Loads the script into the server without running it.
    ///
    /// # Errors
    /// Those of [`Conn::call`]. A script that does not compile is an error reply.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let server = MemoryStream::new("$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n");
    /// # let mut conn = Dialer::tcp(":6379").wrap(server);
    /// Script::new(0, "return 1").load(&mut conn)?;
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Load")]
    pub fn load(&self, mut executor: impl Executor) -> Result<()> {
        let args = ("LOAD", self.source.text());
        let on_conn = on_conn(&mut executor, |conn| {
            conn.query::<()>("SCRIPT", args)?;
            conn.note_script(&self.source);
            Ok(())
        });
        on_conn.unwrap_or_else(|| executor.execute("SCRIPT", &args)?.convert())
    }

    /// Returns the arguments of an `EVAL` that runs the script. In a pipeline or a transaction,
    /// [`Pipeline::script`](crate::Pipeline::script) and
    /// [`Transaction::script`](crate::Transaction::script) send less.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n:3\r\n"));
    /// let add = Script::new(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    /// let ((), sum): ((), i64) = conn
    ///     .pipeline()
    ///     .cmd("SET", ("counter", 1))
    ///     .cmd("EVAL", add.eval_args(("counter", 2)))
    ///     .query()?;
    /// assert_eq!(sum, 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn eval_args<A: ToArgs>(&self, args: A) -> impl ToArgs {
        Invocation { script: self.source.text(), keys: self.keys, args }
    }

    /// Returns the arguments of an `EVALSHA` that runs the script, like
    /// [`eval_args`](Script::eval_args).
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error, Script};
    /// # let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("$1\r\n-\r\n:1\r\n:2\r\n"));
    /// let count = Script::new(1, "return redis.call('INCR', KEYS[1])");
    /// count.load(&mut conn)?;
    /// let counts: (i64, i64) = conn
    ///     .pipeline()
    ///     .cmd("EVALSHA", count.evalsha_args("a"))
    ///     .cmd("EVALSHA", count.evalsha_args("a"))
    ///     .query()?;
    /// assert_eq!(counts, (1, 2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn evalsha_args<A: ToArgs>(&self, args: A) -> impl ToArgs {
        Invocation { script: self.source.hash(), keys: self.keys, args }
    }

    fn exchange(&self, conn: &mut Conn, args: &dyn ToArgs, timeouts: &Timeouts) -> Result<Value> {
        let by_hash = self.evalsha_args(args);
        let (earlier, mut reply) = conn.exchange_raw(self.evalsha(), &by_hash, timeouts)?;
        if is_unknown(&reply) {
            (_, reply) = conn.exchange_raw(self.eval(), &self.eval_args(args), timeouts)?;
        }
        if !matches!(&reply, Value::Error(_)) {
            conn.note_script(&self.source);
        }
        match (earlier, reply) {
            (Some(error), _) => Err(error),
            (None, Value::Error(error)) => Err(Error::Server(error)),
            (None, reply) => Ok(reply),
        }
    }

    /// Runs the script on an executor that lends no connection.
    fn execute(&self, executor: &mut impl Executor, args: &dyn ToArgs) -> Result<Value> {
        // A batch separates the script's own reply from the errors of earlier commands.
        let mut batch = Batch::new();
        batch.push(self.evalsha(), self.evalsha_args(args));
        match executor.execute_batch(&batch)?.pop() {
            Some(Err(Error::Server(error))) if is_noscript(error.message()) => {
                executor.execute(self.eval(), &self.eval_args(args))
            }
            Some(Err(Error::Server(error))) => Err(error.without_command().into()),
            Some(outcome) => outcome,
            None => Ok(Value::Nil),
        }
    }

    fn eval(&self) -> &'static str {
        if self.read_only { "EVAL_RO" } else { "EVAL" }
    }

    pub(crate) fn evalsha(&self) -> &'static str {
        if self.read_only { "EVALSHA_RO" } else { "EVALSHA" }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The source may be long; the hash identifies it.
        f.debug_struct("Script")
            .field("hash", &self.hash())
            .field("keys", &self.keys)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

fn is_unknown(reply: &Value) -> bool {
    matches!(reply, Value::Error(error) if is_noscript(error.message()))
}

/// The source or the hash, the number of keys if it is fixed, and the arguments of the call.
struct Invocation<'a, A> {
    script: &'a str,
    keys: Option<usize>,
    args: A,
}

impl<A: ToArgs> ToArgs for Invocation<'_, A> {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        (self.script, self.keys).write_args(out);
        self.args.write_args(out);
    }
}
