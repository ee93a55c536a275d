//! Formatting of floats, in the format of Go's `%g`.

use std::fmt::Write as _;

/// Formats a float without allocating.
#[derive(Default)]
pub(super) struct FloatText {
    scientific: StackText,
    out: StackText,
}

impl FloatText {
    /// Writes `number` with the fewest digits that its own precision needs.
    pub(super) fn write(
        &mut self,
        nan: bool,
        negative: bool,
        number: &dyn std::fmt::LowerExp,
    ) -> &[u8] {
        let _ = write!(self.scientific, "{number:e}");
        let text = self.scientific.as_bytes();
        let Some(split) = text.iter().position(|&byte| byte == b'e') else {
            // Only a number that is not finite has no exponent.
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

/// Writes the digits `d.ddd` times ten to the power of `exponent` in plain notation.
fn write_plain(out: &mut StackText, mantissa: &[u8], exponent: i32) {
    let digits = mantissa.iter().copied().filter(u8::is_ascii_digit);
    // The number of digits before the point.
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

/// A text buffer on the stack, long enough for any float: sign, 17 digits, point, zeros, exponent.
#[derive(Default)]
struct StackText {
    bytes: [u8; 32],
    length: usize,
}

impl StackText {
    fn push(&mut self, text: &[u8]) {
        let end = self.length + text.len();
        if let Some(spare) = self.bytes.get_mut(self.length..end) {
            spare.copy_from_slice(text);
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
    use crate::resp::encode::ArgWriter;

    fn float(number: f64) -> String {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        ArgWriter::to_list(&mut bytes, &mut ends).float(number);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn floats_are_formatted_like_go() {
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
    fn single_precision_uses_its_own_shortest_digits() {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut out = ArgWriter::to_list(&mut bytes, &mut ends);
        out.float32(0.1);
        out.float32(16777216.0);
        assert_eq!(bytes, b"0.11.6777216e+07");
    }
}
