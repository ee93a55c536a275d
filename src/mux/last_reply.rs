//! The last reply of a server that hung up while a command was written.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::{Error, ServerError};

/// Returns true if the server has closed the connection.
pub(super) fn is_hang_up(error: &Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Adds the last error reply to the error of a connection. The kind stays.
pub(super) fn with_last_reply(error: Error, reply: Option<ServerError>) -> Error {
    match (error, reply) {
        (Error::Io(source), Some(reply)) => {
            Error::Io(Arc::new(io::Error::new(source.kind(), HangUp { source, reply })))
        }
        (error, _) => error,
    }
}

#[derive(Debug)]
struct HangUp {
    source: Arc<io::Error>,
    reply: ServerError,
}

impl fmt::Display for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HangUp { source, reply } = self;
        write!(f, "{source}; the last reply of the server was \"{reply}\"")
    }
}

impl StdError for HangUp {}
