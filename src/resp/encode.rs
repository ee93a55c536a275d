//! Commands to bytes: an array of bulk strings.
//!
//! An argument that is large is left out, with a note of the gap where it belongs: whoever writes
//! the bytes fills it from where the argument lies, so that it is not copied first.

use std::fmt;
use std::fmt::Write as _;

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
    /// Bulk strings, as they go to the server, and what was left out.
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
            Target::Wire { out, .. } => write_bulk(out, arg),
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
    // The number of arguments is known only when they are written, and nearly always has one
    // digit: leave room for one, and move the body where it needs more.
    let head = out.len();
    out.extend_from_slice(b"*0\r\n");
    write_bulk(out, name.as_bytes());
    let mut gaps = Vec::new();
    let mut writer = ArgWriter { target: Target::Wire { out, gaps: &mut gaps }, count: 1 };
    write_args(&mut writer);
    let count = writer.count;
    let mut digits = Digits::new();
    let digits = digits.unsigned(count as u64);
    if let [digit] = digits {
        out[head + 1] = *digit;
    } else {
        out.splice(head + 1..head + 2, digits.iter().copied());
        gaps.iter_mut().for_each(|gap| gap.at += digits.len() - 1);
    }
    gaps
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
    let mut head = *b"$$$$$$$$$$$$$$$$$$$$$\r\n";
    let start = fill_digits(&mut head[1..21], length as u64);
    out.extend_from_slice(&head[start..]);
}

/// Writes a number in decimal at the end of a place that is long enough; gives where it starts.
fn fill_digits(place: &mut [u8], mut number: u64) -> usize {
    let mut at = place.len();
    loop {
        at -= 1;
        place[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return at;
        }
    }
}

/// Room for a 64-bit number in decimal, filled from the right.
struct Digits([u8; 20]);

impl Digits {
    fn new() -> Digits {
        Digits([b'0'; 20])
    }

    fn unsigned(&mut self, number: u64) -> &[u8] {
        let start = fill_digits(&mut self.0, number);
        &self.0[start..]
    }

    fn signed(&mut self, number: i64) -> &[u8] {
        // 19 digits are the most that a magnitude of 64 bits with a sign takes, so the sign fits.
        let length = self.unsigned(number.unsigned_abs()).len();
        let mut at = self.0.len() - length;
        if number < 0 {
            at -= 1;
            self.0[at] = b'-';
        }
        &self.0[at..]
    }
}

/// A float as text, on the stack.
#[derive(Default)]
struct FloatText {
    scientific: StackText,
    out: StackText,
}

impl FloatText {
    /// `number` gives its shortest digits through `{:e}`, at its own precision.
    fn write(&mut self, nan: bool, negative: bool, number: &dyn std::fmt::LowerExp) -> &[u8] {
        let _ = write!(self.scientific, "{number:e}");
        let text = self.scientific.as_bytes();
        let Some(split) = text.iter().position(|&byte| byte == b'e') else {
            // Not finite: no exponent.
            return match (nan, negative) {
                (true, _) => b"NaN",
                (false, false) => b"+Inf",
                (false, true) => b"-Inf",
            };
        };
        let (mantissa, exponent) = (&text[..split], &text[split + 1..]);
        let exponent: i32 =
            std::str::from_utf8(exponent).ok().and_then(|e| e.parse().ok()).unwrap_or(0);
        let mantissa = mantissa.strip_prefix(b"-").unwrap_or(mantissa);
        let out = &mut self.out;
        if negative {
            out.push(b"-");
        }
        if (-4..6).contains(&exponent) {
            write_plain(out, mantissa, exponent);
        } else {
            out.push(mantissa);
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        }
        out.as_bytes()
    }
}

/// Digits `d.ddd` times ten to the `exponent`, without an exponent.
fn write_plain(out: &mut StackText, mantissa: &[u8], exponent: i32) {
    let digits = mantissa.iter().copied().filter(u8::is_ascii_digit);
    // How many digits stand before the point.
    let before = exponent + 1;
    if before <= 0 {
        out.push(b"0.");
        for _ in before..0 {
            out.push(b"0");
        }
    }
    let mut written = 0;
    for digit in digits {
        if written == before && before > 0 {
            out.push(b".");
        }
        out.push(&[digit]);
        written += 1;
    }
    for _ in written..before {
        out.push(b"0");
    }
}

/// Text on the stack, long enough for any float: sign, 17 digits, point, zeros, exponent.
#[derive(Default)]
struct StackText {
    bytes: [u8; 32],
    length: usize,
}

impl StackText {
    fn push(&mut self, text: &[u8]) {
        let end = self.length + text.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(text);
            self.length = end;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Write for StackText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(number: f64) -> String {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        ArgWriter::to_list(&mut bytes, &mut ends).float(number);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        // strconv.FormatFloat(x, 'g', -1, 64)
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (100000.0, "100000"),
            (123456.0, "123456"),
            (123456.789, "123456.789"),
            (999999.5, "999999.5"),
            (1e6, "1e+06"),
            (1234567.0, "1.234567e+06"),
            (1349673917.939762, "1.349673917939762e+09"),
            (0.1, "0.1"),
            (0.25, "0.25"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012345"),
            (0.00001, "1e-05"),
            (2.71, "2.71"),
            (1e100, "1e+100"),
            (1e-300, "1e-300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (-f64::MAX, "-1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (60.0, "60"),
        ];
        for (number, text) in table {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn single_precision_keeps_its_own_shortest_digits() {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut out = ArgWriter::to_list(&mut bytes, &mut ends);
        out.float32(0.1);
        out.float32(16777216.0);
        assert_eq!(bytes, b"0.11.6777216e+07");
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
