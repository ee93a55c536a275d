//! Bytes to replies: incremental, bounded, and ignorant of sockets.
//!
//! [`Decoder::decode`] takes what bytes there are, in pieces of any size, and remembers where it
//! stopped: inside a list, inside a long string. What it has not used yet the caller keeps and
//! offers again with more behind it. Memory grows with the bytes received, never with a length
//! that a peer merely announces.

use std::borrow::Cow;

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
/// A length in a header is a number of at most 19 digits with a sign.
const LONGEST_NUMBER: usize = 20;
/// What is set aside before the bytes are there.
const FIRST_ELEMENTS: usize = 1024;
const FIRST_BYTES: usize = 64 * 1024;

/// The state of one direction of one connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// The lists that are open, outermost first.
    open: Vec<List>,
    /// The bulk string that is being received.
    bulk: Option<Bulk>,
    /// How much of an unfinished line has been searched for its end.
    searched: usize,
}

/// A list that waits for more elements. RESP3's sets, maps and pushes are lists of another kind.
#[derive(Debug)]
struct List {
    items: Vec<Value>,
    missing: usize,
}

/// A bulk string that waits for more bytes, with its line end as the last two of them.
#[derive(Debug)]
struct Bulk {
    bytes: Vec<u8>,
    missing: usize,
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
        Decoder { limits, open: Vec::new(), bulk: None, searched: 0 }
    }

    /// True when the bytes used so far end between two replies.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.open.is_empty() && self.bulk.is_none()
    }

    /// Takes bytes until a reply is complete or the input is used up.
    ///
    /// # Errors
    /// Bytes that are no reply, or a reply beyond the limits. The decoder is of no use after.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Result<Progress, ProtocolError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let step = match self.bulk.take() {
                Some(bulk) => self.continue_bulk(bulk, rest)?,
                None => self.start_element(rest)?,
            };
            let (used, element) = match step {
                Step::Element(used, element) => (used, Some(element)),
                Step::Opened(used) => (used, None),
                Step::Starved(used) => {
                    return Ok(Progress { consumed: consumed + used, reply: None });
                }
            };
            consumed += used;
            if let Some(reply) = element.and_then(|element| self.close_lists(element)) {
                return Ok(Progress { consumed, reply: Some(reply) });
            }
        }
    }

    /// The place of a long bulk string that is being received, and how many of its bytes are
    /// missing at most: a caller may read straight into it and then call [`Decoder::bulk_read`].
    pub(crate) fn bulk_room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let bulk = self.bulk.as_mut()?;
        // The line end stays out of it: it is checked by `decode`.
        let payload = bulk.missing.checked_sub(2)?;
        (payload > 0).then_some((&mut bulk.bytes, payload))
    }

    /// Notes that `count` bytes were read into the place that [`Decoder::bulk_room`] gave.
    pub(crate) fn bulk_read(&mut self, count: usize) {
        if let Some(bulk) = &mut self.bulk {
            bulk.missing = bulk.missing.saturating_sub(count);
        }
    }

    /// Begins the next element with its first line.
    fn start_element(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let Some(&kind) = input.first() else { return Ok(Step::Starved(0)) };
        let longest = match kind {
            b'+' | b'-' => self.limits.line,
            b':' | b'$' | b'*' => LONGEST_NUMBER,
            other => return Err(ProtocolError::at_byte("unexpected first byte", other)),
        };
        let Some(line) = self.find_line(&input[1..], longest)? else { return Ok(Step::Starved(0)) };
        let used = 1 + line.len() + 2;
        let element = match kind {
            b'+' => Value::Simple(simple(line)),
            b'-' => Value::Error(ServerError::new(String::from_utf8_lossy(line))),
            b':' => Value::Int(parse_int(line)?),
            b'$' => match parse_length(line, self.limits.bulk, "bulk string too long")? {
                None => Value::Nil,
                Some(length) => return self.start_bulk(length, used, &input[used..]),
            },
            _ => match parse_length(line, self.limits.elements, "list too long")? {
                None => Value::Nil,
                Some(0) => Value::Array(Vec::new()),
                Some(length) => {
                    if self.open.len() == self.limits.depth {
                        return Err(ProtocolError::new("lists nested too deep"));
                    }
                    let items = Vec::with_capacity(length.min(FIRST_ELEMENTS));
                    self.open.push(List { items, missing: length });
                    return Ok(Step::Opened(used));
                }
            },
        };
        Ok(Step::Element(used, element))
    }

    /// Finds the end of the line, which must be `\r\n`; `None` when it is not there yet.
    fn find_line<'a>(
        &mut self,
        input: &'a [u8],
        longest: usize,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let from = self.searched.min(input.len());
        match input[from..].iter().position(|&byte| byte == b'\n') {
            Some(offset) => {
                self.searched = 0;
                let line = input[..from + offset].strip_suffix(b"\r");
                let line = line.ok_or(ProtocolError::new("line does not end in \\r\\n"))?;
                if line.len() > longest {
                    return Err(ProtocolError::new("line too long"));
                }
                Ok(Some(line))
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
        let step = self.continue_bulk(Bulk { bytes, missing: length + 2 }, rest)?;
        Ok(step.behind(head))
    }

    fn continue_bulk(&mut self, mut bulk: Bulk, input: &[u8]) -> Result<Step, ProtocolError> {
        let payload = bulk.missing.saturating_sub(2).min(input.len());
        bulk.bytes.extend_from_slice(&input[..payload]);
        bulk.missing -= payload;
        let rest = &input[payload..];
        // The line end is taken as a whole; a lone '\r' waits in the caller's buffer.
        if bulk.missing > 2 || rest.len() < 2 {
            self.bulk = Some(bulk);
            return Ok(Step::Starved(payload));
        }
        if !rest.starts_with(b"\r\n") {
            return Err(BAD_BULK_END);
        }
        Ok(Step::Element(payload + 2, Value::Bulk(bulk.bytes)))
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

/// One step through the input; the number is how many of its bytes were used.
enum Step {
    Element(usize, Value),
    Opened(usize),
    Starved(usize),
}

impl Step {
    fn behind(self, head: usize) -> Step {
        match self {
            Step::Element(used, element) => Step::Element(used + head, element),
            Step::Opened(used) => Step::Opened(used + head),
            Step::Starved(used) => Step::Starved(used + head),
        }
    }
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

/// Digits with an optional minus sign, checked.
fn parse_int(line: &[u8]) -> Result<i64, ProtocolError> {
    let (negative, digits) = match line {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(ProtocolError::new("number without digits"));
    }
    let mut number: i64 = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return Err(ProtocolError::at_byte("number with an unexpected byte", byte));
        }
        let digit = i64::from(byte - b'0');
        // Built up below zero, where there is room for the smallest number.
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_sub(digit))
            .ok_or(ProtocolError::new("number out of range"))?;
    }
    if negative {
        return Ok(number);
    }
    number.checked_neg().ok_or(ProtocolError::new("number out of range"))
}

