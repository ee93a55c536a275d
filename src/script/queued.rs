//! Scripts among the commands of a pipeline or a transaction.

use crate::args::ToArgs;
use crate::conn::pipeline::Pipeline;
use crate::conn::transaction::Transaction;
use crate::script::Script;

impl<E> Pipeline<'_, E> {
    /// Adds a call of a script by its hash.
    ///
    /// If this connection has not loaded or run the script before, [`run`](Pipeline::run) and
    /// [`query`](Pipeline::query) load it ahead, in one more round trip. A script that does not
    /// compile is the error of the whole pipeline, and none of its commands is sent. If another
    /// client flushes the scripts meanwhile, `NOSCRIPT` is the error of this command: it is not
    /// tried again, but the next pipeline loads the script.
    ///
    /// ```
    /// use redigo::{Script, testing::ScriptedServer};
    ///
    /// static ADD: Script = Script::new(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    ///
    /// let server = ScriptedServer::new();
    /// server.expect_any("SCRIPT").reply(ADD.hash()); // once for the connection
    /// server.expect_script(&ADD, ("counter", 2)).reply(2);
    /// server.expect("GET", "counter").reply("2");
    /// let (sum, text): (i64, String) =
    ///     server.conn().pipeline().script(&ADD, ("counter", 2)).cmd("GET", "counter").query()?;
    /// assert_eq!((sum, text.as_str()), (2, "2"));
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "SendHash")]
    #[must_use = "a pipeline sends nothing until it is run"]
    pub fn script(mut self, script: &Script, args: impl ToArgs) -> Self {
        let args = script.evalsha_args(args);
        self.push_script(&script.source, script.evalsha(), &args);
        self
    }
}

impl Transaction<'_> {
    /// Adds a call of a script by its hash, which [`exec`](Transaction::exec) sends.
    ///
    /// If this connection has not loaded or run the script before, it is loaded ahead of `MULTI`,
    /// in one more round trip. A script that does not compile is the error of
    /// [`exec`](Transaction::exec), and no command runs. If another client flushes the scripts
    /// meanwhile, `NOSCRIPT` is the error of this command, and the other commands **have run**.
    ///
    /// To run a script immediately, pass the transaction to [`Script::query`].
    ///
    /// ```
    /// use redigo::{Script, testing::ScriptedServer};
    ///
    /// static ADD: Script = Script::new(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    ///
    /// let server = ScriptedServer::new();
    /// server.expect_any("SCRIPT").reply(ADD.hash());
    /// server.expect("MULTI", ()).ok();
    /// server.expect_script(&ADD, ("counter", 2)).queued();
    /// server.expect("EXEC", ()).reply_list([2]);
    /// let (sum,): (i64,) =
    ///     server.conn().transaction((), |tx| tx.script(&ADD, ("counter", 2)).exec())?;
    /// assert_eq!(sum, 2);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "SendHash")]
    pub fn script(mut self, script: &Script, args: impl ToArgs) -> Self {
        let args = script.evalsha_args(args);
        self.push_script(&script.source, script.evalsha(), &args);
        self
    }
}
