//! Commands to bytes: an array of bulk strings.
//!
//! An argument that is large is left out, with a note of the gap where it belongs: whoever writes
//! the bytes fills it from where the argument lies, so that it is not copied first.

use std::fmt;

use super::float::FloatText;
use super::number::{Digits, fill_digits};

/// From this many bytes on an argument is large: two more system calls cost less than a copy.
const LARGE: usize = 64 * 1024;

/// Where a command's arguments are written to. Every method adds one argument.
///
/// Handed to [`ToArgs::write_args`](crate::ToArgs::write_args); see there for an example.
pub struct ArgWriter<'a> {
    target: Target<'a>,
    count: usize,
}

enum Target<'a> {
    /// Bulk strings, as they go to the server.
    Whole(&'a mut Vec<u8>),
    /// The same, and what was left out.
    Wire { out: &'a mut Vec<u8>, gaps: &'a mut Vec<Gap> },
    /// What was left out, one by one.
    Gaps(&'a mut dyn FnMut(&[u8])),
    /// The bare bytes, and where each argument ends.
    List { bytes: &'a mut Vec<u8>, ends: &'a mut Vec<usize> },
}

impl<'a> ArgWriter<'a> {
    /// A writer that appends the arguments to a list instead of a command.
    pub(crate) fn to_list(bytes: &'a mut Vec<u8>, ends: &'a mut Vec<usize>) -> ArgWriter<'a> {
        ArgWriter { target: Target::List { bytes, ends }, count: 0 }
    }

    /// Adds an argument of these bytes.
    pub fn bytes(&mut self, arg: &[u8]) {
        self.count += 1;
        match &mut self.target {
            Target::Wire { out, gaps } if arg.len() >= LARGE => {
                write_bulk_head(out, arg.len());
                gaps.push(Gap { at: out.len(), length: arg.len() });
                out.extend_from_slice(b"\r\n");
            }
            Target::Whole(out) | Target::Wire { out, .. } => write_bulk(out, arg),
            Target::Gaps(fill) if arg.len() >= LARGE => fill(arg),
            Target::Gaps(_) => {}
            Target::List { bytes, ends } => {
                bytes.extend_from_slice(arg);
                ends.push(bytes.len());
            }
        }
    }

    /// Adds an integer in decimal.
    pub fn int(&mut self, number: i64) {
        let mut digits = Digits::new();
        self.bytes(digits.signed(number));
    }

    /// Adds an unsigned integer in decimal.
    pub fn uint(&mut self, number: u64) {
        let mut digits = Digits::new();
        self.bytes(digits.unsigned(number));
    }

    /// Adds a float with the fewest digits that read back as the same number, in the form of
    /// Go's `%g`: `1e+06` from a million on, `1e-05` below a ten-thousandth.
    pub fn float(&mut self, number: f64) {
        let mut text = FloatText::default();
        self.bytes(text.write(number.is_nan(), number.is_sign_negative(), &number));
    }

    /// Adds a float of single precision, in the same form.
    pub fn float32(&mut self, number: f32) {
        let mut text = FloatText::default();
        self.bytes(text.write(number.is_nan(), number.is_sign_negative(), &number));
    }
}

impl fmt::Debug for ArgWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Passwords travel as arguments, so only their number is shown.
        write!(f, "ArgWriter({} arguments)", self.count)
    }
}

/// Where an argument was left out, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) at: usize,
    pub(crate) length: usize,
}

