//! Bytes to replies: incremental, bounded, and ignorant of sockets.
//!
//! [`Decoder::decode`] takes what bytes there are, in pieces of any size, and remembers where it
//! stopped: inside a list, inside a long string. What it has not used yet the caller keeps and
//! offers again with more behind it. Memory grows with the bytes received, never with a length
//! that a peer merely announces.

use std::borrow::Cow;

use super::number::{BAD_LINE_END, parse_number};
use crate::error::{ProtocolError, ServerError};
use crate::value::Value;

/// Bounds on what a peer may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest bulk string, in bytes; at most `MAX_BULK`.
    pub(crate) bulk: usize,
    /// The most elements of one list.
    pub(crate) elements: usize,
    /// The longest simple string or error, in bytes: MONITOR sends whole commands in one.
    pub(crate) line: usize,
    /// How deep lists may nest.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bulk: 512 << 20, elements: u32::MAX as usize, line: 8 << 20, depth: 128 }
    }
}

/// No string is longer, whatever the limit, so that lengths can be added up without overflow.
pub(crate) const MAX_BULK: usize = isize::MAX as usize / 2;
/// What is set aside before the bytes are there.
const FIRST_ELEMENTS: usize = 1024;
const FIRST_BYTES: usize = 64 * 1024;
/// The shortest element is an empty status: a sign and a line end.
const LEAST_ELEMENT: usize = 3;
/// The least room worth a read of its own, and the most that is made ready at a time.
const LEAST_ROOM: usize = 16 * 1024;
const MOST_ROOM: usize = 256 * 1024;

/// The state of one direction of one connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// The lists that are open, outermost first.
    open: Vec<List>,
    /// The bulk string that is being received.
    bulk: Option<Bulk>,
    /// How many elements are missing of the list that comes apart.
    apart: usize,
    /// How much of an unfinished line has been searched for its end.
    searched: usize,
}

/// A list that waits for more elements. RESP3's sets, maps and pushes are lists of another kind.
#[derive(Debug)]
struct List {
    items: Vec<Value>,
    missing: usize,
}

/// A bulk string that waits for more bytes. The first `filled` are there, the others are room.
#[derive(Debug)]
struct Bulk {
    bytes: Vec<u8>,
    filled: usize,
    length: usize,
}

/// How far one call of [`Decoder::decode`] came.
#[derive(Debug, PartialEq)]
pub(crate) struct Progress {
    /// Bytes of the input that are done with.
    pub(crate) consumed: usize,
    /// A whole reply, when one was completed.
    pub(crate) reply: Option<Value>,
}

impl Decoder {
    pub(crate) fn new(limits: Limits) -> Decoder {
        Decoder { limits, open: Vec::new(), bulk: None, apart: 0, searched: 0 }
    }

