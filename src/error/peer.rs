//! What a server says is wrong, and what is wrong with what a server says.

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

/// What an error of a pipeline or a transaction goes back to.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Origin {
    Command { index: usize, name: Box<str> },
    Cause(ServerError),
}

impl ServerError {
    /// An error reply with this text, as a server sends it after the `-`.
    pub fn new(text: impl Into<Arc<str>>) -> ServerError {
        ServerError { text: text.into(), step: None, origin: None }
    }

    /// The first word: `WRONGTYPE`, `NOAUTH`, `MOVED`, `ERR` …
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or("")
    }

    /// The whole text as the server sent it, code included.
    pub fn message(&self) -> &str {
        &self.text
    }

    /// The step of dialling that it refused, if it came from there.
    pub fn step(&self) -> Option<DialStep> {
        self.step
    }

    /// The command of a pipeline or a transaction that it refused: its place, the first is 0, and
    /// its name.
    pub fn command(&self) -> Option<(usize, &str)> {
        match self.origin.as_deref() {
            Some(Origin::Command { index, name }) => Some((*index, name)),
            _ => None,
        }
    }

    /// The error that led to this one: for `EXECABORT`, why the first command was not queued.
    pub fn cause(&self) -> Option<&ServerError> {
        match self.origin.as_deref() {
            Some(Origin::Cause(cause)) => Some(cause),
            _ => None,
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

/// Bytes that are not a reply, or a reply beyond the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolError(Fault);

/// The step is in each of them because an [`Error`](super::Error) has no room for it beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoReply { why: &'static str, byte: Option<u8>, step: Option<DialStep> },
    TooLong { bytes: usize, limit: usize, step: Option<DialStep> },
}

impl ProtocolError {
    pub(crate) const fn new(why: &'static str) -> ProtocolError {
        ProtocolError(Fault::NoReply { why, byte: None, step: None })
    }

    pub(crate) const fn at_byte(why: &'static str, byte: u8) -> ProtocolError {
        ProtocolError(Fault::NoReply { why, byte: Some(byte), step: None })
    }

    /// A bulk string was announced that is longer than the option allows.
    pub(crate) const fn too_long(bytes: usize, limit: usize) -> ProtocolError {
        ProtocolError(Fault::TooLong { bytes, limit, step: None })
    }

    pub(super) fn in_step(mut self, place: DialStep) -> ProtocolError {
        let (Fault::NoReply { step, .. } | Fault::TooLong { step, .. }) = &mut self.0;
        *step = Some(place);
        self
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("protocol error")?;
        let (Fault::NoReply { step, .. } | Fault::TooLong { step, .. }) = self.0;
        if let Some(step) = step {
            write!(f, " in the reply to {step}")?;
        }
        match self.0 {
            Fault::NoReply { why, byte: None, .. } => write!(f, ": {why}")?,
            Fault::NoReply { why, byte: Some(byte), .. } => {
                write!(f, ": {why} '{}'", byte.escape_ascii())?;
            }
            Fault::TooLong { bytes, limit, .. } => {
                return write!(
                    f,
                    ": a string of {bytes} bytes, and max_bulk_len of the dialer allows {limit}"
                );
            }
        }
        f.write_str(" (is the peer a Redis server?)")
    }
}

impl StdError for ProtocolError {}
