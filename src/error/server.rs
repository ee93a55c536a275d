//! Error replies.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::DialStep;
use super::place::{Place, write_foreign};

/// An error reply of the server: a code and a message.
///
/// ```
/// let error = redigo::ServerError::new("WRONGPASS invalid username-password pair");
/// assert_eq!(error.code(), "WRONGPASS");
/// assert_eq!(error.message(), "WRONGPASS invalid username-password pair");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerError {
    text: Arc<str>,
    origin: Option<Arc<Origin>>,
}

/// Where the error comes from. Most errors have none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Origin {
    place: Place,
    /// The command of a pipeline or a transaction: its index and its name.
    command: Option<(usize, Box<str>)>,
    cause: Option<ServerError>,
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
        ServerError { text: text.into(), origin: None }
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
    /// `Display` and `Debug` cut a long text and escape control characters. This function does not.
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
        self.origin.as_ref()?.place.step().map(|(step, _)| step)
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
        let (index, name) = self.origin.as_ref()?.command.as_ref()?;
        Some((*index, name))
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
        self.origin.as_ref()?.cause.as_ref()
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
        self.origin_mut().command = Some((index, name.into()));
        self
    }

    /// Removes the command: it is that of a batch which the caller does not know.
    pub(crate) fn without_command(mut self) -> ServerError {
        if self.command().is_some() {
            self.origin_mut().command = None;
            self.origin = self.origin.filter(|origin| **origin != Origin::default());
        }
        self
    }

    pub(crate) fn caused_by(mut self, cause: ServerError) -> ServerError {
        self.origin_mut().cause = Some(cause);
        self
    }
}

impl ServerError {
    pub(super) fn set_address(&mut self, address: &str) {
        self.origin_mut().place.set_address(address);
    }

    pub(super) fn set_step(&mut self, step: DialStep, text: &str) {
        self.origin_mut().place.set_step(step, text);
    }

    fn origin_mut(&mut self) -> &mut Origin {
        Arc::make_mut(self.origin.get_or_insert_default())
    }

    /// Returns true for errors that say nothing about the command: the server or its data is not
    /// available now.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self.code(), "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN")
            || self.text.starts_with("ERR max number of clients")
    }

    /// Returns a hint for the reader, if the text alone says too little.
    fn hint(&self) -> &'static str {
        let is_select = self.step() == Some(DialStep::Select);
        if matches!(self.code(), "MOVED" | "ASK") || self.text.contains("cluster mode") {
            " (a node of a Redis Cluster, which this crate does not follow)"
        } else if is_select && self.text.contains("unknown command") {
            " (is the server a Sentinel?)"
        } else {
            ""
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(origin) = &self.origin else {
            write_foreign(f, &self.text)?;
            return f.write_str(self.hint());
        };
        origin.place.write_address(f)?;
        match origin.place.step() {
            // With a password in the dialer, AUTH comes first and fails itself.
            Some((step, name)) if step != DialStep::Auth && self.code() == "NOAUTH" => {
                write!(f, "the server requires a password and the dialer has none ({name}: ")?;
                write_foreign(f, &self.text)?;
                return f.write_str(")");
            }
            Some((_, name)) => write!(f, "{name} failed: ")?,
            None => {}
        }
        if let Some((index, name)) = &origin.command {
            write!(f, "command [{index}] {name}: ")?;
        }
        match &origin.cause {
            Some(cause) => {
                write_foreign(f, self.text.strip_suffix('.').unwrap_or(&self.text))?;
                write!(f, ": {cause}")?;
            }
            None => write_foreign(f, &self.text)?,
        }
        f.write_str(self.hint())
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{}]", self.code().escape_debug())
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

    #[test]
    fn display_escapes_and_cuts_the_servers_text() {
        let text = format!("ERR \x1b[31m\r\n{}", "x".repeat(1_000_000));
        let error = ServerError::new(text.as_str());
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(shown.starts_with("ERR \\u{1b}[31m\\r\\nxxx"), "{shown}");
            assert!(shown.contains(&format!("x… ({} bytes)", text.len())), "{shown}");
            assert!(shown.len() < 400 && !shown.contains(char::is_control), "{shown}");
        }
        assert_eq!(error.message(), text);
        let short = ServerError::new("ERR sch\u{f6}n");
        assert_eq!(short.to_string(), "ERR sch\u{f6}n");
    }

    #[test]
    fn a_redirect_names_the_cluster() {
        let error = ServerError::new("MOVED 3999 127.0.0.1:6381").to_string();
        assert!(error.contains("Redis Cluster"), "{error}");
        let mut error = ServerError::new("ERR SELECT is not allowed in cluster mode");
        error.set_step(DialStep::Select, "SELECT 3");
        assert!(error.to_string().contains("Redis Cluster"), "{error}");
    }
}
