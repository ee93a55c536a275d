//! Decoding of replies: incremental and with bounded memory. Does no I/O.
//!
//! [`Decoder::decode`] accepts bytes in pieces of any size and remembers where it stopped: inside a
//! list, or inside a long string. The caller keeps the bytes that were not consumed and passes them
//! again with more bytes appended. Memory grows with the bytes received, never with a length that
//! the peer only announces.

use std::borrow::Cow;

use super::number::{BAD_LINE_END, parse_length, parse_number};
use crate::error::{ProtocolError, ServerError};
use crate::value::Value;

/// Limits on the replies of a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest bulk string, in bytes; at most `MAX_BULK`.
    pub(crate) bulk: usize,
    /// The largest number of elements in one list.
    pub(crate) elements: usize,
    /// The longest simple string or error, in bytes: MONITOR sends whole commands as one line.
    pub(crate) line: usize,
    /// The largest depth of nested lists.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bulk: 512 << 20, elements: u32::MAX as usize, line: 8 << 20, depth: 128 }
    }
}

/// The longest bulk string under any limit, so that lengths can be added without overflow.
pub(crate) const MAX_BULK: usize = isize::MAX as usize / 2;
/// The memory that is reserved before the bytes are received.
const INITIAL_ELEMENTS: usize = 1024;
const INITIAL_BYTES: usize = 64 * 1024;
/// The size of the shortest element, in bytes: an empty status.
const MIN_ELEMENT: usize = 3;
/// The least and the most bytes for one read directly into a bulk string.
const MIN_DIRECT_READ: usize = 16 * 1024;
const MAX_DIRECT_READ: usize = 256 * 1024;

/// Decodes the replies of one connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// The lists that are not complete, outermost first.
    open: Vec<List>,
    /// The bulk string that is being received.
    bulk: Option<Bulk>,
    /// The number of elements missing of the list whose elements are returned one by one.
    streamed: usize,
    /// The number of bytes of an incomplete line that were searched for its end.
    searched: usize,
}

/// A list that is not complete.
#[derive(Debug)]
struct List {
    items: Vec<Value>,
    missing: usize,
}

/// A bulk string that is not complete. The first `filled` bytes are received, the others are spare.
#[derive(Debug)]
struct Bulk {
    bytes: Vec<u8>,
    filled: usize,
    length: usize,
}

/// The result of one call of [`Decoder::decode`].
#[derive(Debug, PartialEq)]
pub(crate) struct Progress {
    /// The number of bytes of the input that were consumed.
    pub(crate) consumed: usize,
    /// The reply, if it is complete.
    pub(crate) reply: Option<Value>,
}

impl Decoder {
    pub(crate) fn new(limits: Limits) -> Decoder {
        Decoder { limits, open: Vec::new(), bulk: None, streamed: 0, searched: 0 }
    }

