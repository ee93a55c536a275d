//! The log's view of a connection.

use crate::args::ToArgs;
use crate::error::Error;
use crate::value::Value;

/// Is called for each command and each reply, in the order of the wire. The two halves of a
/// connection may call at the same time.
pub(crate) trait Observer: Send + Sync {
    /// A command is about to be added to the write buffer.
    fn sending(&self, command: &str, args: &dyn ToArgs);

    /// A reply has arrived, or a message of a subscription.
    fn received(&self, reply: &Value);

    /// Sending, writing or receiving has failed.
    fn failed(&self, error: &Error);
}

/// Without an observer, nothing happens.
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
