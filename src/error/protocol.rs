//! Violations of the protocol.

use std::error::Error as StdError;
use std::fmt;

use super::DialStep;

/// Bytes that are not a reply, or a reply that exceeds the limits.
///
/// ```
/// use redigo::{Dialer, Error, testing::MemoryStream};
///
/// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("HTTP/1.1 400 Bad Request"));
/// match conn.call("PING", ()) {
///     Err(Error::Protocol(error)) => assert!(error.to_string().contains("'H'")),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolError(Fault);

/// Each variant has the step, because an [`Error`](super::Error) has no room for it next to them.
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

    /// The announced length of a bulk string exceeds the option.
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
                    ": a string of {bytes} bytes exceeds the dialer's max_bulk_len of {limit}"
                );
            }
        }
        f.write_str(" (is the peer a Redis server?)")
    }
}

impl StdError for ProtocolError {}