    /// Returns true if the bytes consumed so far end between two replies.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.open.is_empty() && self.bulk.is_none() && self.streamed == 0
    }

    /// Consumes bytes until a reply is complete or more input is needed.
    ///
    /// # Errors
    /// Bytes that are not a reply, or a reply beyond the limits. The decoder must not be used again.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Result<Progress, ProtocolError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let step = match &mut self.bulk {
                Some(bulk) => bulk.receive(rest)?,
                None => self.start_element(rest)?,
            };
            let (used, element) = match step {
                Step::Element(used, element) => (used, Some(element)),
                Step::Opened(used) => (used, None),
                Step::BulkDone(used) => {
                    let bytes = self.bulk.take().map(|bulk| bulk.bytes);
                    (used, bytes.map(Value::Bulk))
                }
                Step::NeedsInput(used) => {
                    return Ok(Progress { consumed: consumed + used, reply: None });
                }
            };
            consumed += used;
            if let Some(reply) = element.and_then(|element| self.close_lists(element)) {
                self.streamed = self.streamed.saturating_sub(1);
                return Ok(Progress { consumed, reply: Some(reply) });
            }
        }
    }

    /// Opens the next reply if it is a list, so that its elements are returned one by one, like
    /// replies. Returns the length of the header in bytes and the number of elements, zeros if the
    /// next reply is not a list with elements, and `None` if more input is needed.
    ///
    /// Must be called between two replies.
    ///
    /// # Errors
    /// The errors of [`Decoder::decode`].
    pub(crate) fn open_list(
        &mut self,
        input: &[u8],
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        match input.first() {
            None => return Ok(None),
            Some(b'*') => {}
            Some(_) => return Ok(Some((0, 0))),
        }
        let Some((number, line)) = parse_length(&input[1..])? else { return Ok(None) };
        let length = checked_length(number, self.limits.elements)?;
        let used = if length.is_some_and(|length| length > 0) { 1 + line } else { 0 };
        self.streamed = length.unwrap_or(0);
        Ok(Some((used, self.streamed)))
    }

    /// Consumes the next reply if it is a bulk string that has been received completely. Returns the
    /// number of bytes consumed and the string, borrowed from the input. Any other reply, and any
    /// error, is left to [`Decoder::decode`].
    pub(crate) fn take_bulk<'a>(&mut self, input: &'a [u8]) -> Option<(usize, &'a [u8])> {
        if input.first() != Some(&b'$') || self.bulk.is_some() || !self.open.is_empty() {
            return None;
        }
        let (number, line) = parse_length(&input[1..]).ok()??;
        let length = usize::try_from(number).ok().filter(|&length| length <= self.limits.bulk)?;
        let head = 1 + line;
        let bytes = input.get(head..head + length + 2)?.strip_suffix(b"\r\n")?;
        self.streamed = self.streamed.saturating_sub(1);
        Some((head + length + 2, bytes))
    }

    /// Returns spare memory of the long bulk string that is being received. The caller can read
    /// directly into it and must then call [`Decoder::bulk_read`].
    pub(crate) fn bulk_room(&mut self) -> Option<&mut [u8]> {
        self.bulk.as_mut()?.room()
    }

    /// Records that `count` bytes were read into the memory that [`Decoder::bulk_room`] returned.
    pub(crate) fn bulk_read(&mut self, count: usize) {
        if let Some(bulk) = &mut self.bulk {
            bulk.filled = (bulk.filled + count).min(bulk.bytes.len());
        }
    }

    /// Starts the next element from its first line.
    fn start_element(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let Some(&kind) = input.first() else { return Ok(Step::NeedsInput(0)) };
        match kind {
            b':' | b'$' | b'*' => self.start_number(kind, input),
            b'+' | b'-' => self.take_line(kind, input),
            other => Err(ProtocolError::at_byte("unexpected first byte", other)),
        }
    }

    /// Starts an element whose first line is a number: an integer, a bulk string, or a list.
    fn start_number(&mut self, kind: u8, input: &[u8]) -> Result<Step, ProtocolError> {
        let parsed = match kind {
            b':' => parse_number(&input[1..])?,
            _ => parse_length(&input[1..])?,
        };
        let Some((number, line)) = parsed else { return Ok(Step::NeedsInput(0)) };
        let used = 1 + line;
        let element = match kind {
            b':' => Value::Int(number),
            b'$' => match checked_length(number, usize::MAX)? {
                None => Value::Nil,
                Some(length) if length > self.limits.bulk => {
                    return Err(ProtocolError::too_long(length, self.limits.bulk));
                }
                Some(length) => return self.start_bulk(length, used, &input[used..]),
            },
            _ => match checked_length(number, self.limits.elements)? {
                None => Value::Nil,
                Some(0) => Value::Array(Vec::new()),
                Some(length) => {
                    if self.open.len() + usize::from(self.streamed > 0) == self.limits.depth {
                        return Err(ProtocolError::new("lists nested too deep"));
                    }
                    // At most for the elements that can be in the input, as nested lists add up.
                    let possible = (input.len() - used) / MIN_ELEMENT;
                    let items = Vec::with_capacity(length.min(possible).min(INITIAL_ELEMENTS));
                    self.open.push(List { items, missing: length });
                    return Ok(Step::Opened(used));
                }
            },
        };
        Ok(Step::Element(used, element))
    }

    /// Decodes a simple string or an error.
    fn take_line(&mut self, kind: u8, input: &[u8]) -> Result<Step, ProtocolError> {
        let Some(line) = self.find_line(&input[1..])? else { return Ok(Step::NeedsInput(0)) };
        let used = 1 + line.len() + 2;
        let element = match kind {
            b'+' => Value::Simple(simple(line)),
            _ => Value::Error(ServerError::new(String::from_utf8_lossy(line))),
        };
        Ok(Step::Element(used, element))
    }

    /// Returns the line without its end, which must be `\r\n`, or `None` if it is not complete.
    fn find_line<'a>(&mut self, input: &'a [u8]) -> Result<Option<&'a [u8]>, ProtocolError> {
        let longest = self.limits.line;
        let from = self.searched.min(input.len());
        match input[from..].iter().position(|&byte| byte == b'\n') {
            Some(offset) => {
                self.searched = 0;
                let line = &input[..from + offset];
                // Checked first, so that the error does not depend on how the bytes are split.
                if line.len() > longest + 1 {
                    return Err(ProtocolError::new("line too long"));
                }
                line.strip_suffix(b"\r").map(Some).ok_or(BAD_LINE_END)
            }
            None if input.len() > longest + 1 => Err(ProtocolError::new("line too long")),
            None => {
                self.searched = input.len();
                Ok(None)
            }
        }
    }

    /// Starts a bulk string. A string that is already complete is copied in one piece.
    fn start_bulk(
        &mut self,
        length: usize,
        head: usize,
        rest: &[u8],
    ) -> Result<Step, ProtocolError> {
        if let Some(body) = rest.get(..length + 2) {
            let bytes = body.strip_suffix(b"\r\n").ok_or(BAD_BULK_END)?;
            return Ok(Step::Element(head + body.len(), Value::Bulk(bytes.to_vec())));
        }
        let bytes = Vec::with_capacity(length.min(INITIAL_BYTES));
        self.bulk = Some(Bulk { bytes, filled: 0, length });
        Ok(Step::Opened(head))
    }

    /// Appends an element to the innermost open list and closes the lists that it completes. Returns
    /// the whole reply if no list remains open.
    fn close_lists(&mut self, mut element: Value) -> Option<Value> {
        loop {
            let Some(list) = self.open.last_mut() else { return Some(element) };
            list.items.push(element);
            list.missing -= 1;
            if list.missing > 0 {
                return None;
            }
            element = Value::Array(self.open.pop()?.items);
        }
    }
}

