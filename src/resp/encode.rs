//! Encoding of commands: each is an array of bulk strings.
//!
//! A large argument is left out of the buffer, and a [`Gap`] notes its position. The sender writes
//! it directly from the argument, which avoids a copy.

use std::fmt;

use super::float::FloatText;
use super::number::{Digits, fill_digits};

/// The least size of a large argument, in bytes. From here on, two more system calls cost less than
/// a copy.
const LARGE: usize = 64 * 1024;

/// Receives the arguments of a command. Every method adds one argument.
///
/// The library passes it to [`ToArgs::write_args`](crate::ToArgs::write_args).
pub struct ArgWriter<'a> {
    target: Target<'a>,
    count: usize,
}

enum Target<'a> {
    /// Bulk strings, as the server receives them.
    Whole(&'a mut Vec<u8>),
    /// Bulk strings without the large arguments, and the gaps where these belong.
    Wire { out: &'a mut Vec<u8>, gaps: &'a mut Vec<Gap> },
    /// Only the large arguments, one by one.
    Gaps(&'a mut dyn FnMut(&[u8])),
    /// The bytes of all arguments, and the end of each.
    List { bytes: &'a mut Vec<u8>, ends: &'a mut Vec<usize> },
}

impl<'a> ArgWriter<'a> {
    /// Creates a writer that appends the arguments to a list instead of a command.
    pub(crate) fn to_list(bytes: &'a mut Vec<u8>, ends: &'a mut Vec<usize>) -> ArgWriter<'a> {
        ArgWriter { target: Target::List { bytes, ends }, count: 0 }
    }

    /// Adds an argument with these bytes.
    ///
    /// ```
    /// use redigo::args::{ArgWriter, Args, ToArgs};
    ///
    /// struct Ipv4([u8; 4]);
    ///
    /// impl ToArgs for Ipv4 {
    ///     fn write_args(&self, out: &mut ArgWriter<'_>) {
    ///         let [a, b, c, d] = self.0;
    ///         out.bytes(format!("{a}.{b}.{c}.{d}").as_bytes());
    ///     }
    /// }
    ///
    /// let args = Args::new().args(Ipv4([127, 0, 0, 1]));
    /// assert_eq!(args.iter().next(), Some(&b"127.0.0.1"[..]));
    /// ```
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
    ///
    /// ```
    /// use redigo::args::{ArgWriter, Args, ToArgs};
    ///
    /// enum Side { Left, Right }
    ///
    /// impl ToArgs for Side {
    ///     fn write_args(&self, out: &mut ArgWriter<'_>) {
    ///         out.int(match self {
    ///             Side::Left => -1,
    ///             Side::Right => 1,
    ///         });
    ///     }
    /// }
    ///
    /// let args = Args::new().args([Side::Left, Side::Right]);
    /// assert_eq!(args.iter().collect::<Vec<_>>(), [b"-1".as_slice(), b"1"]);
    /// ```
    pub fn int(&mut self, number: i64) {
        let mut digits = Digits::new();
        self.bytes(digits.signed(number));
    }

    /// Adds an unsigned integer in decimal.
    ///
    /// ```
    /// use redigo::args::{ArgWriter, Args, ToArgs};
    ///
    /// struct Millis(std::time::Duration);
    ///
    /// impl ToArgs for Millis {
    ///     fn write_args(&self, out: &mut ArgWriter<'_>) {
    ///         out.uint(self.0.as_millis() as u64);
    ///     }
    /// }
    ///
    /// let args = Args::new().args(("PX", Millis(std::time::Duration::from_secs(2))));
    /// assert_eq!(args.iter().last(), Some(&b"2000"[..]));
    /// ```
    pub fn uint(&mut self, number: u64) {
        let mut digits = Digits::new();
        self.bytes(digits.unsigned(number));
    }

    /// Adds a float with the fewest digits that parse to the same number, in the format of Go's
    /// `%g`: with an exponent from a million on (`1e+06`) and below a ten-thousandth (`1e-05`).
    ///
    /// ```
    /// use redigo::args::{ArgWriter, Args, ToArgs};
    ///
    /// struct Score(f64);
    ///
    /// impl ToArgs for Score {
    ///     fn write_args(&self, out: &mut ArgWriter<'_>) {
    ///         out.float(self.0);
    ///     }
    /// }
    ///
    /// let args = Args::new().args([Score(2.5), Score(1e6), Score(f64::INFINITY)]);
    /// assert_eq!(args.iter().collect::<Vec<_>>(), [&b"2.5"[..], b"1e+06", b"+Inf"]);
    /// ```
    pub fn float(&mut self, number: f64) {
        let mut text = FloatText::default();
        self.bytes(text.write(number.is_nan(), number.is_sign_negative(), &number));
    }

    /// Like [`float`](ArgWriter::float), but for a float of single precision.
    ///
    /// ```
    /// use redigo::args::{ArgWriter, Args, ToArgs};
    ///
    /// struct Ratio(f32);
    ///
    /// impl ToArgs for Ratio {
    ///     fn write_args(&self, out: &mut ArgWriter<'_>) {
    ///         out.float32(self.0);
    ///     }
    /// }
    ///
    /// assert_eq!(Args::new().args(Ratio(0.1)).iter().next(), Some(&b"0.1"[..]));
    /// ```
    pub fn float32(&mut self, number: f32) {
        let mut text = FloatText::default();
        self.bytes(text.write(number.is_nan(), number.is_sign_negative(), &number));
    }
}

impl fmt::Debug for ArgWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments can be passwords, so only their number is shown.
        write!(f, "ArgWriter({} arguments)", self.count)
    }
}

/// The position and length of an argument that was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) at: usize,
    pub(crate) length: usize,
}

/// Appends a command and the arguments that `write_args` adds, without the large ones. Returns the
/// gaps where these belong.
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

/// Appends a command and all arguments that `write_args` adds, including the large ones.
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

/// Appends the header and the name. The number of arguments is not known yet and nearly always has
/// one digit, so one byte is reserved for it.
fn begin(out: &mut Vec<u8>, name: &str) -> usize {
    let head = out.len();
    out.extend_from_slice(b"*0\r\n");
    write_bulk(out, name.as_bytes());
    head
}

/// Writes the number of arguments into the header. Returns by how many bytes the rest moved.
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

/// Passes the arguments that [`command`] leaves out to `fill`, one by one, without a copy.
pub(crate) fn fill_gaps(write_args: impl FnOnce(&mut ArgWriter<'_>), fill: &mut dyn FnMut(&[u8])) {
    write_args(&mut ArgWriter { target: Target::Gaps(fill), count: 1 });
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 25);
    write_bulk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the dollar sign, the length and the line end with one copy.
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
    fn the_buffer_of_a_command_is_little_larger_than_its_bytes() {
        let mut out = Vec::new();
        command(&mut out, "SET", |args| args.bytes(&[0; 10_000]));
        assert!(out.len() > 10_000 && out.capacity() < 2 * out.len(), "{}", out.capacity());
    }

    #[test]
    fn integers_are_formatted_over_the_whole_range() {
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
    fn the_header_counts_the_arguments_for_any_number_of_digits() {
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
    fn a_gap_marks_the_position_of_a_large_argument() {
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
