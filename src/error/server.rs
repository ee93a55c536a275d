//! Error replies.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::DialStep;

/// An error reply of the server: a code and a message.
///
/// ```
/// let error = redigo::ServerError::new("WRONGPASS invalid username-password pair");
/// assert_eq!(error.code(), "WRONGPASS");
/// assert_eq!(error.message(), "WRONGPASS invalid username-password pair");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerError {
    text: Arc<str>,
    pub(super) step: Option<DialStep>,
    origin: Option<Arc<Origin>>,
}

/// The command or the error behind an error of a pipeline or a transaction.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Origin {
    Command { index: usize, name: Box<str> },
    Cause(ServerError),
}

impl ServerError {
    /// Makes an error reply with this text: the bytes that a server sends after the `-`.
    ///
    /// ```
    /// use redigo::{ServerError, testing::MemoryStream, Dialer};
    ///
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("-ERR no such key\r\n"));
    /// let error = conn.call("RENAME", ("a", "b")).unwrap_err();
    /// assert_eq!(error.as_server(), Some(&ServerError::new("ERR no such key")));
    /// ```
    pub fn new(text: impl Into<Arc<str>>) -> ServerError {
        ServerError { text: text.into(), step: None, origin: None }
    }

    /// Returns the first word: `WRONGTYPE`, `NOAUTH`, `MOVED`, `ERR` …
    ///
    /// ```
    /// assert_eq!(redigo::ServerError::new("WRONGTYPE not a list").code(), "WRONGTYPE");
    /// ```
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or("")
    }

    /// Returns the whole text as the server sent it, including the code.
    ///
    /// ```
    /// let error = redigo::ServerError::new("ERR no such key");
    /// assert_eq!(error.message(), "ERR no such key");
    /// ```
    pub fn message(&self) -> &str {
        &self.text
    }

    /// Returns the step of the dial that the server refused, or `None` outside of a dial.
    ///
    /// ```
    /// use redigo::{DialStep, Dialer, Stream, testing::MemoryStream};
    ///
    /// let dialer = Dialer::tcp(":6379").database(99).connector(|_, _| {
    ///     let stream = MemoryStream::new("-ERR DB index is out of range\r\n");
    ///     Ok(Box::new(stream) as Box<dyn Stream>)
    /// });
    /// let error = dialer.dial().unwrap_err();
    /// assert_eq!(error.as_server().unwrap().step(), Some(DialStep::Select));
    /// ```
    pub fn step(&self) -> Option<DialStep> {
        self.step
    }

    /// Returns the refused command of a pipeline or a transaction: its index, counted from 0, and
    /// its name.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("SET", ("name", "x")).ok();
    /// server.expect("INCR", "name").error("ERR value is not an integer or out of range");
    /// let mut conn = server.conn();
    /// let pipeline = conn.pipeline().cmd("SET", ("name", "x")).cmd("INCR", "name");
    /// let error = pipeline.query::<(String, i64)>().unwrap_err();
    /// assert_eq!(error.as_server().unwrap().command(), Some((1, "INCR")));
    /// ```
    pub fn command(&self) -> Option<(usize, &str)> {
        match self.origin.as_deref() {
            Some(Origin::Command { index, name }) => Some((*index, name)),
            _ => None,
        }
    }

    /// Returns the error that led to this one. For `EXECABORT` it says why the first command was
    /// not queued.
    ///
    /// ```
    /// use redigo::testing::ScriptedServer;
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("MULTI", ()).ok();
    /// server.expect("NOSUCH", ()).error("ERR unknown command 'NOSUCH'");
    /// server.expect("EXEC", ()).error("EXECABORT Transaction discarded");
    /// let mut conn = server.conn();
    /// let outcome = conn.transaction((), |tx| tx.cmd("NOSUCH", ()).exec::<()>());
    /// let error = outcome.unwrap_err();
    /// let cause = error.as_server().unwrap().cause().unwrap();
    /// assert_eq!(cause.message(), "ERR unknown command 'NOSUCH'");
    /// assert_eq!(cause.command(), Some((0, "NOSUCH")));
    /// ```
    pub fn cause(&self) -> Option<&ServerError> {
        match self.origin.as_deref() {
            Some(Origin::Cause(cause)) => Some(cause),
            _ => None,
        }
    }

    /// Returns true if the server closes the connection after this reply.
    pub(crate) fn announces_close(&self) -> bool {
        const TEXTS: &[&str] = &[
            "max number of clients", // also "… + cluster connections reached"
            "Protocol error",
            // After a failover. CLIENT UNBLOCK has another text, and keeps the connection.
            "force unblock from blocking operation",
        ];
        let code = self.code();
        let text = self.text[code.len()..].trim_start();
        match code {
            "DENIED" => true,
            "ERR" | "UNBLOCKED" => TEXTS.iter().any(|start| text.starts_with(start)),
            _ => false,
        }
    }

    pub(crate) fn of_command(mut self, index: usize, name: &str) -> ServerError {
        self.origin = Some(Arc::new(Origin::Command { index, name: name.into() }));
        self
    }

    pub(crate) fn caused_by(mut self, cause: ServerError) -> ServerError {
        self.origin = Some(Arc::new(Origin::Cause(cause)));
        self
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, "{step} failed: ")?;
        }
        match self.origin.as_deref() {
            Some(Origin::Command { index, name }) => {
                write!(f, "command [{index}] {name}: {}", self.text)
            }
            Some(Origin::Cause(cause)) => {
                write!(f, "{}: {cause}", self.text.strip_suffix('.').unwrap_or(&self.text))
            }
            None => f.write_str(&self.text),
        }
    }
}

impl StdError for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_before_a_close_are_recognized() {
        for (text, announces_close) in [
            ("ERR max number of clients reached", true),
            ("ERR max number of clients + cluster connections reached", true),
            ("DENIED Redis is running in protected mode because protected mode is enabled", true),
            ("ERR Protocol error: invalid bulk length", true),
            ("UNBLOCKED force unblock from blocking operation, instance state changed", true),
            ("UNBLOCKED client unblocked via CLIENT UNBLOCK", false),
            ("ERR unknown command 'Protocol error'", false),
            ("WRONGTYPE Protocol error", false),
            ("", false),
        ] {
            assert_eq!(ServerError::new(text).announces_close(), announces_close, "{text}");
        }
    }
}