/// Appends a command and the arguments that `write_args` adds, all but the large ones.
pub(crate) fn command(
    out: &mut Vec<u8>,
    name: &str,
    write_args: impl FnOnce(&mut ArgWriter<'_>),
) -> Vec<Gap> {
    let head = begin(out, name);
    let mut gaps = Vec::new();
    let mut writer = ArgWriter { target: Target::Wire { out, gaps: &mut gaps }, count: 1 };
    write_args(&mut writer);
    let count = writer.count;
    let moved = end(out, head, count);
    gaps.iter_mut().for_each(|gap| gap.at += moved);
    gaps
}

/// Appends a command and the arguments that `write_args` adds, however large they are.
pub(crate) fn whole_command(
    out: &mut Vec<u8>,
    name: &str,
    write_args: impl FnOnce(&mut ArgWriter<'_>),
) {
    let head = begin(out, name);
    let mut writer = ArgWriter { target: Target::Whole(out), count: 1 };
    write_args(&mut writer);
    let count = writer.count;
    end(out, head, count);
}

/// Appends what comes before the arguments. Their number is known only when they are written, and
/// nearly always has one digit: there is room for one.
fn begin(out: &mut Vec<u8>, name: &str) -> usize {
    let head = out.len();
    out.extend_from_slice(b"*0\r\n");
    write_bulk(out, name.as_bytes());
    head
}

/// Fills the number in, and says how far that has moved the arguments.
fn end(out: &mut Vec<u8>, head: usize, count: usize) -> usize {
    if let digit @ 0..=9 = count {
        out[head + 1] = b'0' + digit as u8;
        return 0;
    }
    let mut digits = Digits::new();
    let digits = digits.unsigned(count as u64);
    out.splice(head + 1..head + 2, digits.iter().copied());
    digits.len() - 1
}

/// Gives the arguments that [`command`] leaves out, one by one, where they lie.
pub(crate) fn fill_gaps(write_args: impl FnOnce(&mut ArgWriter<'_>), fill: &mut dyn FnMut(&[u8])) {
    write_args(&mut ArgWriter { target: Target::Gaps(fill), count: 1 });
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 25);
    write_bulk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The dollar sign, the length and the line end in one piece.
fn write_bulk_head(out: &mut Vec<u8>, length: usize) {
    if let digit @ 0..=9 = length {
        out.extend_from_slice(&[b'$', b'0' + digit as u8, b'\r', b'\n']);
        return;
    }
    let mut head = *b"$$$$$$$$$$$$$$$$$$$$$\r\n";
    let start = fill_digits(&mut head[1..21], length as u64);
    out.extend_from_slice(&head[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_little_more_room_than_its_bytes() {
        let mut out = Vec::new();
        command(&mut out, "SET", |args| args.bytes(&[0; 10_000]));
        assert!(out.len() > 10_000 && out.capacity() < 2 * out.len(), "{}", out.capacity());
    }

    #[test]
    fn integers_reach_from_end_to_end() {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut out = ArgWriter::to_list(&mut bytes, &mut ends);
        for number in [0, 7, -7, 10, i64::MAX, i64::MIN] {
            out.int(number);
            out.bytes(b" ");
        }
        out.uint(u64::MAX);
        let expected = "0 7 -7 10 9223372036854775807 -9223372036854775808 18446744073709551615";
        assert_eq!(bytes, expected.as_bytes());
    }

    #[test]
    fn the_header_counts_what_was_written_whatever_its_digits() {
        for count in [0usize, 1, 8, 9, 10, 98, 99, 100, 1234] {
            let mut out = b"before".to_vec();
            let gaps = command(&mut out, "X", |args| (0..count).for_each(|_| args.bytes(b"y")));
            assert!(gaps.is_empty());
            let mut expected = format!("before*{}\r\n$1\r\nX\r\n", count + 1);
            (0..count).for_each(|_| expected.push_str("$1\r\ny\r\n"));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_gap_is_where_the_large_argument_belongs() {
        let large = "x".repeat(LARGE);
        for small in [0, 1, 7, 8, 200] {
            let write_args = |args: &mut ArgWriter<'_>| {
                args.bytes(large.as_bytes());
                (0..small).for_each(|_| args.bytes(b"y"));
                args.bytes(large.as_bytes());
            };
            let mut out = b"before".to_vec();
            let mut gaps = command(&mut out, "X", write_args).into_iter().rev();
            assert!(out.capacity() < LARGE);
            fill_gaps(write_args, &mut |arg| {
                let gap = gaps.next().unwrap();
                assert_eq!(gap.length, arg.len());
                out.splice(gap.at..gap.at, arg.iter().copied());
            });
            assert!(gaps.next().is_none());
            let bulk = format!("${LARGE}\r\n{large}\r\n");
            let body = format!("$1\r\nX\r\n{bulk}{}{bulk}", "$1\r\ny\r\n".repeat(small));
            assert!(String::from_utf8(out).unwrap() == format!("before*{}\r\n{body}", small + 3));
        }
    }

    #[test]
    fn debug_shows_no_argument() {
        let (mut bytes, mut ends) = (b"secret".to_vec(), vec![6]);
        let writer = ArgWriter::to_list(&mut bytes, &mut ends);
        assert_eq!(format!("{writer:?}"), "ArgWriter(0 arguments)");
    }
}