    /// True when the bytes used so far end between two replies.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.open.is_empty() && self.bulk.is_none() && self.apart == 0
    }

    /// Takes bytes until a reply is complete or the input is used up.
    ///
    /// # Errors
    /// Bytes that are no reply, or a reply beyond the limits. The decoder is of no use after.
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
                Step::Filled(used) => {
                    let bytes = self.bulk.take().map(|bulk| bulk.bytes);
                    (used, bytes.map(Value::Bulk))
                }
                Step::Starved(used) => {
                    return Ok(Progress { consumed: consumed + used, reply: None });
                }
            };
            consumed += used;
            if let Some(reply) = element.and_then(|element| self.close_lists(element)) {
                self.apart = self.apart.saturating_sub(1);
                return Ok(Progress { consumed, reply: Some(reply) });
            }
        }
    }

    /// Takes the header of a list that is the next reply, so that its elements come as replies of
    /// their own: how many bytes and how many elements that is. None of either when the next reply
    /// is another, and `None` when more input is needed to tell.
    ///
    /// # Errors
    /// As for [`Decoder::decode`]. To be called between two replies.
    pub(crate) fn open_list(
        &mut self,
        input: &[u8],
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        match input.first() {
            None => return Ok(None),
            Some(b'*') => {}
            Some(_) => return Ok(Some((0, 0))),
        }
        let Some((number, line)) = parse_number(&input[1..])? else { return Ok(None) };
        let length = checked_length(number, self.limits.elements)?;
        let used = if length.is_some_and(|length| length > 0) { 1 + line } else { 0 };
        self.apart = length.unwrap_or(0);
        Ok(Some((used, self.apart)))
    }

    /// Takes the next reply if it is a bulk string and all there: how many bytes of the input that
    /// is, and those of the string, where they lie. Anything else, and anything wrong, is left to
    /// [`Decoder::decode`].
    pub(crate) fn take_bulk<'a>(&mut self, input: &'a [u8]) -> Option<(usize, &'a [u8])> {
        if input.first() != Some(&b'$') || self.bulk.is_some() || !self.open.is_empty() {
            return None;
        }
        let (number, line) = parse_number(&input[1..]).ok()??;
        let length = usize::try_from(number).ok().filter(|&length| length <= self.limits.bulk)?;
        let head = 1 + line;
        let bytes = input.get(head..head + length + 2)?.strip_suffix(b"\r\n")?;
        self.apart = self.apart.saturating_sub(1);
        Some((head + length + 2, bytes))
    }

    /// Room for the next bytes of a long bulk string that is being received: a caller may read
    /// straight into it and then call [`Decoder::bulk_read`].
    pub(crate) fn bulk_room(&mut self) -> Option<&mut [u8]> {
        self.bulk.as_mut()?.room()
    }

    /// Notes that `count` bytes were read into the room that [`Decoder::bulk_room`] gave.
    pub(crate) fn bulk_read(&mut self, count: usize) {
        if let Some(bulk) = &mut self.bulk {
            bulk.filled = (bulk.filled + count).min(bulk.bytes.len());
        }
    }

    /// Begins the next element with its first line.
    fn start_element(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let Some(&kind) = input.first() else { return Ok(Step::Starved(0)) };
        match kind {
            b':' | b'$' | b'*' => self.start_number(kind, input),
            b'+' | b'-' => self.take_line(kind, input),
            other => Err(ProtocolError::at_byte("unexpected first byte", other)),
        }
    }

    /// An integer, or the header of something longer.
    fn start_number(&mut self, kind: u8, input: &[u8]) -> Result<Step, ProtocolError> {
        let Some((number, line)) = parse_number(&input[1..])? else { return Ok(Step::Starved(0)) };
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
                    if self.open.len() + usize::from(self.apart > 0) == self.limits.depth {
                        return Err(ProtocolError::new("lists nested too deep"));
                    }
                    // No more than may be here already, as lists in lists add up.
                    let here = (input.len() - used) / LEAST_ELEMENT;
                    let items = Vec::with_capacity(length.min(here).min(FIRST_ELEMENTS));
                    self.open.push(List { items, missing: length });
                    return Ok(Step::Opened(used));
                }
            },
        };
        Ok(Step::Element(used, element))
    }

    /// A status or an error.
    fn take_line(&mut self, kind: u8, input: &[u8]) -> Result<Step, ProtocolError> {
        let Some(line) = self.find_line(&input[1..])? else { return Ok(Step::Starved(0)) };
        let used = 1 + line.len() + 2;
        let element = match kind {
            b'+' => Value::Simple(simple(line)),
            _ => Value::Error(ServerError::new(String::from_utf8_lossy(line))),
        };
        Ok(Step::Element(used, element))
    }

    /// Finds the end of the line, which must be `\r\n`; `None` when it is not there yet.
    fn find_line<'a>(&mut self, input: &'a [u8]) -> Result<Option<&'a [u8]>, ProtocolError> {
        let longest = self.limits.line;
        let from = self.searched.min(input.len());
        match input[from..].iter().position(|&byte| byte == b'\n') {
            Some(offset) => {
                self.searched = 0;
                let line = &input[..from + offset];
                // First, and as below, so that the error does not depend on how the bytes come.
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

    /// Begins a bulk string; the common one that is there already is taken in one piece.
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
        let bytes = Vec::with_capacity(length.min(FIRST_BYTES));
        self.bulk = Some(Bulk { bytes, filled: 0, length });
        Ok(Step::Opened(head))
    }

    /// Puts an element into the innermost open list, closing those that it completes; gives the
    /// whole reply when none is left open.
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
    /// Takes what there is of it.
    fn receive(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let payload = (self.length - self.filled).min(input.len());
        if payload > 0 {
            self.bytes.truncate(self.filled);
            self.bytes.extend_from_slice(&input[..payload]);
            self.filled += payload;
        }
        // The line end is taken as a whole; a lone '\r' waits in the caller's buffer.
        match &input[payload..] {
            _ if self.filled < self.length => Ok(Step::Starved(payload)),
            [b'\r', b'\n', ..] => Ok(Step::Filled(payload + 2)),
            [] | [b'\r'] => Ok(Step::Starved(payload)),
            _ => Err(BAD_BULK_END),
        }
    }

    /// Room behind what is there, unless little is missing: that comes through the caller's buffer,
    /// with whatever follows. Room is made once and not for each read, and never more than twice
    /// of what came.
    fn room(&mut self) -> Option<&mut [u8]> {
        let missing = self.length - self.filled;
        if missing < LEAST_ROOM {
            return None;
        }
        if self.bytes.len() - self.filled < LEAST_ROOM {
            let earned = self.filled.max(FIRST_BYTES).min(missing);
            if self.bytes.capacity() - self.filled < LEAST_ROOM {
                self.bytes.reserve_exact(self.filled + earned - self.bytes.len());
            }
            let room = earned.min(MOST_ROOM).min(self.bytes.capacity() - self.filled);
            self.bytes.resize(self.filled + room, 0);
        }
        Some(&mut self.bytes[self.filled..])
    }
}

/// One step through the input; the number is how many of its bytes were used.
enum Step {
    Element(usize, Value),
    Opened(usize),
    Filled(usize),
    Starved(usize),
}

const BAD_BULK_END: ProtocolError = ProtocolError::new("bulk string does not end in \\r\\n");

/// The frequent statuses without an allocation.
fn simple(line: &[u8]) -> Cow<'static, [u8]> {
    match line {
        b"OK" => Cow::Borrowed(b"OK"),
        b"PONG" => Cow::Borrowed(b"PONG"),
        b"QUEUED" => Cow::Borrowed(b"QUEUED"),
        other => Cow::Owned(other.to_vec()),
    }
}

/// A length from a header: `-1` means nil, anything else below zero is an error.
fn checked_length(number: i64, limit: usize) -> Result<Option<usize>, ProtocolError> {
    match usize::try_from(number) {
        Ok(length) if length <= limit => Ok(Some(length)),
        Ok(_) => Err(ProtocolError::new("list too long")),
        Err(_) if number == -1 => Ok(None),
        Err(_) => Err(ProtocolError::new("negative length")),
    }
}

#[cfg(test)]
mod tests;
