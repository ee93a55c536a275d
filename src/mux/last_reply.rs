//! The last reply of a server that hung up while a command was written.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::{Error, ServerError};

/// Returns true if a write failed because the server has closed the connection.
pub(super) fn is_hang_up(error: &Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// Adds the server's reason to the error of a write. The kind stays.
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
        write!(f, "the server closed the connection with \"{reply}\": {source}")
    }
}

impl StdError for HangUp {}
