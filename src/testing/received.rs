//! A command as a scripted server received it.

use std::fmt;

use crate::args::Args;
use crate::logging::Shown;

/// A command that a [`ScriptedServer`](super::ScriptedServer) received.
///
/// Its `Display` form shows the arguments, shortened and with passwords masked, like
/// [`logging`](crate::logging()).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Received {
    command: String,
    args: Args,
}

impl Received {
    pub(super) fn new(command: &str, args: Args) -> Received {
        Received { command: command.to_owned(), args }
    }

    /// Returns the name of the command, as the client wrote it.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect("PING", ());
    /// server.conn().call("ping", ())?;
    /// assert_eq!(server.received()[0].command(), "ping");
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Returns the arguments of the command.
    ///
    /// ```
    /// # let server = redigo::testing::ScriptedServer::new();
    /// server.expect_any("SET").ok();
    /// server.conn().call("SET", ("k", 1))?;
    /// assert_eq!(server.received()[0].args(), [b"k", b"1"]);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn args(&self) -> Vec<&[u8]> {
        self.args.iter().collect()
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { command: &self.command, args: &self.args }.fmt(f)
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
