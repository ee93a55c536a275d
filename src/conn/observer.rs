//! The log's view of a connection.

use crate::args::ToArgs;
use crate::conn::session::ReplyTo;
use crate::error::Error;
use crate::value::Value;

/// Is called for each command and each reply, in the order of the wire. The two halves of a
/// connection may call at the same time.
pub(crate) trait Observer: Send + Sync {
    /// A command is about to be added to the write buffer. Commands are numbered in order.
    fn sending(&self, number: usize, command: &str, args: &dyn ToArgs);

    /// A reply has arrived.
    fn received(&self, to: ReplyTo, reply: &Value);

    /// Sending, writing or receiving has failed.
    fn failed(&self, error: &Error);
}

/// Without an observer, nothing happens.
impl Observer for Option<Box<dyn Observer>> {
    fn sending(&self, number: usize, command: &str, args: &dyn ToArgs) {
        if let Some(observer) = self {
            observer.sending(number, command, args);
        }
    }

    fn received(&self, to: ReplyTo, reply: &Value) {
        if let Some(observer) = self {
            observer.received(to, reply);
        }
    }

    fn failed(&self, error: &Error) {
        if let Some(observer) = self {
            observer.failed(error);
        }
    }
}