/// A length from a header: `-1` means nil, anything else below zero is an error.
fn parse_length(
    line: &[u8],
    limit: usize,
    too_long: &'static str,
) -> Result<Option<usize>, ProtocolError> {
    match parse_int(line)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(Some(length)),
            Ok(_) => Err(ProtocolError::new(too_long)),
            Err(_) => Err(ProtocolError::new("negative length")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8]) -> Result<Value, ProtocolError> {
        let progress = Decoder::new(Limits::default()).decode(input)?;
        assert_eq!(progress.consumed, input.len());
        Ok(progress.reply.expect("a whole reply"))
    }

    /// Feeds the input as a socket might: `size` bytes at a time behind what was not used.
    fn in_pieces(input: &[u8], size: usize) -> Result<Vec<Value>, ProtocolError> {
        let mut decoder = Decoder::new(Limits::default());
        let (mut kept, mut replies) = (Vec::new(), Vec::new());
        for piece in input.chunks(size) {
            kept.extend_from_slice(piece);
            loop {
                let progress = decoder.decode(&kept)?;
                kept.drain(..progress.consumed);
                match progress.reply {
                    Some(reply) => replies.push(reply),
                    None => break,
                }
            }
        }
        assert!(kept.is_empty() && decoder.is_at_boundary());
        Ok(replies)
    }

    #[test]
    fn every_split_of_the_input_gives_the_same_replies() {
        let input = b"+OK\r\n$6\r\nfoobar\r\n*3\r\n:1\r\n*2\r\n$-1\r\n$0\r\n\r\n-ERR no\r\n*0\r\n:-12\r\n*-1\r\n";
        let expected = in_pieces(input, input.len()).unwrap();
        assert_eq!(expected.len(), 6);
        for size in 1..input.len() {
            assert_eq!(in_pieces(input, size).unwrap(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_reply_ends_where_it_ends() {
        let mut decoder = Decoder::new(Limits::default());
        let progress = decoder.decode(b":1\r\n:2\r\n").unwrap();
        assert_eq!(progress, Progress { consumed: 4, reply: Some(Value::Int(1)) });
    }

    #[test]
    fn numbers_are_checked_to_the_last_digit() {
        assert_eq!(whole(b":9223372036854775807\r\n"), Ok(Value::Int(i64::MAX)));
        assert_eq!(whole(b":-9223372036854775808\r\n"), Ok(Value::Int(i64::MIN)));
        for bad in [
            &b":9223372036854775808\r\n"[..],
            b":-9223372036854775809\r\n",
            b":18446744073709551616\r\n",
            b"$18446744073709551615\r\n",
            b":-\r\n",
            b":1-\r\n",
            b":+1\r\n",
        ] {
            assert!(Decoder::new(Limits::default()).decode(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn an_announced_length_reserves_next_to_nothing() {
        let mut decoder = Decoder::new(Limits::default());
        assert_eq!(decoder.decode(b"*4294967295\r\n").unwrap().reply, None);
        assert!(decoder.open[0].items.capacity() <= FIRST_ELEMENTS);
        assert_eq!(decoder.decode(b"$536870912\r\nx").unwrap().reply, None);
        assert!(decoder.bulk.unwrap().bytes.capacity() <= FIRST_BYTES);
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { bulk: 10, elements: 3, line: 20, depth: 2 };
        let check = |input: &[u8]| Decoder::new(limits).decode(input).map(|p| p.reply.is_some());
        assert_eq!(check(b"$10\r\n0123456789\r\n"), Ok(true));
        assert!(check(b"$11\r\n").is_err());
        assert!(check(b"*4\r\n").is_err());
        assert_eq!(check(b"*1\r\n*1\r\n:1\r\n"), Ok(true));
        assert!(check(b"*1\r\n*1\r\n*1\r\n").is_err());
        assert_eq!(check(b"+01234567890123456789\r\n"), Ok(true));
        assert!(check(b"+012345678901234567890\r\n").is_err());
        assert!(check(b"+0123456789012345678901234").is_err(), "no end in sight");
        assert!(check(b":00000000000000000000000000000000").is_err(), "no end in sight");
    }

    #[test]
    fn nesting_a_million_deep_is_an_error_and_no_stack_overflow() {
        let input = b"*1\r\n".repeat(1_000_000);
        assert!(Decoder::new(Limits::default()).decode(&input).is_err());
    }

    #[test]
    fn a_long_string_can_be_read_straight_into_its_place() {
        let mut decoder = Decoder::new(Limits::default());
        assert_eq!(decoder.decode(b"$6\r\nfo").unwrap().consumed, 6);
        let (place, missing) = decoder.bulk_room().unwrap();
        assert_eq!(missing, 4);
        place.extend_from_slice(b"obar");
        decoder.bulk_read(4);
        assert!(decoder.bulk_room().is_none());
        let progress = decoder.decode(b"\r\n").unwrap();
        assert_eq!(progress.reply, Some(Value::from("foobar")));
        assert!(decoder.is_at_boundary());
    }
}
