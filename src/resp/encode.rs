//! Commands to bytes: an array of bulk strings.

use std::fmt::Write as _;

/// Where a command's arguments are written to. Every method adds one argument.
///
/// Handed to [`ToArgs::write_args`](crate::ToArgs::write_args); see there for an example.
#[derive(Debug)]
pub struct ArgWriter<'a> {
    target: Target<'a>,
    count: usize,
}

#[derive(Debug)]
enum Target<'a> {
    /// Bulk strings, as they go to the server.
    Wire(&'a mut Vec<u8>),
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
            Target::Wire(out) => write_bulk(out, arg),
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

/// Appends a command and the arguments that `write_args` adds.
pub(crate) fn command(out: &mut Vec<u8>, name: &str, write_args: impl FnOnce(&mut ArgWriter<'_>)) {
    // The number of arguments is known only when they are written, and nearly always has one
    // digit: leave room for one, and move the body where it needs more.
    let head = out.len();
    out.extend_from_slice(b"*0\r\n");
    write_bulk(out, name.as_bytes());
    let mut writer = ArgWriter { target: Target::Wire(out), count: 1 };
    write_args(&mut writer);
    let count = writer.count;
    let mut digits = Digits::new();
    let digits = digits.unsigned(count as u64);
    if let [digit] = digits {
        out[head + 1] = *digit;
    } else {
        out.splice(head + 1..head + 2, digits.iter().copied());
    }
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut digits = Digits::new();
    let length = digits.unsigned(bytes.len() as u64);
    out.reserve(bytes.len() + length.len() + 5);
    out.push(b'$');
    out.extend_from_slice(length);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Room for a 64-bit number in decimal, filled from the right.
struct Digits([u8; 20]);

impl Digits {
    fn new() -> Digits {
        Digits([b'0'; 20])
    }

    fn unsigned(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &self.0[at..];
            }
        }
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
            command(&mut out, "X", |args| (0..count).for_each(|_| args.bytes(b"y")));
            let mut expected = format!("before*{}\r\n$1\r\nX\r\n", count + 1);
            (0..count).for_each(|_| expected.push_str("$1\r\ny\r\n"));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
