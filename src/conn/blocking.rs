//! Calls of commands that block at the server.

use std::time::Duration;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::deadline::Timeouts;
use crate::error::Result;
use crate::value::Value;

impl Conn {
    /// Sends a command that blocks at the server for up to `block`, and waits for its reply.
    ///
    /// Like [`call`](Conn::call), but the reply may take `block` longer than the connection's read
    /// timeout. So `BLPOP` with 5 s works on a connection with a read timeout of 1 s, and a server
    /// that is gone is noticed after 6 s.
    ///
    /// `block` repeats the time among the arguments, which stays the caller's: seconds for most
    /// commands, milliseconds for `XREAD`. Zero means forever, as in the commands: then only
    /// [`with_context`](Conn::with_context) or a [`shutdown_handle`](Conn::shutdown_handle) ends
    /// the wait.
    ///
    /// # Errors
    /// Those of [`call`](Conn::call). A timeout is fatal. If the time passes without an element,
    /// the server replies nil, which is no error here.
    ///
    /// ```
    /// # use redigo::{Dialer, testing::MemoryStream, Error};
    /// use std::time::Duration;
    ///
    /// # let server = MemoryStream::new("*2\r\n$5\r\nqueue\r\n$3\r\njob\r\n*-1\r\n");
    /// # let mut conn = Dialer::tcp(":6379").read_timeout(Duration::from_secs(1)).wrap(server);
    /// let block = Duration::from_secs(5);
    /// let job = conn.call_blocking(block, "BLPOP", ("queue", block.as_secs()))?;
    /// let job: Option<(String, String)> = job.convert()?;
    /// assert_eq!(job.unwrap().1, "job");
    /// # assert!(conn.call_blocking(block, "BLPOP", ("queue", 5))?.is_nil());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "DoWithTimeout")]
    pub fn call_blocking(
        &mut self,
        block: Duration,
        command: &str,
        args: impl ToArgs,
    ) -> Result<Value> {
        let timeouts = self.timeouts();
        let read = timeouts.read.filter(|_| !block.is_zero());
        let timeouts = Timeouts { read: read.map(|read| read.saturating_add(block)), ..timeouts };
        self.exchange(command, &args, &timeouts)
    }
}
