//! Somebody who watches what goes through a connection.

use crate::args::ToArgs;
use crate::error::Error;
use crate::value::Value;

/// Told of every command and every reply, in the order of the wire. The two halves of a
/// connection may both tell at once.
pub(crate) trait Observer: Send + Sync {
    /// A command is about to be queued.
    fn sending(&self, command: &str, args: &dyn ToArgs);

    /// A reply has come, or a message that nobody asked for.
    fn received(&self, reply: &Value);

    /// Sending, writing or receiving has failed.
    fn failed(&self, error: &Error);
}

/// What a connection without an observer does: nothing.
impl Observer for Option<Box<dyn Observer>> {
    fn sending(&self, command: &str, args: &dyn ToArgs) {
        if let Some(observer) = self {
            observer.sending(command, args);
        }
    }

    fn received(&self, reply: &Value) {
        if let Some(observer) = self {
            observer.received(reply);
        }
    }

    fn failed(&self, error: &Error) {
        if let Some(observer) = self {
            observer.failed(error);
        }
    }
}