impl Bulk {
    /// Copies the received bytes of the string.
    fn receive(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let payload = (self.length - self.filled).min(input.len());
        if payload > 0 {
            self.bytes.truncate(self.filled);
            self.bytes.extend_from_slice(&input[..payload]);
            self.filled += payload;
        }
        // The line end is consumed as a whole; a lone '\r' stays in the caller's buffer.
        match &input[payload..] {
            _ if self.filled < self.length => Ok(Step::NeedsInput(payload)),
            [b'\r', b'\n', ..] => Ok(Step::BulkDone(payload + 2)),
            [] | [b'\r'] => Ok(Step::NeedsInput(payload)),
            _ => Err(BAD_BULK_END),
        }
    }

    /// Returns spare memory after the received bytes, or `None` if so little is missing that the
    /// caller's buffer can take it. Memory is reserved rarely, and is at most twice the bytes
    /// received.
    fn room(&mut self) -> Option<&mut [u8]> {
        let missing = self.length - self.filled;
        if missing < MIN_DIRECT_READ {
            return None;
        }
        if self.bytes.len() - self.filled < MIN_DIRECT_READ {
            let earned = self.filled.max(INITIAL_BYTES).min(missing);
            if self.bytes.capacity() - self.filled < MIN_DIRECT_READ {
                self.bytes.reserve_exact(self.filled + earned - self.bytes.len());
            }
            let spare = earned.min(MAX_DIRECT_READ).min(self.bytes.capacity() - self.filled);
            self.bytes.resize(self.filled + spare, 0);
        }
        Some(&mut self.bytes[self.filled..])
    }
}

/// One step through the input. The number is the number of bytes used.
enum Step {
    Element(usize, Value),
    Opened(usize),
    BulkDone(usize),
    NeedsInput(usize),
}

const BAD_BULK_END: ProtocolError = ProtocolError::new("bulk string does not end in \\r\\n");

/// Returns the bytes of a simple string. The frequent ones are not allocated.
fn simple(line: &[u8]) -> Cow<'static, [u8]> {
    match line {
        b"OK" => Cow::Borrowed(b"OK"),
        b"PONG" => Cow::Borrowed(b"PONG"),
        b"QUEUED" => Cow::Borrowed(b"QUEUED"),
        other => Cow::Owned(other.to_vec()),
    }
}

/// Checks a length from [`parse_length`] against a limit. -1 means nil.
fn checked_length(number: i64, limit: usize) -> Result<Option<usize>, ProtocolError> {
    match usize::try_from(number) {
        Ok(length) if length <= limit => Ok(Some(length)),
        Err(_) if number < 0 => Ok(None),
        _ => Err(ProtocolError::new("list too long")),
    }
}

#[cfg(test)]
mod tests;
