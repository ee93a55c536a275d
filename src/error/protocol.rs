//! Violations of the protocol.

use std::error::Error as StdError;
use std::fmt;

use super::DialStep;
use super::place::Place;

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
#[derive(Clone, PartialEq, Eq)]
pub struct ProtocolError {
    fault: Fault,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoReply { why: &'static str, byte: Option<u8> },
    TooLong { bytes: usize, limit: usize },
}

impl ProtocolError {
    pub(crate) const fn new(why: &'static str) -> ProtocolError {
        ProtocolError::of(Fault::NoReply { why, byte: None })
    }

    pub(crate) const fn at_byte(why: &'static str, byte: u8) -> ProtocolError {
        ProtocolError::of(Fault::NoReply { why, byte: Some(byte) })
    }

    /// The announced length of a bulk string exceeds the option.
    pub(crate) const fn too_long(bytes: usize, limit: usize) -> ProtocolError {
        ProtocolError::of(Fault::TooLong { bytes, limit })
    }

    const fn of(fault: Fault) -> ProtocolError {
        ProtocolError { fault, place: Place::UNKNOWN }
    }

    pub(super) fn set_address(&mut self, address: &str) {
        self.place.set_address(address);
    }

    pub(super) fn set_step(&mut self, step: DialStep, text: &str) {
        self.place.set_step(step, text);
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The first bytes of TLS records: an alert, a handshake.
        const TLS: [u8; 2] = [0x15, 0x16];
        self.place.write_address(f)?;
        f.write_str("protocol error")?;
        if let Some((_, step)) = self.place.step() {
            write!(f, " in the reply to {step}")?;
        }
        match self.fault {
            Fault::NoReply { why, byte: None } => {
                write!(f, ": {why} (is the peer a Redis server?)")
            }
            Fault::NoReply { why, byte: Some(byte) } => {
                let hint = match TLS.contains(&byte) {
                    true => "does the peer speak TLS? then use rediss://",
                    false => "is the peer a Redis server?",
                };
                write!(f, ": {why} '{}' ({hint})", byte.escape_ascii())
            }
            Fault::TooLong { bytes, limit } => write!(
                f,
                ": a string of {bytes} bytes exceeds the dialer's max_bulk_len of {limit}"
            ),
        }
    }
}

impl fmt::Debug for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [ProtocolError]")
    }
}

impl StdError for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_a_tls_record_asks_for_tls() {
        for byte in [0x15, 0x16] {
            let error = ProtocolError::at_byte("unexpected first byte", byte).to_string();
            assert!(error.contains("does the peer speak TLS? then use rediss://"), "{error}");
        }
        let error = ProtocolError::at_byte("unexpected first byte", b'H').to_string();
        assert!(error.ends_with("'H' (is the peer a Redis server?)"), "{error}");
    }
}
